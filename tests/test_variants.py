"""What there is to look at of a checkpoint: less of it, one expert of it alone, others beside it."""

from pathlib import Path

import mixtures
import pytest
import torch

from moegs.checkpoint import Checkpoint
from moegs.training.pruning import Pruning
from moegs.variants import Variants

SCORES = {
    "contribution": {name: torch.rand(60, generator=torch.Generator().manual_seed(3)) for name in ("poly", "key")}
}


@pytest.fixture(scope="module")
def variants() -> Variants:
    return Variants(Checkpoint(mixtures.mixture(), importance=SCORES), Path("made.pt"))


def test_what_is_kept_matters_most(variants: Variants) -> None:
    cut = variants.kept(0.4).mixture
    scores = torch.cat(list(SCORES["contribution"].values()))
    best = (scores >= scores.sort(descending=True).values[47]).split(60)
    assert [len(expert) for expert in cut.members] == [int(each.sum()) for each in best]
    for whole, part, rows in zip(variants.mixture.members, cut.members, best, strict=True):
        assert torch.equal(part.at(0.5).means, whole.at(0.5).means[rows])


def test_all_of_it_is_itself_and_the_last_few_cuts_are_kept(variants: Variants) -> None:
    assert variants.kept(1.0).mixture is variants.mixture
    first = variants.kept(0.9)
    assert variants.kept(0.9) is first
    for share in (0.8, 0.7, 0.6):
        variants.kept(share)
    assert variants.kept(0.9) is not first


def test_without_scores_it_says_how_to_get_them() -> None:
    bare = Variants(Checkpoint(mixtures.mixture()), Path("my runs/made.pt"))
    assert not bare.prunable
    assert bare.others == ["expert:poly", "expert:key"]
    with pytest.raises(ValueError, match=r"moegs prune 'my runs/made.pt' --data DIR --ratio 0 --out made-scored.pt$"):
        bare.kept(0.5)


@pytest.mark.parametrize("stored", [("gate-gradient", "contribution"), ("gate-gradient",), ()])
def test_it_prunes_by_what_prune_does_unasked_where_that_is_stored(stored: tuple[str, ...]) -> None:
    scores = dict.fromkeys(stored, SCORES["contribution"])
    found = Variants(Checkpoint(mixtures.mixture(), importance=scores), Path("made.pt")).criterion
    assert found == (Pruning.criterion if "contribution" in stored else next(iter(stored), None))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("expert:hex", "expert:hex: no such expert; 'made' has poly, key"),
        ("kept:0", "kept:0: give the share of the Gaussians that is left, such as kept:0.45"),
        ("kept:half", "kept:half: give the share"),
        ("nowhere.pt", "nowhere.pt: does not exist"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(variants: Variants, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}[^\n]*$"):
        variants.open(text, "cpu")
