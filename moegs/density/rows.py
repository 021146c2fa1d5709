"""The rows of a group under training: what changes them keeps the optimizer in step."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from moegs.experts.base import Expert


@torch.no_grad()
def resize(
    expert: Expert,
    group: str,
    kept: Int[Tensor, " _"],
    added: Mapping[str, Float[Tensor, "..."]],
    optimizer: Optimizer | None = None,
) -> None:
    """Leaves the rows `kept` of a group and appends `added`, if anything, to each of its parameters.

    The optimizer's moments follow the kept rows and start from zero for the added ones. The caller tells the expert
    by `rows_changed`.
    """
    parameters = expert.groups[group]
    assert isinstance(parameters, nn.ParameterDict)
    for name, old in list(parameters.items()):
        extra = added[name].detach() if added else old.new_empty(0, *old.shape[1:])
        new = nn.Parameter(torch.cat([old[kept], extra]), requires_grad=old.requires_grad)
        parameters[name] = new
        if optimizer is not None:
            _hand_over(optimizer, old, new, kept)


def _hand_over(optimizer: Optimizer, old: nn.Parameter, new: nn.Parameter, kept: Int[Tensor, " _"]) -> None:
    for settings in optimizer.param_groups:
        settings["params"] = [new if parameter is old else parameter for parameter in settings["params"]]
    state = optimizer.state.pop(old, None)
    if state is None:
        return
    added = len(new) - len(kept)
    for key, value in state.items():
        if key != "step":
            state[key] = torch.cat([value[kept], value.new_zeros(added, *value.shape[1:])])
    optimizer.state[new] = state


@torch.no_grad()
def rewrite(
    expert: Expert, group: str, values: Mapping[str, Float[Tensor, "..."]], optimizer: Optimizer, anew: bool = False
) -> None:
    """Gives whole parameters of a group new values; the optimizer's moments of them start from zero.

    `anew`: it also forgets how many steps it has done with them.
    """
    parameters = expert.groups[group]
    assert isinstance(parameters, nn.ParameterDict)
    for name, value in values.items():
        parameters[name].copy_(value)
        if anew:
            optimizer.state.pop(parameters[name], None)
        else:
            forget_moments(optimizer, parameters[name])


def forget_moments(optimizer: Optimizer, parameter: Tensor) -> None:
    """Sets what the optimizer remembers of the gradients of `parameter` to zero."""
    for key, value in optimizer.state.get(parameter, {}).items():
        if key != "step":
            value.zero_()
