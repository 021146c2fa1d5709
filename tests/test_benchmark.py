"""The benchmark: not how fast anything is, but that what is timed is what it says."""

import pytest
from mixtures import mixture

from moegs import benchmark


def test_every_stage_is_timed_and_ratios_are_of_medians() -> None:
    made = mixture(("poly", "key"))
    found = benchmark.measure(made, made.rig.cameras[0], 0.0, rounds=3, warm_up=1)
    stages = found.stages
    assert {"deform:poly", "deform:key", "member:poly", "member:key", "separate", "combined"} < set(stages)
    assert {"one-pass", "gated", "gate", "blend", "pixels", "encode", "served", "frame", "frame-gated"} < set(stages)
    assert all(0 < timing.median <= timing.p95 for timing in stages.values())
    ratios = found.ratios
    assert ratios["one_pass_over_separate"] == stages["one-pass"].median / stages["separate"].median
    slowest = max(stages["member:poly"].median, stages["member:key"].median)
    assert ratios["frame_over_slowest_member"] == stages["frame"].median / slowest
    assert found.pairs["gated"] <= found.pairs["one-pass"]
    assert found.gaussians == {"poly": 60, "key": 60}
    assert found.parameter_bytes == sum(4 * p.numel() for p in made.parameters())


def test_one_expert_alone_has_nothing_to_compare() -> None:
    alone = mixture(("poly",))
    with pytest.raises(ValueError, match="give a mixture"):
        benchmark.measure(alone, alone.rig.cameras[0], 0.0)
