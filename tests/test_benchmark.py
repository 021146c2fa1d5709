"""The benchmark: not how fast anything is, but that what is timed is what it says."""

import io
import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from backends import BACKENDS
from mixtures import mixture
from rich.console import Console
from torch.testing import assert_close

from moegs.benchmark import Benchmark, Rounds, View, frames, measure, tables
from moegs.benchmark.ratios import ratios
from moegs.benchmark.timing import in_turn
from moegs.mixture import Mixture
from moegs.rasterize import rasterize, stages
from moegs.router import PixelConfig

FEW = Rounds(count=3, warm_up=1)
T = 2 / 6
ASKED = (
    "one_pass_over_separate",
    "gated_over_separate",
    "tight_pairs_over_3sigma",
    "culled_over_unculled",
    "cached_over_live",
    "frame_over_slowest_member",
)


def brief(made: Mixture) -> Mixture:
    """Half of its polynomial expert's Gaussians show for a short while."""
    rows = made.members[0].group("0to5")
    with torch.no_grad():
        rows["log_time_scales"][:30] = -5.0
        rows["time_centers"][:30] = 0.9
    return made


@pytest.fixture(scope="module")
def made() -> Mixture:
    return brief(mixture(("poly", "key")))


@pytest.fixture(scope="module")
def view(made: Mixture) -> View:
    return View(made.rig.cameras[0], T, 0.95)


@pytest.fixture(scope="module")
def found(made: Mixture, view: View) -> Benchmark:
    photo = torch.full((32, 48, 3), 0.5)
    return measure(made, view, FEW, {"one": mixture(("poly",)), "less": mixture(("poly", "key"), count=30)}, photo)


def test_everything_is_timed_and_ratios_are_of_medians(found: Benchmark) -> None:
    stages = found.stages
    names = {"deform:poly", "deform:key", "project", "bin+sort", "composite", "gate", "blend", "pixels", "encode"}
    names |= {"pass:one", "pass:separate", "pass:combined", "pass:gated", "served", "culled:poly", "unculled:poly"}
    names |= {
        f"frame:{way}" for way in ("separate", "combined", "one-pass", "gated", "culled", "cached", "exact", "all")
    }
    names |= {"member:poly", "member:key", "member-live:poly", "member-live:key"}
    names |= {
        "against:one:culled",
        "against:one:exact",
        "against:less:exact",
        "against:less:all",
        "against:less:culled",
    }
    assert set(stages) == names
    assert all(0 < timing.median <= timing.p95 for timing in stages.values())
    median = {name: timing.median for name, timing in stages.items()}
    slowest = max(median["member:poly"], median["member:key"])
    expected = {
        "one_pass_over_separate": median["pass:one"] / median["pass:separate"],
        "gated_over_separate": median["pass:gated"] / median["pass:separate"],
        "culled_over_unculled": median["culled:poly"] / median["unculled:poly"],
        "cached_over_live": median["frame:exact"] / median["frame:culled"],
        "frame_over_slowest_member": median["frame:all"] / slowest,
        "frame_over_slowest_member:less": median["against:less:all"] / slowest,
        "frame_over_slowest_member:one": median["against:one:exact"] / slowest,
        "cached_over_live:key": median["member:key"] / median["member-live:key"],
    }
    assert {name: found.ratios[name] for name in expected} == expected
    assert tuple(found.ratios)[: len(ASKED)] == ASKED
    assert found.busy_ratios is not None
    busy = {name: timing.busy or 0 for name, timing in stages.items()}
    assert found.busy_ratios["one_pass_over_separate"] == busy["pass:one"] / busy["pass:separate"]


def test_pictures_are_those_that_were_timed(found: Benchmark, made: Mixture, view: View) -> None:
    exact = made.render(view.camera, T).picture
    gated = made.render(view.camera, T, skip_below=view.skip_below)
    for way in ("separate", "combined", "one-pass", "culled", "cached", "exact"):
        assert found.pictures[f"frame:{way}"].largest_error < 1e-5
    for way in ("gated", "all"):
        assert found.pictures[f"frame:{way}"].largest_error == float((gated.picture - exact).abs().max()) > 0
    grey = -10 * float((exact - 0.5).square().mean().log10())
    assert found.pictures["frame:exact"].psnr == pytest.approx(grey, abs=1e-4)
    changed = found.pictures["member:key"]
    assert changed.psnr is not None
    assert changed.psnr_change == pytest.approx(changed.psnr - grey, abs=1e-4)
    assert found.pairs["pass:gated"] == int(gated.pairs) < found.pairs["pass:one"]


def test_memory_is_counted(found: Benchmark, made: Mixture) -> None:
    memory = found.memory["mixture"]
    assert memory.gaussians == {"poly": 60, "key": 60}
    assert memory.awake["poly"] <= 30
    assert sum(memory.parameters.values()) == sum(4 * p.numel() for p in made.parameters())
    floats = 3 + 4 + 3 + 1 + 3
    assert memory.instant == sum(memory.awake.values()) * 4 * floats + memory.awake["poly"] * 8  # row numbers
    assert found.memory["less"].gaussians == {"poly": 30, "key": 30}


def test_options_are_what_they_say(made: Mixture, view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    at = made.members[0].at
    monkeypatch.setattr(made.members[0], "at", lambda t, view=None: asked.append(made.members[0].culled) or at(t, view))
    for name, expected in {"one-pass": [False] * 2, "culled": [True] * 2, "cached": [False], "exact": [True]}.items():
        way = frames.frame(made, view, frames.OPTIONS[name])
        del asked[:]
        way(), way()
        assert asked == expected, name


def test_one_expert_alone_leaves_out_what_cannot_be_compared() -> None:
    alone = mixture(("hex",))
    found = measure(alone, View(alone.rig.cameras[0], T, 0.02), FEW)
    assert {name for name in found.stages if name.startswith("pass:")} == {"pass:one"}
    assert not any(name.startswith(("member", "culled")) for name in found.stages)
    assert "gate" not in found.stages
    told = {name for name in ASKED if found.ratios[name] is not None}
    assert told == {"cached_over_live", "tight_pairs_over_3sigma"}


def test_a_router_that_needs_pictures_has_no_passes_of_its_own() -> None:
    made = mixture(("poly", "key"))
    other = Mixture(made.names, made.members, PixelConfig().start([60, 60]), made.rig).requires_grad_(False)
    found = measure(other, View(made.rig.cameras[0], T, 0.02), FEW)
    assert not {"pass:separate", "frame:gated", "frame:all"} & set(found.stages)
    assert found.ratios["frame_over_slowest_member"] is not None


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_stages_one_after_the_other_are_the_pass(backend: str) -> None:
    made = mixture(("poly", "key")).to(backend)
    layers, camera = made.layers(made.at(T), T), made.rig.cameras[0].to(backend)
    with torch.no_grad():
        images = [stage() for stage in stages(layers, camera).values()][-1][0]  # type: ignore[index]
        expected = rasterize(layers, camera).images
    assert_close(torch.as_tensor(images), expected, atol=0, rtol=0)


def test_rounds_before_those_that_count_do_not_count() -> None:
    calls: list[str] = []
    told: list[tuple[int, int]] = []
    ways = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    in_turn(ways, Rounds(2, 1), torch.device("cpu"), lambda done, of: told.append((done, of)))
    assert calls == ["a", "b"] * 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(ValueError, match="rounds: got 1 after 0; give at least 2"):
        Rounds(1, 0)


def test_waiting_is_not_busy() -> None:
    def busy() -> None:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass

    times = in_turn({"busy": busy, "waiting": lambda: time.sleep(0.05)}, Rounds(3, 0), torch.device("cpu"))
    assert times["waiting"].median >= 50
    assert (times["busy"].busy or 0) >= 20
    assert (times["waiting"].busy or 0) < 20


def test_the_slowest_member_is_the_one_with_the_largest_median() -> None:
    times = {"member:a": 4.0, "member:b": 5.0, "frame:all": 6.0, "against:x:all": 3.0, "against:x:exact": 9.0}
    pairs = {"tight_pixels": 30, "square_pixels": 100, "tight_tiles": 0, "square_tiles": 0}
    found = ratios(times, pairs, ("a", "b"), ("x",))
    assert found["tight_pairs_over_3sigma"] == 0.3
    assert found["tight_tiles_over_3sigma"] is None
    assert found["frame_over_slowest_member"] == pytest.approx(1.2)
    assert found["frame_over_slowest_member:x"] == pytest.approx(0.6)
    assert found["one_pass_over_separate"] is None


def test_the_tables_are_made_of_the_json_alone(found: Benchmark, tmp_path: Path) -> None:
    facts = json.loads(json.dumps(asdict(found)))
    text = tables.markdown(facts)
    assert text.index("`one_pass_over_separate`") < text.index("Stages of one exact frame")
    assert f"| one pass, gated | {found.stages['frame:gated'].median:.2f} |" in text
    for section in tables.sections(facts):
        assert all(len(row) == len(section.columns) for row in section.rows), section.title
    listed = sum(len(section.rows) for section in tables.sections(facts) if section.title.partition(":")[0] != "Memory")
    told = sum(value is not None for value in facts["ratios"].values())
    assert listed == told + len(facts["stages"])  # each once


def test_a_terminal_shows_first_what_is_asked_first_and_fits_80_columns(found: Benchmark) -> None:
    facts = json.loads(json.dumps(asdict(found)))
    console = Console(file=io.StringIO(), width=80)
    tables.show(console, facts)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    first = text.split("What a frame takes")[1].split("\n\n")[0]
    assert f"by default {found.stages['frame:exact'].median:.2f}" in " ".join(first.split())
    assert "separate passes, as published" in first
    assert "poly alone" in first
    assert set(tables.RATIOS) >= {name.partition(":")[0] for name in facts["ratios"]}
    label = tables.RATIOS["tight_pairs_over_3sigma"]
    row = next(line for line in text.splitlines() if label in line)
    assert row.removeprefix(label).split() == [f"{found.ratios['tight_pairs_over_3sigma']:.2f}"], "a count has no time"
    assert max(len(line.rstrip()) for line in text.split("What a frame takes")[1].splitlines()) <= 80
