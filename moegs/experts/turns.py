"""Which polynomial Gaussians go on turning late in training, and that the others hold still."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.schedules import Steps


@dataclass(frozen=True, kw_only=True)
class TurnsConfig:
    """After a step, only Gaussians that move, are large and opaque go on turning; their base rotation stays."""

    step: Steps = 8001
    least_motion: float = 0.3
    """Sum of the linear coefficients' absolute values, world units per segment."""
    scales: tuple[float, float] = (0.2, 0.6)
    """Between which the largest scale lies, world units."""
    least_opacity: float = 0.7


def held(rows: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The same values; once turns are settled, without a gradient where one is no longer to learn."""
    quats, omegas = rows["quats"], rows["omegas"]
    if not omegas.requires_grad:
        return rows
    turning = (omegas != 0).any(dim=1, keepdim=True)
    frozen = {
        "quats": torch.where(turning, quats.detach(), quats),
        "omegas": torch.where(turning, omegas, omegas.detach()),
    }
    return {**rows, **frozen}


def settled(group: Mapping[str, Tensor], config: TurnsConfig) -> dict[str, Float[Tensor, "..."]]:
    """The rotations once it is settled which Gaussians turn: the others' turning is 0."""
    largest = group["log_scales"].exp().amax(1)
    turns = group["motions"][:, :1].abs().sum((1, 2)) > config.least_motion
    turns &= (config.scales[0] < largest) & (largest < config.scales[1])
    turns &= torch.sigmoid(group["logit_opacities"]) > config.least_opacity
    return {"omegas": group["omegas"] * turns[:, None], "quats": group["quats"]}
