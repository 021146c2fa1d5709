"""Small data sets written to disk, in the layout of Neural 3D Video."""

import subprocess
from pathlib import Path

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

WIDTH, HEIGHT = 32, 24
NEAR, FAR = 1.0, 5.0


def poses(cameras: int) -> ndarray:
    """Rows of `poses_bounds.npy`: cameras along the x axis that look along +z, with -y upwards (OpenCV's axes).

    In the file's columns that is down +y, right +x, backward -z.
    """
    rows = np.zeros((cameras, 17))
    for number in range(cameras):
        center = [0.1 * number, 0.0, 0.0]
        matrix = np.column_stack([[0, 1, 0], [1, 0, 0], [0, 0, -1], center, [2 * HEIGHT, 2 * WIDTH, 60.0]])
        rows[number] = [*matrix.ravel(), NEAR, FAR]
    return rows


def frame(camera: int, number: int) -> UInt8[ndarray, "H W 3"]:
    """A picture that tells which one it is: flat, red by camera and green by frame."""
    return np.broadcast_to(np.uint8([10 * camera, 10 * number, 50]), (HEIGHT, WIDTH, 3))


def write_folders(root: Path, cameras: int = 3, frames: int = 4, inner: str = "cam{:02}") -> Path:
    """A data set of picture folders, with points that all cameras see."""
    for camera in range(cameras):
        folder = root / inner.format(camera)
        folder.mkdir(parents=True)
        for number in range(frames):
            Image.fromarray(frame(camera, number)).save(folder / f"{number:04}.png")
    np.save(root / "poses_bounds.npy", poses(cameras))
    write_points(root / "points_0000.npz")
    return root


def write_points(path: Path, count: int = 20) -> None:
    """Points before the cameras, red."""
    xyz = np.random.default_rng(0).uniform([-0.2, -0.2, 2.0], [0.2, 0.2, 4.0], (count, 3))
    np.savez(path, xyz=xyz, rgb=np.tile(np.uint8([255, 0, 0]), (count, 1)))


def write_video(path: Path, planes: bytes, pixel_format: str, *options: str, rate: int = 30) -> None:
    """Raw `planes` of WIDTH x HEIGHT pictures as a lossless H.264 video."""
    size = f"{WIDTH}x{HEIGHT}"
    given = ["-f", "rawvideo", "-pix_fmt", pixel_format, "-s", size, "-r", str(rate), "-i", "-"]
    lossless = ["-c:v", "libx264", "-qp", "0", "-pix_fmt", pixel_format, *options, str(path)]
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *given, *lossless], input=planes, check=True)


def grey_planes(levels: list[int], chroma: tuple[int, int] = (128, 128)) -> bytes:
    """One flat yuv420p picture per luma level."""
    cb, cr = (np.full((HEIGHT // 2, WIDTH // 2), value, dtype=np.uint8).tobytes() for value in chroma)
    return b"".join(np.full((HEIGHT, WIDTH), level, dtype=np.uint8).tobytes() + cb + cr for level in levels)


def write_grey_videos(root: Path, levels: list[int], *options: str, chroma: tuple[int, int] = (128, 128)) -> Path:
    """A data set of one training camera and one held out, with flat grey frames of these luma levels."""
    root.mkdir(exist_ok=True)
    for camera in range(2):
        planes = grey_planes(levels, chroma)
        write_video(root / f"cam{camera:02}.mp4", planes, "yuv420p", *options)
    np.save(root / "poses_bounds.npy", poses(2))
    write_points(root / "points_0000.npz")
    return root
