// What the kernels of one frame share: plain structs and the functions that launch them. No torch in here, so that
// each .cu file compiles in seconds; bindings.cpp brings torch's tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>

constexpr int TILE = 16;          // side of a tile, pixels
constexpr int SAMPLE = 4;         // pixels along each side of a square that has one sample
constexpr int MAX_FEATURES = 4;   // channels beside colour and depth

// The constants of the picture, as in moegs/rasterize/__init__.py; a test compares them.
constexpr float ALPHA_MIN = 1.0f / 255.0f;
constexpr float ALPHA_MAX = 0.999f;
constexpr float TRANSMITTANCE_MIN = 1e-4f;
constexpr float MAX_SIGMAS = 3.33f;
constexpr float JACOBIAN_MARGIN = 0.3f;

// The camera. The kernels read it from the GPU's memory, so that a recorded frame can be played for another one.
struct Lens {
    float viewmat[12];  // world to camera, rows of [R | t]
    float fx, fy, cx, cy;
    float center[3];    // where the camera stands
    int width, height;
};

struct LayerView {
    const float *means, *quats, *scales, *opacities, *features;  // rows of one layer's own tensors
    const void *sh;
    bool half_sh;        // whether it is in half precision
    int count, bases, channels;
    int expert, first;   // number of the layer, and its first row among the splats
    float blur, near, far;
    bool compensated;
};

// A row for each Gaussian of all layers. What is not drawn has radii 0, no tiles, and the largest key.
struct Splats {
    float2 *means2d;     // pixels
    int2 *radii;         // pixels
    float4 *reach;       // u, v, and how far the drawn ellipse extends along x and y, pixels
    float4 *conics;      // a, b, c of the exponent a dx^2 / 2 + b dx dy + c dy^2 / 2, and opacity
    float4 *colors;      // r, g, b, depth
    float4 *features;    // up to four channels
    uint32_t *keys;      // depth as sortable bits
    int *tiles;          // how many tiles it reaches
    int *experts;
};

struct Grid {
    int experts, columns, rows;  // of tiles
};

// Rows of splats per tile, nearest first: those of tile i are rows[starts[i] : starts[i + 1]].
struct Lists {
    const int *starts, *rows;
};

struct Pictures {
    float *images, *features, *alphas, *depths;       // E H W 3, E H W C, E H W, E H W
    const float *backgrounds, *feature_backgrounds;   // E 3, E C
    int width, height, channels;
    const bool *live;            // which tiles are drawn; nullptr: all
    unsigned long long *pairs;   // counts what is composited
};

struct Network {
    const float *first, *second, *third;  // 6 x 8 on (W_dir, W_time, camera centre, unit ray), 3 x 6, 1 x 3
};

struct Gating {
    const float *logits;         // E h w, of the samples
    Grid grid;
    float temperature, skip_below;
    const bool *active;          // which experts are live; nullptr: all
    bool renormalize;            // whether the live ones alone share; only with `active`
    bool reroute;                // whether the best live one of a pixel has the muted ones' shares; only with `active`
    bool *live;                  // E Y X: which tiles are drawn
};

struct Mixed {
    const float *gates, *images, *alphas, *depths;  // E H W, E H W 3, E H W, E H W
    float *picture, *alpha, *depth;                 // H W 3, H W, H W
    int experts, pixels;
};

void put_lens(const Lens &, Lens *there, cudaStream_t);
// The same from a 4x4 world-to-camera matrix and 3x3 intrinsics that lie on the GPU.
void make_lens(const float *viewmat, const float *K, int width, int height, Lens *there, cudaStream_t);
void project(const Lens *, const LayerView &, const Splats &, const Grid &, cudaStream_t);
// Bytes of scratch that the two sorts and the sum need, for `splats` rows and `pairs` pairs.
size_t scratch_bytes(int splats, int pairs);
// Rows in order of depth, and before each of them how many pairs the rows up to it have.
void order_by_depth(const Splats &, int count, uint32_t *keys, int *unordered, int *order, int *ends,
                    void *scratch, size_t bytes, cudaStream_t);
// There is room for `pairs`: what is more is left out. Where they may be fewer, `tiles` holds the number of all tiles.
void list_by_tile(const Splats &, const Grid &, int count, const int *order, const int *ends, int pairs,
                  uint32_t *tiles, uint32_t *sorted_tiles, int *unsorted_rows, int *rows, int *starts,
                  void *scratch, size_t bytes, cudaStream_t);
void composite(const Splats &, const Grid &, const Lists &, const Pictures &, cudaStream_t);
// The features alone, at the middle of every square of samples, tiles x samples: E h w C.
void sample(const Splats &, const Grid &, const Lists &, const float *backgrounds, int channels, float *features, cudaStream_t);
// Which tiles are drawn; `gates` is scratch, E Y X.
void decide(const Gating &, float *gates, cudaStream_t);
void blend(const Mixed &, cudaStream_t);
// Colours in [0, 1] to bytes, clamped and rounded.
void quantize(const float *colors, int count, uint8_t *bytes, cudaStream_t);
void route(const float *features, const Lens *, const Network &, int experts, int pixels, float *logits, cudaStream_t);
