"""Evaluation: a split of a scene rendered and scored, for the mixture and for all that it has to beat."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from moegs import metrics
from moegs.data.scene import Rig, Scene
from moegs.lines import threshold
from moegs.lpips import SMALLEST, Range
from moegs.mixture import Mixture, MixtureRender

Split = Literal["train", "test"]
BESIDES = ("mixture", "average", "oracle")
"""What is scored beside the experts."""


@dataclass(frozen=True)
class Protocol:
    """What is scored, and how."""

    split: Split = "test"
    every: int = 1
    """Only each so many frames."""
    lpips: Range = "unit"
    """The range in which AlexNet gets the colours: MoE-GS evaluates with `unit`."""
    skip_below: float = 0.0
    """Tile gating of the mixture, and of its rivals: an expert is left out in tiles where its gate is estimated below
    this; 0 is exact, and so is everything else that is scored."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every: got {self.every}, expected at least 1 frame")
        if not 0 <= self.skip_below < 1:
            raise ValueError(f"skip_below: got {self.skip_below}, expected a share of the gate in [0, 1)")

    def cameras(self, rig: Rig) -> tuple[int, ...]:
        """The numbers of those that are scored."""
        return rig.train if self.split == "train" else rig.test

    def words(self) -> dict[str, str]:
        """What each number is, for people."""
        seen = "[0, 1]" if self.lpips == "unit" else "[-1, 1]"
        gating = (
            f"drawn with tile gating: an expert is left out in tiles where its gate is estimated below "
            f"{threshold(self.skip_below)}; experts, average and oracle are exact"
        )
        return {
            "psnr": "dB, per picture, then the mean; colours in [0, 1], neither clamped nor quantised",
            "ssim": "Gaussian window 11x11, sigma 1.5, data range 1",
            "lpips": f"version 0.1, AlexNet, colours as {seen}",
            **({"mixture": gating} if self.skip_below else {}),
        }


@dataclass(frozen=True)
class Score:
    """One picture's, or means over pictures; what the numbers are says the protocol."""

    psnr: float
    """dB; the picture is neither clamped nor quantised, as published."""
    ssim: float
    lpips: float | None
    """None for pictures with a side of less than 31 pixels, which AlexNet cannot take."""


@dataclass(frozen=True)
class PictureScores:
    """One camera at one frame."""

    camera: str
    frame: int
    scores: dict[str, Score]
    """Of each expert, of what is besides, and of each rival."""
    gates: dict[str, float]
    """Mean gate of each expert in the mixture as it is scored: 0 where it is left out."""
    best: dict[str, float]
    """Share of pixels in which each expert is nearest to the photo."""
    regret: dict[str, float]
    """Routing regret: the mixture's squared error minus the oracle's, over the pixels in which each expert is the best,
    per pixel of the whole picture. The sum over the experts is the difference of the two mean squared errors."""


@dataclass(frozen=True)
class Scores:
    """A mixture on one split: means over its pictures."""

    split: str
    pictures: int
    skip_below: float
    """Tile gating of the mixture and its rivals; 0 is exact."""
    protocol: dict[str, str]
    """What each number is."""
    experts: dict[str, Score]
    mixture: Score
    average: Score
    """The plain mean of the experts' pictures: what no router at all reaches."""
    oracle: Score
    """In each pixel the expert nearest to the photo: what the best router of one expert per pixel could reach."""
    gates: dict[str, float]
    """Mean gate of each expert."""
    best: dict[str, float]
    """Share of pixels in which each expert is nearest to the photo."""
    regret: dict[str, float]
    """What the router loses to the oracle where each expert is the best; see `PictureScores`."""
    rivals: dict[str, Score] = field(default_factory=dict)
    """Other routers over the same experts."""


def evaluate(
    mixture: Mixture,
    scene: Scene,
    split: Split = "test",
    every: int = 1,
    on_picture: Callable[[int, int], None] = lambda done, of: None,
) -> Scores:
    """The scores of `mixture` on each camera of `split` and each `every`th frame, as MoE-GS measures.

    Raises ValueError as `measure` does.
    """
    protocol = Protocol(split, every)
    return summary(mixture, measure(mixture, scene, protocol, on_picture=on_picture), protocol)


def measure(
    mixture: Mixture,
    scene: Scene,
    protocol: Protocol,
    rivals: Mapping[str, Mixture] | None = None,
    on_picture: Callable[[int, int], None] = lambda done, of: None,
) -> list[PictureScores]:
    """The scores of each picture of the split, frame by frame.

    The split is the mixture's own, whatever `scene` holds out: what was trained on counts as trained on. `rivals`: the
    same experts under other routers, by name. `on_picture` hears how many pictures are done of how many.
    Raises ValueError when the split is empty, the scene's cameras, sizes or times are not those of the mixture, or an
    expert has the name of a score.
    """
    rivals, rig = {} if rivals is None else rivals, mixture.rig
    _check(mixture, scene, protocol.split, (*BESIDES, *rivals))
    pairs, below = chosen(rig, scene, protocol), protocol.skip_below
    rows = []
    with ExitStack() as kept:
        for each in (mixture, *rivals.values()):
            kept.enter_context(each.instants.within(0))
        for number, frame in scene.in_turn(pairs):
            camera, t = rig.cameras[number], rig.timeline.t(frame)
            photo = scene.photo(number, frame, mixture.device)
            with torch.no_grad():
                exact = mixture.render(camera, t)
                shown = mixture.render(camera, t, skip_below=below) if below else exact
                others = {name: rival.render(camera, t, skip_below=below).picture for name, rival in rivals.items()}
            scores = _score(mixture.names, exact.images, shown, others, photo, protocol)
            rows.append(PictureScores(rig.names[number], frame, **scores))
            on_picture(len(rows), len(pairs))
    return rows


def chosen(rig: Rig, scene: Scene, protocol: Protocol) -> list[tuple[int, int]]:
    """The pairs of camera and frame that are scored, frame by frame, so that keeping one instant is enough.

    Raises ValueError where `scene` has no photo of any.
    """
    pairs = [(camera, frame) for camera, frame in scene.pairs(protocol.cameras(rig)) if frame % protocol.every == 0]
    if not pairs:
        raise ValueError(
            f"evaluation: the {protocol.split} split has no photo at any {protocol.every}th frame; score more frames"
        )
    return sorted(pairs, key=lambda pair: pair[1])


def summary(mixture: Mixture, rows: Sequence[PictureScores], protocol: Protocol) -> Scores:
    """The means over the pictures of `rows`, which `measure` found."""
    scores = means([row.scores for row in rows])
    return Scores(
        split=protocol.split,
        pictures=len(rows),
        skip_below=protocol.skip_below,
        protocol=protocol.words(),
        experts={name: scores[name] for name in mixture.names},
        **{name: scores[name] for name in BESIDES},
        gates=_mean_numbers([row.gates for row in rows]),
        best=_mean_numbers([row.best for row in rows]),
        regret=_mean_numbers([row.regret for row in rows]),
        rivals={name: score for name, score in scores.items() if name not in (*mixture.names, *BESIDES)},
    )


def means(rows: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    """For each name the mean of its scores in all `rows`."""
    return {name: _mean([row[name] for row in rows]) for name in rows[0]}


def oracle(images: Float[Tensor, "E H W 3"], photo: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W 3"]:
    """In each pixel the image with the smallest squared error over the colours."""
    best = nearest(images, photo)
    return images.gather(0, best[None, ..., None].expand(1, *photo.shape))[0]


def nearest(images: Float[Tensor, "E H W 3"], photo: Float[Tensor, "H W 3"]) -> Int64[Tensor, "H W"]:
    """In each pixel the number of the image with the smallest squared error over the colours."""
    return (images - photo).square().sum(-1).argmin(0)


@torch.no_grad()
def _score(
    names: Sequence[str],
    images: Float[Tensor, "E H W 3"],
    shown: MixtureRender,
    others: Mapping[str, Float[Tensor, "H W 3"]],
    photo: Float[Tensor, "H W 3"],
    protocol: Protocol,
) -> dict[str, dict]:
    """The fields of PictureScores that are measured, by name: of the experts' whole `images`, and `shown` of all."""
    best, ideal = nearest(images, photo), oracle(images, photo)
    pictures = dict(zip(names, images, strict=True))
    pictures |= {"mixture": shown.picture, "average": images.mean(0), "oracle": ideal, **others}
    lost = (shown.picture - photo).square().mean(-1) - (ideal - photo).square().mean(-1)
    is_best = {name: (best == number).float() for number, name in enumerate(names)}
    return {
        "scores": _scores(pictures, photo, protocol),
        "gates": dict(zip(names, shown.gates.mean((1, 2)).tolist(), strict=True)),
        "best": {name: float(mask.mean()) for name, mask in is_best.items()},
        "regret": {name: float((mask * lost).mean()) for name, mask in is_best.items()},
    }


def _scores(
    pictures: Mapping[str, Float[Tensor, "H W 3"]], photo: Float[Tensor, "H W 3"], protocol: Protocol
) -> dict[str, Score]:
    distances: list[float | None] = [None] * len(pictures)
    if min(photo.shape[:2]) >= SMALLEST:
        distances = metrics.lpips(torch.stack(list(pictures.values())), photo, protocol.lpips).tolist()
    return {
        name: Score(float(metrics.psnr(picture, photo)), float(metrics.ssim(picture, photo)), distance)
        for (name, picture), distance in zip(pictures.items(), distances, strict=True)
    }


def _mean(scores: Sequence[Score]) -> Score:
    distances = [score.lpips for score in scores if score.lpips is not None]
    return Score(
        fmean(score.psnr for score in scores),
        fmean(score.ssim for score in scores),
        fmean(distances) if len(distances) == len(scores) else None,
    )


def _mean_numbers(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def _check(mixture: Mixture, scene: Scene, split: str, taken: Sequence[str]) -> None:
    if clashes := [name for name in mixture.names if name in taken]:
        raise ValueError(f"evaluation: an expert is called '{clashes[0]}', as a score is; give it another name")
    if not (mixture.rig.train if split == "train" else mixture.rig.test):
        other = "test" if split == "train" else "train"
        raise ValueError(f"evaluation: the {split} split of the checkpoint has no camera; score the {other} split")
    check_data(mixture, scene)


def check_data(mixture: Mixture, scene: Scene) -> None:
    """Raises ValueError where the cameras, sizes or times of `scene` are not those that `mixture` was trained on."""
    check_rig(mixture.rig, scene.rig)


def check_rig(ours: Rig, theirs: Rig) -> None:
    """Raises ValueError where the cameras, sizes or times of the data, `theirs`, are not those of a checkpoint."""
    if theirs.timeline != ours.timeline:
        raise ValueError(
            f"evaluation: the data has {theirs.timeline.frames} frames at {theirs.timeline.fps:g} fps, the checkpoint "
            f"{ours.timeline.frames} at {ours.timeline.fps:g}, or they stand at other times; give the data set that it "
            "was trained on, with the same frames: --set start=... end=..."
        )
    if len(theirs.cameras) != len(ours.cameras) or not all(
        torch.allclose(a.viewmat, b.viewmat, atol=1e-4) for a, b in zip(ours.cameras, theirs.cameras, strict=True)
    ):
        raise ValueError("evaluation: the cameras of the data are not those of the checkpoint; give its own data set")
    for a, b in zip(ours.cameras, theirs.cameras, strict=True):
        if (a.width, a.height) != (b.width, b.height):
            raise ValueError(
                f"evaluation: the pictures of the data are {b.width}x{b.height}, those of the checkpoint "
                f"{a.width}x{a.height}; give the same downscale{_factor(b.width, a.width)}"
            )
        if not torch.allclose(a.K, b.K, rtol=1e-4, atol=1e-2):  # px
            raise ValueError(
                "evaluation: the lenses of the data are not those of the checkpoint; give its own data set"
            )


def _factor(given: int, wanted: int) -> str:
    """The flag that makes pictures of the width `wanted` of those that are `given`, where whole numbers do."""
    factor = round(given / wanted)
    return f", with --set downscale={factor}" if factor > 1 and round(given / factor) == wanted else ""
