// A first look: the features at one pixel of every square of SAMPLE x SAMPLE, from the same lists as the pictures.
#include "frame.h"

namespace {

constexpr int SIDE = TILE / SAMPLE, SAMPLES = SIDE * SIDE, THREADS = 128;

// A group of 16 lanes walks through one tile's list: each fetches one splat, then all hear of each in turn.
__global__ void __launch_bounds__(THREADS) sample_kernel(Splats splats, Grid grid, Lists lists, const float *backgrounds, int channels, float *features) {
    int number = blockIdx.x * blockDim.x + threadIdx.x, tile = number / SAMPLES, lane = number % SAMPLES;
    if (tile >= grid.experts * grid.rows * grid.columns) return;
    unsigned group = 0xffffu << (threadIdx.x % 32 / SAMPLES * SAMPLES);
    int column = tile % grid.columns, row = tile / grid.columns % grid.rows, expert = tile / (grid.columns * grid.rows);
    int x = column * SIDE + lane % SIDE, y = row * SIDE + lane / SIDE;
    float px = x * SAMPLE + SAMPLE / 2 + 0.5f, py = y * SAMPLE + SAMPLE / 2 + 0.5f;

    float transmittance = 1, sums[MAX_FEATURES] = {};
    bool done = false;
    int end = lists.starts[tile + 1];
    for (int begin = lists.starts[tile]; begin < end && !__all_sync(group, done); begin += SAMPLES) {
        int splat = lists.rows[min(begin + lane, end - 1)];
        float4 reach = splats.reach[splat], conic = splats.conics[splat], feature = splats.features[splat];
        for (int i = 0; i < min(SAMPLES, end - begin); ++i) {
            auto heard = [&](float value) { return __shfl_sync(group, value, i, SAMPLES); };
            float dx = heard(reach.x) - px, dy = heard(reach.y) - py, opacity = heard(conic.w);
            float exponent = 0.5f * (heard(conic.x) * dx * dx + heard(conic.z) * dy * dy) + heard(conic.y) * dx * dy;
            float four[MAX_FEATURES] = {heard(feature.x), heard(feature.y), heard(feature.z), heard(feature.w)};
            float alpha = fminf(ALPHA_MAX, opacity * __expf(-exponent));
            if (done || exponent < 0 || alpha < ALPHA_MIN) continue;
            float after = transmittance * (1 - alpha), weight = alpha * transmittance;
            if (after <= TRANSMITTANCE_MIN) {
                done = true;
                continue;
            }
#pragma unroll
            for (int k = 0; k < MAX_FEATURES; ++k) sums[k] += weight * four[k];
            transmittance = after;
        }
    }
    size_t place = ((size_t)expert * grid.rows * SIDE + y) * grid.columns * SIDE + x;
#pragma unroll
    for (int k = 0; k < MAX_FEATURES; ++k) {
        if (k < channels) features[channels * place + k] = sums[k] + transmittance * backgrounds[channels * expert + k];
    }
}

}  // namespace

void sample(const Splats &splats, const Grid &grid, const Lists &lists, const float *backgrounds, int channels, float *features, cudaStream_t stream) {
    int count = grid.experts * grid.rows * grid.columns * SAMPLES;
    sample_kernel<<<(count + THREADS - 1) / THREADS, THREADS, 0, stream>>>(splats, grid, lists, backgrounds, channels, features);
}
