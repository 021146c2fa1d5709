"""The CUDA backend's ids, batches, keys and offsets, and all it makes of them, on gsplat's own torch code."""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gsplat_torch
import pytest
import reference
import scenes
import torch
from backends import no_gpu
from scenes import FIELDS, PICTURES, blobs, pinhole, tilted
from torch.testing import assert_close

from moegs import rasterize as constants
from moegs.cameras import Camera
from moegs.gaussians import Gaussians, LowPass
from moegs.rasterize import TILE, Layer, RenderResult, rasterize, tile_grid
from moegs.rasterize.cuda import batches, compositing, draw, pictures, splats, steps
from moegs.rasterize.cuda import rasterize as rasterize_cuda

Drawing = Callable[[list[Layer], Camera], RenderResult]
CAMERA = tilted(40, 27)  # 3 x 2 tiles, the last of each cut
SHARP, SOFT = LowPass(0.1, compensated=True), LowPass()


def three_layers() -> list[Layer]:
    """Two low-passes, two SH degrees, own limits and backgrounds, five feature channels."""
    random = torch.Generator().manual_seed(9)
    features = [torch.randn(n, 5, generator=random) for n in (9, 7, 11)]
    return [
        Layer(
            blobs(9, 0, 0),
            features[0],
            SHARP,
            background=torch.tensor([0.1, 0.5, 0.9]),
            feature_background=torch.ones(5),
        ),
        Layer(blobs(7, 1, 1), features[1], SOFT, near=2.4),
        Layer(blobs(11, 2, 1), features[2], SHARP, far=3.9, background=torch.ones(3)),
    ]


def with_nothing(gaussians: Gaussians) -> Gaussians:
    return gaussians.select(torch.zeros(len(gaussians), dtype=torch.bool))


@pytest.fixture(params=["torch", pytest.param("cuda", marks=[pytest.mark.gpu, no_gpu])])
def drawn(request: pytest.FixtureRequest) -> Drawing:
    """The backend's way from layers to pictures: over gsplat's torch code, and its kernels where there is a GPU."""
    if request.param == "torch":
        return lambda layers, camera: draw(layers, camera, gsplat_torch.STEPS)
    return lambda layers, camera: scenes.draw(layers, camera, "cuda")


def test_numbering_tells_expert_and_row_as_gsplat_reads_them() -> None:
    experts, rows = batches.numbering([2, 3, 0, 1], [0, 2, 3], torch.device("cpu"))
    assert experts.tolist() == [0, 0, 3]
    assert rows.tolist() == [0, 1, 5]
    assert experts.dtype == rows.dtype == torch.int64


def test_layers_of_one_lowpass_are_projected_together() -> None:
    sharp, soft = batches.by_lowpass(three_layers(), CAMERA)
    assert (sharp.lowpass, soft.lowpass) == (SHARP, SOFT)
    assert sharp.experts.tolist() == [0] * 9 + [2] * 11
    assert sharp.rows.tolist() == [*range(9), *range(16, 27)]
    assert soft.rows.tolist() == [*range(9, 16)]


def test_fewer_harmonics_are_padded_with_zeros() -> None:
    sharp, _ = batches.by_lowpass(three_layers(), CAMERA)
    assert sharp.sh.shape == (20, 4, 3)
    assert not sharp.sh[:9, 1:].any()


@pytest.mark.parametrize("field", ["means", "quats", "scales", "opacities", "sh"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_gaussian_is_not_drawable(field: str, value: float) -> None:
    gaussians = blobs(4, 3)
    broken = getattr(gaussians, field).clone()
    broken[2].flatten()[-1:] = value
    layer = Layer(replace(gaussians, **{field: broken}), near=0.0)
    assert batches.drawable(layer, CAMERA).tolist() == [True, True, False, True]


def test_near_far_and_enormous_are_not_drawable() -> None:
    gaussians, camera = blobs(5, 3), pinhole(40, 27)
    means = torch.zeros(5, 3)
    means[:, 2] = torch.tensor([0.49, 0.5, 3.0, 3.01, 1.0])
    scales = gaussians.scales.clone()
    scales[4, 1] = 1e20
    layer = Layer(replace(gaussians, means=means, scales=scales), torch.zeros(5, 2), near=0.5, far=3.0)
    assert batches.drawable(layer, camera).tolist() == [False, True, True, False, False]
    assert batches.by_lowpass([layer], camera)[0].opacities.bool().tolist() == [False, True, True, False, False]


@pytest.mark.parametrize(("size", "grid"), [((1, 1), (1, 1)), ((16, 17), (2, 1)), ((40, 27), (2, 3))])
def test_tiles_cover_the_picture(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert tile_grid(*size) == grid


def test_what_gsplat_cannot_number_is_refused() -> None:
    compositing.check_numbers(8, 3840, 2160)
    compositing.check_numbers(1, 8192, 8192)
    with pytest.raises(ValueError, match="render fewer experts at once or a smaller picture"):
        compositing.check_numbers(70_000, 1, 1 << 19)  # 17 bits for the experts, 16 for the tiles
    with pytest.raises(ValueError, match="9 experts at 4096x4096"):
        compositing.check_numbers(9, 4096, 4096)  # more than 2^32 numbers in 32 channels


def test_each_list_holds_its_own_experts_splats_of_its_tile_by_depth() -> None:
    layers = three_layers()
    batched = batches.by_lowpass(layers, CAMERA)
    drawn = splats.merge([splats.project(batch, CAMERA, gsplat_torch.STEPS) for batch in batched])
    rows, columns = tile_grid(CAMERA.width, CAMERA.height)
    _, keys, order = gsplat_torch.intersect(
        drawn.means2d, drawn.radii, drawn.depths, TILE, columns, rows,
        packed=True, n_images=3, image_ids=drawn.experts, gaussian_ids=drawn.rows,
    )  # fmt: skip
    offsets = gsplat_torch.STEPS.encode(keys, 3, columns, rows)
    ends = [*offsets.flatten()[1:].tolist(), len(order)]
    low, high = (drawn.means2d - drawn.radii).tolist(), (drawn.means2d + drawn.radii).tolist()
    for place, (start, end) in enumerate(zip(offsets.flatten().tolist(), ends, strict=True)):
        expert, row, column = place // (rows * columns), place // columns % rows, place % columns
        left, top, side = column * TILE, row * TILE, TILE
        expected = [
            i
            for i in range(len(drawn.rows))
            if drawn.experts[i] == expert
            and (low[i][0] < left + side and high[i][0] > left and low[i][1] < top + side and high[i][1] > top)
        ]
        assert order[start:end].tolist() == sorted(expected, key=lambda i: float(drawn.depths[i]))
    assert len(order) > 50  # the scene does fill the lists


def test_pictures_are_what_the_definition_gives(drawn: Drawing) -> None:
    layers = three_layers()
    result = drawn(layers, CAMERA)
    for expert, layer in enumerate(layers):
        picture = reference.render(layer, CAMERA)
        for name, ours in (("image", result.images), ("features", result.features), ("alpha", result.alphas)):
            assert_close(ours[expert].double(), torch.tensor(getattr(picture, name)), atol=2e-5, rtol=0)  # float32 sums
        assert_close(result.depths[expert].double(), torch.tensor(picture.depth), atol=1e-4, rtol=0)


def test_a_zero_quaternion_turns_nothing(drawn: Drawing) -> None:
    gaussians = blobs(4, 33)
    gaussians.quats[2] = 0
    layer = Layer(gaussians)
    picture = torch.tensor(reference.render(layer, CAMERA).image)
    assert_close(drawn([layer], CAMERA).images[0].double(), picture, atol=2e-5, rtol=0)  # float32 sums


def gradients(result: RenderResult, layers: list[Layer]) -> list[torch.Tensor]:
    """Of a sum that weighs every number of the pictures differently, with respect to all that the layers hold."""
    random = torch.Generator().manual_seed(5)
    pictures = [result.images, result.features, result.alphas, result.depths]
    total = sum((picture * torch.randn(picture.shape, generator=random)).sum() for picture in pictures)
    return list(torch.autograd.grad(total, tensors(layers)))


def tensors(layers: list[Layer]) -> list[torch.Tensor]:
    """All that has a gradient, layer by layer."""
    found = [t for layer in layers for t in (*(getattr(layer.gaussians, n) for n in FIELDS), layer.features)]
    return [t for t in found if t is not None]


def test_gradients_are_those_of_the_cpu_backend(drawn: Drawing) -> None:
    layers = three_layers()
    for tensor in tensors(layers):
        tensor.requires_grad_()
    ours = gradients(drawn(layers, CAMERA), layers)
    theirs = gradients(rasterize(layers, CAMERA, backend="cpu"), layers)
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))  # two float32 chains
    assert all(gradient.any() for gradient in ours)


def test_one_pass_is_as_many_passes(drawn: Drawing) -> None:
    layers = three_layers()
    together, alone = drawn(layers, CAMERA), [drawn([layer], CAMERA) for layer in layers]
    for name in PICTURES:
        assert_close(getattr(together, name), torch.cat([getattr(one, name) for one in alone]), rtol=0, atol=1e-5)


def test_equal_depths_are_drawn_in_the_order_of_the_rows(drawn: Drawing) -> None:
    flat = blobs(6, 4, 0)
    flat.means[:, 2] = 2.0  # one depth for `pinhole`, which looks along z
    pair = [Layer(blobs(3, 5, 0), lowpass=SOFT), Layer(flat, lowpass=SHARP), Layer(blobs(3, 6, 0), lowpass=SOFT)]
    camera = pinhole(40, 27)
    # Not to the bit: on a CPU torch rounds the last rows of an array differently.
    assert_close(drawn(pair, camera).images[1], drawn(pair[1:2], camera).images[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("which", ["all empty", "one empty", "all behind", "all beside", "one pixel"])
def test_little_or_nothing_to_draw(which: str, drawn: Drawing) -> None:
    """Pictures as defined; where nothing is drawn, gradients of zero all the way."""
    layers, camera = three_layers(), pinhole(1, 1) if which == "one pixel" else CAMERA
    for number, layer in enumerate(layers):
        gaussians, features = layer.gaussians, layer.features
        if which == "all empty" or (which == "one empty" and number == 1):
            gaussians, features = with_nothing(gaussians), features[:0]
        shift = {"all behind": (0.0, 0.0, -9.0), "all beside": (99.0, 0.0, 0.0)}.get(which, (0.0, 0.0, 0.0))
        gaussians = replace(gaussians, means=gaussians.means + torch.tensor(shift))
        layers[number] = replace(layer, gaussians=gaussians, features=features)
    for tensor in tensors(layers):
        tensor.requires_grad_()
    result = drawn(layers, camera)
    result.means2d.retain_grad()
    (result.images.sum() + result.depths.sum() + result.alphas.sum() + result.features.sum()).backward()
    assert result.means2d.grad is not None
    assert result.images.shape == (3, camera.height, camera.width, 3)
    for image, layer in zip(result.images, layers, strict=True):
        assert_close(image.detach().double(), torch.tensor(reference.render(layer, camera).image), atol=2e-5, rtol=0)
    if which.startswith("all"):
        assert not len(result.rows)
        assert not result.depths.any()
        assert all(tensor.grad is None or not tensor.grad.any() for tensor in tensors(layers))


@pytest.mark.parametrize("extra", [0, 28, 29, 70])
def test_any_number_of_channels(extra: int, drawn: Drawing) -> None:
    features = torch.randn(9, extra, generator=torch.Generator().manual_seed(1))
    layer = Layer(blobs(9, 0), features)
    assert_close(
        drawn([layer], CAMERA).features[0].double(),
        torch.tensor(reference.render(layer, CAMERA).features),
        atol=2e-5,
        rtol=0,
    )


def test_tensors_off_the_gpu_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"means is torch\.float32 on cpu; the CUDA backend takes torch\.float32 on cuda"
    ):
        rasterize_cuda([Layer(blobs(2, 0))], CAMERA, None)


@pytest.mark.parametrize(
    ("backend", "reason"),
    [(None, "import of gsplat.cuda._backend halted"), (SimpleNamespace(_C=None), "no CUDA toolkit found")],
    ids=["not compiled", "no compiler"],
)
def test_without_its_extension_it_says_what_to_do(
    backend: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", backend)
    monkeypatch.delattr("gsplat.cuda._backend", raising=False)
    if backend is not None:
        monkeypatch.setattr("gsplat.cuda._backend", backend, raising=False)
    steps._load.cache_clear()
    try:
        with pytest.raises(ValueError, match=f"{reason}.*install the CUDA .* or use --device cpu"):
            steps.kernels()
    finally:
        steps._load.cache_clear()


def test_our_kernels_have_the_constants_of_the_picture() -> None:
    source = (Path(pictures.__file__).parent / "native" / "frame.h").read_text()
    found = {
        name: math.prod(float(part) for part in [top, *([1 / float(bottom)] if bottom else [])])
        for name, top, bottom in re.findall(r"constexpr \w+ (\w+) = ([\d.e-]+)f?(?: / ([\d.]+)f)?;", source)
    }
    ours = {name: getattr(constants, name, None) or getattr(pictures, name) for name in found}
    assert found == pytest.approx(ours)
    assert len(found) == 8
