"""DataConfig: which data set, and what of it is used how."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from moegs import config
from moegs.data.scene import LARGEST

ResizeFilter = Literal["area", "bilinear", "lanczos"]
KEEPING = ("cache", "memory_gb", "disk_gb", "cache_dir")
"""The keys that say where decoded frames stay, and change nothing of what they are."""
PLACES = ("path", "points_file")
"""The keys that name what lies on this machine."""
ColorMatrix = Literal["auto", "bt601", "bt709"]
MOST_POINTS = 100_000_000
"""At random: more than any training holds."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A data set on disk and the choices that make a Scene of it."""

    path: Path
    """The data set's folder."""
    format: str = "auto"
    """How the folder is laid out: a name in `moegs.data.FORMATS`; auto: by the files that lie in it."""
    start: int = 0
    """First frame used."""
    end: int | None = None
    """First frame no longer used; None: as many as published for the format, or else all that the cameras have."""
    skip: tuple[str, ...] = ()
    """Cameras that are left out altogether, by name."""
    test: tuple[str, ...] | None = None
    """Cameras that are held out, by name; None: as published for the format."""
    downscale: int = 1
    """Pictures are made this many times smaller on each side."""
    resize: ResizeFilter = "area"
    """How, where `downscale` is more than 1; papers differ in it by some hundredths of a dB."""
    color_matrix: ColorMatrix = "auto"
    """How a video's YCbCr becomes RGB; auto: as the file says, bt601 where it says nothing."""
    fps: float = 30.0
    """Of pictures; a video knows its own."""
    near: float | None = None
    """Depth at which the scene begins for every camera, world units; None: the data set's own."""
    far: float | None = None
    """Depth at which it ends; None: the data set's own."""
    bounds: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    """Smallest and largest corner of the box that random points fill, world units; None: what the cameras see."""
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """RGB in [0, 1] behind everything, transparent pixels of pictures too."""
    points: Literal["auto", "file", "triangulation", "none"] = "auto"
    """Where training starts; auto: from the data set's file, else by triangulation, else at random."""
    points_file: Path | None = None
    """A .npz with `xyz` and `rgb`, a .ply, or COLMAP's points3D; None: the data set's own."""
    points_at: Literal["first", "every"] = "first"
    """Which frames are triangulated: the first, or every `points_step`th, each giving points with its time."""
    points_step: int = 1
    """Frames from one that is triangulated to the next, with every."""
    random_points: int = 0
    """So many more at random places and times."""
    seed: int = 0
    """Of the random points."""
    cache: Literal["auto", "memory", "disk"] = "auto"
    """Where decoded frames stay; auto: on disk for all processes, or in memory where the disk has no room for them."""
    memory_gb: float = 4.0
    """Budget of the cache in memory, 10^9 bytes for each process."""
    disk_gb: float = 100.0
    """Budget of the cache folder, 10^9 bytes; what was used longest ago goes first."""
    cache_dir: Path | None = None
    """None: `moegs` in the user's cache folder."""

    def choices(self) -> dict[str, Any]:
        """What is not as by default, as plain values: the same wherever the data set lies, so no files and folders."""
        names = (
            f.name for f in fields(self) if f.name not in (*KEEPING, *PLACES) and getattr(self, f.name) != f.default
        )
        return {name: config.dump(getattr(self, name)) for name in names}

    def relative_to(self, base: Path) -> "DataConfig":
        """The same with absolute paths, those that were not being relative to the folder `base`."""
        paths = {name: getattr(self, name) for name in ("path", "points_file", "cache_dir")}
        return replace(self, **{name: (base / path).resolve() for name, path in paths.items() if path is not None})

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise ValueError(f"start, end: got {self.start} and {self.end}, expected 0 <= start < end")
        if self.downscale < 1:
            raise ValueError(f"downscale: got {self.downscale}, expected 1 or more")
        if not 0 < self.fps < float("inf"):
            raise ValueError(f"fps: got {self.fps:g}, expected more than 0")
        if not all(0 <= channel <= 1 for channel in self.background):
            raise ValueError(f"background: got {self.background}, expected RGB in [0, 1]")
        if any(value is not None and not 0 < value <= LARGEST for value in (self.near, self.far)):
            raise ValueError(f"near, far: got {self.near} and {self.far}, expected more than 0, up to {LARGEST:g}")
        if self.near is not None and self.far is not None and self.near >= self.far:
            raise ValueError(f"near, far: got {self.near:g} and {self.far:g}, expected near < far")
        if self.bounds is not None and not all(
            -LARGEST <= low < high <= LARGEST for low, high in zip(*self.bounds, strict=True)
        ):
            raise ValueError(f"bounds: got {self.bounds}, expected the smallest corner and then the largest")
        if self.points_step < 1:
            raise ValueError(f"points_step: got {self.points_step}, expected 1 or more")
        if not 0 <= self.random_points <= MOST_POINTS:
            raise ValueError(f"random_points: got {self.random_points}, expected 0 to {MOST_POINTS}")
        if self.seed < 0:
            raise ValueError(f"seed: got {self.seed}, expected 0 or more")
        if self.points == "none" and not self.random_points:
            raise ValueError("points: none, and random_points is 0: there is nothing to start from; set one of them")
        self._refuse_unheeded()
        if not (0 < self.memory_gb and 0 < self.disk_gb):
            raise ValueError(f"memory_gb, disk_gb: got {self.memory_gb:g}, {self.disk_gb:g}, expected more than 0")

    def _refuse_unheeded(self) -> None:
        """Raises ValueError for a setting that another one makes meaningless."""
        if self.points_file is not None and self.points in ("none", "triangulation"):
            raise ValueError(f"points_file: points is {self.points}, so it is not read; leave one of them out")
        if self.points_at == "every" and (self.points in ("none", "file") or self.points_file is not None):
            raise ValueError(
                "points_at: every, but nothing is triangulated; set points to triangulation, or points_at to first"
            )
        if self.points_step > 1 and self.points_at == "first":
            raise ValueError(f"points_step: got {self.points_step}, but points_at is first; set that to every")
        found = self.points in ("file", "triangulation") or self.points_file is not None
        if self.bounds is not None and found and not self.random_points:
            raise ValueError("bounds: no random points fill them; set random_points, or leave bounds out")
        if twice := [name for name in self.test or () if name in self.skip]:
            raise ValueError(f"test, skip: camera '{twice[0]}' is in both; leave it out of one")
