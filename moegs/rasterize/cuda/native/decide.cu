// Tile gating after a first look: from the samples' logits to which tiles of each expert are drawn.
#include "frame.h"

namespace {

constexpr int SIDE = TILE / SAMPLE, SAMPLES = SIDE * SIDE, THREADS = 128;

__device__ float largest_of_tile(float value) {
#pragma unroll
    for (int step = SAMPLES / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step, SAMPLES));
    return value;
}

// The largest of what each expert matters, as moegs.router.gating.matters has it, among the samples of each tile: a lane
// for each sample.
__global__ void __launch_bounds__(THREADS) bound_kernel(Gating gating, float *gates) {
    int number = blockIdx.x * blockDim.x + threadIdx.x, tiles = gating.grid.rows * gating.grid.columns;
    int tile = min(number / SAMPLES, tiles - 1), lane = number % SAMPLES;  // those beyond the last keep it company
    int columns = gating.grid.columns * SIDE, samples = tiles * SAMPLES;
    int place = (tile / gating.grid.columns * SIDE + lane / SIDE) * columns + tile % gating.grid.columns * SIDE + lane % SIDE;
    auto counts = [&](int e) { return !gating.renormalize || gating.active[e]; };
    auto logit = [&](int e) { return gating.logits[(size_t)e * samples + place]; };
    float top = -INFINITY, sum = 0, muted = 0;
    for (int e = 0; e < gating.grid.experts; ++e) {
        if (counts(e)) top = fmaxf(top, logit(e));
    }
    int best = -1;  // of the live ones, where it gets what the muted ones have
    for (int e = 0; e < gating.grid.experts; ++e) {
        if (!counts(e)) continue;
        float share = expf((logit(e) - top) / gating.temperature);
        sum += share;
        if (!gating.reroute) continue;
        if (!gating.active[e]) muted += share;
        else if (best < 0 || logit(e) > logit(best)) best = e;
    }
    for (int e = 0; e < gating.grid.experts; ++e) {
        float share = counts(e) ? expf((logit(e) - top) / gating.temperature) : 0;
        float gate = largest_of_tile(counts(e) ? (e == best ? share + muted : share) / sum : 0);
        if (lane == 0 && number < samples) gates[e * tiles + tile] = gate;
    }
}

// As moegs.router.gating.wanted has it, with the largest of the tile and of those around it.
__global__ void wanted_kernel(Gating gating, const float *gates) {
    int tile = blockIdx.x * blockDim.x + threadIdx.x, tiles = gating.grid.rows * gating.grid.columns;
    if (tile >= tiles) return;
    int row = tile / gating.grid.columns, column = tile % gating.grid.columns, first = 0;
    float most = -1;
    for (int e = 0; e < gating.grid.experts; ++e) {
        float gate = 0;
        for (int y = max(row - 1, 0); y <= min(row + 1, gating.grid.rows - 1); ++y) {
            for (int x = max(column - 1, 0); x <= min(column + 1, gating.grid.columns - 1); ++x) {
                gate = fmaxf(gate, gates[e * tiles + y * gating.grid.columns + x]);
            }
        }
        if (gate > most) most = gate, first = e;
        gating.live[e * tiles + tile] = gate >= gating.skip_below;
    }
    gating.live[first * tiles + tile] = true;
}

}  // namespace

void decide(const Gating &gating, float *gates, cudaStream_t stream) {
    int tiles = gating.grid.rows * gating.grid.columns;
    bound_kernel<<<(tiles * SAMPLES + THREADS - 1) / THREADS, THREADS, 0, stream>>>(gating, gates);
    wanted_kernel<<<(tiles + THREADS - 1) / THREADS, THREADS, 0, stream>>>(gating, gates);
}
