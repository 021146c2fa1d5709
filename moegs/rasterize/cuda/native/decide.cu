// Tile gating after a first look: from the samples' logits to which tiles of each expert are drawn.
#include "frame.h"

namespace {

constexpr int SIDE = TILE / SAMPLE, SAMPLES = SIDE * SIDE, THREADS = 128;

__device__ float largest_of_tile(float value) {
#pragma unroll
    for (int step = SAMPLES / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step, SAMPLES));
    return value;
}

// The largest gate and the largest logit among the samples of each tile: a lane for each sample.
__global__ void __launch_bounds__(THREADS) bound_kernel(Gating gating, float *gates, float *logits) {
    int number = blockIdx.x * blockDim.x + threadIdx.x, tiles = gating.grid.rows * gating.grid.columns;
    int tile = min(number / SAMPLES, tiles - 1), lane = number % SAMPLES;  // those beyond the last keep it company
    int columns = gating.grid.columns * SIDE, samples = tiles * SAMPLES;
    int place = (tile / gating.grid.columns * SIDE + lane / SIDE) * columns + tile % gating.grid.columns * SIDE + lane % SIDE;
    auto counts = [&](int e) { return !gating.renormalize || gating.active[e]; };
    float top = -INFINITY, sum = 0;
    for (int e = 0; e < gating.grid.experts; ++e) {
        if (counts(e)) top = fmaxf(top, gating.logits[(size_t)e * samples + place]);
    }
    for (int e = 0; e < gating.grid.experts; ++e) {
        if (counts(e)) sum += expf((gating.logits[(size_t)e * samples + place] - top) / gating.temperature);
    }
    for (int e = 0; e < gating.grid.experts; ++e) {
        float logit = gating.logits[(size_t)e * samples + place];
        float gate = counts(e) ? expf((logit - top) / gating.temperature) / sum : 0;
        gate = largest_of_tile(gate), logit = largest_of_tile(logit);
        if (lane == 0 && number < samples) gates[e * tiles + tile] = gate, logits[e * tiles + tile] = logit;
    }
}

// As moegs.router.gating.wanted has it, with the largest of the tile and of those around it.
__global__ void wanted_kernel(Gating gating, const float *gates, const float *logits) {
    int tile = blockIdx.x * blockDim.x + threadIdx.x, tiles = gating.grid.rows * gating.grid.columns;
    if (tile >= tiles) return;
    int row = tile / gating.grid.columns, column = tile % gating.grid.columns, first = 0, best = -1;
    float most = -1, highest = -INFINITY;
    for (int e = 0; e < gating.grid.experts; ++e) {
        float gate = 0, logit = -INFINITY;
        for (int y = max(row - 1, 0); y <= min(row + 1, gating.grid.rows - 1); ++y) {
            for (int x = max(column - 1, 0); x <= min(column + 1, gating.grid.columns - 1); ++x) {
                int near = e * tiles + y * gating.grid.columns + x;
                gate = fmaxf(gate, gates[near]), logit = fmaxf(logit, logits[near]);
            }
        }
        if (gate > most) most = gate, first = e;
        if (gating.active && gating.active[e] && (best < 0 || logit > highest)) highest = logit, best = e;
        gating.live[e * tiles + tile] = gate >= gating.skip_below;
    }
    gating.live[first * tiles + tile] = true;
    if (best >= 0) gating.live[best * tiles + tile] = true;
}

}  // namespace

void decide(const Gating &gating, float *gates, float *logits, cudaStream_t stream) {
    int tiles = gating.grid.rows * gating.grid.columns;
    bound_kernel<<<(tiles * SAMPLES + THREADS - 1) / THREADS, THREADS, 0, stream>>>(gating, gates, logits);
    wanted_kernel<<<(tiles + THREADS - 1) / THREADS, THREADS, 0, stream>>>(gating, gates, logits);
}
