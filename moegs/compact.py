"""Compact: in how few bits each tensor of a mixture can be kept, measured on its own pictures."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moegs.data.scene import Rig
from moegs.mixture import Mixture
from moegs.quantisation import Packing, Scheme, through

SMALL = 1024
"""Tensors with fewer numbers stay as they are: together they weigh nothing."""
SHARE = 0.004
"""Of all numbers: tensors with a smaller share, and the networks are mostly such, get 16 bits without being asked."""
PROBES = 2
"""Pictures by which a tensor is judged."""
FINER = 257**2
"""How much smaller the squared error is with 16 bits than with 8."""

Moment = tuple[int, int]
"""A camera of the rig, and a frame."""


@dataclass(frozen=True)
class Compacted:
    """A mixture whose tensors are what a compact file gives back."""

    mixture: Mixture
    packing: Packing
    psnr: float
    """Of its pictures against the full mixture's, the mean error of all that were compared, dB; infinite when equal."""


def moments(rig: Rig, count: int) -> list[Moment]:
    """`count` cameras and frames, spread evenly over the rig's cameras and its frames; fewer where there are fewer."""
    cameras, frames = len(rig.cameras), rig.timeline.frames
    count = min(count, cameras * frames)
    return list(dict.fromkeys((i * cameras // count, (2 * i + 1) * frames // (2 * count)) for i in range(count)))


def compacted(
    mixture: Mixture,
    psnr: float,
    seen: Sequence[Moment],
    on_tensor: Callable[[int, int], None] = lambda done, of: None,
) -> Compacted:
    """`mixture` in as few bits as leave its pictures of the `seen` moments at least `psnr` dB from the full ones.

    Each large tensor is put into 8 bits by itself, and measured by how much the mixture's picture changes. From 8 bits
    for all of them, those that cost the most error for their bytes are given 16, until the sum of the errors is small
    enough; then the whole is measured, and more of them get more where that is too little. `on_tensor` hears how many
    are measured of how many.
    """
    small = deepcopy(mixture.twin())  # without its instants
    parts = _parts(small)
    pieces = [(part, piece) for part in parts for piece in part.pieces]
    with torch.no_grad():
        full = {id(part): part.draw() for part in parts}
        for number, (part, piece) in enumerate(pieces, start=1):
            piece.error = _error(part, piece, full[id(part)])
            on_tensor(number, len(pieces))
    wanted = psnr
    while True:
        _allot([piece for _, piece in pieces], 10 ** (-wanted / 10))
        found = _stored(mixture, parts, seen)
        if found.psnr >= psnr or all(piece.scheme == "full" for _, piece in pieces):
            return found
        wanted += max(psnr - found.psnr, 1.0)


@dataclass
class _Piece:
    """Tensors that get the same bits, while that is decided."""

    tensors: Mapping[str, Tensor]
    error: float = 0.0
    """Mean squared error of the mixture's picture, with them alone in 8 bits."""
    scheme: Scheme = "uint8"

    @property
    def adds(self) -> float:
        """The same under its scheme."""
        return {"uint8": self.error, "uint16": self.error / FINER}.get(self.scheme, 0.0)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(tensor.numel() for tensor in self.tensors.values())


@dataclass(frozen=True)
class _Part:
    """An expert or the router, while it is judged."""

    module: nn.Module
    pieces: Sequence[_Piece]
    """What is worth asking; what is written into its tensors is seen in `draw`."""
    draw: Callable[[], Float[Tensor, "P H W 3"]]
    """Its part of the mixture's pictures: an expert's own times its gates."""


def _parts(mixture: Mixture) -> list[_Part]:
    """The experts in their order, then the router, if there is one; of `mixture` as it is now."""
    rig, router = mixture.rig, mixture.router
    views = [(rig.cameras[camera].to(mixture.device), rig.timeline.t(frame)) for camera, frame in moments(rig, PROBES)]
    with torch.no_grad():
        gates = torch.stack([mixture.render(camera, t).gates for camera, t in views])

    def alone(number: int) -> Float[Tensor, "P H W 3"]:
        shown = mixture.alone(number)
        images = torch.cat([shown.experts_alone(camera, t) for camera, t in views])
        return gates[:, number, ..., None] * images

    asked = SHARE * sum(parameter.numel() for parameter in mixture.parameters())
    parts = []
    for number, expert in enumerate(mixture.members):
        large = {name: tensor for name, tensor in _worth(expert).items() if tensor.numel() >= asked}
        parts.append(_Part(expert, [_Piece({name: t}) for name, t in large.items()], partial(alone, number)))
    if router is not None:
        pieces = [_Piece(_worth(router))] if _worth(router) else []
        parts.append(
            _Part(router, pieces, lambda: torch.stack([mixture.render(camera, t).picture for camera, t in views]))
        )
    return parts


def _worth(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of `module` that are not small, and that are float32 as all that may be quantised."""
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if tensor.dtype == torch.float32 and tensor.numel() >= SMALL
    }


def _error(part: _Part, piece: _Piece, full: Float[Tensor, "P H W 3"]) -> float:
    """Mean squared error of what `part` draws, with `piece` alone in 8 bits."""
    before = {name: tensor.clone() for name, tensor in piece.tensors.items()}
    for name, tensor in piece.tensors.items():
        tensor.copy_(through(before[name].cpu(), "uint8"))
    error = float((part.draw() - full).square().mean())
    for name, tensor in piece.tensors.items():
        tensor.copy_(before[name])
    return error


def _allot(pieces: Sequence[_Piece], allowed: float) -> None:
    """Gives each piece the fewest bits so that their errors are `allowed` in sum; all of them, where even 16 are too
    few."""
    for piece in pieces:
        piece.scheme = "uint8"
    finer: dict[Scheme, Scheme] = {"uint8": "uint16", "uint16": "full"}
    while sum(piece.adds for piece in pieces) > allowed:
        worst = max((piece for piece in pieces if piece.scheme != "full"), key=lambda piece: piece.adds / piece.size)
        worst.scheme = finer[worst.scheme]


def _stored(mixture: Mixture, parts: Sequence[_Part], seen: Sequence[Moment]) -> Compacted:
    """`mixture` as a file gives it back that stores the pieces of `parts` as was decided, and the rest in 16 bits."""
    found: list[dict[str, Scheme]] = []
    for part in parts:
        schemes: dict[str, Scheme] = dict.fromkeys(_worth(part.module), "uint16")
        schemes |= {name: piece.scheme for piece in part.pieces for name in piece.tensors}
        found.append(schemes)
    again = deepcopy(mixture.twin())
    modules = [*again.members, *([] if again.router is None else [again.router])]
    for module, schemes in zip(modules, found, strict=True):
        for name, tensor in module.state_dict().items():
            tensor.copy_(through(tensor.cpu(), schemes.get(name, "full")))
    packing = Packing(dict(zip(mixture.names, found, strict=False)), {} if mixture.router is None else found[-1])
    return Compacted(again, packing, between(mixture, again, seen))


def between(first: Mixture, second: Mixture, seen: Sequence[Moment]) -> float:
    """PSNR of the pictures of two mixtures with the same rig at the `seen` moments, dB; infinite when all are equal."""
    errors = []
    for camera, frame in sorted(seen, key=lambda moment: moment[1]):
        place, t = first.rig.cameras[camera], first.rig.timeline.t(frame)
        with torch.no_grad():
            pictures = [mixture.render(place, t).picture.clamp(0, 1) for mixture in (first, second)]
        errors.append(float((pictures[0] - pictures[1]).square().mean()))
    mean = sum(errors) / len(errors)
    return -10 * math.log10(mean) if mean else math.inf


def lost(psnr: float, against: float) -> float:
    """How much lower a picture of `psnr` dB scores after a change that leaves it `against` dB from itself, where the
    errors of both have nothing to do with each other, dB."""
    return 10 * math.log10(1 + 10 ** ((psnr - against) / 10))


def needed(psnr: float, loss: float) -> float:
    """How near to itself, in dB, a picture of `psnr` dB must stay to lose no more than `loss`, as in `lost`."""
    return psnr - 10 * math.log10(10 ** (loss / 10) - 1)
