"""What tile gating is said to have got wrong, from the definition."""

from dataclasses import replace

import pytest
import torch
from mixtures import mixture

from moegs.mixture import Mixture
from moegs.rasterize import tile_grid
from moegs.shots import Shot
from moegs.verification import verify

SKIP = 0.95


@pytest.fixture(scope="module")
def made() -> Mixture:
    return mixture(("poly", "key"), size=(88, 56))


@pytest.fixture(scope="module")
def shot(made: Mixture) -> Shot:
    return Shot(made.rig.cameras[0], 0.5, skip_below=SKIP)


def test_errors_are_counted_pixel_by_pixel(made: Mixture, shot: Shot) -> None:
    found = verify(made, [shot])
    exact, gated = (made.render(shot.camera, shot.t, skip_below=threshold) for threshold in (0.0, SKIP))
    off, wrong, dropped = [], 0, 0
    for y in range(56):
        for x in range(88):
            off.append(max(abs(float(a - b)) for a, b in zip(gated.picture[y, x], exact.picture[y, x], strict=True)))
            gone = [float(exact.gates[e, y, x]) for e in range(2) if gated.logits[e, y, x] == -torch.inf]
            dropped += len(gone)
            wrong += any(gate > SKIP for gate in gone)
    off.sort()
    assert found.largest == off[-1] > 0
    assert found.tail == off[round(0.999 * len(off)) - 1]
    assert found.wrongly == pytest.approx(wrong / len(off))
    assert found.dropped == pytest.approx(dropped / len(off) / 2)
    assert found.dropped > 0.1
    assert found.line().count("\n") == 0


def test_what_is_dropped_although_it_is_wanted_is_told(
    made: Mixture, shot: Shot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first look that sees nothing of the second expert's gate: it is dropped everywhere."""
    from moegs.router import gating

    def blind(gate: gating.Gate, look: object) -> torch.Tensor:
        live = torch.zeros(2, *tile_grid(88, 56), dtype=torch.bool)
        live[0] = True
        return live

    monkeypatch.setattr(gating.Gate, "__call__", blind)
    low = replace(shot, skip_below=0.1)
    exact = made.render(shot.camera, shot.t)
    found = verify(made, [low])
    assert found.wrongly == pytest.approx(float((exact.gates[1] > 0.1).float().mean()))
    assert found.wrongly > 0


def test_of_a_film_the_worst_frame_is_told(made: Mixture, shot: Shot) -> None:
    film = [replace(shot, camera=camera) for camera in made.rig.cameras]
    each = [verify(made, [one]) for one in film]
    whole = verify(made, film)
    assert whole.largest == max(one.largest for one in each)
    assert whole.psnr == min(one.psnr for one in each)
    assert whole.dropped == pytest.approx(sum(one.dropped for one in each) / len(each))


def test_an_exact_shot_has_nothing_to_verify(made: Mixture, shot: Shot) -> None:
    with pytest.raises(ValueError, match="nothing is skipped; give --skip-below"):
        verify(made, [shot, replace(shot, skip_below=0.0)])
