"""gsplat's MCMC in place of clone, split and prune: dead Gaussians move to live ones, and all means walk at random."""

from collections.abc import Iterator
from importlib.util import find_spec
from math import comb
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from moegs.density.config import DensityConfig, McmcConfig
from moegs.experts.base import Expert

NAMES = {"log_scales": "scales", "logit_opacities": "opacities"}
"""What gsplat calls our parameters; the others keep their names."""
MOST_COPIES = 51
"""Of one Gaussian in one round, as in gsplat."""


def check(expert: Expert) -> None:
    """Raises ValueError where `expert` cannot be trained so: on a CPU, or without gsplat."""
    device = next(expert.groups.parameters()).device
    if device.type != "cuda":
        raise ValueError(
            f"density.mcmc: needs a CUDA GPU, this expert is on the {device.type}; set density.mcmc to null"
        )
    if not find_spec("gsplat"):
        raise ValueError("density.mcmc: needs gsplat; install it, or set density.mcmc to null")


def penalty(expert: Expert, config: McmcConfig) -> Float[Tensor, ""]:
    """Mean opacity and scale, weighted: what no photo asks for fades and shrinks until it may move."""
    groups = [expert.group(name) for name in expert.groups]
    opacities = torch.cat([group["logit_opacities"] for group in groups]).sigmoid()
    scales = torch.cat([group["log_scales"] for group in groups]).exp()
    return config.opacity_weight * opacities.mean() + config.scale_weight * scales.mean()


def relocate_and_add(
    expert: Expert, optimizer: Optimizer, config: DensityConfig
) -> Iterator[tuple[str, Int[Tensor, " _"]]]:
    """One round: what is too faint moves to where opacity is, then every group grows up to the limit.

    Gives each group that gained rows, and which old row each new one stems from: -1 for the gained ones.
    """
    from gsplat.strategy.ops import relocate, sample_add

    assert config.mcmc is not None
    binoms = _binomials(next(expert.groups.parameters()).device)
    for name in expert.groups:
        params, optimizers = _as_gsplat(expert, name, optimizer)
        dead = torch.sigmoid(params["opacities"]) <= config.opacity
        if bool(dead.any()) and not bool(dead.all()):
            relocate(params, optimizers, {}, dead, binoms, config.opacity)
        before = len(dead)
        gained = min(int(before * config.mcmc.growth), config.limit - len(expert))
        if gained > 0:
            sample_add(params, optimizers, {}, gained, binoms, config.opacity)
        _take_back(expert, name, params)
        if gained > 0:
            kept = torch.arange(before, device=dead.device)
            yield name, torch.cat([kept, kept.new_full((gained,), -1)])


def add_noise(expert: Expert, optimizer: Optimizer, config: McmcConfig) -> None:
    """Moves the means of faint Gaussians at random, within their covariance; groups without single means stay."""
    from gsplat.strategy.ops import inject_noise_to_position

    for name in expert.groups:
        params, optimizers = _as_gsplat(expert, name, optimizer)
        if "means" in params and len(params["means"]):
            rate = optimizers["means"].param_groups[0]["lr"]
            inject_noise_to_position(params, optimizers, {}, rate * config.noise)


def _as_gsplat(expert: Expert, name: str, optimizer: Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of a group and an optimizer for each, as gsplat's functions want them."""
    params = {NAMES.get(key, key): value for key, value in expert.group(name).items()}
    optimizers = {}
    for key, value in params.items():
        settings = [s for s in optimizer.param_groups if any(p is value for p in s["params"])]
        assert [len(s["params"]) for s in settings] == [1], f"'{key}' shares its rate with other parameters"
        optimizers[key] = SimpleNamespace(param_groups=settings, state=optimizer.state)
    return params, optimizers


def _take_back(expert: Expert, name: str, params: dict[str, Any]) -> None:
    group = expert.groups[name]
    assert isinstance(group, nn.ParameterDict)
    for key in list(group.keys()):
        group[key] = params[NAMES.get(key, key)]


def _binomials(device: torch.device) -> Float[Tensor, "M M"]:
    rows = [[float(comb(n, k)) for k in range(MOST_COPIES)] for n in range(MOST_COPIES)]
    return torch.tensor(rows, device=device)
