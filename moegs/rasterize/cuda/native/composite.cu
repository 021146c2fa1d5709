// Each tile's splats blended front to back, one block per tile of one expert, each with a transmittance of its own.
//
// The cost is the number of (splat, pixel) pairs that are evaluated. So a warp covers 8x4 pixels, and its lanes first
// ask of 32 splats at once which of them reach those pixels; only these are evaluated, still in their order.
#include "frame.h"

namespace {

constexpr int THREADS = TILE * TILE, WARP = 32, WARP_WIDTH = 8, WARP_HEIGHT = 4;

template <int CHANNELS>
__global__ void __launch_bounds__(THREADS) composite_kernel(Splats splats, Lists lists, Pictures out) {
    __shared__ float4 reach[THREADS], conics[THREADS], colors[THREADS];
    __shared__ float4 features[CHANNELS ? THREADS : 1];

    int columns = gridDim.x, expert = blockIdx.z;
    int tile = (expert * gridDim.y + blockIdx.y) * columns + blockIdx.x;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int left = blockIdx.x * TILE + warp % 2 * WARP_WIDTH, top = blockIdx.y * TILE + warp / 2 * WARP_HEIGHT;
    int x = left + lane % WARP_WIDTH, y = top + lane / WARP_WIDTH;
    float px = x + 0.5f, py = y + 0.5f;
    float middle_x = left + 0.5f * WARP_WIDTH, middle_y = top + 0.5f * WARP_HEIGHT;

    bool inside = x < out.width && y < out.height, done = !inside;
    float transmittance = 1, red = 0, green = 0, blue = 0, depth = 0;
    float sums[CHANNELS ? CHANNELS : 1] = {};
    int begin = lists.starts[tile], end = out.live == nullptr || out.live[tile] ? lists.starts[tile + 1] : begin;
    if (threadIdx.x == 0 && begin < end) atomicAdd(out.pairs, end - begin);
    for (; begin < end; begin += THREADS) {
        if (__syncthreads_and(done)) break;
        if (begin + (int)threadIdx.x < end) {
            int row = lists.rows[begin + threadIdx.x];
            reach[threadIdx.x] = splats.reach[row];
            conics[threadIdx.x] = splats.conics[row];
            colors[threadIdx.x] = splats.colors[row];
            if (CHANNELS) features[threadIdx.x] = splats.features[row];
        }
        __syncthreads();
        int count = min(THREADS, end - begin);
        for (int first = 0; first < count && !__all_sync(~0u, done); first += WARP) {
            bool near = false;
            if (first + lane < count) {
                float4 r = reach[first + lane];
                near = fabsf(r.x - middle_x) <= r.z + 0.5f * (WARP_WIDTH - 1) && fabsf(r.y - middle_y) <= r.w + 0.5f * (WARP_HEIGHT - 1);
            }
            for (unsigned left_over = __ballot_sync(~0u, near); left_over; left_over &= left_over - 1) {
                int i = first + __ffs(left_over) - 1;
                float4 conic = conics[i];
                float dx = reach[i].x - px, dy = reach[i].y - py;
                float exponent = 0.5f * (conic.x * dx * dx + conic.z * dy * dy) + conic.y * dx * dy;
                float alpha = fminf(ALPHA_MAX, conic.w * __expf(-exponent));
                if (done || exponent < 0 || alpha < ALPHA_MIN) continue;
                float after = transmittance * (1 - alpha);
                if (after <= TRANSMITTANCE_MIN) {
                    done = true;
                    continue;
                }
                float weight = alpha * transmittance;
                float4 color = colors[i];
                red += weight * color.x, green += weight * color.y, blue += weight * color.z, depth += weight * color.w;
                if (CHANNELS) {
                    float4 feature = features[i];
                    float four[4] = {feature.x, feature.y, feature.z, feature.w};
#pragma unroll
                    for (int k = 0; k < CHANNELS; ++k) sums[k] += weight * four[k];
                }
                transmittance = after;
            }
        }
    }
    if (!inside) return;
    size_t pixel = ((size_t)expert * out.height + y) * out.width + x;
    const float *background = out.backgrounds + 3 * expert;
    out.images[3 * pixel] = red + transmittance * background[0];
    out.images[3 * pixel + 1] = green + transmittance * background[1];
    out.images[3 * pixel + 2] = blue + transmittance * background[2];
#pragma unroll
    for (int k = 0; k < CHANNELS; ++k) {
        out.features[CHANNELS * pixel + k] = sums[k] + transmittance * out.feature_backgrounds[CHANNELS * expert + k];
    }
    float alpha = 1 - transmittance;
    out.alphas[pixel] = alpha;
    out.depths[pixel] = alpha > 0 ? depth / fmaxf(alpha, 0.5f * ALPHA_MIN) : 0.0f;
}

}  // namespace

void composite(const Splats &splats, const Grid &grid, const Lists &lists, const Pictures &out, cudaStream_t stream) {
    dim3 blocks(grid.columns, grid.rows, grid.experts);
    switch (out.channels) {
        case 0: composite_kernel<0><<<blocks, THREADS, 0, stream>>>(splats, lists, out); break;
        case 1: composite_kernel<1><<<blocks, THREADS, 0, stream>>>(splats, lists, out); break;
        case 2: composite_kernel<2><<<blocks, THREADS, 0, stream>>>(splats, lists, out); break;
        case 3: composite_kernel<3><<<blocks, THREADS, 0, stream>>>(splats, lists, out); break;
        case 4: composite_kernel<4><<<blocks, THREADS, 0, stream>>>(splats, lists, out); break;
    }
}
