"""Real spherical harmonics of view-dependent colour, in the basis of 3D Gaussian Splatting."""

import torch
from jaxtyping import Float
from torch import Tensor

BASIS_0 = 0.28209479177387814
BASIS_1 = 0.4886025119029199
BASIS_2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
BASIS_3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)
MAX_DEGREE = 3


def count(degree: int) -> int:
    """How many bases a degree has."""
    return (degree + 1) ** 2


def basis(directions: Float[Tensor, "*b 3"], degree: int) -> Float[Tensor, "*b K"]:
    """The K = (degree + 1)^2 basis functions at unit directions (Inria's order and signs), degree 0 to 3."""
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"spherical harmonics of degree {degree}: degrees 0 to {MAX_DEGREE} are defined here")
    x, y, z = directions.unbind(-1)
    bases = [torch.full_like(x, BASIS_0)]
    if degree >= 1:
        bases += [-BASIS_1 * y, BASIS_1 * z, -BASIS_1 * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        bases += [
            BASIS_2[0] * x * y,
            BASIS_2[1] * y * z,
            BASIS_2[2] * (2 * zz - xx - yy),
            BASIS_2[3] * x * z,
            BASIS_2[4] * (xx - yy),
        ]
        if degree == 3:
            bases += [
                BASIS_3[0] * y * (3 * xx - yy),
                BASIS_3[1] * x * y * z,
                BASIS_3[2] * y * (4 * zz - xx - yy),
                BASIS_3[3] * z * (2 * zz - 3 * xx - 3 * yy),
                BASIS_3[4] * x * (4 * zz - xx - yy),
                BASIS_3[5] * z * (xx - yy),
                BASIS_3[6] * x * (xx - 3 * yy),
            ]
    return torch.stack(bases, dim=-1)


def color(sh: Float[Tensor, "N K 3"], directions: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """The colour seen along unit `directions` from the camera: harmonics + 0.5, clamped at 0 from below."""
    degree = round(sh.shape[1] ** 0.5) - 1
    if degree == 0:
        return (BASIS_0 * sh[:, 0] + 0.5).clamp_min(0)
    return ((basis(directions, degree)[:, :, None] * sh).sum(1) + 0.5).clamp_min(0)


def from_color(rgb: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """The degree-0 coefficient that shows colour `rgb` in [0, 1] from everywhere."""
    return (rgb - 0.5) / BASIS_0
