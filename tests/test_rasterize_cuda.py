"""The CUDA backend on a GPU, at sizes where tiles hold more splats than a launch has threads."""

import warnings
from dataclasses import replace

import pytest
import torch
from backends import no_gpu
from scenes import FIELDS, PICTURES, blobs, draw, learnable, tilted
from torch import Tensor
from torch.testing import assert_close

from moegs.gaussians import Gaussians, LowPass
from moegs.rasterize import Layer, RenderResult, rasterize

pytestmark = [pytest.mark.gpu, no_gpu]
CAMERA = tilted(203, 149)


def crowd(experts: int = 4, count: int = 3000) -> list[Layer]:
    """Experts of two low-passes, with Gaussians small enough that thousands are seen."""
    random = torch.Generator().manual_seed(3)
    layers = []
    for seed in range(experts):
        gaussians = blobs(count, seed, degree=seed % 4)
        lowpass = LowPass(0.1, compensated=True) if seed % 2 else LowPass()
        features = torch.randn(count, 3, generator=random)
        layers.append(Layer(learnable(replace(gaussians, scales=gaussians.scales / 4)), features, lowpass))
    return layers


def on_gpu(layers: list[Layer]) -> list[Layer]:
    def moved(gaussians: Gaussians) -> Gaussians:
        return replace(gaussians, **{name: getattr(gaussians, name).cuda() for name in FIELDS})

    return [
        replace(
            layer, gaussians=moved(layer.gaussians), features=None if layer.features is None else layer.features.cuda()
        )
        for layer in layers
    ]


def loss(result: RenderResult) -> Tensor:
    """A sum that weighs every number of the pictures differently."""
    random = torch.Generator().manual_seed(5)
    pictures = [getattr(result, name) for name in PICTURES]
    return sum((torch.randn(p.shape, generator=random).to(p.device) * p).sum() for p in pictures)  # type: ignore[return-value]


def gradients(layers: list[Layer], result: RenderResult) -> list[Tensor]:
    return list(torch.autograd.grad(loss(result), [getattr(layer.gaussians, n) for layer in layers for n in FIELDS]))


def test_pictures_and_gradients_are_those_of_the_cpu_backend() -> None:
    layers = crowd()
    ours, theirs = draw(layers, CAMERA, "cuda"), draw(layers, CAMERA, "cpu")
    for name in PICTURES:
        one, other = getattr(ours, name).detach(), getattr(theirs, name).detach()
        if name == "depths":  # where a faint Gaussian is drawn by one backend alone, depth itself jumps
            one, other = one * ours.alphas.detach(), other * theirs.alphas.detach()
        # Where an alpha is about 1/255, one backend may draw it and the other not.
        assert float((one - other).abs().max()) < 3 / 255 * float(other.abs().max())
        assert float((one - other).abs().mean()) < 2e-5 * float(other.abs().max())
    for one, other in zip(gradients(layers, ours), gradients(layers, theirs), strict=True):
        assert float((one - other).norm()) < 1e-2 * float(other.norm())  # likewise


def test_projected_centres_have_their_gradients() -> None:
    layers = crowd()
    ours, theirs = draw(layers, CAMERA, "cuda"), draw(layers, CAMERA, "cpu")
    for result in (ours, theirs):
        result.means2d.retain_grad()
        loss(result).backward()
    rows = ours.rows.cpu()
    assert ours.means2d.grad is not None
    assert theirs.means2d.grad is not None
    difference = ours.means2d.grad.cpu() - theirs.means2d.grad[rows]
    assert float(difference.norm()) < 1e-2 * float(theirs.means2d.grad.norm())  # alphas about 1/255, as above
    assert (ours.radii > 0).all()
    assert len(rows.unique()) == len(rows)


def test_one_pass_is_as_many_passes_to_the_bit() -> None:
    layers = crowd()
    together, alone = draw(layers, CAMERA, "cuda"), [draw([layer], CAMERA, "cuda") for layer in layers]
    for name in PICTURES:
        assert torch.equal(getattr(together, name), torch.cat([getattr(one, name) for one in alone]))


def test_a_single_expert_is_what_gsplat_itself_renders() -> None:
    from gsplat import rasterization

    layer = on_gpu(crowd(1))[0]
    g, camera = layer.gaussians, CAMERA.to("cuda")
    pictures, alphas, _ = rasterization(
        g.means, g.quats, g.scales, g.opacities, g.sh, camera.viewmat[None], camera.K[None],
        camera.width, camera.height, sh_degree=0, packed=False, render_mode="RGB+ED",
    )  # fmt: skip
    result = rasterize([layer], CAMERA.to("cuda"))
    assert_close(result.images, pictures[..., :3], atol=1e-6, rtol=1e-5)  # the same kernels, colours computed elsewhere
    assert_close(result.alphas, alphas, atol=1e-6, rtol=0)
    assert_close(result.depths, pictures[..., 3:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e20])
def test_broken_and_enormous_gaussians_harm_no_gradient(field: str, value: float) -> None:
    layers = crowd(2, 50)
    gaussians = layers[1].gaussians
    with torch.no_grad():
        getattr(gaussians, field)[7].flatten()[0:1] = value
    result = draw(layers, CAMERA, "cuda")
    found = gradients(layers, result)
    if value != 1e20:
        without = replace(
            layers[1], gaussians=gaussians.select(torch.arange(50) != 7), features=layers[1].features[:-1]
        )
        assert torch.equal(result.images[1], draw([without], CAMERA, "cuda").images[0])
    if field not in ("opacities", "sh") or value != 1e20:  # these two are drawn, at whatever they say
        assert all(gradient.isfinite().all() for gradient in found)


def test_the_host_waits_for_gsplats_counts_only() -> None:
    layers, camera = on_gpu(crowd(3, 100)), CAMERA.to("cuda")
    layers = [replace(layer, gaussians=learnable(layer.gaussians)) for layer in layers]
    rasterize(layers, camera)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            result = rasterize(layers, camera)
            (result.images.sum() + result.depths.sum()).backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [message for message in told if "called a synchronizing CUDA operation" in str(message.message)]
    assert len(waits) == 2  # how many splats each of two projections keeps; the wait for the tiles' count is not told


def test_other_number_types_are_refused() -> None:
    gaussians = blobs(2, seed=1)
    layer = on_gpu([Layer(replace(gaussians, scales=gaussians.scales.double()))])
    with pytest.raises(ValueError, match=r"scales is torch\.float64 on cuda:0; the CUDA backend takes torch\.float32"):
        rasterize(layer, CAMERA.to("cuda"))
