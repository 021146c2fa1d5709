"""DataConfig: which data set, and what of it is used how."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ResizeFilter = Literal["area", "bilinear", "lanczos"]
ColorMatrix = Literal["auto", "bt601", "bt709"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A data set on disk and the choices that make a Scene of it."""

    path: Path
    """The data set's folder."""
    format: str = "n3v"
    """How the folder is laid out: a name in `moegs.data.FORMATS`."""
    start: int = 0
    """First frame used."""
    end: int | None = None
    """First frame no longer used; None: all that the cameras have."""
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
    """Of frame folders; a video knows its own."""
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """RGB in [0, 1] behind everything."""
    points: Literal["auto", "file", "triangulation", "none"] = "auto"
    """Where training starts; auto: from the data set's file, or else by triangulation."""
    points_file: Path | None = None
    """A .npz with `xyz` and `rgb`, or a .ply; None: the data set's own."""
    random_points: int = 0
    """So many more, spread over what the training cameras see between near and far, at random times."""
    seed: int = 0
    """Of the random points."""
    cache: Literal["auto", "memory", "disk"] = "auto"
    """Where decoded frames stay; auto: in memory if they fit the budget, or else on disk."""
    memory_gb: float = 4.0
    """Budget of the cache in memory, 10^9 bytes."""
    disk_gb: float = 100.0
    """Budget of the cache folder, 10^9 bytes; what was used longest ago goes first."""
    cache_dir: Path | None = None
    """None: `moegs` in the user's cache folder."""

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise ValueError(f"start, end: got {self.start} and {self.end}, expected 0 <= start < end")
        if self.downscale < 1:
            raise ValueError(f"downscale: got {self.downscale}, expected 1 or more")
        if not 0 < self.fps < float("inf"):
            raise ValueError(f"fps: got {self.fps:g}, expected more than 0")
        if not all(0 <= channel <= 1 for channel in self.background):
            raise ValueError(f"background: got {self.background}, expected RGB in [0, 1]")
        if self.random_points < 0:
            raise ValueError(f"random_points: got {self.random_points}, expected 0 or more")
        if self.points == "none" and not self.random_points:
            raise ValueError("points: none, and random_points is 0: there is nothing to start from; set one of them")
        if self.memory_gb <= 0 or self.disk_gb <= 0:
            raise ValueError(f"memory_gb, disk_gb: got {self.memory_gb:g}, {self.disk_gb:g}, expected more than 0")
