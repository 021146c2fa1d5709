"""What temporal culling saves: python benchmarks/culling.py [--gaussians N] [--rounds N] [--device cpu]

A polynomial and a keyframe expert in a made room (made.py) of which half are asleep at the time that is drawn: their
deformation and projection with and without those that sleep, timed in turn. Without them in two ways: at a time in the
window that was asked for last, as most frames of a long clip are, and in another window each time. The picture is
compared too.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle

import made
import torch
import tyro

from moegs import program
from moegs.benchmark.frames import View, culling
from moegs.benchmark.timing import Rounds, Timing, in_turn
from moegs.experts import KINDS
from moegs.experts.base import Expert
from moegs.experts.windows import WINDOWS
from moegs.mixture import Mixture
from moegs.rasterize import stages

ASLEEP = 0.5
T = 0.5
LATER = T + 3 / WINDOWS
"""In another window."""
BRIEF = {"log_time_scales": -4.0, "log_time_widths": -3.0}
"""How long those that sleep at T would show, at another time."""


def expert(kind: str, count: int) -> Expert:
    """One of `count` Gaussians, ASLEEP of them far from their time at T; the others show throughout."""
    torch.manual_seed(0)
    config = KINDS[kind]()
    if kind == "keyframe":
        config = replace(config, dynamic_share=0.6)
    found = config.start(made.room(count, 0), made.FRAMES, views=19)
    found.begin_step(100_000)
    rows = found.group(list(found.groups)[-1])  # the group that knows times: of a keyframe expert the dynamic one
    rest = len(next(iter(rows.values())))
    brief = torch.arange(rest) % 1000 < 1000 * ASLEEP * count / rest
    for name in found.groups:
        made.as_trained(found.group(name))
        found.group(name)["logit_opacities"].data.clamp_(min=-3.0)  # else some sleep at all times
    for name, value in BRIEF.items():
        if name in rows:
            lasting = torch.full_like(rows[name], 3.0)
            lasting[brief] = value
            rows[name].data = lasting
    first, last = (0.0, 0.3) if kind == "polynomial" else (1.5, 10.0)  # before T, in the unit of each
    rows["time_centers"].data[brief] = first + (last - first) * torch.rand_like(rows["time_centers"][brief])
    return found.requires_grad_(False)


def project(mixture: Mixture, view: View, times: Sequence[float], culled: bool) -> Callable[[], object]:
    """Deformation and projection, at the next of `times` each time it is called."""
    turns = cycle(times)

    def run() -> object:
        t = next(turns)
        mixture.instants.forget()
        with culling(mixture, culled):
            first, *_ = stages(mixture.layers(mixture.at(t), t), view.camera).values()
        return first()

    return run


def _told(culled: Timing, whole: Timing) -> str:
    """Culled of unculled, and the ratio."""
    told = f"{culled.median:.2f} ms of {whole.median:.2f} ms, ratio {culled.median / whole.median:.2f}"
    if culled.busy is None or whole.busy is None:
        return told
    return f"{told}; CPU time {culled.busy:.2f} ms of {whole.busy:.2f} ms, ratio {culled.busy / whole.busy:.2f}"


@torch.no_grad()
def main(gaussians: int = 100_000, rounds: int = 40, device: str = "cpu") -> None:
    """Prints for each kind how many sleep, the times, and their ratio."""
    for kind in ("polynomial", "keyframe"):
        mixture = Mixture([kind], [expert(kind, gaussians)], None, made.rig(640, 360)).to(device)
        view = View(mixture.rig.cameras[0].to(device), T, 0.0)
        other = Mixture(
            [kind], [copy.deepcopy(mixture.members[0])], None, mixture.rig
        )  # each keeps its own last window
        ways = {
            "same window": project(mixture, view, [T], culled=True),
            "another window": project(other, view, [T, LATER], culled=True),
            "whole": project(mixture, view, [T], culled=False),
        }
        times = in_turn(ways, Rounds(rounds), mixture.device)
        pictures = []
        for culled in (True, False):
            mixture.instants.forget()
            with culling(mixture, culled):
                pictures.append(mixture.render(view.camera, T).picture)
        awake = len(mixture.members[0].at(T))
        print(
            f"{kind}: {1 - awake / gaussians:.1%} of {gaussians:,} asleep; pictures "
            f"{'equal' if torch.equal(*pictures) else f'{float((pictures[0] - pictures[1]).abs().max()):.1e} apart'}"
        )
        for name in ("same window", "another window"):
            print(f"  deform and project, {name}: {_told(times[name], times['whole'])}")


if __name__ == "__main__":
    program.run("culling.py", lambda: tyro.cli(main))
