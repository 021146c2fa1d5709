"""Recipes: how an expert or a router was trained is found where it stands."""

from pathlib import Path

import pytest
from stamps import settings, teaching, training

from moegs import config
from moegs.checkpoint import Checkpoint
from moegs.training import recipes
from moegs.training.routing import RouterTraining


def test_an_experts_recipe_is_found_where_it_stands(tmp_path: Path) -> None:
    made = teaching()
    path = tmp_path / "m.pt"
    plain, note = recipes.find(path, Checkpoint(made), "polynomial", None)
    assert "how 'polynomial' was trained is not known" in note
    assert (plain.expert, plain.steps) == (made.members[0].config, 30)
    told = settings(training("polynomial", random_background=True), training("keyframe"))
    inside = Checkpoint(made, provenance={"experts": dict(recipes.stored(told))})
    found, note = recipes.find(path, inside, "polynomial", None)
    assert (found.random_background, found.steps, note) == (True, 12, "")
    with pytest.raises(ValueError, match="no expert 'pol'; it has polynomial, keyframe"):
        recipes.find(path, inside, "pol", None)


def test_how_a_router_was_trained_is_found_where_it_stands(tmp_path: Path) -> None:
    made, told = teaching(), RouterTraining(steps=7, rate_weights=0.25, ssim_weight=0.5)
    found, note = recipes.router(tmp_path / "m.pt", Checkpoint(made))
    assert found == RouterTraining()
    assert "how its router was trained is not known; it learns with the default settings" in note
    inside = Checkpoint(made, provenance={"training": config.dump(told)})
    assert recipes.router(tmp_path / "m.pt", inside) == (told, "")
