// The router's network at every pixel of every expert: rays and three layers fused, nothing but the logits written.
#include "frame.h"

namespace {

constexpr int THREADS = 256, INPUTS = 8, HIDDEN = 6, LAST = 3;

__global__ void route_kernel(const float *features, const Lens *there, Network network, int experts, float *logits) {
    __shared__ Lens lens;
    __shared__ float first[HIDDEN * INPUTS], second[LAST * HIDDEN], third[LAST];
    if (threadIdx.x < HIDDEN * INPUTS) first[threadIdx.x] = network.first[threadIdx.x];
    if (threadIdx.x < LAST * HIDDEN) second[threadIdx.x] = network.second[threadIdx.x];
    if (threadIdx.x < LAST) third[threadIdx.x] = network.third[threadIdx.x];
    if (threadIdx.x == 0) lens = *there;
    __syncthreads();

    int pixel = blockIdx.x * blockDim.x + threadIdx.x, pixels = lens.width * lens.height;
    if (pixel >= pixels) return;
    float x = (pixel % lens.width + 0.5f - lens.cx) / lens.fx, y = (pixel / lens.width + 0.5f - lens.cy) / lens.fy;
    float shorten = rsqrtf(x * x + y * y + 1);
    float looks[HIDDEN];  // the first layer without the two weights: the same for all experts
#pragma unroll
    for (int j = 0; j < HIDDEN; ++j) {
        looks[j] = 0;
#pragma unroll
        for (int axis = 0; axis < 3; ++axis) {
            const float *m = lens.viewmat + axis;  // a column of the rotation: the ray in world axes
            float ray = (m[0] * x + m[4] * y + m[8]) * shorten;
            looks[j] += first[j * INPUTS + 2 + axis] * lens.center[axis] + first[j * INPUTS + 5 + axis] * ray;
        }
    }
    for (int e = 0; e < experts; ++e) {
        size_t place = (size_t)e * pixels + pixel;
        float logit = features[3 * place], along = features[3 * place + 1], time = features[3 * place + 2], hidden[HIDDEN];
#pragma unroll
        for (int j = 0; j < HIDDEN; ++j) {
            hidden[j] = fmaxf(0.0f, first[j * INPUTS] * along + first[j * INPUTS + 1] * time + looks[j]);
        }
#pragma unroll
        for (int k = 0; k < LAST; ++k) {
            float answer = 0;
#pragma unroll
            for (int j = 0; j < HIDDEN; ++j) answer += second[k * HIDDEN + j] * hidden[j];
            logit += third[k] * fmaxf(0.0f, answer);
        }
        logits[place] = logit;
    }
}

}  // namespace

void route(const float *features, const Lens *lens, const Network &network, int experts, int pixels, float *logits, cudaStream_t stream) {
    route_kernel<<<(pixels + THREADS - 1) / THREADS, THREADS, 0, stream>>>(features, lens, network, experts, logits);
}
