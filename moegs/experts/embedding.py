"""The embedding expert: canonical Gaussians, each deformed by its own embedding and the time's (E-D3DGS,
arXiv 2404.03613)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor, nn
from torch.nn.functional import linear

from moegs.experts import canonical
from moegs.experts.base import Decay, Expert, ExpertConfig, Rate
from moegs.experts.canonical import CanonicalRates, Deltas
from moegs.experts.heads import Heads, HeadsConfig
from moegs.experts.recipe import Ground, Plain, Recipe
from moegs.gaussians import Gaussians, Points
from moegs.schedules import Steps

NEIGHBOUR_SHARPNESS = 2000.0
"""How fast two Gaussians stop being neighbours: exp(-2000 d^2), d in world units."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingRates(CanonicalRates):
    """Learning rates as published for N3V; those of means and network are per unit of scene extent."""

    means: Decay = Decay(1.6e-4, 1.6e-6, 80_000)
    embeddings: Decay = Decay(2.5e-3)
    network: Decay = Decay(1.6e-4, 1.6e-5, 80_000)
    """Of both networks and the table of times."""
    offsets: Decay = Decay(2e-5)


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(ExpertConfig):
    """The defaults are those published for N3V."""

    kind: Literal["embedding"] = "embedding"
    size: int = 32
    """Numbers in the embedding of each Gaussian."""
    time_size: int = 256
    """Numbers in the embedding of each time."""
    time_rows: int = 150
    """Times in the table."""
    coarse_rows: int = 30
    """Times that the coarse network tells apart, and the fine one at the start."""
    fine_steps: Steps = 10_000
    """Steps in which the rows of the fine network grow to all of them; 0: all from the start."""
    table_spread: float = 0.01 / 16
    """Standard deviation of the table at the start."""
    motion_steps: Steps = 1000
    """Steps in which the deltas of position and rotation grow from nothing; 0: at once. Scale and opacity have this
    ramp as well as their own."""
    shape_start: Steps = 5000
    """Step from which those of scale, opacity and colour grow too."""
    shape_steps: Steps = 1000
    """Steps in which they do; 0: at once, at step 0."""
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    rates: EmbeddingRates = field(default_factory=EmbeddingRates)
    neighbours: int = 20
    """How many near Gaussians each embedding is held close to."""
    neighbour_every: int = 100
    """Steps after which it is measured again who is near whom, as when rows change. No budget scales it: the rates
    stay, and with them how far Gaussians go in so many steps."""
    neighbour_weight: float = 1.0
    """0: not held at all."""
    opacity_weight: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.size, self.time_size, self.neighbours, self.neighbour_every) < 1:
            raise ValueError("size, time_size, neighbours and neighbour_every must be at least 1")
        if not 1 <= self.coarse_rows <= self.time_rows:
            raise ValueError(f"coarse_rows: got {self.coarse_rows}, expected 1 to time_rows, {self.time_rows}")
        if min(self.fine_steps, self.motion_steps, self.shape_start, self.shape_steps) < 0:
            raise ValueError("fine_steps, motion_steps, shape_start and shape_steps must be 0 or more")

    def start(self, points: Points, frames: int, views: int) -> "EmbeddingExpert":
        rows = canonical.start(points, self) | {"embeddings": points.means.new_zeros(len(points.means), self.size)}
        expert = EmbeddingExpert(self, canonical.parameters(rows), views)
        nn.init.normal_(expert.times, std=self.table_spread)
        return expert

    def empty(self, tensors: Mapping[str, Tensor]) -> "EmbeddingExpert":
        rows = canonical.empty(tensors, "all", canonical.shapes(self.sh_degree) | {"embeddings": (self.size,)})
        return EmbeddingExpert(self, rows, tensors["offsets"].numel() if "offsets" in tensors else 0)


class Network(nn.Module):
    """Deltas of all Gaussians from their embeddings and that of the time."""

    def __init__(self, config: EmbeddingConfig) -> None:
        super().__init__()
        self.time_size = config.time_size
        self.first = nn.Linear(config.time_size + config.size, config.heads.width)
        self.heads = Heads(config.heads, config.sh_degree)
        if config.heads.zero_start:
            self.heads.still()

    def forward(self, time: Float[Tensor, " D"], embeddings: Float[Tensor, "N Z"]) -> Deltas:
        # The time is the same for all: its half of the first layer is computed once.
        weight = self.first.weight
        shared = linear(time, weight[:, : self.time_size], self.first.bias)
        return self.heads(linear(embeddings, weight[:, self.time_size :]) + shared)


class EmbeddingExpert(Expert[EmbeddingConfig]):
    """Two networks see (time, embedding): a coarse one few times, a fine one ever more; their deltas are added."""

    def __init__(self, config: EmbeddingConfig, rows: nn.ParameterDict, views: int) -> None:
        super().__init__(config)
        self.groups = nn.ModuleDict({"all": rows})
        self.times = nn.Parameter(torch.zeros(config.time_rows, config.time_size))
        self.offsets = nn.Parameter(torch.zeros(views))
        """What each training camera's clock differs, in t."""
        self.coarse, self.fine = Network(config), Network(config)
        self._neighbours: tuple[Int[Tensor, "N M"], Float[Tensor, "N M"]] | None = None
        self._measured = 0

    def at(self, t: float, view: int | None = None) -> Gaussians:
        rows, moment = self.group("all"), t + self._offset(view)
        coarse = self.coarse(self._embed(moment, self.config.coarse_rows), rows["embeddings"])
        fine = self.fine(self._embed(moment, self._fine_rows()), rows["embeddings"])
        motion = _ramp(self.step, 0, self.config.motion_steps)
        shape = _ramp(self.step, self.config.shape_start, self.config.shape_steps)
        deltas = Deltas(
            means=motion * (coarse.means + fine.means),
            quats=motion * (coarse.quats + fine.quats),
            log_scales=motion * shape * (coarse.log_scales + fine.log_scales),
            logit_opacities=motion * shape * (coarse.logit_opacities + fine.logit_opacities),
            sh=shape * (coarse.sh + fine.sh),
        )
        return canonical.activate(rows, self.active_sh_degree, deltas)

    def rates(self) -> list[Rate]:
        rates = self.config.rates
        return [
            *rates.of("all"),
            rates.embeddings.of("groups.all.embeddings"),
            rates.network.of("coarse.", "fine.", "times", times_extent=True),
            rates.offsets.of("offsets"),
        ]

    def penalty(self) -> Float[Tensor, ""]:
        """How much near Gaussians differ in their embeddings, and how opaque they are."""
        rows, config = self.group("all"), self.config
        if not len(self):
            return self.times.new_zeros(())
        total = config.opacity_weight * torch.sigmoid(rows["logit_opacities"].mean())
        if not config.neighbour_weight or len(self) < 2:
            return total
        period = self.step // config.neighbour_every
        if self._neighbours is None or self._measured != period:
            self._neighbours = _neighbours(rows["means"].detach(), config.neighbours)
            self._measured = period
        near, weights = self._neighbours
        squared = (rows["embeddings"][:, None] - rows["embeddings"][near]).square().sum(-1)
        return total + config.neighbour_weight * torch.sqrt(squared * weights + 1e-20).mean()

    def split(self, group: str, rows: Int[Tensor, " R"], n: int) -> dict[str, Float[Tensor, "..."]]:
        return canonical.split(self.group(group), rows, n)

    def clone(self, group: str, rows: Int[Tensor, " R"]) -> dict[str, Float[Tensor, "..."]]:
        return canonical.clone(self.group(group), rows)

    def check(self) -> None:
        """Whatever is finite is one."""

    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        """Forgets who is near whom; `penalty` measures it again."""
        self._neighbours = None

    def recipe(self, ground: Ground) -> Recipe:
        return Plain(ground, self.groups)

    def _offset(self, view: int | None) -> Float[Tensor, ""]:
        """The clock of training camera `view`; without one the mean of those that differ at all, as published."""
        if view is not None:
            return self.offsets[view]
        apart = self.offsets != 0
        return self.offsets.sum() / apart.sum().clamp_min(1)

    def _fine_rows(self) -> int:
        low, high, steps = self.config.coarse_rows, self.config.time_rows, self.config.fine_steps
        return int(low + (high - low) * min(self.step, steps) / steps) if steps else high

    def _embed(self, moment: Float[Tensor, ""], rows: int) -> Float[Tensor, " D"]:
        """The table, resized to `rows` times, at `moment` in [0, 1]; reflected at both ends."""
        last = rows - 1
        place = last - (last - (moment * last).abs()).abs()
        low = min(max(int(place), 0), max(last - 1, 0))
        share = place - low
        return (1 - share) * self._row(low, rows) + share * self._row(min(low + 1, last), rows)

    def _row(self, row: int, rows: int) -> Float[Tensor, " D"]:
        """Row `row` of the table resized linearly to `rows` rows, first and last kept."""
        last = len(self.times) - 1
        place = row * last / max(rows - 1, 1)
        low = min(int(place), max(last - 1, 0))
        share = place - low
        return (1 - share) * self.times[low] + share * self.times[min(low + 1, last)]


def _ramp(step: int, start: int, steps: int) -> float:
    return min(max((step - start) / steps, 0.0), 1.0) if steps else 1.0


def _neighbours(means: Float[Tensor, "N 3"], count: int) -> tuple[Int[Tensor, "N M"], Float[Tensor, "N M"]]:
    """The `count` nearest others of each point, and how near: exp(-2000 d^2)."""
    places = means.cpu().numpy()
    distances, near = KDTree(places).query(places, k=min(count, len(means) - 1) + 1)
    distances, near = np.asarray(distances), np.asarray(near)
    squared = torch.from_numpy(distances[:, 1:]).to(means).square()
    return torch.from_numpy(near[:, 1:]).to(means.device), torch.exp(-NEIGHBOUR_SHARPNESS * squared)
