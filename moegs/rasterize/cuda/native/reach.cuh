// Which tiles a splat reaches, exactly: those with a pixel centre inside the ellipse where alpha is ALPHA_MIN.
#pragma once

#include "frame.h"

// Kept beyond the ellipse, so that rounding loses no pixel: a share of the exponent's limit, and pixels.
constexpr float SLACK = 1e-3f, SLACK_PIXELS = 0.02f;

// The exponent on the edge of what is drawn of a splat of this opacity.
__device__ inline float edge_exponent(float opacity) { return logf(opacity / ALPHA_MIN) * (1 + SLACK) + SLACK; }

struct Ellipse {
    float u, v, a, b, c;     // centre; conic
    float limit;             // edge_exponent of its opacity
    float reach_x, reach_y;  // half its width and height
};

__device__ inline Ellipse ellipse(float4 reach, float4 conic) {
    return {reach.x, reach.y, conic.x, conic.y, conic.z, edge_exponent(conic.w), reach.z, reach.w};
}

// The ellipse's right edge at `dy` from its centre; the left one is minus that at -dy.
__device__ inline float edge(const Ellipse &e, float dy) {
    float root = fmaxf((e.b * e.b - e.a * e.c) * dy * dy + 2 * e.limit * e.a, 0.0f);
    return (-e.b * dy + sqrtf(root)) / e.a;
}

// How far the ellipse extends to the right of its centre between `top` and `bottom`, relative to the centre.
__device__ inline float rightmost(const Ellipse &e, float top, float bottom) {
    float at = -e.b * e.reach_x / e.c;  // where it is widest
    return edge(e, fminf(fmaxf(at, top), bottom));
}

__device__ inline int first_tile(float edge) { return (int)floorf((edge - 0.5f) / TILE); }

// Calls `visit(tile)` for every tile of the splat's picture that it reaches.
template <typename Visit>
__device__ inline void for_each_tile(const Ellipse &e, int expert, const Grid &grid, Visit visit) {
    int top = max(0, first_tile(e.v - e.reach_y)), bottom = min(grid.rows - 1, first_tile(e.v + e.reach_y));
    for (int row = top; row <= bottom; ++row) {
        // The pixel centres of this row of tiles, from the splat's centre, and within its height.
        float from = fmaxf(row * TILE + 0.5f - e.v - SLACK_PIXELS, -e.reach_y);
        float to = fminf(row * TILE + TILE - 0.5f - e.v + SLACK_PIXELS, e.reach_y);
        if (from > to) continue;
        float right = e.u + rightmost(e, from, to) + SLACK_PIXELS;
        float left = e.u - rightmost(e, -to, -from) - SLACK_PIXELS;
        int first = max(0, (int)floorf((left - 0.5f - (TILE - 1)) / TILE) + 1);  // whose last pixel centre is past it
        int last = min(grid.columns - 1, first_tile(right));
        int line = (expert * grid.rows + row) * grid.columns;
        for (int column = first; column <= last; ++column) visit(line + column);
    }
}
