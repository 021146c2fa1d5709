"""What every kind of expert is to the rest of the project."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor, nn

from moegs import harmonics
from moegs.experts.recipe import Ground, Recipe
from moegs.gaussians import Gaussians, LowPass, Points
from moegs.schedules import Steps


@dataclass(frozen=True)
class Rate:
    """A learning rate that falls from `start` to `end` over `steps`, evenly in its logarithm; then it stays."""

    parameters: tuple[str, ...]
    """Names as in `named_parameters()`, or their prefixes that end with a dot."""
    start: float
    end: float | None = None
    """None: constant."""
    steps: int = 1
    times_extent: bool = False
    """Whether the rate is per unit of scene extent, as rates of positions are."""
    restart: int | None = None
    """At this step it starts to fall anew."""
    first: float = 0.0
    """Where in the schedule the first step stands ..."""
    pace: float = 1.0
    """... and how much of it each step goes through: a training that is taken up again goes through a part of it."""

    def at(self, step: int, extent: float) -> float:
        """The rate at `step` for a scene of `extent` world units."""
        place = self.first + self.pace * step
        if self.restart is not None and place >= self.restart:
            place -= self.restart
        end = self.start if self.end is None else self.end
        share = min(place / self.steps, 1.0)
        return self.start ** (1 - share) * end**share * (extent if self.times_extent else 1.0)


@dataclass(frozen=True)
class Decay:
    """How a learning rate falls, before it is known for which parameters: a config's way to say it."""

    start: float
    end: float | None = None
    """None: constant."""
    steps: Steps = 1
    """After which `end` is reached."""

    def __post_init__(self) -> None:
        falls = self.end is not None and 0 < self.start < math.inf and 0 < self.end < math.inf
        if not (falls or (self.end is None and 0 <= self.start < math.inf)) or self.steps < 1:
            raise ValueError(
                f"rate from {self.start:g} to {self.end} in {self.steps} steps: give finite rates >= 0 (one that falls "
                "needs both above 0) and at least 1 step"
            )

    def of(self, *parameters: str, times_extent: bool = False) -> Rate:
        """The rate of `parameters`, named as in `Rate`."""
        return Rate(parameters, self.start, self.end, self.steps, times_extent)


@dataclass(frozen=True, kw_only=True)
class ExpertConfig(ABC):
    """What a kind needs to be built, and what all kinds have in common; each kind's config adds its own `kind`."""

    every_frame: ClassVar[bool] = False
    """Whether it starts from the points of all frames, each with its time, where there are such; else from those of
    the first."""
    kind: str
    sh_degree: int = 3
    """Of the colour's spherical harmonics, 0 to 3."""
    sh_degree_interval: Steps = 1000
    """Steps after which the next degree joins in training; 0: all from the start."""
    lowpass: LowPass = LowPass()
    near: float = 0.01
    """World units, as `far`."""
    far: float = 1e10
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """RGB in [0, 1]: what it is trained against and shown over."""
    opacity: float = 0.1
    """Of every Gaussian at the start, between 0 and 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.sh_degree <= harmonics.MAX_DEGREE:
            raise ValueError(f"sh_degree: got {self.sh_degree}, expected 0 to {harmonics.MAX_DEGREE}")
        if self.sh_degree_interval < 0:
            raise ValueError(f"sh_degree_interval: got {self.sh_degree_interval}, expected 0 or more steps")
        if not 0 <= self.near < self.far:
            raise ValueError(f"near, far: got {self.near:g} and {self.far:g}, expected 0 <= near < far")
        if not all(0 <= channel <= 1 for channel in self.background):
            raise ValueError(f"background: got {list(self.background)}, expected RGB in [0, 1]")
        if not 0 < self.opacity < 1:
            raise ValueError(f"opacity: got {self.opacity:g}, expected more than 0 and less than 1")

    @abstractmethod
    def start(self, points: Points, frames: int, views: int) -> "Expert":
        """A new expert on `points`, for a scene of `frames` frames filmed by `views` training cameras."""

    @abstractmethod
    def empty(self, tensors: Mapping[str, Tensor]) -> "Expert":
        """An expert with as many rows as `tensors` have, ready for `load_state_dict`; values are yet to come."""


Config = TypeVar("Config", bound=ExpertConfig, covariant=True)


class Expert(nn.Module, ABC, Generic[Config]):
    """A dynamic scene: ask it for its Gaussians at a time."""

    groups: nn.ModuleDict
    """ParameterDicts of per-Gaussian parameters, each with its own N rows; density control and pruning resize these
    alone. Each has at least `log_scales` N 3 and `logit_opacities` N. Grids and networks are ordinary submodules. A
    row's number counts through the groups in order."""
    lowpass: LowPass
    near: float
    far: float
    background: Float[Tensor, " 3"]
    """What it was trained against and is to be shown over."""
    step: int
    """How far it has been trained; set by `begin_step`."""
    config: Config
    """What it was built from."""
    culled: bool = True
    """Whether `at` may leave out, where nothing learns, what cannot be seen at that time."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.step = config, 0
        self.lowpass, self.near, self.far = config.lowpass, config.near, config.far
        self.register_buffer("background", torch.tensor(config.background), persistent=False)

    @abstractmethod
    def at(self, t: float, view: int | None = None) -> Gaussians:
        """The scene at time `t`: frame k of n is at k / n. `view`: a training camera, for kinds that correct each.

        While torch records no gradients, a kind that knows when its Gaussians show leaves out those that add nothing to
        any picture at `t`, unless told otherwise by `culled`: then `rows` says which are here.
        """

    @property
    def _culls(self) -> bool:
        return self.culled and not torch.is_grad_enabled()

    @abstractmethod
    def check(self) -> None:
        """Raises ValueError where its tensors, finite and of the right shapes, still make no expert of its kind."""

    def begin_step(self, step: int) -> None:
        """Sets every schedule (annealing, growing tables, SH degree) to where it stands at `step`.

        All of them are functions of `step` alone, so that a loaded expert continues where it was.
        """
        self.step = step

    @property
    def active_sh_degree(self) -> int:
        """Up to which degree colour depends on the direction at this step; the bases above count as 0."""
        interval, degree = self.config.sh_degree_interval, self.config.sh_degree
        return min(degree, self.step // interval) if interval else degree

    @abstractmethod
    def rates(self) -> list[Rate]:
        """How fast each parameter learns; every parameter that trains is named once."""

    @abstractmethod
    def penalty(self) -> Float[Tensor, ""]:
        """What this expert adds to the training loss, 0 if nothing."""

    @abstractmethod
    def split(self, group: str, rows: Int[Tensor, " R"], n: int) -> dict[str, Float[Tensor, "..."]]:
        """The new rows when each of `rows` becomes `n` smaller ones: every parameter of `group`, R * n rows.

        All first children come before all second ones. The caller removes the parents.
        """

    @abstractmethod
    def clone(self, group: str, rows: Int[Tensor, " R"]) -> dict[str, Float[Tensor, "..."]]:
        """The new rows when each of `rows` gets a twin: every parameter of `group`, R rows."""

    @abstractmethod
    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        """Called after groups were resized; `kept` says, for each group, which old row each new one stems from, -1
        where there is none.

        Clears whatever was computed from the old rows.
        """

    @abstractmethod
    def recipe(self, ground: Ground) -> Recipe:
        """What this expert does while it trains on `ground`, from the first step on; it edits this expert's rows."""

    def group(self, name: str) -> Mapping[str, Float[Tensor, "..."]]:
        """The parameters of one group by their names, N rows each."""
        parameters = self.groups[name]
        assert isinstance(parameters, nn.ParameterDict)
        return dict(parameters.items())

    def counts(self) -> dict[str, int]:
        """How many Gaussians each group has."""
        return {name: len(next(iter(self.group(name).values()))) for name in self.groups}

    def __len__(self) -> int:
        return sum(self.counts().values())


def log_nearest_distance(points: Float[Tensor, "P 3"], neighbours: int = 3) -> Float[Tensor, " P"]:
    """Logarithm of the root mean squared distance to the nearest points: a first scale, as in 3D Gaussian Splatting."""
    tree = KDTree(points.cpu().numpy())
    distances, _ = tree.query(points.cpu().numpy(), k=min(neighbours, len(points) - 1) + 1)
    squared = torch.from_numpy(distances[:, 1:]).to(points).square().mean(1)
    return 0.5 * torch.log(squared.clamp_min(1e-7))
