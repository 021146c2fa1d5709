"""Quaternions (w, x, y, z): product, rotation matrix, slerp."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

SHORTEST = 1e-15
"""Of a quaternion: of a shorter one float32 cannot tell the length, since its square rounds to few digits or to 0."""


def product(a: Float[Tensor, "*b 4"], b: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """The rotation `b` followed by `a` (Hamilton product)."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=-1,
    )


def matrix(quats: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3 3"]:
    """Rotation matrices of quaternions of any length; the zero quaternion rotates nothing."""
    w, x, y, z = normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def directed(quats: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
    """`quats`, with "no rotation" where they are shorter than SHORTEST: a direction in every row."""
    none = quats.detach().square().sum(dim=1, keepdim=True) < SHORTEST**2
    unturned = torch.eye(1, 4, dtype=quats.dtype, device=quats.device)  # made on the device: a list would be waited for
    return torch.where(none, unturned, quats)


def from_matrix(matrices: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 4"]:
    """Unit quaternions of rotation matrices, w >= 0 where it is not tiny (largest component first, after Shepperd)."""
    m = matrices
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    # The squares of 2w, 2x, 2y, 2z: divide by the largest, so that nothing small is divided by.
    squares = torch.stack(
        [1 + trace, *(1 - trace + 2 * m[..., i, i] for i in range(3))],
        dim=-1,
    )
    wx, wy, wz = (m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1])
    xy, xz, yz = (m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1])
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], wx, wy, wz], -1),
            torch.stack([wx, squares[..., 1], xy, xz], -1),
            torch.stack([wy, xy, squares[..., 2], yz], -1),
            torch.stack([wz, xz, yz, squares[..., 3]], -1),
        ],
        dim=-2,
    )
    best = squares.argmax(dim=-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    return normalize(candidates.gather(-2, best).squeeze(-2), dim=-1)


def slerp(a: Float[Tensor, "*b 4"], b: Float[Tensor, "*b 4"], share: float) -> Float[Tensor, "*b 4"]:
    """The unit rotation at `share` of the way from `a` to `b`, along the arc between them as stored.

    As published with Ex4DGS: no flip to the shorter arc, the cosine clamped to 1 - 1e-4, the two weights divided by
    their sum, the blend normalised.
    """
    a, b = normalize(a, dim=-1), normalize(b, dim=-1)
    cosine = (a * b).sum(-1, keepdim=True).clamp(-(1 - 1e-4), 1 - 1e-4)
    angle = torch.acos(cosine).clamp_min(1e-4)
    weight_a, weight_b = torch.sin((1 - share) * angle), torch.sin(share * angle)
    total = weight_a + weight_b
    return normalize(weight_a / total * a + weight_b / total * b, dim=-1)
