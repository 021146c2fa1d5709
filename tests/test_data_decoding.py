"""Several cameras are decoded at a time: all of them, once, each told; after an error none goes on for nothing."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from moegs.data import stores
from moegs.data.stores import GB, Disk, Roll

SIZE = (4, 3)
ENDLESS = 10**6
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _own_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that share a lock are written in turn, and which do depends on the name of the folder."""
    monkeypatch.setattr(stores, "lock_file", lambda path: path.with_name(f".{path.name}.lock"))


@dataclass
class Reel:
    """Footage whose every frame waits for `gate`, which may raise."""

    path: Path
    gate: object
    frames: int = 2
    width, height, fps = *SIZE, None

    @property
    def fingerprint(self) -> str:
        return str(self.path)

    def decode(self, first: int, last: int) -> Iterator[np.ndarray]:
        for number in range(first, last):
            self.gate()  # type: ignore[operator]
            yield np.full((SIZE[1], SIZE[0], 3), number, np.uint8)


def rolls(*reels: Reel) -> list[Roll]:
    return [Roll(reel, range(reel.frames), SIZE, "area") for reel in reels]


def left(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


@pytest.mark.parametrize(("cpus", "expected"), [(1, 1), (2, 1), (3, 1), (8, 4), (64, 8)])
def test_one_for_each_two_cpus_up_to_a_limit(cpus: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores.os, "cpu_count", lambda: cpus)
    monkeypatch.setattr(stores.os, "process_cpu_count", lambda: cpus, raising=False)
    assert stores.at_once() == expected


def test_as_many_as_allowed_are_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "at_once", lambda: 3)
    together = threading.Barrier(3)
    made = rolls(*(Reel(tmp_path / f"{n}.mp4", lambda: together.wait(PATIENCE)) for n in range(6)))
    heard = list(Disk(tmp_path, GB, made).fill(made))
    assert sorted(roll.file_name for roll in heard) == left(tmp_path) == sorted(roll.file_name for roll in made)
    for roll in made:
        assert np.load(tmp_path / roll.file_name)[:, 0, 0, 0].tolist() == [0, 1]


def test_an_error_ends_the_others_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "at_once", lambda: 2)
    begun = threading.Event()

    def slowly() -> None:
        begun.set()
        time.sleep(0.001)

    def fail() -> None:
        assert begun.wait(PATIENCE)
        raise ValueError("cam01.mp4: damaged")

    first, third = (Reel(tmp_path / f"cam{n:02}.mp4", slowly, frames=ENDLESS) for n in (0, 2))
    made = rolls(first, Reel(tmp_path / "cam01.mp4", fail), third)
    with pytest.raises(ValueError, match=r"cam01\.mp4: damaged"):
        list(Disk(tmp_path, GB, made).fill(made))
    assert left(tmp_path) == []


def test_who_stops_listening_ends_the_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "at_once", lambda: 2)
    made = rolls(
        Reel(tmp_path / "cam00.mp4", lambda: None),
        Reel(tmp_path / "cam01.mp4", lambda: time.sleep(0.001), frames=ENDLESS),
    )
    filling = Disk(tmp_path, GB, made).fill(made)
    assert next(filling) is made[0]
    filling.close()  # type: ignore[attr-defined]
    assert left(tmp_path) == [made[0].file_name]


def test_who_waits_for_another_process_gives_up_when_it_is_told(tmp_path: Path) -> None:
    halt = threading.Event()
    path = tmp_path / "frames.npy"
    with stores.locked(path):
        halt.set()
        waiting = threading.Thread(target=lambda: given_up.append(gives_up(path, halt)))
        given_up: list[bool] = []
        waiting.start()
        waiting.join(PATIENCE)
    assert given_up == [True]


def gives_up(path: Path, halt: threading.Event) -> bool:
    try:
        with stores.locked(path, halt):
            return False
    except stores.CancelledError:
        return True


def test_room_is_made_for_all_before_any_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "at_once", lambda: 2)
    np.save(tmp_path / "older.npy", np.zeros(1000, np.uint8))
    together = threading.Barrier(2)
    made = rolls(*(Reel(tmp_path / f"{n}.mp4", lambda: together.wait(PATIENCE)) for n in range(2)))
    budget = (tmp_path / "older.npy").stat().st_size + made[0].bytes  # beside the older file one of them has room
    list(Disk(tmp_path, budget, made).fill(made))
    assert left(tmp_path) == sorted(roll.file_name for roll in made)
