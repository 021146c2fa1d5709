"""From a mixture to its file, whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from moegs import config
from moegs.checkpoint.contents import FORMAT, VERSION, Checkpoint
from moegs.checkpoint.rigs import pack_rig
from moegs.experts.base import Expert
from moegs.files import save_tensors
from moegs.quantisation import Packing, Scheme, packed


def save(checkpoint: Checkpoint, path: Path, packing: Packing | None = None) -> None:
    """Writes `checkpoint` to `path`, whole or not at all; with `packing` in fewer bits, importance in half as many."""
    mixture = checkpoint.mixture
    schemes, digits = (Packing(), "full") if packing is None else (packing, "bfloat")
    contents = {
        "format": FORMAT,
        "version": 2 if packing is None else VERSION,
        "experts": [
            _pack_expert(name, expert, schemes.experts.get(name, {}))
            for name, expert in zip(mixture.names, mixture.members, strict=True)
        ],
        "router": mixture.router
        and {"config": config.dump(mixture.router.config), "tensors": _tensors(mixture.router, schemes.router)},
        "scene": pack_rig(mixture.rig),
        "scores": checkpoint.scores,
        "importance": {
            criterion: {name: _stored(values, digits) for name, values in found.items()}
            for criterion, found in checkpoint.importance.items()
        },
        "provenance": checkpoint.provenance,
    }
    save_tensors(contents, path)


def _pack_expert(name: str, expert: Expert, schemes: Mapping[str, Scheme]) -> dict[str, Any]:
    return {
        "kind": expert.config.kind,
        "name": name,
        "config": config.dump(expert.config),
        "step": expert.step,
        "tensors": _tensors(expert, schemes),
    }


def _tensors(module: nn.Module, schemes: Mapping[str, Scheme]) -> dict[str, Any]:
    return {name: _stored(tensor, schemes.get(name, "full")) for name, tensor in module.state_dict().items()}


def _stored(tensor: Tensor, scheme: Scheme) -> Any:
    return packed(tensor.detach().cpu().contiguous(), scheme)
