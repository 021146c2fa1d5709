"""What a training run tells while it runs. Who started it decides whether to print or to show."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from moegs.runs import StageName


@dataclass(frozen=True)
class Begun:
    """A stage of the run begins."""

    name: StageName
    jobs: int
    """How many of its jobs are left in which something learns: none in the stage `router` of one expert alone."""


@dataclass(frozen=True)
class Progress:
    """Where one phase (an expert or a router) stands."""

    name: str
    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    loss: float
    """Mean since the last report."""
    psnr: float
    """Of the training pictures, mean since the last report, dB."""
    gaussians: int
    seconds: float
    """Spent on this phase so far, earlier sittings included."""


@dataclass(frozen=True)
class Snapshot:
    """What a phase looks like so far can be seen; a checkpoint, replaced by the next one."""

    name: str
    step: int
    path: Path
    seconds: float
    """That the phase spent on writing it."""


@dataclass(frozen=True)
class Preparing:
    """The data are being made ready: decoded, or triangulated."""

    what: str
    done: int
    of: int


@dataclass(frozen=True)
class Working:
    """A phase does what it needs before or after its steps."""

    name: str
    what: str
    """In the plural: that many of these are done."""
    done: int
    of: int


@dataclass(frozen=True)
class Told:
    """Something that whoever started the run should know of its data, in one line."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Compiling:
    """A phase compiles its kernels before its first step, which takes long the first time on a machine."""

    name: str


@dataclass(frozen=True)
class Resumed:
    """A phase goes on from where an earlier sitting left it."""

    name: str
    step: int


@dataclass(frozen=True)
class Skipped:
    """A phase was finished before; its file is `path`."""

    name: str
    path: Path


@dataclass(frozen=True)
class Scored:
    """A phase was measured on cameras that did not train it."""

    name: str
    split: str
    """Which cameras: "test", or "validation" for training cameras kept from it."""
    psnr: float
    """Mean over their pictures, dB."""


@dataclass(frozen=True)
class Saved:
    """A phase is finished; its file is `path`."""

    name: str
    path: Path


@dataclass(frozen=True)
class Failed:
    """A phase cannot go on; the run does without what waits for it, where others run beside it."""

    name: str
    reason: str
    """In one line."""


Event = (
    Begun | Preparing | Working | Told | Compiling | Progress | Snapshot | Resumed | Skipped | Scored | Saved | Failed
)


def working(name: str, what: str, of: int, on_event: Callable[[Event], None]) -> Callable[[int, int], None]:
    """Hears how many of `what` the phase `name` has done, and says so; at once that it begins with `of` of them."""
    on_event(Working(name, what, 0, of))
    return lambda done, of: on_event(Working(name, what, done, of))


def named(on_event: Callable[[Event], None], prefix: str) -> Callable[[Event], None]:
    """Tells `on_event`, with `prefix` before every phase's name: for several runs at once."""

    def tell(event: Event) -> None:
        match event:
            case Preparing():
                on_event(replace(event, what=f"{prefix}: {event.what}"))
            case Told():
                on_event(replace(event, text=f"{prefix}: {event.text}"))
            case Begun():
                on_event(event)
            case _:
                on_event(replace(event, name=f"{prefix}/{event.name}"))

    return tell
