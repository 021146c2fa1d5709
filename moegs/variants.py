"""Variants: what there is to look at of a checkpoint: all of it, less of it, one expert alone, and others beside it."""

import threading
from collections import OrderedDict
from pathlib import Path
from shlex import quote

import torch

from moegs import checkpoint, compare, runs, views
from moegs.acceleration import Acceleration
from moegs.checkpoint import Checkpoint
from moegs.compare import Side
from moegs.instants import INSTANTS_BYTES
from moegs.mixture import Mixture
from moegs.mosaic import Tile
from moegs.pruning import kept, pruned
from moegs.shots import Comparison, Shot
from moegs.views import Drawing

CRITERIA = ("contribution", "gate-gradient")
"""Of importance, the one to prune by first: what `moegs prune` takes unasked, and what lost less."""
CUTS_KEPT = 3
"""How many pruned mixtures are kept, each some megabytes."""
GRAMMAR = "expert:NAME (one expert of A alone), kept:SHARE (A pruned, such as kept:0.45) or a checkpoint file"


class Variants:
    """A checkpoint and all that can be drawn of it; may be asked by several threads."""

    def __init__(
        self,
        loaded: Checkpoint,
        path: Path,
        keep_bytes: int = INSTANTS_BYTES,
        acceleration: Acceleration = Acceleration(),
    ) -> None:
        """Of what was `loaded` from `path`; `keep_bytes`: of the Gaussians of instants, for it and for each file.

        Raises ValueError for an `acceleration` that its device cannot do.
        """
        self.name, self.path, self.keep_bytes, self.acceleration = name_of(path), path, keep_bytes, acceleration
        self._loaded = loaded
        self._whole = Side(self.name, self._ready(loaded.mixture))
        self._alone: dict[str, Side] = {}
        self._files: dict[str, Side] = {}
        self._opened: list[str] = []
        self._cuts: OrderedDict[float, Side] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def mixture(self) -> Mixture:
        """All of it."""
        return self._whole.mixture

    @property
    def prunable(self) -> bool:
        """Whether it has a score of each of its Gaussians."""
        return self.criterion is not None

    @property
    def criterion(self) -> str | None:
        """By which of the stored scores it is pruned; None where there are none."""
        return next((each for each in CRITERIA if each in self._loaded.criteria), None)

    @property
    def how_to_score(self) -> str:
        """Which command gives it the scores that it lacks."""
        scored = f"{self.path.stem}-scored.pt"  # in the working folder: the demo's own may be read-only
        return (
            f"'{self.name}' has no scores of its Gaussians; measure them, without pruning, by: "
            f"moegs prune {quote(str(self.path))} --data DIR --ratio 0 --out {quote(scored)}"
        )

    @property
    def others(self) -> list[str]:
        """What there is to be set beside it: what was opened, the whole, its experts."""
        names = self.mixture.names
        experts = [f"expert:{name}" for name in names] if len(names) > 1 else []
        return list(dict.fromkeys((*self._opened, *(["kept:1"] if self.prunable else []), *experts)))

    def draw(self, shot: Shot) -> Drawing:
        """What `shot` asks for: the one way from a checkpoint to pixels, for the command line and the browser.

        Raises ValueError for what it does not have.
        """
        if shot.comparison is None:
            side = self.kept(shot.kept)
            drawing = side.draw(shot)
            side.forget()  # one picture alone is hardly asked for twice, and a render is large
            return drawing
        return compare.draw(self.kept(shot.kept), self.other(shot.comparison.other), shot)

    def views(self, comparison: Comparison | None) -> list[str]:
        """The ids of all views that there are, or that can be compared so."""
        if comparison is None:
            return views.ids(self.mixture)
        return compare.views_of(self.mixture, self.other(comparison.other).mixture, comparison.mode)

    def tiles(self, shot: Shot) -> tuple[Tile, ...]:
        """Where each picture is seen in what `draw` gives."""
        if shot.comparison is None:
            return views.tiles(self.mixture, shot.view, shot.camera.width, shot.camera.height)
        return compare.tiles(self.mixture, self.other(shot.comparison.other).mixture, shot)

    def sides(self, shot: Shot) -> tuple[Side, ...]:
        """What `draw` draws: one, or two for a comparison."""
        first = self.kept(shot.kept)
        return (first,) if shot.comparison is None else (first, self.other(shot.comparison.other))

    def kept(self, share: float) -> Side:
        """It with the `share` of its Gaussians that matter most, by its stored scores; without fine-tuning.

        Raises ValueError where there are no scores.
        """
        if share == 1:
            return self._whole
        with self._lock:
            found = self._cuts.pop(share, None) or self._cut(share)
            self._cuts[share] = found
            while len(self._cuts) > CUTS_KEPT:
                self._cuts.popitem(last=False)
            return found

    def other(self, text: str) -> Side:
        """What `text` names: expert:NAME, kept:SHARE, or a file that was opened before.

        Raises ValueError for anything else.
        """
        kind, _, value = text.partition(":")
        if kind == "kept":
            return self.kept(_share(value))
        if text in self._files:
            return self._files[text]
        if kind != "expert":
            raise ValueError(f"'{text}': not opened; B is {GRAMMAR}")
        if value not in self.mixture.names:
            raise ValueError(f"{text}: no such expert; '{self.name}' has {', '.join(self.mixture.names)}")
        with self._lock:
            if value not in self._alone:
                alone = self._ready(self.mixture.alone(self.mixture.names.index(value)), len(self.mixture.names))
                self._alone[value] = Side(f"{value} alone", alone)
            return self._alone[value]

    def open(self, text: str, device: torch.device | str) -> None:
        """Makes ready what `text` names, so that `other` finds it: reads it where it is a file.

        Raises ValueError in one line where it cannot be set beside this one.
        """
        if text.partition(":")[0] not in ("expert", "kept"):
            mixture = checkpoint.load(Path(text), device).mixture
            compare.check(self.mixture.rig, mixture.rig, (self.name, text))
            self._files[text] = Side(name_of(Path(text)), self._ready(mixture))
        self.other(text)
        self._opened.append(text)

    def _cut(self, share: float) -> Side:
        if self.criterion is None:
            raise ValueError(f"kept {share:g}: {self.how_to_score}")
        masks = kept(self._loaded.importance[self.criterion], 1 - share, "mixture")
        return Side(f"{self.name}, {100 * share:.3g}% kept", self._ready(pruned(self.mixture, masks), CUTS_KEPT))

    def _ready(self, mixture: Mixture, parts: int = 1) -> Mixture:
        """`mixture`, set up as asked for; it is one of `parts` that share the memory of instants."""
        mixture.instants.limit = self.keep_bytes // parts
        self.acceleration.apply(mixture)
        return mixture


def name_of(path: Path) -> str:
    """What the checkpoint at `path` is called: a run's by the run, since all runs call theirs alike."""
    path = path.absolute()
    return f"{path.parent.name}/{path.stem}" if runs.is_run(path.parent) else path.stem


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(f"kept:{text}: give the share of the Gaussians that is left, such as kept:0.45")
    return share
