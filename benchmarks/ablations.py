"""What each part of the experts' recipes is worth: python benchmarks/ablations.py --data DIR [--out FILE]

Single experts at 160x120 with one part switched off, against all parts on, for 1500 steps and two seeds, on the room of
the tests and on the scenes given by --data (any format that moegs reads; --format names it). Two runs at a time, one
thread each. A finished run is a line of JSON in --out; run again to go on where it was stopped, or to see the table of
docs/results.md. Scenes are told apart by the names of their folders.
--only picks kinds or "kind/part" rows, --steps shortens a trial.
"""

import argparse
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moegs import checkpoint, config
from moegs.data import DataConfig, load_scene
from moegs.training import Sitting, TrainConfig, TrainingError, train
from moegs.training.loop import OnEvent
from moegs.training.progress import show
from moegs.training.workers import run_side_by_side

HERE = Path(__file__).parent
ROOM = HERE.parent / "tests" / "assets" / "room"
WIDTH = 160
ALL_ON = "all on"
PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "hexplane": {
        "coarse stage": ("expert.coarse_steps=0",),
        "fine stage anew": ("expert.fine_restarts=false",),
        "plane smoothness": ("expert.planes.smoothness=0.0",),
        "time regularisers": ("expert.planes.time_smoothness=0.0", "expert.planes.time_sparsity=0.0"),
        "batch of 2": ("sampling.batch=1",),
        "L1 alone": ("ssim_weight=0.2",),
    },
    "embedding": {
        "growing rows": ("expert.fine_steps=0",),
        "annealing": ("expert.motion_steps=0", "expert.shape_start=0", "expert.shape_steps=0"),
        "neighbours": ("expert.neighbour_weight=0.0",),
        "camera offsets": ("expert.rates.offsets.start=0.0",),
        "loss-guided frames": ("sampling={kind: shuffled}", "held_ssim=0.0"),
        "SSIM on held frames": ("held_ssim=0.0",),
    },
    "polynomial": {
        "guided sampling": ("expert.guided=null",),
        "settled turns": ("expert.turns=null",),
        "box": ("expert.box_step=null",),
        "fresh centres": ("expert.fresh_centers=false",),
        "two cameras a frame": ("sampling={kind: shuffled, batch: 2}",),
        "opacity reset": ("density.reset_every=null",),
        "growing rounds without pruning": ("density.prune_while_growing=true",),
    },
    "keyframe": {
        "time growth": ("expert.growth=null",),
        "promotion": ("expert.promotion=null",),
        "tidying": ("expert.tidying=null",),
        "error pruning": ("expert.tidying.errors_start=100000",),
        "displacement regulariser": ("expert.displacement_weight=0.0",),
        "motion regulariser": ("expert.motion_weight=0.0",),
        "random background": ("random_background=false",),
        "RAdam": ("optimizer=adam",),
    },
}
"""Of each kind: what switches each part off."""


@dataclass(frozen=True)
class Row:
    """One run."""

    scene: Path
    format: str
    kind: str
    part: str
    """Which is off, or ALL_ON."""
    seed: int
    steps: int

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """What tells a finished run."""
        return self.scene.name, self.kind, self.part, self.seed, self.steps


@dataclass(frozen=True)
class Run:
    """One row as a job for a process of its own."""

    row: Row
    out: Path

    def __call__(self, on_event: OnEvent) -> None:
        """Trains, scores on the held-out cameras, and writes the line."""
        row = self.row
        name = f"{row.scene.name}-{row.kind}-{row.part}-{row.seed}-{row.steps}".replace(" ", "_")
        folder = self.out.with_suffix(".runs") / name
        found: dict[str, object] = {}
        try:
            done = checkpoint.load(train(settings(row), HERE, folder, sitting=Sitting(resume=True)))
            score = done.scores["mixture"]
            found = {"psnr": score["psnr"], "ssim": score["ssim"], "gaussians": len(done.mixture.members[0])}
            found["seconds"] = round(done.provenance["seconds"], 1)
        except TrainingError as error:
            found = {"failed": str(error)}
        scene, kind, part, seed, steps = row.key
        line = {"scene": scene, "kind": kind, "part": part, "seed": seed, "steps": steps, **found}
        with self.out.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        shutil.rmtree(folder)


def settings(row: Row) -> TrainConfig:
    """The config of a run: the base with one part off, at 160 pixels across."""
    kinds = list(PARTS)
    off = PARTS[row.kind].get(row.part, ())
    number = kinds.index(row.kind)
    data = DataConfig(path=row.scene, format=row.format)
    width = load_scene(data, with_points=False).rig.cameras[0].width
    overrides = [
        f"data.path={row.scene.resolve()}",
        f"data.format={row.format}",
        f"data.downscale={max(1, round(width / WIDTH))}",
        f"seed={row.seed}",
        f"save_every={row.steps}",
        f"experts[{number}].steps={row.steps}",
        *(f"experts[{number}].{override}" for override in off),
    ]
    whole = config.load(TrainConfig, HERE / "ablations.yaml", overrides)
    plain = config.dump(whole)
    plain["experts"] = [plain["experts"][number]]
    return config.build(TrainConfig, plain, "ablations.yaml")


def rows(scenes: Sequence[tuple[Path, str]], only: Sequence[str], seeds: int, steps: int) -> Iterator[Row]:
    """All runs that are asked for."""
    for scene, layout in scenes:
        for kind, parts in PARTS.items():
            for part in (ALL_ON, *parts):
                if not only or kind in only or f"{kind}/{part}" in only:
                    yield from (Row(scene, layout, kind, part, seed, steps) for seed in range(seeds))


def finished(out: Path) -> dict[tuple, dict]:
    """The lines of `out` by the keys of their rows."""
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    return {tuple(line[key] for key in ("scene", "kind", "part", "seed", "steps")): line for line in lines}


def table(wanted: Sequence[Row], found: dict[tuple, dict]) -> str:
    """What each part is worth: the PSNR with all on minus that without it, per seed, in Markdown."""
    psnrs: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    for row in wanted:
        line = found.get(row.key, {})
        if "psnr" in line:
            psnrs[row.scene.name, row.kind, row.part][row.seed] = line["psnr"]
    text = ["| scene | expert | part | PSNR | what it is worth, per seed | mean |", "|" + " --- |" * 6]
    for (scene, kind, part), ours in psnrs.items():
        mean = sum(ours.values()) / len(ours)
        whole = psnrs.get((scene, kind, ALL_ON), {})
        gains = [whole[seed] - ours[seed] for seed in ours if seed in whole]
        each = ", ".join(f"{gain:+.2f}" for gain in gains)
        both = ("", "") if part == ALL_ON or not gains else (each, f"{sum(gains) / len(gains):+.2f}")
        text.append(f"| {scene} | {kind} | {part} | {mean:.2f} | {both[0]} | {both[1]} |")
    failed = [found[row.key] for row in wanted if "failed" in found.get(row.key, {})]
    text += [f"{line['kind']} without {line['part']}, seed {line['seed']}: {line['failed']}" for line in failed]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", default=[], help="one more scene; may be repeated")
    parser.add_argument("--format", default="n3v", help="of the scenes given by --data")
    parser.add_argument("--out", type=Path, default=HERE / "ablations.jsonl")
    parser.add_argument("--only", nargs="+", default=[], metavar="KIND[/PART]", help="rows to run; all by default")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--parallel", type=int, default=2, help="runs at a time, one thread each")
    arguments = parser.parse_args()
    known = {name for kind, parts in PARTS.items() for name in (kind, *(f"{kind}/{part}" for part in (ALL_ON, *parts)))}
    if unknown := [name for name in arguments.only if name not in known]:
        sys.exit(f"--only {unknown[0]}: no such row; there are {', '.join(sorted(known))}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    scenes = [(ROOM, "n3v"), *((path, arguments.format) for path in arguments.data)]
    wanted = list(rows(scenes, arguments.only, arguments.seeds, arguments.steps))
    done = finished(arguments.out)
    jobs = [Run(row, arguments.out) for row in wanted if row.key not in done]
    print(f"{len(wanted)} runs, {len(wanted) - len(jobs)} of them finished before", file=sys.stderr)
    try:
        with show() as on_event:
            run_side_by_side(jobs, arguments.parallel, threads=1, on_event=on_event)
    except ValueError as error:
        sys.exit(str(error))
    print(table(wanted, finished(arguments.out)))


if __name__ == "__main__":
    main()
