// The mixture's picture, alpha and depth from its experts' and their gates, in one pass over the pixels; and its bytes.
#include <cfloat>

#include "frame.h"

namespace {

constexpr int THREADS = 256;

__global__ void blend_kernel(Mixed m) {
    int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= m.pixels) return;
    float red = 0, green = 0, blue = 0, alpha = 0, depth = 0;
    for (int e = 0; e < m.experts; ++e) {
        size_t place = (size_t)e * m.pixels + pixel;
        float gate = m.gates[place];
        if (gate == 0) continue;
        red += gate * m.images[3 * place], green += gate * m.images[3 * place + 1], blue += gate * m.images[3 * place + 2];
        float seen = gate * m.alphas[place];
        alpha += seen, depth += seen * m.depths[place];
    }
    m.picture[3 * pixel] = red, m.picture[3 * pixel + 1] = green, m.picture[3 * pixel + 2] = blue;
    m.alpha[pixel] = alpha;
    m.depth[pixel] = depth / fmaxf(alpha, FLT_MIN);
}

__global__ void quantize_kernel(const float *colors, int count, uint8_t *bytes) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) bytes[i] = (uint8_t)(fminf(fmaxf(colors[i], 0.0f), 1.0f) * 255 + 0.5f);
}

}  // namespace

void blend(const Mixed &mixed, cudaStream_t stream) {
    blend_kernel<<<(mixed.pixels + THREADS - 1) / THREADS, THREADS, 0, stream>>>(mixed);
}

void quantize(const float *colors, int count, uint8_t *bytes, cudaStream_t stream) {
    quantize_kernel<<<(count + THREADS - 1) / THREADS, THREADS, 0, stream>>>(colors, count, bytes);
}
