"""Distillation: one expert of a mixture learns the mixture's picture, so that it can be shown without the others."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.data.scene import Rig
from moegs.losses import distillation, photometric
from moegs.mixture import Mixture
from moegs.schedules import Steps
from moegs.training.objectives import Objective
from moegs.training.pictures import KeptPictures, PictureCache

CONTINUED = 0.25
"""Of an expert's own steps: how long it learns on, where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class DistillTraining:
    """How one expert of a mixture, the student, learns from the mixture; the result needs no router."""

    expert: str
    """Its name."""
    steps: Steps | None = None
    """None: a quarter of its own, and from scratch all of them. Another number scales its recipe from scratch."""
    from_scratch: bool = False
    """Start on the scene's points with the expert's whole recipe; else from the trained member, whose rows stay."""
    rewind: float = 0.5
    """Of what the member has learned: how far its learning rates go back, to fall again over the student's steps."""
    photo_share: float = 0.5
    """Of the photo's part in the loss, the paper's lambda; the rest is the mixture's."""
    unseen: int = 0
    """How many cameras between the training ones teach besides, through the mixture's picture alone. Every camera then
    has the same share of the training."""
    twin: bool = False
    """Train the same expert from the same start and seed on photos alone too, to compare."""
    pictures: PictureCache = field(default_factory=PictureCache)
    """How the mixture's pictures and gates are kept."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least 1")
        if not 0 <= self.photo_share <= 1:
            raise ValueError(f"photo_share: got {self.photo_share:g}, expected a share in [0, 1]")
        if not 0 <= self.rewind <= 1:
            raise ValueError(f"rewind: got {self.rewind:g}, expected a share in [0, 1]")
        if self.unseen < 0:
            raise ValueError(f"unseen: got {self.unseen}, expected 0 or more cameras")

    def length(self, own: int) -> int:
        """How many steps the student of an expert learns that itself was given `own`."""
        return self.steps or (own if self.from_scratch else max(1, round(CONTINUED * own)))


class Teacher:
    """A mixture's pictures, and the gates of the expert that it teaches, rendered once."""

    def __init__(self, mixture: Mixture, expert: str, rig: Rig, cache: PictureCache) -> None:
        """`rig`: the cameras that the numbers below are of, on the device of `mixture`."""
        self.mixture, self.rig = mixture, rig
        self.number = mixture.names.index(expert)
        self.kept = KeptPictures(cache)

    def picture(self, camera: int, frame: int) -> Float[Tensor, "H W 3"]:
        """The mixture from `camera` at `frame`."""
        return self._at(camera, frame)[..., :3]

    def gate(self, camera: int, frame: int) -> Float[Tensor, "H W"]:
        """The share of the expert that is taught."""
        return self._at(camera, frame)[..., 3]

    @torch.no_grad()
    def _at(self, camera: int, frame: int) -> Float[Tensor, "H W 4"]:
        return self.kept.at(camera, frame, self.mixture.device, lambda: self._make(camera, frame))[0]

    def _make(self, camera: int, frame: int) -> Float[Tensor, "1 H W 4"]:
        place = self.rig.cameras[camera].to(self.mixture.device)
        shown = self.mixture.render(place, self.rig.timeline.t(frame))
        return torch.cat([shown.picture, shown.gates[self.number][..., None]], dim=-1)[None]


@dataclass(frozen=True)
class Distilled(Objective):
    """The photo where the router trusts the expert, the mixture elsewhere; between the cameras the mixture alone."""

    teacher: Teacher
    filmed: int
    """Cameras from this number on are unseen."""
    photo_share: float
    ssim_weight: float

    def loss(
        self, picture: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"], camera: int, frame: int
    ) -> Float[Tensor, ""]:
        if camera >= self.filmed:
            return photometric(picture, photo, self.ssim_weight)
        mixture, gate = self.teacher.picture(camera, frame), self.teacher.gate(camera, frame)
        return distillation(picture, photo, mixture, gate, self.photo_share, self.ssim_weight)
