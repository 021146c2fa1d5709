"""Gaussians as they appear in the picture."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor
from torch.nn.functional import normalize

from moegs import harmonics
from moegs.cameras import Camera
from moegs.rasterize.cuda.batches import Batch
from moegs.rasterize.cuda.steps import Steps


@dataclass(frozen=True)
class Splats:
    """The M Gaussians that reach the picture, of any number of experts: gsplat's packed form."""

    means2d: Float[Tensor, "M 2"]
    """Centres, pixels."""
    radii: Int32[Tensor, "M 2"]
    """Extent along the image axes, pixels."""
    depths: Float[Tensor, " M"]
    """Camera-space z, world units."""
    conics: Float[Tensor, "M 3"]
    """xx, xy, yy of the inverse 2D covariance, px^-2."""
    opacities: Float[Tensor, " M"]
    """Compensated where the low-pass says so."""
    channels: Float[Tensor, "M D"]
    """What is blended: colour, features, depth; or features alone."""
    experts: Int64[Tensor, " M"]
    """Whose picture each belongs to."""
    rows: Int64[Tensor, " M"]
    """Which Gaussian of all the concatenated layers each is."""


def project(batch: Batch, camera: Camera, steps: Steps, features_alone: bool = False) -> Splats:
    """The Gaussians of `batch` that reach the picture, in their order."""
    if not len(batch.means):
        return _empty(batch, features_alone)  # gsplat divides by the number of Gaussians, which would end the process
    _, _, kept, radii, means2d, depths, conics, compensations = steps.project(
        batch.means,
        None,
        batch.quats,
        batch.scales,
        camera.viewmat[None],
        camera.K[None],
        camera.width,
        camera.height,
        eps2d=batch.lowpass.blur,
        near_plane=0.0,  # each layer's own limits are in the opacities already
        far_plane=float("inf"),
        packed=True,
        calc_compensations=batch.lowpass.compensated,
        opacities=batch.opacities,
    )
    opacities = batch.opacities[kept]
    channels = batch.features[kept]
    if not features_alone:
        colors = harmonics.color(batch.sh[kept], normalize(batch.means[kept] - camera.center, dim=1))
        channels = torch.cat([colors, channels, depths[:, None]], dim=1)
    return Splats(
        means2d=means2d,
        radii=radii,
        depths=depths,
        conics=conics,
        opacities=opacities if compensations is None else opacities * compensations,
        channels=channels,
        experts=batch.experts[kept],
        rows=batch.rows[kept],
    )


def _empty(batch: Batch, features_alone: bool) -> Splats:
    """The projection of no Gaussians, a part of their graph as any other is."""
    others = [] if features_alone else [batch.means, batch.opacities[:, None]]
    return Splats(
        means2d=batch.means[:, :2],
        radii=batch.rows.new_empty((0, 2), dtype=torch.int32),
        depths=batch.means[:, 2],
        conics=batch.scales,
        opacities=batch.opacities,
        channels=torch.cat([batch.features, *others], dim=1),
        experts=batch.experts,
        rows=batch.rows,
    )


def merge(parts: Sequence[Splats]) -> Splats:
    """All splats of `parts`, in order.

    Where depths are equal, this order decides who is in front; an expert's splats lie in one part, in the order of its
    rows, so its picture does not depend on the other experts.
    """
    if len(parts) == 1:
        return parts[0]
    return Splats(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Splats)})
