"""The rasterizers' gradients against slopes of the float64 definition."""

from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
from scenes import FIELDS, PICTURES, blobs, draw, featured, learnable, pinhole, scalar, tilted
from torch import Tensor
from torch.testing import assert_close

from moegs.cameras import Camera
from moegs.gaussians import LowPass
from moegs.rasterize import Layer


def scalar_of_reference(layer: Layer, camera: Camera) -> float:
    return scalar_of(reference.render(layer, camera))


def scalar_of(picture: reference.Picture) -> float:
    arrays = (picture.image, picture.features, picture.alpha, picture.depth)
    return float(scalar([torch.from_numpy(array)[None] for array in arrays]))


def slope_of_reference(layer: Layer, field: str, camera: Camera) -> Tensor:
    """Central differences of the definition along every entry of one field."""
    values = (layer.features if field == "features" else getattr(layer.gaussians, field)).double()
    slope = torch.zeros_like(values)
    step = 1e-6
    for index in np.ndindex(*values.shape):
        sides = []
        for sign in (-1, 1):
            moved = values.clone()
            moved[index] += sign * step
            if field == "features":
                sides.append(scalar_of_reference(replace(layer, features=moved), camera))
            else:
                sides.append(
                    scalar_of_reference(replace(layer, gaussians=replace(layer.gaussians, **{field: moved})), camera)
                )
        slope[index] = (sides[1] - sides[0]) / (2 * step)
    return slope


def assert_gradient(gradient: Tensor | None, slope: Tensor) -> None:
    """rtol: float32 backward; atol: what cancels in the sums over pixels, of the largest entry."""
    assert gradient is not None
    assert_close(gradient.cpu().double(), slope, rtol=1e-3, atol=1e-4 * float(slope.abs().max()))


@pytest.mark.parametrize("field", [*FIELDS, "features"])
@pytest.mark.parametrize("lowpass", [LowPass(0.3), LowPass(0.5, compensated=True)], ids=["plain", "compensated"])
def test_gradient_is_the_slope(backend: str, field: str, lowpass: LowPass) -> None:
    """On a scene clear of every cut-off: half-transparent blobs, none of which a step moves across a threshold."""
    layer, camera = featured(4, seed=11, lowpass=lowpass), tilted(12, 8)
    leaves = learnable(layer.gaussians)
    features = layer.features.clone().requires_grad_()  # type: ignore[union-attr]
    result = draw([replace(layer, gaussians=leaves, features=features)], camera, backend)
    scalar([getattr(result, name) for name in PICTURES]).backward()
    leaf = features if field == "features" else getattr(leaves, field)
    assert_gradient(leaf.grad, slope_of_reference(layer, field, camera))


def test_gradient_outside_the_picture_is_the_slope(backend: str) -> None:
    """Beyond the edge's margin the Jacobian stands still while the centre moves on."""
    gaussians = blobs(2, seed=12, degree=0)
    means = torch.tensor([[2.4, 0.1, 2.0], [-0.2, -2.1, 2.2]])
    layer, camera = Layer(replace(gaussians, means=means, scales=torch.full((2, 3), 1.2))), pinhole(12, 8)
    leaves = learnable(layer.gaussians)
    result = draw([replace(layer, gaussians=leaves)], camera, backend)
    scalar([getattr(result, name) for name in PICTURES]).backward()
    assert_gradient(leaves.means.grad, slope_of_reference(layer, "means", camera))


def test_gradient_of_projected_centres_is_the_slope(backend: str) -> None:
    layer, camera = featured(4, seed=13), tilted(12, 8)
    result = draw([replace(layer, gaussians=learnable(layer.gaussians))], camera, backend)
    result.means2d.retain_grad()
    scalar([getattr(result, name) for name in PICTURES]).backward()
    splats = reference.footprints(layer, camera)
    step = 1e-6
    slope = torch.zeros(len(splats), 2, dtype=torch.float64)
    for i, k in np.ndindex(len(splats), 2):
        sides = []
        for sign in (-1, 1):
            center = splats[i].center + sign * step * np.eye(2)[k]
            moved = [*splats[:i], replace(splats[i], center=center), *splats[i + 1 :]]
            sides.append(scalar_of(reference.blend(moved, layer, camera)))
        slope[i, k] = (sides[1] - sides[0]) / (2 * step)
    assert result.rows.cpu().tolist() == list(range(4))
    assert_close(
        result.means2d.detach().cpu().double(), torch.tensor(np.stack([s.center for s in splats])), rtol=1e-5, atol=1e-5
    )
    assert_gradient(result.means2d.grad, slope)


@pytest.mark.parametrize("learns", ["features", "sh"])
def test_one_learning_field_gets_the_same_gradient_as_among_others(backend: str, learns: str) -> None:
    """A router learns features of frozen Gaussians: what is not asked for is not computed, the rest is the same."""
    gradients = []
    for frozen in (False, True):
        layer, camera = featured(9, seed=38), tilted(20, 12)
        leaves = learnable(layer.gaussians)
        features = layer.features.clone().requires_grad_()  # type: ignore[union-attr]
        leaf = features if learns == "features" else leaves.sh
        if frozen:
            for other in (features, *(getattr(leaves, field) for field in FIELDS)):
                other.requires_grad_(other is leaf)
        result = draw([replace(layer, gaussians=leaves, features=features)], camera, backend)
        scalar([getattr(result, name) for name in PICTURES]).backward()
        gradients.append(leaf.grad)
    assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)
