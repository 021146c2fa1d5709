"""Splats blended to the pictures of all experts: lists per picture and tile, one sort, one launch."""

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.cameras import Camera
from moegs.rasterize import TILE, tile_grid
from moegs.rasterize.cuda.splats import Splats
from moegs.rasterize.cuda.steps import Steps

CHANNELS_PER_LAUNCH = 32
"""What every card's shared memory has room for in the backward pass; a launch for each further 32. Seven are usual."""


def check_numbers(experts: int, width: int, height: int) -> None:
    """Raises ValueError where so many pictures of this size are beyond gsplat's 32-bit numbers."""
    rows, columns = tile_grid(width, height)
    key_bits = experts.bit_length() + (columns * rows).bit_length()  # of a sort key's upper half
    if key_bits > 32 or experts * width * height * CHANNELS_PER_LAUNCH >= 2**32:
        raise ValueError(
            f"rasterize: {experts} experts at {width}x{height} are more pixels than the CUDA backend can number; "
            "render fewer experts at once or a smaller picture"
        )


def composite(
    splats: Splats, experts: int, camera: Camera, steps: Steps
) -> tuple[Float[Tensor, "E H W D"], Float[Tensor, "E H W 1"], int]:
    """The channels of each expert's splats, blended front to back before nothing; the alphas; how many pairs."""
    rows, columns = tile_grid(camera.width, camera.height)
    # Not `segmented`: in the packed form it sorts across the pictures.
    _, keys, order = steps.intersect(
        splats.means2d,
        splats.radii,
        splats.depths,
        TILE,
        columns,
        rows,
        packed=True,
        n_images=experts,
        image_ids=splats.experts,
        gaussian_ids=splats.rows,
    )
    offsets = steps.encode(keys, experts, columns, rows)
    # Without gsplat's `backgrounds`: in the packed form it reads them beyond their end.
    launches = [
        steps.composite(
            splats.means2d,
            splats.conics,
            channels,
            splats.opacities,
            camera.width,
            camera.height,
            TILE,
            offsets,
            order,
            packed=True,
        )
        for channels in splats.channels.split(CHANNELS_PER_LAUNCH, dim=1)
    ]
    return torch.cat([blended for blended, _ in launches], dim=-1), launches[0][1], len(order)
