"""Which frames are used, and when they were filmed: from the takes of a recording to one timeline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from moegs.data.config import DataConfig
from moegs.data.recording import Take
from moegs.timeline import Timeline

SAME = 6
"""Times that agree to so many decimals are one frame: files are written with few."""


@dataclass(frozen=True)
class Schedule:
    """The timeline of a scene, and where in its footage each camera has the photo of each frame."""

    timeline: Timeline
    takes: tuple[Take, ...]
    """Those that have any photo on it."""
    pictures: tuple[dict[int, int], ...]
    """Per take: from the timeline's frame to the footage's."""

    @property
    def seen(self) -> tuple[tuple[int, ...], ...] | None:
        """The frames that each camera has a photo of; None where every camera has all."""
        if all(len(own) == self.timeline.frames for own in self.pictures):
            return None
        return tuple(tuple(own) for own in self.pictures)


def schedule(takes: Sequence[Take], config: DataConfig, published: int | None) -> Schedule:
    """The frames that `config` asks for; `published`: how many are used where it does not say.

    Raises ValueError when a camera lacks one of them, or the pictures have several sizes.
    """
    _check_sizes(takes, config)
    fps = takes[0].footage.fps or config.fps
    if any(take.times is not None for take in takes):
        return _own_times(takes, config, fps, published)
    frames = _in_step(takes, config, published)
    own = dict(enumerate(frames))
    return Schedule(Timeline(len(frames), fps), tuple(takes), tuple(own for _ in takes))


def listed(names: Iterable[str], most: int = 20) -> str:
    """`names` with commas, of many only the first."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _check_sizes(takes: Sequence[Take], config: DataConfig) -> None:
    sizes = {(take.footage.width, take.footage.height): take.name for take in takes}
    if len(sizes) > 1:
        told = listed((f"{width}x{height} ('{name}')" for (width, height), name in sizes.items()), most=3)
        raise ValueError(f"{config.path}: pictures of different sizes: {told}; give all cameras one size")


def _in_step(takes: Sequence[Take], config: DataConfig, published: int | None) -> range:
    """The frames that are used, which every camera has."""
    counts = {take.name: take.footage.frames for take in takes}
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    end = config.end
    if end is None:
        end = counts[most] if published is None else min(published, counts[most])
    if counts[fewest] < end:
        others = f"; '{most}' has {counts[most]}" if counts[most] > counts[fewest] else ""
        raise ValueError(
            f"{config.path}: camera '{fewest}' has {counts[fewest]} frames, but {end} are asked for{others}; "
            f"set data.end to {counts[fewest]} or add frames"
        )
    _check_start(config, end)
    return range(config.start, end)


def _own_times(takes: Sequence[Take], config: DataConfig, fps: float, published: int | None) -> Schedule:
    """The times of all pictures make the timeline; a camera has those frames that it has pictures of."""
    moments = {round(t, SAME): t for take in takes for t in take.times or ()}
    end = published if config.end is None else config.end
    if config.end is not None and len(moments) < config.end:
        raise ValueError(
            f"{config.path}: there are {len(moments)} different times, but {config.end} frames are asked for; "
            f"set data.end to {len(moments)} or less"
        )
    keys = sorted(moments)[:end]
    _check_start(config, len(keys))
    keys = keys[config.start :]
    frames = {key: frame for frame, key in enumerate(keys)}
    used: list[Take] = []
    pictures: list[dict[int, int]] = []
    for take in takes:
        places = zip(take.times or (), take.pictures or range(take.footage.frames), strict=True)
        own = {frames[round(t, SAME)]: place for t, place in places if round(t, SAME) in frames}
        if own:
            used.append(take)
            pictures.append(own)
    return Schedule(Timeline(len(keys), fps, tuple(moments[key] for key in keys)), tuple(used), tuple(pictures))


def _check_start(config: DataConfig, end: int) -> None:
    if config.start >= end:
        raise ValueError(f"{config.path}: data.start is {config.start}, but there are {end} frames; set it below")
