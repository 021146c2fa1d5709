"""moegs train: configurations to trained mixtures."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from moegs.cli.repeated import Repeated, joined
from moegs.lines import one_line
from moegs.program import resumable
from moegs.runs import RunFolder
from moegs.training import Sitting

if TYPE_CHECKING:
    from moegs.training import TrainConfig


def train(
    configs: Positional[Annotated[tuple[Path, ...], arg(metavar="CONFIG...")]],
    /,
    out: Path,
    set: Repeated[str] = (),
    budget: float = 1.0,
    ray: Annotated[tuple[str, ...] | None, arg(metavar="[ADDRESS]")] = None,
    run: OmitArgPrefixes[Sitting] = Sitting(),
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
        place: scaled(files.load(TrainConfig, path, joined(set, "--set")), budget).resolved(path.parent, cache_dir)
        for place, path in zip(places, configs, strict=True)
    }
    if not runs:
        raise ValueError("train: no configuration; give one such as configs/demo.yaml")
    if len(runs) < len(configs):
        raise ValueError(f"train: {len(configs)} configurations, but {len(runs)} names; give each its own")
    if ray is not None and len(ray) > 1:
        raise ValueError(f"--ray {' '.join(ray)}: give one address at most, and CONFIG before it")
    with resumable(), show() as on_event:
        if ray is None:
            train_here(runs, on_event, run)
        else:
            cluster.train_all(runs, next(iter(ray), None), on_event, run)
    for place, settings in runs.items():
        print("\n".join(map(one_line, _made(settings, RunFolder(place)))))


def _made(settings: "TrainConfig", folder: RunFolder) -> list[str]:
    """What there is to look at, and what is still to come, a line each."""
    from moegs.training.stages import Run

    whole = Run(settings, folder, "cpu")
    jobs = {stage: whole.jobs(stage) for stage in whole.all}
    files = [job.path for stage in jobs if stage != "experts" for job in jobs[stage] if job.path.exists()]
    told = [f"{made}: look at it with: moegs-view {quote(str(made))}" for made in files]
    left = [stage for stage in jobs if not all(job.path.exists() for job in jobs[stage])]
    if left:
        done = ", ".join(stage for stage in jobs if stage not in left) or "nothing"
        told.append(
            f"{folder.path}: {done} finished, still to come: {', '.join(left)}; the same command with --resume and "
            "without --stop-after does the rest"
        )
    return told
