"""Photos are decoded when asked for, and kept in memory or on disk within a budget."""

import os
from pathlib import Path

import numpy as np
import pytest
import recordings
from PIL import Image
from recordings import HEIGHT, WIDTH

from moegs.data import DataConfig, load_scene


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
    (file,) = (tiny.parent / "cache").iterdir()
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
    assert list((tiny.parent / "cache").iterdir()) == []


def test_disk_cache_makes_room_by_what_was_used_longest_ago(tiny: Path) -> None:
    cache, roll = tiny.parent / "cache", 4 * HEIGHT * WIDTH * 3
    cache.mkdir()
    for age, name in enumerate(["newer.npy", "older.npy"]):
        np.save(cache / name, np.zeros(roll, dtype=np.uint8))
        os.utime(cache / name, (1000 - age, 1000 - age))
    photos = load_scene(disk(tiny, disk_gb=3.1 * roll / 1e9)).photos  # room for three, and their headers
    photos.at(0, 0)
    assert len(list(cache.iterdir())) == 3
    photos.at(1, 0)
    assert not (cache / "older.npy").exists()
    assert (cache / "newer.npy").exists()
    photos.at(2, 0)
    assert not (cache / "newer.npy").exists()
    assert len(list(cache.iterdir())) == 3


def test_writing_into_a_photo_leaves_the_file_alone(tiny: Path) -> None:
    load_scene(disk(tiny)).photos.at(0, 0).zero_()
    assert np.array_equal(load_scene(disk(tiny)).photos.at(0, 0).numpy(), recordings.frame(0, 0))


def test_budgets_say_what_is_needed(tiny: Path) -> None:
    with pytest.raises(ValueError, match=r"take 2\.76e-05 GB, but data\.memory_gb is 1e-05; .* data\.cache to disk"):
        load_scene(DataConfig(path=tiny, cache="memory", memory_gb=1e-5))
    with pytest.raises(ValueError, match=r"data\.disk_gb is 1e-05; raise it, set a larger data\.downscale or fewer"):
        load_scene(disk(tiny, disk_gb=1e-5))


def test_auto_goes_to_disk_when_memory_does_not_suffice(tiny: Path) -> None:
    places = [
        str(load_scene(DataConfig(path=tiny, memory_gb=budget, cache_dir=tiny / "cache")).photos)
        for budget in (1.0, 1e-5)
    ]
    assert places == ["2.76e-05 GB in memory", f"2.76e-05 GB in {tiny / 'cache'}"]
