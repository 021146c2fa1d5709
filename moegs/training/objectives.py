"""Objectives: what the picture of an expert that trains is to be like."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from moegs.losses import photometric


class Objective(ABC):
    """What an expert's picture is to be like."""

    @abstractmethod
    def loss(
        self, picture: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"], camera: int, frame: int
    ) -> Float[Tensor, ""]:
        """How far `picture` is from it, at the rig's camera number `camera` and at `frame`, where `photo` was taken."""


@dataclass(frozen=True)
class Photometric(Objective):
    """The photo, and nothing else."""

    ssim_weight: float

    def loss(
        self, picture: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"], camera: int, frame: int
    ) -> Float[Tensor, ""]:
        return photometric(picture, photo, self.ssim_weight)
