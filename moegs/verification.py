"""What tile gating got wrong: the gated picture against the exact one, and what was dropped against the exact gates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.lines import threshold
from moegs.mixture import Mixture, MixtureRender
from moegs.shots import Shot

TAIL = 0.999
"""The quantile of the errors that is told beside the largest."""


@dataclass(frozen=True)
class GatingErrors:
    """How far a gated picture is from the exact one."""

    skip_below: float
    dropped: float
    """Share of all (expert, pixel) pairs that were not drawn."""
    wrongly: float
    """Share of pixels where a dropped expert's exact gate is above the threshold."""
    largest: float
    """Difference of a colour, as `tail`; colours are in [0, 1]."""
    tail: float
    """99.9 % of the pixels are at most so far off, in their worst channel."""
    psnr: float
    """Against the exact picture, dB; infinite where the two are equal."""

    def line(self) -> str:
        """All of it for people."""
        return (
            f"tile gating below {threshold(self.skip_below)}: {self.dropped:.1%} not drawn, {self.wrongly:.3%} of "
            f"pixels wrongly dropped, largest error {self.largest:.5f}, 99.9th percentile {self.tail:.5f}, "
            f"{self.psnr:.1f} dB"
        )


@torch.no_grad()
def verify(
    mixture: Mixture, shots: Sequence[Shot], on_picture: Callable[[int, int], None] = lambda done, of: None
) -> GatingErrors:
    """The errors in the pictures of all `shots`, each drawn again without gating: shares over all, the worst of others.

    `on_picture` hears how many pictures are done of how many. Raises ValueError where a shot skips nothing, since there
    is nothing to verify.
    """
    if not all(shot.skip_below for shot in shots):
        raise ValueError("verifying tile gating: nothing is skipped; give --skip-below, such as 0.02")
    found = []
    for shot in shots:
        gated, exact = (
            mixture.render(each.camera, each.t, **each.options) for each in (shot, replace(shot, skip_below=0.0))
        )
        found.append(_errors(gated, exact, shot))
        on_picture(len(found), len(shots))
    return GatingErrors(
        skip_below=max(each.skip_below for each in found),
        dropped=sum(each.dropped for each in found) / len(found),
        wrongly=sum(each.wrongly for each in found) / len(found),
        largest=max(each.largest for each in found),
        tail=max(each.tail for each in found),
        psnr=min(each.psnr for each in found),
    )


def psnr(error: Float[Tensor, "H W 3"]) -> float:
    """Of a picture that is off by `error`, dB; infinite where it is not."""
    return float(-10 * error.square().mean().log10())


def _errors(gated: MixtureRender, exact: MixtureRender, shot: Shot) -> GatingErrors:
    dropped = gated.logits.isneginf() & ~exact.logits.isneginf()
    difference = gated.picture - exact.picture
    errors = difference.abs().amax(-1).flatten()
    rank = max(1, min(len(errors), round(TAIL * len(errors))))
    return GatingErrors(
        skip_below=shot.skip_below,
        dropped=float(dropped.float().mean()),
        wrongly=float((dropped & (exact.gates > shot.skip_below)).any(0).float().mean()),
        largest=float(errors.max()),
        tail=float(errors.kthvalue(rank).values),
        psnr=psnr(difference),
    )
