"""Gates: from logits to each expert's share of each pixel, and what becomes of the share of a muted expert."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MuteRule = Literal["renormalize", "keep", "reroute"]
COLD = 1e-6
"""Temperatures below this are as good as an argmax."""


def gates(
    logits: Float[Tensor, "E H W"],
    temperature: float,
    active: Bool[Tensor, " E"] | None = None,
    rule: MuteRule = "renormalize",
) -> Float[Tensor, "E H W"]:
    """The share of each expert in each pixel: a softmax over experts of logits / temperature, and the rule for mutes.

    `renormalize`: over the live experts only. `keep`: over all, and the muted ones' shares are lost, so a picture
    darkens. `reroute`: over all, and the muted ones' shares go to the live expert with the highest logit at that pixel.
    With no live expert all gates are 0. Raises ValueError for a temperature that is not positive and finite, and for an
    unknown rule.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature: got {temperature}, expected a positive number")
    if rule not in get_args(MuteRule):
        raise ValueError(f"mute rule: got '{rule}', expected {', '.join(get_args(MuteRule))}")
    if active is None or bool(active.all()):
        return _softmax(logits, temperature)
    live = active[:, None, None]
    if not bool(active.any()):
        return torch.zeros_like(logits)
    live_logits = logits.masked_fill(~live, -torch.inf)
    if rule == "renormalize":
        return _softmax(live_logits, temperature)
    full = _softmax(logits, temperature)
    kept = full * live
    if rule == "keep":
        return kept
    best = live_logits.argmax(dim=0, keepdim=True)
    return kept.scatter_add(0, best, (full * ~live).sum(0, keepdim=True))


def _softmax(logits: Float[Tensor, "E H W"], temperature: float) -> Float[Tensor, "E H W"]:
    if temperature < COLD:  # where the quotients would overflow; a softmax does not change by a shift
        logits, temperature = logits - logits.amax(dim=0), max(temperature, torch.finfo(logits.dtype).tiny)
    return torch.softmax(logits / temperature, dim=0)
