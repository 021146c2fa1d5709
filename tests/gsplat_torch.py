"""gsplat's steps on a CPU: its own torch versions, which know no packed form, behind the signatures of its kernels.

gsplat has no compositing without a GPU; that one is the definition in plain torch, differentiable, a tile at a time.
"""

import torch
from gsplat.cuda import _torch_impl as gsplat
from torch import Tensor

from moegs.rasterize import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from moegs.rasterize.cuda.steps import Steps


def project(
    means, covars, quats, scales, viewmats, Ks, width, height,
    *, eps2d, near_plane, far_plane, packed, calc_compensations, opacities,
):  # fmt: skip
    """`fully_fused_projection` of one camera: what is too faint or outside of the picture is left out."""
    assert packed
    assert covars is None
    seen = torch.nonzero(opacities >= ALPHA_MIN)[:, 0]
    covars, _ = gsplat._quat_scale_to_covar_preci(quats[seen], scales[seen], True, False)
    radii, means2d, depths, conics, compensations = gsplat._fully_fused_projection(
        means[seen], covars, viewmats, Ks, width, height, eps2d, near_plane, far_plane, calc_compensations
    )
    inside = torch.nonzero((radii[0] > 0).all(1))[:, 0]
    camera_ids = torch.zeros_like(inside)
    return (
        camera_ids, camera_ids, seen[inside], radii[0, inside], means2d[0, inside], depths[0, inside],
        conics[0, inside], None if compensations is None else compensations[0, inside],
    )  # fmt: skip


def intersect(means2d, radii, depths, tile, columns, rows, *, packed, n_images, image_ids, gaussian_ids):
    """`isect_tiles`: each picture is offered all splats, those of others with radius 0; equal keys keep their order."""
    assert packed
    for ids in (image_ids, gaussian_ids):
        assert ids.dtype == torch.int64
        assert ids.is_contiguous()
    own = (image_ids == torch.arange(n_images)[:, None])[..., None]
    centers, depths = means2d.detach().expand(n_images, -1, -1), depths.detach().expand(n_images, -1)
    counts, keys, order = gsplat._isect_tiles(centers, radii * own, depths, tile, columns, rows, sort=False)
    keys, places = torch.sort(keys, stable=True)
    return counts.sum(0), keys, order[places] % max(len(means2d), 1)


def composite(means2d, conics, channels, opacities, width, height, tile, offsets, order, *, packed) -> tuple:
    """`rasterize_to_pixels`: per picture and tile, its splats blended in the order of the list."""
    assert packed
    experts, rows, columns = offsets.shape
    ends = torch.cat([offsets.flatten()[1:], offsets.new_tensor([len(order)])])
    blended = means2d.new_zeros(experts, rows * tile, columns * tile, channels.shape[1])
    alphas = means2d.new_zeros(experts, rows * tile, columns * tile, 1)
    for place, (start, end) in enumerate(zip(offsets.flatten().tolist(), ends.tolist(), strict=True)):
        expert, row, column = place // (rows * columns), place // columns % rows, place % columns
        window = (expert, slice(row * tile, (row + 1) * tile), slice(column * tile, (column + 1) * tile))
        splats = order[start:end].long()
        weights = _weights(means2d[splats], conics[splats], opacities[splats], row * tile, column * tile, tile)
        blended[window] = (weights @ channels[splats]).view(tile, tile, -1)
        alphas[window] = weights.sum(1).view(tile, tile, 1)
    return blended[:, :height, :width], alphas[:, :height, :width]


def _weights(means2d: Tensor, conics: Tensor, opacities: Tensor, top: int, left: int, tile: int) -> Tensor:
    """Alpha times transmittance of each splat, front to back, in each pixel of a tile."""
    y, x = torch.meshgrid(torch.arange(tile) + top + 0.5, torch.arange(tile) + left + 0.5, indexing="ij")
    dx, dy = (means2d[:, k] - axis.reshape(-1, 1) for k, axis in enumerate((x, y)))
    exponents = (conics[:, 0] * dx**2 + conics[:, 2] * dy**2) / 2 + conics[:, 1] * dx * dy
    alphas = (opacities * torch.exp(-exponents)).clamp_max(ALPHA_MAX)
    alphas = alphas.where((exponents >= 0) & (alphas >= ALPHA_MIN), 0)
    after = torch.cumprod(1 - alphas, dim=1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)[:, : after.shape[1]]
    return alphas * before * (after > TRANSMITTANCE_MIN)


STEPS = Steps(project, intersect, gsplat._isect_offset_encode, composite)
