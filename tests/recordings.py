"""Small data sets written to disk, in every layout that is read."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from jaxtyping import Float64, UInt8
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


def read_video(path: Path) -> list[ndarray]:
    """All frames of the video at `path`, blue before red."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (got := video.read())[0]:
        frames.append(got[1])
    video.release()
    return frames


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


@dataclass(frozen=True)
class View:
    """A camera as geometry: where it stands, its axes in the world, and its lens."""

    center: Float64[ndarray, " 3"]
    right: Float64[ndarray, " 3"]
    down: Float64[ndarray, " 3"]
    forward: Float64[ndarray, " 3"]
    lens: tuple[float, float, float, float]
    """fx, fy, cx, cy, pixels."""

    def pixel(self, point: Float64[ndarray, " 3"]) -> Float64[ndarray, " 2"]:
        """Where the camera shows a point of the world, by definition."""
        x, y, z = (float((point - self.center) @ axis) for axis in (self.right, self.down, self.forward))
        fx, fy, cx, cy = self.lens
        return np.array([fx * x / z + cx, fy * y / z + cy])

    @property
    def viewmat(self) -> Float64[ndarray, "4 4"]:
        """World to camera: x right, y down, z forward."""
        rows = np.stack([self.right, self.down, self.forward])
        return np.block([[rows, -(rows @ self.center)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])

    @property
    def opengl(self) -> Float64[ndarray, "4 4"]:
        """Camera to world: x right, y up, z backward."""
        columns = np.stack([self.right, -self.down, -self.forward, self.center], axis=1)
        return np.concatenate([columns, [[0, 0, 0, 1]]])


def views(count: int = 3, shift: tuple[float, float] = (2.5, -1.5)) -> list[View]:
    """Cameras around the point (0, 0, 3), each turned about all axes, the principal point off centre by `shift`."""
    made = []
    for number in range(count):
        center = np.array([0.8 * number - 0.7, 0.3 * number - 0.2, 0.1 * number])
        forward = np.array([0.0, 0.0, 3.0]) - center
        forward /= np.linalg.norm(forward)
        right = np.cross(np.array([0.1 * number, 1.0, 0.2]), forward)
        right /= np.linalg.norm(right)
        lens = (30.0, 30.0, WIDTH / 2 + shift[0], HEIGHT / 2 + shift[1])
        made.append(View(center, right, np.cross(forward, right), forward, lens))
    return made


def name(camera: int) -> str:
    """Of a camera."""
    return f"cam{camera:02}"


def write_frames(
    root: Path, cameras: int = 3, frames: int = 4, pattern: str = "images/{camera}/{frame:04}.png"
) -> None:
    """A picture of each camera at each frame."""
    for camera in range(cameras):
        for number in range(frames):
            path = root / pattern.format(camera=name(camera), frame=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame(camera, number)).save(path)


def write_n3v(root: Path) -> Path:
    """The made scene in the layout of Neural 3D Video, which has a central principal point."""
    write_frames(root, pattern="{camera}/{frame:04}.png")
    rows = []
    for view in views(shift=(0, 0)):
        matrix = np.column_stack([view.down, view.right, -view.forward, view.center, [HEIGHT, WIDTH, view.lens[0]]])
        rows.append([*matrix.ravel(), NEAR, FAR])
    np.save(root / "poses_bounds.npy", np.array(rows))
    return root


def write_technicolor(root: Path, scene: str = "Lamp", first: int = 7) -> Path:
    """The made scene in the layout of Technicolor."""
    root.mkdir(parents=True)
    lines = ["f cx cy ar sk qw qx qy qz tx ty tz"]
    for view in views():
        quat, shift = quaternion(view.viewmat[:3, :3]), view.viewmat[:3, 3]
        lines.append(" ".join(f"{value:.9f}" for value in (view.lens[0], *view.lens[2:], 1, 0, *quat, *shift)))
    (root / "cameras_parameters.txt").write_text("\n".join(lines) + "\n")
    for camera in range(3):
        for number in range(4):
            Image.fromarray(frame(camera, number)).save(root / f"{scene}_undist_{first + number:05}_{camera:02}.png")
    return root


def quaternion(rotation: Float64[ndarray, "3 3"]) -> list[float]:
    """(w, x, y, z) of a rotation, by SciPy."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return [w, x, y, z]


def write_nerfstudio(root: Path) -> Path:
    """The made scene as one `transforms.json`, a time per picture."""
    write_frames(root)
    lens = dict(zip(("fl_x", "fl_y", "cx", "cy"), views()[0].lens, strict=True))
    entries = [
        {"file_path": f"images/{name(c)}/{n:04}.png", "transform_matrix": view.opengl.tolist(), "time": n / 4}
        for c, view in enumerate(views())
        for n in range(4)
    ]
    contents = {"w": WIDTH, "h": HEIGHT, "camera_model": "OPENCV", "k1": 0.0, **lens, "frames": entries}
    (root / "transforms.json").write_text(json.dumps(contents))
    return root


def write_dnerf(root: Path, train: int = 5, test: int = 2) -> Path:
    """A moving camera with transparent pictures, and another for the test, in the layout of D-NeRF."""
    for split, count in (("train", train), ("test", test), ("val", 1)):
        (root / split).mkdir(parents=True)
        entries = []
        for number, view in enumerate(views(count, shift=(0, 0))):
            pixels = np.full((HEIGHT, WIDTH, 4), [200, 10 * number, 50, 255], dtype=np.uint8)
            pixels[: HEIGHT // 2, :, 3] = 51  # a fifth
            Image.fromarray(pixels).save(root / split / f"r_{number:03}.png")
            pose, t = view.opengl.tolist(), number / max(count - 1, 1)
            entries.append(
                {"file_path": f"./{split}/r_{number:03}", "rotation": 0.1, "time": t, "transform_matrix": pose}
            )
        angle = 2 * np.arctan(WIDTH / (2 * 30.0))
        (root / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": angle, "frames": entries}))
    return root


def write_colmap(root: Path, binary: bool = False) -> Path:
    """The made scene as a COLMAP model with an image of each camera, and folders of frames beside it."""
    write_frames(root)
    model = root / "sparse" / "0"
    model.mkdir(parents=True)
    cameras, images = ["# written for tests"], ["# written for tests"]
    for camera, view in enumerate(views(), start=1):
        cameras.append(f"{camera} PINHOLE {WIDTH} {HEIGHT} {' '.join(map(str, view.lens))}")
        pose = " ".join(f"{v:.12f}" for v in (*quaternion(view.viewmat[:3, :3]), *view.viewmat[:3, 3]))
        images += [f"{camera} {pose} {camera} {name(camera - 1)}.png", ""]
    points = ["1 0.1 0.0 3.0 255 0 0 0.5 1 0 2 0", "2 -0.1 0.1 3.2 0 255 0 0.5", "3 0.0 0.0 2.8 0 0 255 0.5"]
    for file, lines in (("cameras", cameras), ("images", images), ("points3D", points)):
        (model / f"{file}.txt").write_text("\n".join(lines) + "\n")
    if binary:
        import pycolmap

        (model / "points3D.txt").write_text("\n".join(" ".join(line.split()[:8]) for line in points) + "\n")
        pycolmap.Reconstruction(str(model)).write_binary(str(model))
        for file in model.glob("*.txt"):
            file.unlink()
    return root


def write_own(root: Path, pattern: str = "{camera}/{frame:04}.png") -> Path:
    """The made scene as `cameras.json` and frames beside it."""
    write_frames(root, pattern=pattern)
    cameras = [
        {"name": name(number), "width": WIDTH, "height": HEIGHT, "viewmat": view.viewmat.tolist()}
        | dict(zip(("fx", "fy", "cx", "cy"), view.lens, strict=True))
        for number, view in enumerate(views())
    ]
    (root / "cameras.json").write_text(json.dumps({"cameras": cameras}))
    return root
