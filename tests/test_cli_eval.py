"""moegs eval as a user meets it."""

import json
from pathlib import Path

import pytest
import recordings
from command_line import run
from mixtures import mixture

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.data import DataConfig, load_scene
from moegs.mixture import Mixture


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mixture]:
    """A folder with a data set in `data` and a run's `mixture.pt` and `state`, and the mixture."""
    folder = tmp_path_factory.mktemp("filmed")
    data, made = recordings.write_folders(folder / "data"), mixture(("poly", "key"))
    own = Mixture(made.names, made.members, made.router, load_scene(DataConfig(path=data), with_points=False).rig)
    checkpoint.save(Checkpoint(own), folder / "mixture.pt")
    (folder / "router-1.state.pt").write_bytes(b"of a run that goes on")
    return folder, own


def test_eval_with_tile_gating_says_so_beside_the_scores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], filmed: tuple[Path, Mixture]
) -> None:
    folder, made = filmed
    asked = (folder / "mixture.pt", "--data", folder / "data", "--json", "-")
    found = []
    for gating in ((), ("--skip-below", 0.6, "--verify-gating")):
        assert run(monkeypatch, "eval", *asked, *gating) == 0
        captured = capsys.readouterr()
        found.append((json.loads(captured.out), " ".join(captured.err.split())))
    (exact, plain), (gated, told) = found
    assert (exact["skip_below"], gated["skip_below"], exact["gating"]) == (0, 0.6, None)
    assert "tile gating" not in plain
    assert "4 pictures, tile gating below 0.6" in told
    assert f"tile gating below 0.6: {gated['gating']['dropped']:.1%} not drawn" in told
    camera, times = made.rig.cameras[0], [made.rig.timeline.t(frame) for frame in range(4)]
    shares = [float(made.render(camera, t, skip_below=0.6).logits.isneginf().float().mean()) for t in times]
    assert gated["gating"]["dropped"] == pytest.approx(sum(shares) / 4)
    assert max(shares) > 0
    assert gated["experts"] == exact["experts"]
    assert gated["mixture"] != exact["mixture"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--verify-gating",), "--verify-gating: nothing is skipped; give --skip-below too, such as 0.02"),
        (("--skip-below", "1"), "skip_below: got 1.0, expected a share of the gate in [0, 1)"),
    ],
)
def test_eval_refuses_gating_that_is_none(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    filmed: tuple[Path, Mixture],
    asked: tuple[str, ...],
    told: str,
) -> None:
    assert run(monkeypatch, "eval", filmed[0] / "mixture.pt", "--data", filmed[0] / "data", *asked) == 1
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
