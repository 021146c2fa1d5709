"""Five small heads on one shared hidden layer: what a deformation does to each attribute of a Gaussian."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from moegs import harmonics
from moegs.experts.canonical import Deltas


@dataclass(frozen=True, kw_only=True)
class HeadsConfig:
    """Which attributes a deformation changes, and the size of its network."""

    width: int = 128
    """Of every hidden layer."""
    move_means: bool = True
    move_scales: bool = True
    move_quats: bool = True
    move_opacities: bool = True
    move_sh: bool = True
    zero_start: bool = False
    """Whether the last layers start at 0, so that training starts from the undeformed Gaussians; published: no."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width: got {self.width}, expected at least 1")


class Heads(nn.ModuleDict):
    """Linear, ReLU, Linear for each attribute that moves, over the same hidden layer after its ReLU."""

    def __init__(self, config: HeadsConfig, sh_degree: int) -> None:
        sizes = {
            "means": 3 * config.move_means,
            "log_scales": 3 * config.move_scales,
            "quats": 4 * config.move_quats,
            "logit_opacities": 1 * config.move_opacities,
            "sh": 3 * harmonics.count(sh_degree) * config.move_sh,
        }
        super().__init__({name: _head(config.width, size) for name, size in sizes.items() if size})

    def still(self) -> None:
        """Sets the last layers to 0: no attribute changes."""
        for head in self.values():
            last = head[-1]  # type: ignore[index]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, hidden: Float[Tensor, "N width"]) -> Deltas:
        hidden = relu(hidden)
        deltas = {name: head(hidden) for name, head in self.items()}
        if "logit_opacities" in deltas:
            deltas["logit_opacities"] = deltas["logit_opacities"].squeeze(1)
        if "sh" in deltas:
            deltas["sh"] = deltas["sh"].unflatten(1, (-1, 3))
        return Deltas(**deltas)


def _head(width: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, size))
