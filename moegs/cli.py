"""The command `moegs`: a few thin verbs over the core."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg
from tyro.extras import SubcommandApp

import moegs
from moegs import checkpoint, demo, evaluation, export, reports, rivals, system, tours, views
from moegs.lpips import Range as LpipsRange
from moegs.mixture import Mixture
from moegs.router import MuteRule
from moegs.runs import RunFolder
from moegs.system import Device
from moegs.training import Sitting

app = SubcommandApp()


@dataclass(frozen=True)
class ShotOptions:
    """What to draw; the browser has a control for each."""

    camera: str = "test:0"
    """A camera of the data set: test:0, train:3 or its own name."""
    time: str = "0"
    """A frame number such as 12, or seconds such as 0.4s."""
    view: Annotated[str, arg(help=views.describe())] = "rgb"
    size: str | None = None
    """Of the picture, as 1280x720; the camera's own when left out."""
    mute: tuple[str, ...] = ()
    """Names of experts to leave out."""
    solo: tuple[str, ...] = ()
    """Names of the only experts to keep."""
    mute_rule: MuteRule = "renormalize"
    """A muted expert's share is spread over the others, lost (keep), or given to the next best (reroute)."""
    temperature: float | None = None
    """Divides the router's logits; the router's own when left out."""

    def shot(self, mixture: Mixture) -> views.Shot:
        """The shot of `mixture` that these options describe; raises ValueError for what it does not have."""
        rig = mixture.rig
        camera = rig.cameras[rig.find(self.camera)]
        return views.Shot(
            camera=camera if self.size is None else camera.fitted(*_size(self.size)),
            t=rig.timeline.parse(self.time),
            view=self.view,
            active=self._active(mixture.names),
            mute_rule=self.mute_rule,
            temperature=self.temperature,
        )

    def _active(self, names: tuple[str, ...]) -> tuple[bool, ...] | None:
        for name in (*self.mute, *self.solo):
            if name not in names:
                raise ValueError(f"expert '{name}': this checkpoint has {', '.join(names)}")
        if not self.mute and not self.solo:
            return None
        return tuple(name not in self.mute and (not self.solo or name in self.solo) for name in names)


@dataclass(frozen=True)
class VideoOptions:
    """A video (OUT.mp4, H.264) instead of one picture; outside the arc of the data set's cameras nothing was seen."""

    sway: FlagCreatePairsOff[bool] = False
    """Swing the camera there and back within the arc of the data set's cameras."""
    turntable: float | None = None
    """Degrees to turn around the middle of the scene, such as 360, also where nothing was filmed."""
    seconds: float = 6.0
    """How long the video is."""
    fps: float = 30.0
    """Frames per second of the video."""
    running: bool = False
    """Let time run on from --time, again from the start after the last frame; else it stands still."""

    def tour(self) -> tours.Tour | None:
        """The way of the camera, None for one picture; raises ValueError where two ways are asked for."""
        if self.sway and self.turntable is not None:
            raise ValueError("--sway and --turntable: the camera can go only one way; give one of the two")
        if not self.sway and self.turntable is None:
            return None
        return tours.Tour(self.turntable, self.seconds, self.fps, self.running)


CheckpointPath = Positional[Annotated[Path, arg(metavar="CKPT")]]


@app.command
def render(
    path: CheckpointPath,
    /,
    out: Path,
    shot: OmitArgPrefixes[ShotOptions] = ShotOptions(),
    video: OmitArgPrefixes[VideoOptions] = VideoOptions(),
    device: Device = "auto",
    force: bool = False,
) -> None:
    """Draw one picture of CKPT into OUT (.png), or a video (.mp4): the same pixels as in the browser.

    Args:
        path: A trained mixture.
        out: The file to write; it must not exist unless --force.
        device: Where to compute.
        force: Overwrite OUT.
    """
    _refuse_existing(out, force)
    mixture = _load(path, device).mixture
    wanted = shot.shot(mixture)
    tour = video.tour()
    if tour is None:
        _want_suffix(out, ".png")
        export.write_png(views.draw(mixture, wanted).burnt(), out, wanted.to_json())
        print(f"{out}: {wanted.view}, {wanted.camera.width}x{wanted.camera.height}")
        return
    _want_suffix(out, ".mp4")
    wanted, notes = views.for_video(wanted)
    for note in notes:
        print(note, file=sys.stderr)
    width, height = wanted.camera.width, wanted.camera.height
    shots = views.film(mixture, wanted, tour)
    pictures = (views.draw(mixture, each).burnt() for each in shots)
    with _progress("frames") as advance:
        export.write_video(pictures, out, (width, height), video.fps, lambda done: advance(done, len(shots)))
    print(f"{out}: {wanted.view}, {len(shots)} frames of {width}x{height} at {video.fps:g} fps")


@app.command
def info(
    path: Positional[Annotated[Path | None, arg(metavar="[CKPT]")]] = None,
    /,
    machine: Annotated[bool, arg(name="system")] = False,
    json: Path | None = None,
) -> None:
    """Tell what is inside CKPT (the bundled demo when left out), or with --system what this machine offers.

    Args:
        path: A trained mixture.
        machine: Report Python, torch, CUDA, nvcc, gsplat, numba and their caches instead.
        json: Also write the facts as JSON to this file; - writes JSON alone to standard output.
    """
    if machine:
        facts = system.report()
        reports.tell(json, facts, lambda console: console.print(reports.two_columns(facts)))
        return
    place = demo.path() if path is None else path
    contents = reports.facts_of(place)
    reports.tell(json, contents, lambda console: reports.print_facts(console, place, contents))


@dataclass(frozen=True)
class EvalOptions:
    """What to score, and what to print beside."""

    split: evaluation.Split = "test"
    """Which cameras to score."""
    every: int = 1
    """Score each this many frames."""
    lpips: LpipsRange = "unit"
    """The range in which AlexNet gets the colours: [0, 1] as MoE-GS evaluates (unit), or [-1, 1] (signed)."""
    routers: tuple[Path, ...] = ()
    """Checkpoints, or folders of runs, with other routers over the same experts: scored side by side."""
    per_expert: bool = False
    """Also print where each expert is the best, what gate it gets, and what the router loses there."""


@app.command(name="eval")
def evaluate(
    path: CheckpointPath,
    /,
    data: Path,
    options: OmitArgPrefixes[EvalOptions] = EvalOptions(),
    set: tuple[str, ...] = (),
    cache_dir: Path | None = None,
    device: Device = "auto",
    json: Path | None = None,
) -> None:
    """Score CKPT on its data set: every expert, the mixture, the plain average and the per-pixel oracle.

    Args:
        path: A trained mixture.
        data: The folder of the data set that it was trained on.
        set: The choices of data that it was trained with, as key=value: --set downscale=2 end=150.
        cache_dir: Where decoded frames stay, in place of the user's cache folder.
        device: Where to compute.
        json: Also write the scores as JSON to this file, by camera, frame and picture too; - writes JSON alone to
            standard output.
    """
    from moegs import config as configs
    from moegs.data import DataConfig, load_scene

    protocol = evaluation.Protocol(options.split, options.every, options.lpips)
    choices = {"path": str(data)}
    configs.override(choices, set)
    settings = configs.build(DataConfig, choices, "data")
    if cache_dir is not None:
        settings = replace(settings, cache_dir=cache_dir.absolute())
    mixture = _load(path, device).mixture
    others = rivals.load(options.routers, mixture)
    scene = load_scene(settings, with_points=False)
    with _progress("pictures") as advance:
        rows = evaluation.measure(mixture, scene, protocol, others, advance)
    scores = evaluation.summary(mixture, rows, protocol)
    own = None if mixture.router is None else mixture.router.config.kind
    facts = reports.score_facts(mixture, scores, rows)
    reports.tell(json, facts, lambda console: reports.print_scores(console, scores, own, options.per_expert))


@app.command
def train(
    configs: Positional[Annotated[tuple[Path, ...], arg(metavar="CONFIG...")]],
    /,
    out: Path,
    set: tuple[str, ...] = (),
    budget: float = 1.0,
    ray: Annotated[tuple[str, ...] | None, arg(metavar="[ADDRESS]")] = None,
    sitting: OmitArgPrefixes[Sitting] = Sitting(),
    cache_dir: Path | None = None,
) -> None:
    """Train the mixture that CONFIG (YAML) describes into the folder OUT: the experts one by one, then the router.

    With several configurations, each trains into a folder of its name in OUT.

    Args:
        configs: Training configurations, such as configs/demo.yaml.
        out: The run's folder: configuration, one checkpoint per expert, and mixture.pt at the end.
        set: Changes to the configurations, as key=value: --set router.steps=500 seed=1.
        budget: A share of the full training, such as 0.2: scales the steps of every schedule, the router's too.
        ray: Make each expert a task of the Ray cluster at ADDRESS, or of one started here; needs the extra [ray].
        cache_dir: Where decoded frames and found points stay, in place of the user's cache folder.
    """
    from moegs import config as files
    from moegs.schedules import scaled
    from moegs.training import TrainConfig, cluster, train_here
    from moegs.training.progress import show

    places = [out] if len(configs) == 1 else [out / path.stem for path in configs]
    runs = {
        place: scaled(files.load(TrainConfig, path, set), budget).resolved(path.parent, cache_dir)
        for place, path in zip(places, configs, strict=True)
    }
    if not runs:
        raise ValueError("train: no configuration; give one such as configs/demo.yaml")
    if len(runs) < len(configs):
        raise ValueError(f"train: {len(configs)} configurations, but {len(runs)} names; give each its own")
    if ray is not None and len(ray) > 1:
        raise ValueError(f"--ray {' '.join(ray)}: give one address at most, and CONFIG before it")
    with show() as on_event:
        if ray is None:
            train_here(runs, on_event, sitting)
        else:
            cluster.train_all(runs, next(iter(ray), None), on_event, sitting)
    for place in places:
        made = RunFolder(place).mixture
        print(f"{made}: look at it with: moegs-view {made}" if made.exists() else f"{place}: --resume goes on")


def main() -> None:
    """Runs the command line: exit code 0 done, 1 an expected failure in one line on stderr, 2 wrong usage."""
    if sys.argv[1:] == ["--version"]:
        print(f"moegs {moegs.__version__}")
        return
    try:
        with system.memory_told():
            app.cli(
                prog="moegs", description="Mixtures of dynamic Gaussian-splatting experts: train, score and draw them."
            )
    except ValueError as error:
        print(f"moegs: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("moegs: stopped", file=sys.stderr)
        sys.exit(130)


def _load(path: Path, where: Device) -> checkpoint.Checkpoint:
    return checkpoint.load(path, system.device(where))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"size '{text}': give width and height in pixels, such as 1280x720")
    return int(width), int(height)


def _refuse_existing(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise ValueError(f"{out}: exists already; choose another name or add --force")


def _want_suffix(out: Path, suffix: str) -> None:
    if out.suffix.lower() != suffix:
        raise ValueError(f"{out}: this writes a {suffix} file; name it {out.with_suffix(suffix).name}")


@contextmanager
def _progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, silent when that is not a terminal; the block calls what it gets with (done, of how many)."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
