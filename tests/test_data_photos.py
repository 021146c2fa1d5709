"""Photos are decoded once, kept in memory or on disk within a budget, and read ahead."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import recordings
import torch
from PIL import Image
from recordings import HEIGHT, WIDTH

from moegs.data import DataConfig, load_scene, stores
from moegs.data.prefetch import Prefetched


def test_frames_are_decoded_when_asked_for(tiny: Path) -> None:
    scene = load_scene(DataConfig(path=tiny))
    (tiny / "cam02" / "0001.png").write_bytes(b"no picture")
    assert scene.photos.at(1, 1).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match=r"0001\.png: cannot be read as a picture"):
        scene.photos.at(2, 0)


def disk(tiny: Path, **settings: float) -> DataConfig:
    return DataConfig(path=tiny, cache="disk", cache_dir=tiny.parent / "cache", **settings)  # type: ignore[arg-type]


def test_disk_cache_keeps_frames_for_the_next_run(tiny: Path) -> None:
    assert np.array_equal(load_scene(disk(tiny)).photos.at(1, 2).numpy(), recordings.frame(1, 2))
    (file,) = (tiny.parent / "cache").glob("*.npy")
    kept = np.load(file)
    assert kept.shape == (4, HEIGHT, WIDTH, 3)
    np.save(file, 255 - kept)
    assert np.array_equal(load_scene(disk(tiny)).photos.at(1, 2).numpy(), 255 - recordings.frame(1, 2))


def test_disk_cache_notices_changed_pictures_and_choices(tiny: Path) -> None:
    load_scene(disk(tiny)).photos.at(1, 2)
    Image.fromarray(255 - recordings.frame(1, 2)).save(tiny / "cam01" / "0002.png")
    os.utime(tiny / "cam01" / "0002.png", (1, 1))
    assert np.array_equal(load_scene(disk(tiny)).photos.at(1, 2).numpy(), 255 - recordings.frame(1, 2))
    assert load_scene(disk(tiny, downscale=2)).photos.at(1, 2).shape == (HEIGHT // 2, WIDTH // 2, 3)


def test_disk_cache_holds_no_half_file_after_a_failure(tiny: Path) -> None:
    (tiny / "cam02" / "0003.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        load_scene(disk(tiny)).photos.at(2, 0)
    assert [file.name for file in (tiny.parent / "cache").iterdir() if file.suffix != ".lock"] == []


def test_disk_cache_makes_room_by_what_was_used_longest_ago(tiny: Path) -> None:
    cache, roll = tiny.parent / "cache", 4 * HEIGHT * WIDTH * 3
    cache.mkdir()
    for age, name in enumerate(["newer.npy", "older.npy"]):
        np.save(cache / name, np.zeros(roll, dtype=np.uint8))
        os.utime(cache / name, (1000 - age, 1000 - age))
    photos = load_scene(disk(tiny, disk_gb=3.1 * roll / 1e9)).photos  # room for three, and their headers
    photos.at(0, 0)
    assert len(list(cache.glob("*.npy"))) == 3
    photos.at(1, 0)
    assert not (cache / "older.npy").exists()
    assert (cache / "newer.npy").exists()
    photos.at(2, 0)
    assert not (cache / "newer.npy").exists()
    assert len(list(cache.glob("*.npy"))) == 3


def test_writing_into_a_photo_leaves_the_file_alone(tiny: Path) -> None:
    load_scene(disk(tiny)).photos.at(0, 0).zero_()
    assert np.array_equal(load_scene(disk(tiny)).photos.at(0, 0).numpy(), recordings.frame(0, 0))


def test_budgets_say_what_is_needed(tiny: Path) -> None:
    with pytest.raises(ValueError, match=r"take 2\.76e-05 GB, but data\.memory_gb is 1e-05; .* data\.cache to disk"):
        load_scene(DataConfig(path=tiny, cache="memory", memory_gb=1e-5))
    with pytest.raises(ValueError, match=r"data\.disk_gb is 1e-05; raise it, set a larger data\.downscale or fewer"):
        load_scene(disk(tiny, disk_gb=1e-5))


def test_auto_goes_to_memory_only_where_the_disk_has_no_room(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def place(free: int, **settings: float) -> str:
        monkeypatch.setattr(stores.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        config = DataConfig(path=tiny, cache_dir=tiny / "cache", **settings)  # type: ignore[arg-type]
        return str(load_scene(config).photos)

    assert place(10**9) == f"0.0276 MB in {tiny / 'cache'}"
    assert place(10**3) == "0.0276 MB in memory"
    assert place(10**9, disk_gb=1e-5) == "0.0276 MB in memory"
    assert place(10**3, memory_gb=1e-5) == f"0.0276 MB in {tiny / 'cache'}"  # and told before anything is decoded


def test_a_full_disk_is_told_before_anything_is_decoded(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**4))
    monkeypatch.setattr(stores.Roll, "decode", lambda roll: pytest.fail("decoded"))
    told = r"cache: no room for 2\.76e-05 GB of decoded frames, 1e-05 GB are free; free some, set data\.cache_dir"
    with pytest.raises(ValueError, match=told):
        load_scene(disk(tiny), on_prepared=lambda what, done, of: None)


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(roll: stores.Roll) -> Iterator[np.ndarray]:
        yield np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stores.Roll, "decode", decode)
    with pytest.raises(ValueError, match=r"cache: writing decoded frames failed \(No space left on device\); free"):
        load_scene(disk(tiny)).photos.at(0, 0)
    assert [file.name for file in (tiny.parent / "cache").iterdir() if file.suffix != ".lock"] == []


def test_everything_is_decoded_at_once_when_somebody_listens(tiny: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    load_scene(disk(tiny), on_prepared=lambda *event: heard.append(event))
    assert [event[1:] for event in heard] == [(1, 3), (2, 3), (3, 3)]
    assert heard[0][0] == f"decoded frames, 0.0276 MB in {tiny.parent / 'cache'}"
    assert len(list((tiny.parent / "cache").glob("*.npy"))) == 3


def test_processes_that_start_together_decode_once(tiny: Path, tmp_path: Path) -> None:
    log = tmp_path / "decoded"
    program = f"""
import pathlib
from moegs.data import DataConfig, load_scene, stores
decode = stores.Roll.decode
def slowly(roll):
    import time
    with open({str(log)!r}, "a") as file:
        file.write(roll.file_name + "\\n")
    time.sleep(0.2)
    yield from decode(roll)
stores.Roll.decode = slowly
config = DataConfig(path=pathlib.Path({str(tiny)!r}), cache_dir=pathlib.Path({str(tmp_path / "cache")!r}))
load_scene(config, on_prepared=lambda *event: None)
"""
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(log.read_text().splitlines()) == 3


def test_what_a_killed_process_left_half_written_is_removed(tiny: Path) -> None:
    load_scene(disk(tiny)).photos.at(0, 0)
    (file,) = (tiny.parent / "cache").glob("*.npy")
    left = file.with_name(f".{file.stem}.99999.part.npy")
    file.rename(left)
    load_scene(disk(tiny)).photos.at(0, 0)
    assert file.exists()
    assert not left.exists()


def test_a_damaged_file_of_the_cache_is_told(tiny: Path) -> None:
    photos = load_scene(disk(tiny)).photos
    photos.at(1, 2)
    (file,) = (tiny.parent / "cache").glob("*.npy")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"\.npy: damaged file of decoded frames \(.*\); remove it"):
        photos.at(1, 2)


def test_reading_a_file_makes_it_young(tiny: Path) -> None:
    load_scene(disk(tiny)).photos.at(1, 2)
    (file,) = (tiny.parent / "cache").glob("*.npy")
    os.utime(file, (1000, 1000))
    load_scene(disk(tiny)).photos.at(1, 2)
    assert file.stat().st_mtime > 1000


def test_a_file_that_another_run_removed_is_made_again(tiny: Path) -> None:
    photos = load_scene(disk(tiny)).photos
    photos.at(1, 2)
    for file in (tiny.parent / "cache").glob("*.npy"):
        file.unlink()
    assert np.array_equal(photos.at(1, 2).numpy(), recordings.frame(1, 2))


def test_what_is_expected_is_read_by_another_thread_and_right() -> None:
    threads: dict[tuple[int, int], str] = {}

    class Slow:
        def at(self, camera: int, frame: int) -> torch.Tensor:
            threads[camera, frame] = threading.current_thread().name
            if frame == 9:
                raise ValueError("frame 9 is damaged")
            return torch.full((2, 2, 3), 10 * camera + frame, dtype=torch.uint8)

    photos = Prefetched(Slow())
    photos.expect([(0, 1), (1, 2), (1, 9)])
    assert int(photos.at(1, 2)[0, 0, 0]) == 12
    assert int(photos.at(0, 3)[0, 0, 0]) == 3
    assert threads[1, 2].startswith("photos")
    assert threads[0, 3] == threading.current_thread().name
    with pytest.raises(ValueError, match="frame 9 is damaged"):
        photos.at(1, 9)


def test_a_photo_asked_for_twice_is_not_handed_out_twice_from_one_reading(tiny: Path) -> None:
    scene = load_scene(disk(tiny))
    scene.expect([(1, 2), (2, 0)])
    scene.photos.at(1, 2).zero_()
    assert np.array_equal(scene.photos.at(1, 2).numpy(), recordings.frame(1, 2))
    scene.expect([(0, 0)])  # what is no longer expected may still be asked for
    assert np.array_equal(scene.photos.at(2, 0).numpy(), recordings.frame(2, 0))
