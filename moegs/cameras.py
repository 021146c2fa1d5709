"""Camera: one pinhole view, and the paths a camera takes."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """One pinhole view. OpenCV axes: x right, y down, z forward; pixel centres at .5."""

    viewmat: Float[Tensor, "4 4"]
    """World to camera, rigid."""
    K: Float[Tensor, "3 3"]
    """Intrinsics in pixels, with the true principal point."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""

    def __post_init__(self) -> None:
        if self.viewmat.shape != (4, 4) or self.K.shape != (3, 3):
            shapes = f"{list(self.viewmat.shape)} and {list(self.K.shape)}"
            raise ValueError(f"camera: got viewmat and K of {shapes}, expected [4, 4] and [3, 3]")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera: got a picture of {self.width}x{self.height}; both sides must be at least 1")

    @property
    def center(self) -> Float[Tensor, " 3"]:
        """Where it stands, world units."""
        return -self.viewmat[:3, :3].T @ self.viewmat[:3, 3]

    @property
    def forward(self) -> Float[Tensor, " 3"]:
        """Unit direction it looks in, world axes."""
        return self.viewmat[2, :3]

    @property
    def up(self) -> Float[Tensor, " 3"]:
        """Unit direction that is up in its picture, world axes."""
        return -self.viewmat[1, :3]

    def depths(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        """How far `points` lie along the direction it looks in, world units; negative behind it."""
        return (points * self.forward).sum(1) + self.viewmat[2, 3]

    @property
    def vertical_fov(self) -> float:
        """Angle between the picture's upper and lower edge as if the principal point were central, radians."""
        return 2 * math.atan(self.height / (2 * float(self.K[1, 1])))

    def resized(self, width: int, height: int) -> "Camera":
        """The same view in `width` x `height` pixels."""
        scale = self.K.new_tensor([[width / self.width], [height / self.height], [1.0]])
        return replace(self, K=self.K * scale, width=width, height=height)

    def fitted(self, width: int, height: int) -> "Camera":
        """The view whose picture of `width` x `height` holds this one whole, centred, with square pixels kept.

        Where the proportions differ, more of the scene is seen on two sides.
        """
        scale = min(width / self.width, height / self.height)
        K = self.K.clone()
        K[:2] *= scale
        K[0, 2] += (width - scale * self.width) / 2
        K[1, 2] += (height - scale * self.height) / 2
        return replace(self, K=K, width=width, height=height)

    def to(self, device: torch.device | str) -> "Camera":
        """The same view with its tensors on `device`."""
        return replace(self, viewmat=self.viewmat.to(device), K=self.K.to(device))

    def rays(self) -> Float[Tensor, "H W 3"]:
        """Unit world-space directions through the pixel centres."""
        x = (torch.arange(self.width, dtype=self.K.dtype, device=self.K.device) + 0.5 - self.K[0, 2]) / self.K[0, 0]
        y = (torch.arange(self.height, dtype=self.K.dtype, device=self.K.device) + 0.5 - self.K[1, 2]) / self.K[1, 1]
        grid = torch.stack(
            [x.expand(self.height, -1), y[:, None].expand(-1, self.width), torch.ones_like(x).expand(self.height, -1)],
            dim=-1,
        )
        return torch.nn.functional.normalize(grid @ self.viewmat[:3, :3], dim=-1)


def pinhole(width: int, height: int, focal: float, viewmat: Float[Tensor, "4 4"] | None = None) -> Camera:
    """A camera with square pixels and a central principal point, at the origin unless `viewmat` says otherwise."""
    K = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return Camera(torch.eye(4) if viewmat is None else viewmat, K, width, height)


def look_at(center: Float[Tensor, " 3"], target: Float[Tensor, " 3"], up: Float[Tensor, " 3"]) -> Float[Tensor, "4 4"]:
    """The world-to-camera matrix of a camera at `center` that looks at `target`, with `up` upwards in its picture.

    Raises ValueError when `target` is `center`, or `up` points along the line between them.
    """
    forward = target - center
    right = torch.linalg.cross(forward, up)
    if forward.norm() < 1e-9 or right.norm() < 1e-6 * forward.norm() * up.norm():
        raise ValueError("look_at: the target must lie apart from the camera, and not straight up or down from it")
    forward, right = forward / forward.norm(), right / right.norm()
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    viewmat = torch.eye(4, dtype=center.dtype, device=center.device)
    viewmat[:3, :3], viewmat[:3, 3] = rotation, -rotation @ center
    return viewmat


def turntable(
    camera: Camera, target: Float[Tensor, " 3"], up: Float[Tensor, " 3"], degrees: float, count: int
) -> list[Camera]:
    """`camera` carried around the axis through `target` along `up`, in `count` equal steps over `degrees`.

    The first is `camera` itself; a full turn closes without a repeated view. Positive degrees turn it to its right.
    """
    return [turned(camera, target, up, degrees * step / count) for step in range(count)]


def turned(camera: Camera, target: Float[Tensor, " 3"], up: Float[Tensor, " 3"], degrees: float) -> Camera:
    """`camera` carried around the axis through `target` along `up`; positive `degrees` to its right."""
    axis, angle = up / up.norm(), math.radians(degrees)
    cross = torch.zeros(3, 3, dtype=axis.dtype, device=axis.device)
    cross[0, 1], cross[0, 2], cross[1, 2] = -axis[2], axis[1], -axis[0]
    cross = cross - cross.T
    turn = torch.eye(3).to(axis) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross  # Rodrigues
    viewmat = camera.viewmat.clone()
    viewmat[:3, :3] = camera.viewmat[:3, :3] @ turn.T
    viewmat[:3, 3] = -viewmat[:3, :3] @ (target + turn @ (camera.center - target))
    return replace(camera, viewmat=viewmat)
