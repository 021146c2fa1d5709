"""Pairs of Gaussian and pixel, and of Gaussian and tile: counted one by one from the float64 definition."""

import math
from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
from scenes import blobs, draw, featured, tilted

from moegs.cameras import Camera
from moegs.gaussians import LowPass
from moegs.rasterize import ALPHA_MIN, TILE, Layer, rasterize, tile_grid
from moegs.rasterize.pairs import Pairs, count_pairs

CAMERA = tilted(150, 90)


def layer(seed: int, **options: object) -> Layer:
    """Long and short Gaussians of all opacities, most of them smaller than a tile."""
    made = blobs(60, seed)
    generator = torch.Generator().manual_seed(seed)
    scales = made.scales * torch.tensor([0.5, 0.1, 0.05])
    opacities = torch.rand(60, generator=generator) ** 3 + 0.004
    return Layer(replace(made, scales=scales, opacities=opacities.clamp_max(0.99)), **options)  # type: ignore[arg-type]


def defined(layer: Layer, camera: Camera, slack: float) -> tuple[int, int]:
    """Pixels whose alpha is at least ALPHA_MIN, and tiles that have one; alpha times 1 + `slack`."""
    rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
    pixels, tiles = 0, 0
    for splat in reference.footprints(layer, camera):
        dx, dy = columns - splat.center[0], rows - splat.center[1]
        (a, b), (_, c) = splat.precision
        alpha = splat.opacity * np.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy))
        reached = alpha * (1 + slack) >= ALPHA_MIN
        down, across = tile_grid(camera.width, camera.height)
        whole = np.zeros((down * TILE, across * TILE), bool)
        whole[: camera.height, : camera.width] = reached
        pixels += int(reached.sum())
        tiles += int(whole.reshape(down, TILE, across, TILE).any((1, 3)).sum())
    return pixels, tiles


def squares(layer: Layer, camera: Camera) -> tuple[int, int]:
    """Pixels and tiles of the square of 3 sigma of the longest axis, of what is drawn."""
    drawn = rasterize([layer], camera).radii[:, 0] > 0
    pixels, tiles = 0, 0
    for splat in np.array(reference.footprints(layer, camera), object)[drawn.numpy()]:
        radius = math.ceil(3 * math.sqrt(1 / np.linalg.eigvalsh(splat.precision)[0]))
        spans, counts = [], []
        for center, size in zip(splat.center, (camera.width, camera.height), strict=True):
            centers = np.arange(size) + 0.5
            spans.append(int((np.abs(centers - center) <= radius).sum()))
            corner = np.arange(0, size, TILE)  # a tile is listed where the square overlaps its pixels' whole numbers
            from_first, to_first = center - 0.5 + radius - corner, corner + TILE - (center - 0.5 - radius)
            counts.append(int(((from_first >= 1) & (to_first > 0)).sum()))
        pixels, tiles = pixels + spans[0] * spans[1], tiles + counts[0] * counts[1]
    return pixels, tiles


LOWPASSES = pytest.mark.parametrize("lowpass", [LowPass(0.3), LowPass(0.1, compensated=True)], ids=["plain", "other"])


@LOWPASSES
def test_pixels_are_those_that_alpha_reaches(lowpass: LowPass) -> None:
    made = layer(1, lowpass=lowpass)
    fewest, most = (defined(made, CAMERA, slack)[0] for slack in (-1e-4, 1e-4))  # float32 footprints
    assert fewest <= count_pairs([made], CAMERA).tight_pixels <= most
    assert most - fewest < 20


@LOWPASSES
def test_a_tile_lists_what_reaches_it_and_hardly_more(lowpass: LowPass) -> None:
    """What is kept for rounding, and what passes between pixel centres, is within a few of a hundred."""
    made = layer(2, lowpass=lowpass)
    needed = defined(made, CAMERA, 0.0)[1]
    listed = count_pairs([made], CAMERA).tight_tiles
    assert needed <= listed <= 1.04 * needed
    assert listed == int(rasterize([made], CAMERA).pairs)


@LOWPASSES
def test_squares_are_those_of_three_sigma_of_the_longest_axis(lowpass: LowPass) -> None:
    made = layer(3, lowpass=lowpass)
    pairs = count_pairs([made], CAMERA)
    pixels, tiles = squares(made, CAMERA)
    assert pairs.square_pixels == pytest.approx(pixels, rel=1e-3)  # a centre within rounding of the edge
    assert pairs.square_tiles == pytest.approx(tiles, rel=1e-3)
    assert pairs.tight_pixels < 0.5 * pairs.square_pixels


def test_layers_add_up_and_what_is_broken_or_unseen_counts_nothing() -> None:
    one, other = layer(4), layer(5, far=3.0)
    parts, both = [count_pairs([each], CAMERA) for each in (one, other)], count_pairs([one, other], CAMERA)
    assert vars(both) == {name: sum(getattr(part, name) for part in parts) for name in vars(both)}
    gaussians = one.gaussians
    lost = replace(gaussians, means=gaussians.means * torch.tensor([1.0, 1.0, float("nan")]))
    assert count_pairs([replace(one, gaussians=lost)], CAMERA) == Pairs(0, 0, 0, 0)


def test_pairs_are_counted_for_layers_of_any_device(backend: str) -> None:
    made = replace(featured(30, seed=6), background=torch.ones(3))
    on_device = replace(
        made, features=made.features.to(backend).requires_grad_(), background=torch.ones(3, device=backend)
    )  # type: ignore[union-attr]
    on_device = replace(
        on_device,
        gaussians=replace(
            made.gaussians,
            **{name: getattr(made.gaussians, name).to(backend) for name in ("means", "quats", "scales")},
            **{name: getattr(made.gaussians, name).to(backend) for name in ("opacities", "sh")},
        ),
    )
    assert count_pairs([on_device], CAMERA.to(backend)) == count_pairs([made], CAMERA)


def test_needles_keep_every_pixel_that_they_reach(backend: str) -> None:
    """Thin, long, turned: where an ellipse's lean and aspect lose the most digits."""
    made = layer(7, lowpass=LowPass(0.1))
    gaussians = replace(made.gaussians, scales=made.gaussians.scales * torch.tensor([20.0, 0.1, 0.1]))
    made, camera = replace(made, gaussians=gaussians), tilted(64, 48)
    picture = reference.render(made, camera)
    image = draw([made], camera, backend).images[0].double()
    assert float((image - torch.from_numpy(picture.image)).abs().max()) < 5e-4


def test_what_cannot_be_rendered_is_refused() -> None:
    with pytest.raises(ValueError, match="no layers given"):
        count_pairs([], CAMERA)
