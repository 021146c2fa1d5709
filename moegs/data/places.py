"""Where in a data set's folder the frames of each camera lie."""

from collections.abc import Callable
from pathlib import Path

from moegs.data import folder, video
from moegs.data.config import DataConfig
from moegs.data.folder import Folder, in_sequence, number_of, open_folder, open_pictures, pictures_in
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
            films = {name: open_folder(path, config.background, config.end) for name, path in found.items()}
            return _same_start(place, films)
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


def _same_start(place: Path, films: dict[str, Folder]) -> dict[str, Footage]:
    """`films`; raises ValueError when they do not begin with the same frame."""
    firsts = {name: number_of(film.pictures[0]) for name, film in films.items()}
    early, late = (choice(firsts, key=lambda name: firsts[name] or 0) for choice in (min, max))
    if firsts[early] != firsts[late]:
        raise ValueError(
            f"{place}: camera '{late}' begins with frame {firsts[late]}, but '{early}' with frame {firsts[early]}; "
            "give all cameras the same frames"
        )
    return dict(films)


def _frame_folders(place: Path) -> dict[int, Path]:
    """Folders whose names end in a number, by this."""
    inside = [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []
    return {number: path for path in inside if (number := number_of(path)) is not None}


def _by_frame(frames: dict[int, Path], wanted: Wanted, config: DataConfig) -> dict[str, Footage]:
    """Raises ValueError when a camera's picture is missing in a frame, or a frame in between."""
    place = next(iter(frames.values())).parent
    films: dict[str, list[Path]] = {}
    for done, number in enumerate(in_sequence(place, frames, config.end)):
        there = {file.stem: file for file in pictures_in(frames[number]) if wanted(file.stem)}
        films = films or {name: [] for name in there}
        absent = next(
            (name for name in sorted(films.keys() | there.keys()) if name not in there or name not in films), ""
        )
        if absent:
            raise ValueError(
                f"{frames[number]}: not every camera has a picture here and in the frames before, look for '{absent}'; "
                f"add it or set data.end to {done}"
            )
        for name, file in there.items():
            films[name].append(file)
    return {name: open_pictures(place, films[name], config.background) for name in sorted(films)}


def picture(stem: Path) -> Path | None:
    """The picture file `stem`, with its suffix or without; None where there is none."""
    choices = [stem, *(stem.with_name(stem.name + suffix) for suffix in folder.SUFFIXES)]
    return next((path for path in choices if path.is_file()), None)
