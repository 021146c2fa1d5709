"""Guided sampling of new Gaussians: along the rays of pixels where the error stays high (Spacetime Gaussians)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from moegs.experts.recipe import Seen
from moegs.gaussians import Points
from moegs.schedules import Interval, Steps


@dataclass(frozen=True, kw_only=True)
class GuidedConfig:
    """When and where; the defaults are the published ones."""

    start: Steps = 1600
    """Step from which each training camera is judged, once, by the first picture of it."""
    stop: Steps = 30_000
    """From this step on nothing is added."""
    cameras: int = 2
    """How many of the worst are chosen; with fewer to choose from, none is."""
    judged_below: float = 0.91
    """Only cameras with less similarity than this can be chosen."""
    added_below: float = 0.88
    """A chosen camera's turn adds nothing if its picture has more similarity by then."""
    apart: Interval = 100
    """Steps between two turns, at least."""
    quantile: float = 0.6
    """A pixel is bad if its error, brightness aside, exceeds this quantile of its picture."""
    patch: int = 16
    """Pixels along the sides of the squares that are taken or left as a whole."""
    share: float = 0.85
    """A square is taken if more than this share of its pixels are bad."""
    border: float = 0.1
    """Share of the picture on each side where nothing is added."""
    depths: tuple[float, ...] = (0.7, 7.5)
    """Where on each ray a point is put, times the largest depth that the camera saw at first."""
    jitter: float = 0.05
    """By how much of itself a depth varies at most."""

    def __post_init__(self) -> None:
        if self.cameras < 1 or self.patch < 1 or self.apart < 0:
            raise ValueError("guided: cameras and patch must be at least 1, apart 0 or more")
        if not (0 <= self.quantile <= 1 and 0 <= self.share <= 1 and 0 <= self.border < 0.5 and 0 <= self.jitter < 1):
            raise ValueError("guided: quantile and share must lie in [0, 1], border in [0, 0.5), jitter in [0, 1)")
        if not self.depths or min(self.depths) <= 0:
            raise ValueError(f"guided.depths: got {list(self.depths)}, expected one positive number at least")


def bad_pixels(
    picture: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"], config: GuidedConfig
) -> Bool[Tensor, "H W"]:
    """Three of four pixels of each square in which the error is high nearly everywhere, away from the border."""
    errors = (picture / (picture.mean() + 0.01) - photo / (photo.mean() + 0.01)).abs().sum(-1)
    height, width, size = *errors.shape, config.patch
    ordered = errors.flatten().sort().values
    bad = errors > ordered[min(int(len(ordered) * config.quantile), len(ordered) - 1)]
    squares = pad(bad.float(), (0, -width % size, 0, -height % size)).unfold(0, size, size).unfold(1, size, size)
    taken = squares.sum((2, 3)) > config.share * size * size
    taken = taken.repeat_interleave(size, 0).repeat_interleave(size, 1)[:height, :width].clone()
    taken[::2, ::2] = False  # squares start at even pixels where their size is even, as it is published
    down, across = int(config.border * height), int(config.border * width)
    inner = torch.zeros_like(taken)
    inner[down : height - down, across : width - across] = True
    return taken & inner


def points_on_rays(seen: Seen, pixels: Int[Tensor, "P 2"], depth: float, config: GuidedConfig) -> Points:
    """Points behind `pixels` (row, column), each at every one of the config's depths times `depth`, in the photo's
    colours, at random times."""
    camera = seen.camera
    centers = (pixels.flip(1) + 0.5 - camera.K[:2, 2]) / camera.K[:2, :2].diagonal()
    rays = torch.cat([centers, torch.ones_like(centers[:, :1])], dim=1)  # with z = 1
    locals_ = []
    for factor in config.depths:
        vary = 1 + config.jitter * (2 * torch.rand_like(rays[:, :1]) - 1)
        locals_.append(rays * (depth * factor * vary))
    places = (torch.cat(locals_) - camera.viewmat[:3, 3]) @ camera.viewmat[:3, :3]
    colors = seen.photo[pixels[:, 0], pixels[:, 1]].repeat(len(config.depths), 1)
    return Points(places, colors, torch.rand_like(places[:, 0]))


class GuidedSampling:
    """Which cameras stay worst, and when each of them has its turn."""

    def __init__(self, config: GuidedConfig, views: int) -> None:
        self.config, self.views = config, views
        self.depths: dict[int, float] = {}
        """The largest depth that each camera saw at first, world units."""
        self.similarities: dict[int, float] = {}
        self.waiting: list[int] | None = None
        """Chosen cameras whose turn has not come; None: none are chosen yet."""
        self.last = 0
        """Step of the last turn."""

    def watches(self, step: int) -> bool:
        """Whether the next picture is of interest, after `step` steps."""
        if len(self.depths) < self.views:
            return step < self.config.stop
        return self.config.start <= step < self.config.stop and self.waiting != []

    def observe(self, seen: Seen) -> Points | None:
        """Notes a picture; new points if it is this camera's turn."""
        self.depths.setdefault(seen.view, float(seen.depths.max()))
        if not self.config.start <= seen.step < self.config.stop:
            return None
        similarity = float(seen.ssims.mean())
        if self.waiting is None:
            self.similarities.setdefault(seen.view, similarity)
            if len(self.similarities) == self.views:
                self.waiting = self._worst()
            return None
        if seen.view not in self.waiting or seen.step - self.last <= self.config.apart:
            return None
        self.waiting.remove(seen.view)
        self.last = seen.step
        pixels = torch.nonzero(bad_pixels(seen.picture, seen.photo, self.config))
        depth = self.depths[seen.view]
        if similarity >= self.config.added_below or not len(pixels) or not depth > 0:
            return None
        return points_on_rays(seen, pixels, depth, self.config)

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "depths": dict(self.depths),
            "similarities": dict(self.similarities),
            "waiting": self.waiting if self.waiting is None else list(self.waiting),
            "last": self.last,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        self.depths, self.similarities = dict(state["depths"]), dict(state["similarities"])
        self.waiting, self.last = state["waiting"], state["last"]

    def _worst(self) -> list[int]:
        ordered = sorted(self.similarities, key=lambda view: self.similarities[view])
        worst = [view for view in ordered if self.similarities[view] < self.config.judged_below]
        return worst[: self.config.cameras] if len(worst) >= self.config.cameras else []
