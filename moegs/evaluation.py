"""Evaluation: a split of a scene rendered and scored, for the mixture and for all that it has to beat."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from moegs import metrics
from moegs.data.scene import Scene
from moegs.mixture import Mixture

BESIDES = ("mixture", "average", "oracle")
"""What is scored beside the experts."""


@dataclass(frozen=True)
class Score:
    """Means over the pictures of a split."""

    psnr: float
    """dB, per picture and then averaged; the picture is neither clamped nor quantised, as published."""
    ssim: float


@dataclass(frozen=True)
class Scores:
    """A mixture on one split."""

    split: str
    pictures: int
    experts: dict[str, Score]
    mixture: Score
    average: Score
    """The plain mean of the experts' pictures: what no router at all reaches."""
    oracle: Score
    """In each pixel the expert nearest to the photo: what the best router of one expert per pixel could reach."""
    gates: dict[str, float]
    """Mean gate of each expert."""


def evaluate(
    mixture: Mixture,
    scene: Scene,
    split: Literal["train", "test"] = "test",
    every: int = 1,
    on_picture: Callable[[int, int], None] = lambda done, of: None,
) -> Scores:
    """The scores of `mixture` on each camera of `split` and each `every`th frame.

    The split is the mixture's own, whatever `scene` holds out: what was trained on counts as trained on. `on_picture`
    hears how many pictures are done of how many. Raises ValueError when the split is empty, the scene's cameras, sizes
    or times are not those of the mixture, or an expert has the name of a score.
    """
    rig = mixture.rig
    cameras = rig.train if split == "train" else rig.test
    _check(mixture, scene, split)
    pairs = [(camera, frame) for camera, frame in scene.pairs(cameras) if frame % every == 0]
    if not pairs:
        raise ValueError(f"evaluation: the {split} split has no photo at any {every}th frame; score more frames")
    pairs.sort(key=lambda pair: pair[1])  # the mixture keeps its last instants
    tallies = {name: _Tally() for name in (*mixture.names, *BESIDES)}
    share = torch.zeros(len(mixture.names))
    done = 0
    for number, frame in pairs:
        photo = scene.photo(number, frame, mixture.device)
        with torch.no_grad():
            render = mixture.render(rig.cameras[number], rig.timeline.t(frame))
        for name, image in zip(mixture.names, render.images, strict=True):
            tallies[name].add(image, photo)
        tallies["mixture"].add(render.picture, photo)
        tallies["average"].add(render.images.mean(0), photo)
        tallies["oracle"].add(oracle(render.images, photo), photo)
        share += render.gates.mean((1, 2)).cpu()
        done += 1
        on_picture(done, len(pairs))
    return Scores(
        split=split,
        pictures=done,
        experts={name: tallies[name].score() for name in mixture.names},
        mixture=tallies["mixture"].score(),
        average=tallies["average"].score(),
        oracle=tallies["oracle"].score(),
        gates=dict(zip(mixture.names, (share / done).tolist(), strict=True)),
    )


def oracle(images: Float[Tensor, "E H W 3"], photo: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W 3"]:
    """In each pixel the image with the smallest squared error over the colours."""
    best = (images - photo).square().sum(-1).argmin(0)
    return images.gather(0, best[None, ..., None].expand(1, *photo.shape))[0]


class _Tally:
    def __init__(self) -> None:
        self.psnrs: list[float] = []
        self.ssims: list[float] = []

    def add(self, image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"]) -> None:
        self.psnrs.append(float(metrics.psnr(image, photo)))
        self.ssims.append(float(metrics.ssim(image, photo)))

    def score(self) -> Score:
        return Score(sum(self.psnrs) / len(self.psnrs), sum(self.ssims) / len(self.ssims))


def _check(mixture: Mixture, scene: Scene, split: str) -> None:
    ours, theirs = mixture.rig, scene.rig
    if taken := [name for name in mixture.names if name in BESIDES]:
        raise ValueError(f"evaluation: an expert is called '{taken[0]}', as a score is; give it another name")
    if not (ours.train if split == "train" else ours.test):
        raise ValueError(f"evaluation: the {split} split of the checkpoint has no camera")
    if theirs.timeline != ours.timeline:
        raise ValueError(
            f"evaluation: the data has {theirs.timeline.frames} frames at {theirs.timeline.fps:g} fps, the checkpoint "
            f"{ours.timeline.frames} at {ours.timeline.fps:g}, or they stand at other times; give the data set that it "
            "was trained on, with the same start and end"
        )
    if len(theirs.cameras) != len(ours.cameras) or not all(
        torch.allclose(a.viewmat, b.viewmat, atol=1e-4) for a, b in zip(ours.cameras, theirs.cameras, strict=True)
    ):
        raise ValueError("evaluation: the cameras of the data are not those of the checkpoint; give its own data set")
    for a, b in zip(ours.cameras, theirs.cameras, strict=True):
        if (a.width, a.height) != (b.width, b.height):
            raise ValueError(
                f"evaluation: the pictures of the data are {b.width}x{b.height}, those of the checkpoint "
                f"{a.width}x{a.height}; give the same downscale"
            )
        if not torch.allclose(a.K, b.K, rtol=1e-4, atol=1e-2):  # px
            raise ValueError(
                "evaluation: the lenses of the data are not those of the checkpoint; give its own data set"
            )
