"""Shots: to and from JSON, the comparison included; what is none is refused."""

import json
import math
import re
from dataclasses import replace

import pytest
import viewing

from moegs.mixture import Mixture
from moegs.shots import Comparison, Shot


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return viewing.mixture()


@pytest.fixture(scope="module")
def shot(mixture: Mixture) -> Shot:
    return Shot(mixture.rig.cameras[0], 0.5, comparison=Comparison("kept:0.4"))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("width", 1e400, "shot: not the JSON of one (OverflowError"),
        ("viewmat", [[1.0]], "shot: not the JSON of one"),
    ],
)
def test_what_is_no_shot_is_refused(mixture: Mixture, key: str, value: object, told: str) -> None:
    values = json.loads(Shot(mixture.rig.cameras[0], 0.5).to_json())
    values["camera"][key] = value
    with pytest.raises(ValueError, match=re.escape(told)):
        Shot.from_json(json.dumps(values))


def test_a_shot_survives_json(mixture: Mixture) -> None:
    shot = Shot(mixture.rig.cameras[0].fitted(64, 48), 0.3, "gates", (True, False), "reroute", 0.5)
    again = Shot.from_json(shot.to_json())
    assert json.loads(again.to_json()) == json.loads(shot.to_json())


def test_its_comparison_survives_json(shot: Shot) -> None:
    asked = replace(shot, kept=0.7, comparison=Comparison("kept:0.4", "diff", gain=8, signed=True))
    again = Shot.from_json(asked.to_json())
    assert again.comparison == asked.comparison
    assert again.kept == 0.7


def test_texts_from_before_there_were_comparisons_still_load(shot: Shot) -> None:
    values = json.loads(shot.to_json())
    del values["comparison"], values["kept"]
    again = Shot.from_json(json.dumps(values))
    assert again.comparison is None
    assert again.kept == 1


@pytest.mark.parametrize("position", [-0.1, 1.5, math.nan])
def test_a_divider_outside_of_the_picture_is_refused(position: float) -> None:
    with pytest.raises(ValueError, match="^position: got .* expected a share of the picture"):
        Comparison("kept:1", position=position)


@pytest.mark.parametrize(("key", "value"), [("gain", 3), ("mode", "flip"), ("position", 2)])
def test_a_text_with_a_wrong_comparison_is_refused_by_its_name(shot: Shot, key: str, value: object) -> None:
    values = json.loads(shot.to_json())
    values["comparison"][key] = value
    with pytest.raises(ValueError, match=rf"^shot: not the JSON of one \([^\n]*{key}: got {value!r}"):
        Shot.from_json(json.dumps(values))


@pytest.mark.parametrize("kept", [0.0, 1.1, math.nan])
def test_a_share_out_of_range_is_refused(shot: Shot, kept: float) -> None:
    with pytest.raises(ValueError, match="^kept: got .* expected a share"):
        replace(shot, kept=kept)
