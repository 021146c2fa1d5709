"""The configs of public data sets: whole, and with the published numbers."""

from pathlib import Path

import pytest
import yaml

from moegs import config
from moegs.experts.embedding import EmbeddingConfig
from moegs.experts.hexplane import HexPlaneConfig
from moegs.experts.keyframe import KeyframeConfig
from moegs.experts.polynomial import PolynomialConfig
from moegs.training import TrainConfig
from moegs.training.experts import ExpertTraining
from moegs.training.sampling import LossGuidedConfig, OneFrameConfig, ShuffledConfig

CONFIGS = Path(__file__).parent.parent / "configs"


def experts(name: str, *overrides: str) -> dict[str, ExpertTraining]:
    return {e.name: e for e in config.load(TrainConfig, CONFIGS / f"{name}.yaml", overrides).experts}


def written(value: object, path: str = "") -> dict[str, object]:
    """The plain values of a YAML file by their dotted paths."""
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in written(inner, f"{path}.{key}").items()}
    if isinstance(value, list):
        return {k: v for i, inner in enumerate(value) for k, v in written(inner, f"{path}.{i}").items()}
    return {path: value}


@pytest.mark.parametrize("name", ["n3v", "technicolor", "nerfstudio"])
def test_a_config_states_only_what_differs_from_the_defaults(name: str):
    plain = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    whole = config.dump(config.load(TrainConfig, CONFIGS / f"{name}.yaml"))
    for number, expert in enumerate(plain["experts"]):
        kind = expert["expert"]["kind"]
        bare = config.build(ExpertTraining, {"name": expert["name"], "expert": {"kind": kind}}, "bare")
        defaults, ours = written(config.dump(bare)), written(whole["experts"][number])
        stated = written(expert)
        for path in stated:
            if path.endswith(("kind", ".name")) or path not in defaults:
                continue
            # A rate is stated whole: its parts mean something together only.
            assert ours[path] != defaults[path] or ".rates." in path, f"{name}: {path} is the default already"


def test_n3v_is_as_published():
    found = experts("n3v")
    hexplane, embedding = found["hexplane"], found["embedding"]
    assert isinstance(hexplane.expert, HexPlaneConfig)
    assert hexplane.steps - hexplane.expert.coarse_steps == 14_000
    assert hexplane.sampling == ShuffledConfig(batch=2)
    assert (hexplane.ssim_weight, hexplane.density.gradient, hexplane.density.reset_every) == (0, 2e-4, None)
    assert (hexplane.density.grow_below, hexplane.density.prune_above) == (360_000, 200_000)
    assert isinstance(embedding.expert, EmbeddingConfig)
    assert embedding.sampling == LossGuidedConfig(uniform_until=10_000, hold_every=50, hold_steps=5)
    assert (embedding.expert.neighbours, embedding.expert.neighbour_weight) == (20, 1.0)
    assert (embedding.density.start, embedding.density.stop, embedding.density.gradient) == (5000, 80_000, 3e-4)
    polynomial, keyframe = found["polynomial"], found["keyframe"]
    assert isinstance(polynomial.expert, PolynomialConfig)
    assert polynomial.expert.segments == 2  # of 150 frames each
    assert polynomial.expert.guided is not None
    assert polynomial.sampling == OneFrameConfig(batch=2)
    assert [polynomial.density.grows(step) for step in (600, 1100, 1200)] == [True, True, False]
    assert isinstance(keyframe.expert, KeyframeConfig)
    assert keyframe.optimizer == "radam"
    assert keyframe.expert.growth is not None
    assert (keyframe.expert.interval, keyframe.expert.time_pad, keyframe.expert.growth.every) == (10, 2, 400)
    assert keyframe.density.gradient_at(1000, "static") == 2e-4
    assert keyframe.density.gradient_at(1000, "dynamic") == 1e-4
    assert {name: (e.expert.near, e.expert.far) for name, e in found.items()} == {
        "hexplane": (0.2, 1e10), "embedding": (0.2, 1e10), "polynomial": (4.0, 300.0), "keyframe": (4.0, 300.0)
    }  # fmt: skip


def test_the_first_scene_of_n3v_can_be_set_as_its_comment_says():
    text = (CONFIGS / "n3v.yaml").read_text()
    wanted = [word.rstrip(",") for word in text.split("data:")[0].split() if word.startswith(("experts[", "router."))]
    found = experts("n3v", *wanted)
    router = config.load(TrainConfig, CONFIGS / "n3v.yaml", wanted).router
    assert (router.rate_weights, router.rate_temporal, router.rate_network) == (0.1, 0.01, 0.01)  # of flame_steak
    assert found["hexplane"].sampling == ShuffledConfig(batch=4)
    assert found["embedding"].density.gradient == 2e-4


def test_technicolor_is_as_published_for_painter():
    found = experts("technicolor")
    embedding, polynomial, keyframe = found["embedding"], found["polynomial"], found["keyframe"]
    assert isinstance(embedding.expert, EmbeddingConfig)
    assert (embedding.expert.time_rows, embedding.expert.coarse_rows, embedding.expert.fine_steps) == (25, 5, 0)
    assert not embedding.expert.heads.move_sh
    assert embedding.expert.heads.move_opacities
    assert embedding.expert.rates.offsets.start == 0
    assert isinstance(polynomial.expert, PolynomialConfig)
    assert (polynomial.expert.segments, polynomial.expert.log_time_scale, polynomial.density.rounds) == (1, -2, 12)
    assert isinstance(keyframe.expert, KeyframeConfig)
    assert (keyframe.steps, keyframe.density.stop, keyframe.expert.time_pad) == (30_000, 25_000, 3)
    assert keyframe.expert.dynamic_rates.sh0.start == 2.5e-4
    assert (keyframe.expert.near, keyframe.expert.far) == (0.01, 300.0)


def test_public_data_start_from_the_points_of_all_frames():
    for name in ("n3v", "technicolor"):
        whole = config.load(TrainConfig, CONFIGS / f"{name}.yaml")
        assert whole.data.points_at == "every"
        assert [e.name for e in whole.experts if e.expert.every_frame] == ["polynomial"]


def test_an_own_capture_assumes_nothing_about_where_the_scene_lies():
    for expert in experts("nerfstudio").values():
        assert (expert.expert.near, expert.expert.far) == (0.01, 1e10)
