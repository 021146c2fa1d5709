// From Gaussians in space to splats in the picture, one thread each: every layer's own tensors are read as they lie.
#include <cuda_fp16.h>

#include "reach.cuh"

namespace {

// As in moegs/rasterize/cpu/projection.py.
constexpr float LARGEST = 1e18f;      // variance, pixels squared: beyond it a determinant would overflow
constexpr float HUGE_NUMBER = 1e37f;  // beyond it a product may overflow
constexpr float SHORTEST = 1e-15f;    // a quaternion that is shorter turns nothing
constexpr uint32_t UNSEEN = 0xffffffffu;

__device__ float single(float value) { return value; }
__device__ float single(__half value) { return __half2float(value); }  // torch switches the casts off

template <typename Real>
__device__ bool finite(const Real *values, int count) {
    for (int i = 0; i < count; ++i) {
        if (!isfinite(single(values[i]))) return false;
    }
    return true;
}

// Colour along the unit direction (x, y, z): Inria's real spherical harmonics up to degree 3, as moegs/harmonics.py.
template <typename Real>
__device__ float3 color(const Real *sh, int bases, float x, float y, float z) {
    float basis[16];
    basis[0] = 0.28209479177387814f;
    if (bases > 1) {
        basis[1] = -0.4886025119029199f * y;
        basis[2] = 0.4886025119029199f * z;
        basis[3] = -0.4886025119029199f * x;
    }
    float xx = x * x, yy = y * y, zz = z * z;
    if (bases > 4) {
        basis[4] = 1.0925484305920792f * x * y;
        basis[5] = -1.0925484305920792f * y * z;
        basis[6] = 0.31539156525252005f * (2 * zz - xx - yy);
        basis[7] = -1.0925484305920792f * x * z;
        basis[8] = 0.5462742152960396f * (xx - yy);
    }
    if (bases > 9) {
        basis[9] = -0.5900435899266435f * y * (3 * xx - yy);
        basis[10] = 2.890611442640554f * x * y * z;
        basis[11] = -0.4570457994644658f * y * (4 * zz - xx - yy);
        basis[12] = 0.3731763325901154f * z * (2 * zz - 3 * xx - 3 * yy);
        basis[13] = -0.4570457994644658f * x * (4 * zz - xx - yy);
        basis[14] = 1.445305721320277f * z * (xx - yy);
        basis[15] = -0.5900435899266435f * x * (xx - 3 * yy);
    }
    float3 sum = {0.5f, 0.5f, 0.5f};
    for (int k = 0; k < bases; ++k) {
        sum.x += basis[k] * single(sh[3 * k]);
        sum.y += basis[k] * single(sh[3 * k + 1]);
        sum.z += basis[k] * single(sh[3 * k + 2]);
    }
    return {fmaxf(sum.x, 0.0f), fmaxf(sum.y, 0.0f), fmaxf(sum.z, 0.0f)};
}

// The two rows of J R_view R(quat) S: what a unit step along each of the Gaussian's axes does to the picture, pixels.
__device__ void flatten(const Lens &lens, float3 seen, float4 q, float3 scale, float3 &across, float3 &down) {
    float limit_x = 0.5f * JACOBIAN_MARGIN * lens.width / lens.fx, limit_y = 0.5f * JACOBIAN_MARGIN * lens.height / lens.fy;
    float slope_x = fminf((lens.width - lens.cx) / lens.fx + limit_x, fmaxf(-lens.cx / lens.fx - limit_x, seen.x / seen.z));
    float slope_y = fminf((lens.height - lens.cy) / lens.fy + limit_y, fmaxf(-lens.cy / lens.fy - limit_y, seen.y / seen.z));
    const float *m = lens.viewmat;
    float fx = lens.fx / seen.z, fy = lens.fy / seen.z;
    float row_x[3], row_y[3];
    for (int i = 0; i < 3; ++i) {
        row_x[i] = fx * (m[i] - slope_x * m[8 + i]);
        row_y[i] = fy * (m[4 + i] - slope_y * m[8 + i]);
    }
    float largest = fmaxf(fmaxf(fabsf(q.x), fabsf(q.y)), fmaxf(fabsf(q.z), fabsf(q.w)));
    bool turns = q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w >= SHORTEST * SHORTEST;
    if (!turns) q = {1, 0, 0, 0}, largest = 1;
    q = {q.x / largest, q.y / largest, q.z / largest, q.w / largest};  // its squares then neither vanish nor overflow
    float length = rsqrtf(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w);
    float w = q.x * length, x = q.y * length, y = q.z * length, z = q.w * length;
    float axes[3][3] = {
        {1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)},
        {2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)},
        {2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)},
    };
    auto along = [&](const float *row, int axis) {
        return row[0] * axes[axis][0] + row[1] * axes[axis][1] + row[2] * axes[axis][2];
    };
    across = {scale.x * along(row_x, 0), scale.y * along(row_x, 1), scale.z * along(row_x, 2)};
    down = {scale.x * along(row_y, 0), scale.y * along(row_y, 1), scale.z * along(row_y, 2)};
}

template <typename Real>
__device__ void project_one(const Lens &lens, const LayerView &layer, const Splats &out, const Grid &grid, int i, int row) {
    const float *mean = layer.means + 3 * i, *q = layer.quats + 4 * i, *scale = layer.scales + 3 * i;
    float opacity = layer.opacities[i];
    if (!finite(mean, 3) || !finite(q, 4) || !finite(scale, 3) || !isfinite(opacity)) return;
    const float *m = lens.viewmat;
    float3 seen = {
        m[0] * mean[0] + m[1] * mean[1] + m[2] * mean[2] + m[3],
        m[4] * mean[0] + m[5] * mean[1] + m[6] * mean[2] + m[7],
        m[8] * mean[0] + m[9] * mean[1] + m[10] * mean[2] + m[11],
    };
    if (!(seen.z > 0 && seen.z >= layer.near && seen.z <= layer.far)) return;

    float3 across, down;
    flatten(lens, seen, {q[0], q[1], q[2], q[3]}, {scale[0], scale[1], scale[2]}, across, down);
    float xx = across.x * across.x + across.y * across.y + across.z * across.z;
    float xy = across.x * down.x + across.y * down.y + across.z * down.z;
    float yy = down.x * down.x + down.y * down.y + down.z * down.z;
    // The determinant by Lagrange's identity, |u x v|^2: a difference of products would cancel for a long needle.
    float3 normal = {across.y * down.z - across.z * down.y, across.z * down.x - across.x * down.z,
                     across.x * down.y - across.y * down.x};
    float sharp = normal.x * normal.x + normal.y * normal.y + normal.z * normal.z;
    float determinant = sharp + layer.blur * (xx + yy) + layer.blur * layer.blur;
    xx += layer.blur, yy += layer.blur;
    if (!(xx + yy < LARGEST && xx + yy < HUGE_NUMBER * determinant)) return;  // the latter: the conic is finite
    if (layer.compensated) opacity *= sqrtf(sharp / determinant);
    if (!(opacity >= ALPHA_MIN)) return;

    float sigmas = fminf(MAX_SIGMAS, sqrtf(2 * logf(opacity / ALPHA_MIN)));
    float2 center = {lens.fx * seen.x / seen.z + lens.cx, lens.fy * seen.y / seen.z + lens.cy};
    float2 radius = {fminf(ceilf(sigmas * sqrtf(xx)), 1e9f), fminf(ceilf(sigmas * sqrtf(yy)), 1e9f)};
    if (!(center.x + radius.x > 0 && center.x - radius.x < lens.width && center.y + radius.y > 0 &&
          center.y - radius.y < lens.height)) return;

    const Real *sh = (const Real *)layer.sh + 3 * layer.bases * i;
    const float *features = layer.features + layer.channels * i;
    if (!finite(sh, 3 * layer.bases) || !finite(features, layer.channels)) return;
    float3 away = {mean[0] - lens.center[0], mean[1] - lens.center[1], mean[2] - lens.center[2]};
    float shorten = rsqrtf(away.x * away.x + away.y * away.y + away.z * away.z);
    float3 rgb = color(sh, layer.bases, away.x * shorten, away.y * shorten, away.z * shorten);

    float grow = sqrtf(2 * edge_exponent(opacity));
    out.means2d[row] = center;
    out.radii[row] = {(int)radius.x, (int)radius.y};
    out.reach[row] = {center.x, center.y, grow * sqrtf(xx) + SLACK_PIXELS, grow * sqrtf(yy) + SLACK_PIXELS};
    out.conics[row] = {yy / determinant, -xy / determinant, xx / determinant, opacity};
    out.colors[row] = {rgb.x, rgb.y, rgb.z, seen.z};
    float four[MAX_FEATURES] = {0, 0, 0, 0};
    for (int k = 0; k < layer.channels; ++k) four[k] = features[k];
    out.features[row] = {four[0], four[1], four[2], four[3]};
    int tiles = 0;
    for_each_tile(ellipse(out.reach[row], out.conics[row]), layer.expert, grid, [&](int) { ++tiles; });
    out.keys[row] = __float_as_uint(seen.z);  // positive floats sort as their bits do
    out.tiles[row] = tiles;
}

__global__ void project_kernel(const Lens *there, const __grid_constant__ LayerView layer, Splats out, Grid grid) {
    __shared__ Lens lens;
    if (threadIdx.x == 0) lens = *there;
    __syncthreads();
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= layer.count) return;
    int row = layer.first + i;
    out.means2d[row] = {0, 0};
    out.radii[row] = {0, 0};
    out.keys[row] = UNSEEN;
    out.tiles[row] = 0;
    out.experts[row] = layer.expert;
    if (layer.half_sh) project_one<__half>(lens, layer, out, grid, i, row);
    else project_one<float>(lens, layer, out, grid, i, row);
}

}  // namespace

void project(const Lens *lens, const LayerView &layer, const Splats &out, const Grid &grid, cudaStream_t stream) {
    if (layer.count) project_kernel<<<(layer.count + 127) / 128, 128, 0, stream>>>(lens, layer, out, grid);
}
