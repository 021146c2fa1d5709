"""Where in a data set's folder the frames of each camera lie."""

import re
from collections.abc import Callable
from pathlib import Path

from moegs.data import folder, video
from moegs.data.config import DataConfig
from moegs.data.folder import open_folder, open_pictures, pictures_in
from moegs.data.footage import Footage
from moegs.data.video import open_video

Wanted = Callable[[str], bool]
"""Whether a name is that of a camera."""

LAYOUTS = "a video 'NAME.mp4', a folder of frames 'NAME/0000.png', or a folder per frame '0000/NAME.png'"


def footage(config: DataConfig, wanted: Wanted) -> dict[str, Footage]:
    """What the cameras filmed whose names are `wanted`, by name, sorted.

    Videos (`NAME.mp4`, also below `videos/`), or else folders of numbered pictures (`NAME/`, `NAME/images/`, also below
    `images/` or `frames/`), or else numbered folders with a picture of each camera (`0000/NAME.png`, also below
    `frames/`). Videos come first: folders beside them are somebody's copies of their frames.
    Raises ValueError when `config.path` is no folder, or what is found there is damaged.
    """
    if not config.path.is_dir():
        raise ValueError(f"{config.path}: no such folder; set data.path to the data set's folder")
    for place in (config.path, config.path / "videos"):
        if found := _videos(place, wanted):
            return {name: open_video(path, config.color_matrix) for name, path in found.items()}
    for place in (config.path / "images", config.path / "frames", config.path):
        if found := _folders(place, wanted):
            return {name: open_folder(path, config.background) for name, path in found.items()}
    for place in (config.path / "frames", config.path):
        if frames := _frame_folders(place):
            return _by_frame(frames, wanted, config)
    return {}


def _videos(place: Path, wanted: Wanted) -> dict[str, Path]:
    files = sorted(place.iterdir()) if place.is_dir() else []
    return {file.stem: file for file in files if file.suffix.lower() in video.SUFFIXES and wanted(file.stem)}


def _folders(place: Path, wanted: Wanted) -> dict[str, Path]:
    inside = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    found = {path.name: path for path in inside if wanted(path.name)}
    return {name: path / "images" if (path / "images").is_dir() else path for name, path in found.items()}


def _frame_folders(place: Path) -> list[Path]:
    """Folders whose names end in a number, in the order of these."""
    numbered = [
        (int(digits[1]), path)
        for path in (place.iterdir() if place.is_dir() else ())
        if path.is_dir() and (digits := re.search(r"(\d+)$", path.name))
    ]
    return [path for _, path in sorted(numbered)]


def _by_frame(frames: list[Path], wanted: Wanted, config: DataConfig) -> dict[str, Footage]:
    """Raises ValueError when a camera's picture is missing in a frame, or a frame in between."""
    numbers = [int(re.sub(r"^.*?(\d+)$", r"\1", path.name)) for path in frames]
    missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
    if missing:
        raise ValueError(
            f"{frames[0].parent}: {len(frames)} folders of frames up to '{frames[-1].name}', but frame {missing[0]} "
            f"is missing; add it or set data.end to {missing[0] - numbers[0]}"
        )
    pictures = {path: {file.stem: file for file in pictures_in(path) if wanted(file.stem)} for path in frames}
    names = sorted(set().union(*pictures.values()))
    for number, (path, there) in enumerate(pictures.items()):
        absent = [name for name in names if name not in there]
        if absent and (config.end is None or number < config.end):
            raise ValueError(
                f"{path}: {len(there)} of {len(names)} cameras have this frame, missing '{absent[0]}'; add its picture "
                f"or set data.end to {number}"
            )
    used = list(pictures.values())[: config.end]
    return {name: open_pictures(frames[0].parent, [there[name] for there in used], config.background) for name in names}


def picture(stem: Path) -> Path | None:
    """The picture file `stem`, with its suffix or without; None where there is none."""
    choices = [stem, *(stem.with_name(stem.name + suffix) for suffix in folder.SUFFIXES)]
    return next((path for path in choices if path.is_file()), None)
