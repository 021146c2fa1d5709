// The kernels as Python sees them: torch's tensors in and out, on torch's current stream.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/extension.h>

#include <algorithm>
#include <limits>

#include "frame.h"

namespace {

using torch::Tensor;

const float *floats(const Tensor &tensor) { return tensor.data_ptr<float>(); }

// The camera in the GPU's memory.
struct LensTensor {
    Tensor bytes;
    int width, height;

    const Lens *there() const { return reinterpret_cast<const Lens *>(bytes.data_ptr<uint8_t>()); }
};

// From a camera on the host, which is waited for by nobody, or on the GPU.
LensTensor lens_of(const Tensor &viewmat, const Tensor &K, int width, int height, const torch::Device &device) {
    Tensor pose = viewmat.to(torch::kFloat).contiguous(), intrinsics = K.to(torch::kFloat).contiguous();
    c10::cuda::CUDAGuard guard(pose.is_cuda() ? pose.device() : device);
    cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
    const float *m = floats(pose), *k = floats(intrinsics);
    auto bytes = torch::TensorOptions().dtype(torch::kByte).device(pose.is_cuda() ? pose.device() : device);
    LensTensor made = {torch::empty({(int64_t)sizeof(Lens)}, bytes), width, height};
    Lens *there = reinterpret_cast<Lens *>(made.bytes.data_ptr<uint8_t>());
    if (pose.is_cuda()) {
        make_lens(m, k, width, height, there, stream);
        return made;
    }
    Lens lens;
    for (int i = 0; i < 12; ++i) lens.viewmat[i] = m[i];
    for (int axis = 0; axis < 3; ++axis) {
        double sum = 0;
        for (int row = 0; row < 3; ++row) sum += (double)m[4 * row + axis] * m[4 * row + 3];
        lens.center[axis] = -(float)sum;
    }
    lens.fx = k[0], lens.fy = k[4], lens.cx = k[2], lens.cy = k[5];
    lens.width = width, lens.height = height;
    put_lens(lens, there, stream);
    return made;
}

struct SplatTensors {
    Tensor means2d, radii, reach, conics, colors, features, keys, tiles, experts;

    SplatTensors(int64_t count, const torch::TensorOptions &real) {
        auto whole = real.dtype(torch::kInt);
        means2d = torch::empty({count, 2}, real), radii = torch::empty({count, 2}, whole);
        reach = torch::empty({count, 4}, real), conics = torch::empty({count, 4}, real);
        colors = torch::empty({count, 4}, real), features = torch::empty({count, 4}, real);
        keys = torch::empty({count}, whole), tiles = torch::empty({count}, whole), experts = torch::empty({count}, whole);
    }

    Splats view() {
        auto four = [](Tensor &tensor) { return reinterpret_cast<float4 *>(tensor.data_ptr<float>()); };
        return {reinterpret_cast<float2 *>(means2d.data_ptr<float>()), reinterpret_cast<int2 *>(radii.data_ptr<int>()),
                four(reach), four(conics), four(colors), four(features),
                reinterpret_cast<uint32_t *>(keys.data_ptr<int>()), tiles.data_ptr<int>(), experts.data_ptr<int>()};
    }
};

struct Layer {
    Tensor means, quats, scales, opacities, sh, features;
    double blur, near, far;
    bool compensated;

    Layer(const Tensor &means, const Tensor &quats, const Tensor &scales, const Tensor &opacities, const Tensor &sh,
          const Tensor &features, double blur, double near, double far, bool compensated)
        : means(means.contiguous()), quats(quats.contiguous()), scales(scales.contiguous()),
          opacities(opacities.contiguous()), sh(sh.contiguous()), features(features.contiguous()), blur(blur), near(near),
          far(far), compensated(compensated) {}
};

// All that is known before anything is blended: the splats of all layers, and each tile's list of them.
struct Prepared {
    SplatTensors splats;
    Tensor rows, starts;
    Tensor needed;  // how many pairs there are
    Grid grid;
    int width, height, channels;

    Lists lists() const { return {starts.data_ptr<int>(), rows.data_ptr<int>()}; }
};

// With `room` for so many pairs, the host waits for nothing; else for their number.
void list_pairs(Prepared &prepared, int count, const c10::optional<int64_t> &room, const torch::TensorOptions &whole, cudaStream_t stream) {
    Splats splats = prepared.splats.view();
    const Grid &grid = prepared.grid;
    auto bits = [](Tensor &tensor) { return reinterpret_cast<uint32_t *>(tensor.data_ptr<int>()); };
    Tensor keys = torch::empty({count}, whole), unordered = torch::empty_like(keys), order = torch::empty_like(keys);
    Tensor ends = torch::empty_like(keys);
    size_t bytes = scratch_bytes(count, 0);
    Tensor scratch = torch::empty({(int64_t)bytes}, whole.dtype(torch::kByte));
    order_by_depth(splats, count, bits(keys), unordered.data_ptr<int>(), order.data_ptr<int>(), ends.data_ptr<int>(),
                   scratch.data_ptr(), bytes, stream);
    prepared.needed = count ? ends.slice(0, count - 1) : torch::zeros({1}, whole);
    int pairs = room ? *room : count ? prepared.needed.item<int>() : 0;
    TORCH_CHECK_VALUE(pairs >= 0, "rasterize: more than 2^31 pairs of Gaussians and tiles; render a smaller picture");

    int64_t all = (int64_t)grid.experts * grid.rows * grid.columns;
    Tensor tiles = room ? torch::full({pairs}, all, whole) : torch::empty({pairs}, whole);
    Tensor sorted = torch::empty_like(tiles), unsorted_rows = torch::empty_like(tiles);
    prepared.rows = torch::empty_like(tiles), prepared.starts = torch::empty({all + 1}, whole);
    bytes = scratch_bytes(count, pairs);
    scratch = torch::empty({(int64_t)bytes}, whole.dtype(torch::kByte));
    list_by_tile(splats, grid, count, order.data_ptr<int>(), ends.data_ptr<int>(), pairs, bits(tiles), bits(sorted),
                 unsorted_rows.data_ptr<int>(), prepared.rows.data_ptr<int>(), prepared.starts.data_ptr<int>(),
                 scratch.data_ptr(), bytes, stream);
}

Prepared prepare_layers(const std::vector<Layer> &layers, const LensTensor &lens, const c10::optional<int64_t> &room) {
    c10::cuda::CUDAGuard guard(layers[0].means.device());
    cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
    auto real = layers[0].means.options().requires_grad(false);
    int64_t count = 0;
    for (const Layer &layer : layers) count += layer.means.size(0);
    Grid grid = {(int)layers.size(), (lens.width + TILE - 1) / TILE, (lens.height + TILE - 1) / TILE};
    Prepared prepared = {SplatTensors(count, real), {}, {}, {}, grid, lens.width, lens.height, (int)layers[0].features.size(1)};
    int first = 0;
    for (int e = 0; e < grid.experts; ++e) {
        const Layer &layer = layers[e];
        LayerView view = {floats(layer.means), floats(layer.quats), floats(layer.scales), floats(layer.opacities),
                          floats(layer.features), layer.sh.data_ptr(), layer.sh.scalar_type() == torch::kHalf, (int)layer.means.size(0), (int)layer.sh.size(1),
                          prepared.channels, e, first, (float)layer.blur, (float)layer.near, (float)layer.far, layer.compensated};
        project(lens.there(), view, prepared.splats.view(), grid, stream);
        first += view.count;
    }
    list_pairs(prepared, count, room, real.dtype(torch::kInt), stream);
    return prepared;
}

Tensor sample_features(Prepared &prepared, const Tensor &backgrounds) {
    c10::cuda::CUDAGuard guard(backgrounds.device());
    const Grid &grid = prepared.grid;
    int64_t side = TILE / SAMPLE;
    Tensor features = torch::empty({grid.experts, grid.rows * side, grid.columns * side, prepared.channels}, backgrounds.options());
    sample(prepared.splats.view(), grid, prepared.lists(), floats(backgrounds), prepared.channels, features.data_ptr<float>(), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_CHECK(cudaGetLastError());
    return features;
}

// Images, features, alphas, depths, and how many pairs were composited.
std::vector<Tensor> composite_pictures(Prepared &prepared, const Tensor &backgrounds, const Tensor &feature_backgrounds, const c10::optional<Tensor> &live) {
    c10::cuda::CUDAGuard guard(backgrounds.device());
    auto picture = [&](int64_t depth) { return torch::empty({prepared.grid.experts, prepared.height, prepared.width, depth}, backgrounds.options()); };
    Tensor images = picture(3), features = picture(prepared.channels), alphas = picture(1), depths = picture(1);
    Tensor pairs = torch::zeros({}, backgrounds.options().dtype(torch::kLong));
    Pictures pictures = {images.data_ptr<float>(), features.data_ptr<float>(), alphas.data_ptr<float>(), depths.data_ptr<float>(),
                         floats(backgrounds), floats(feature_backgrounds), prepared.width, prepared.height, prepared.channels,
                         live ? live->data_ptr<bool>() : nullptr, reinterpret_cast<unsigned long long *>(pairs.data_ptr<int64_t>())};
    composite(prepared.splats.view(), prepared.grid, prepared.lists(), pictures, c10::cuda::getCurrentCUDAStream());
    C10_CUDA_CHECK(cudaGetLastError());
    return {images, features, alphas, depths, pairs};
}

// Which tiles of each expert are drawn, after a first look at all of them.
Tensor decide_tiles(const Tensor &logits, const c10::optional<Tensor> &active, double temperature, double skip_below, bool renormalize, bool reroute) {
    c10::cuda::CUDAGuard guard(logits.device());
    int64_t side = TILE / SAMPLE, experts = logits.size(0), rows = logits.size(1) / side, columns = logits.size(2) / side;
    Tensor live = torch::empty({experts, rows, columns}, logits.options().dtype(torch::kBool));
    Tensor scratch = torch::empty({experts, rows, columns}, logits.options());
    float warmth = std::max((float)temperature, std::numeric_limits<float>::min());  // 0 would divide 0 by 0
    decide({floats(logits), {(int)experts, (int)columns, (int)rows}, warmth, (float)skip_below,
            active ? active->data_ptr<bool>() : nullptr, renormalize && active, reroute && active, live.data_ptr<bool>()},
           scratch.data_ptr<float>(), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_CHECK(cudaGetLastError());
    return live;
}

// The mixture's picture, alpha and depth.
std::vector<Tensor> blend_pictures(const Tensor &gates, const Tensor &images, const Tensor &alphas, const Tensor &depths) {
    c10::cuda::CUDAGuard guard(gates.device());
    Tensor picture = torch::empty_like(images[0]), alpha = torch::empty_like(alphas[0]), depth = torch::empty_like(alphas[0]);
    blend({floats(gates), floats(images), floats(alphas), floats(depths), picture.data_ptr<float>(), alpha.data_ptr<float>(),
           depth.data_ptr<float>(), (int)gates.size(0), (int)(gates.size(1) * gates.size(2))}, c10::cuda::getCurrentCUDAStream());
    C10_CUDA_CHECK(cudaGetLastError());
    return {picture, alpha, depth};
}

Tensor logits(const Tensor &features, const LensTensor &lens, const Tensor &first, const Tensor &second, const Tensor &third) {
    c10::cuda::CUDAGuard guard(features.device());
    Tensor out = torch::empty({features.size(0), lens.height, lens.width}, features.options());
    route(floats(features), lens.there(), {floats(first), floats(second), floats(third)}, features.size(0), lens.width * lens.height, out.data_ptr<float>(), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_CHECK(cudaGetLastError());
    return out;
}

Tensor to_bytes(const Tensor &colors) {
    c10::cuda::CUDAGuard guard(colors.device());
    Tensor bytes = torch::empty(colors.sizes(), colors.options().dtype(torch::kByte));
    quantize(floats(colors), colors.numel(), bytes.data_ptr<uint8_t>(), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_CHECK(cudaGetLastError());
    return bytes;
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
    pybind11::class_<LensTensor>(m, "Lens").def(pybind11::init(&lens_of));
    pybind11::class_<Layer>(m, "Layer").def(pybind11::init<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, double, double, double, bool>());
    pybind11::class_<Prepared>(m, "Prepared")
        .def_property_readonly("means2d", [](const Prepared &prepared) { return prepared.splats.means2d; })
        .def_property_readonly("needed", [](const Prepared &prepared) { return prepared.needed; })
        .def_property_readonly("radii", [](const Prepared &prepared) { return prepared.splats.radii; })
        .def("sample", &sample_features)
        .def("composite", &composite_pictures);
    m.def("prepare", &prepare_layers);
    m.def("logits", &logits);
    m.def("decide", &decide_tiles);
    m.def("blend", &blend_pictures);
    m.def("quantize", &to_bytes);
}
