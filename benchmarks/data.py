"""Data of full size: what decoding them once costs, how much memory they take, and how long a step waits for its photo.

    python benchmarks/data.py --cameras 20 --frames 300     # 24.7 GB of decoded frames, as large as a scene of N3V

Makes a set of videos in a temporary folder, and removes it and its cache afterwards. The step of training is a
stand-in: a pause of `--step` seconds, in which the host is idle, as it is while a GPU computes.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from imageio_ffmpeg import get_ffmpeg_exe

from moegs.data import DataConfig, Scene, load_scene
from moegs.training.sampling import Shuffled


@dataclass(frozen=True)
class Size:
    """Of the made set."""

    cameras: int
    frames: int
    width: int
    height: int


def make(root: Path, size: Size) -> None:
    """Moving colour bars under noise that is new in every frame, so that they are as hard to decode as filmed ones."""
    picture = f"testsrc2=size={size.width}x{size.height}:rate=30,noise=alls=12:allf=t"
    options = ["-frames:v", str(size.frames), "-c:v", "libx264", "-preset", "veryfast", "-crf", "23"]
    first = root / "cam00.mp4"
    command = [get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", picture, *options, "-pix_fmt", "yuv420p"]
    subprocess.run([*command, str(first)], check=True)
    cameras = []
    for number in range(size.cameras):
        if number:
            shutil.copyfile(first, root / f"cam{number:02}.mp4")
        viewmat = np.eye(4)
        viewmat[0, 3] = -0.1 * number
        lens = {"fx": 700.0, "fy": 700.0, "cx": size.width / 2, "cy": size.height / 2}
        entry = {"name": f"cam{number:02}", "width": size.width, "height": size.height, "viewmat": viewmat.tolist()}
        cameras.append(entry | lens)
    (root / "cameras.json").write_text(json.dumps({"cameras": cameras}))


def peak() -> float:
    """The most memory that this process has held at once, 10^9 bytes, pages of mapped files included."""
    kilobytes = 1024 if sys.platform != "darwin" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobytes / 1e9


def random_access(scene: Scene, seconds: float) -> float:
    """Photos per second in a random order, each read whole, without reading ahead."""
    draws = Shuffled(scene.pairs(scene.rig.train))
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        scene.photos.at(*draws.draw(0)[0]).clone()
        count += 1
    return count / (time.perf_counter() - start)


def waiting(scene: Scene, step: float, seconds: float, ahead: bool) -> float:
    """The share of the time of steps that they wait for their photo."""
    draws = Shuffled(scene.pairs(scene.rig.train), expect=scene.expect if ahead else lambda pairs: None)
    start, waited = time.perf_counter(), 0.0
    while time.perf_counter() - start < seconds:
        asked = time.perf_counter()
        scene.photos.at(*draws.draw(0)[0]).clone()
        waited += time.perf_counter() - asked
        time.sleep(step)
    return waited / (time.perf_counter() - start)


def measure(root: Path, cache: Path, size: Size, step: float, seconds: float) -> None:
    """Prints a line per number."""
    torch.manual_seed(0)
    start = time.perf_counter()
    make(root, size)
    print(f"made {size.cameras} videos of {size.frames} frames of {size.width}x{size.height}: {timed(start):.0f} s")
    config = DataConfig(path=root, cache="disk", cache_dir=cache)
    start = time.perf_counter()
    scene = load_scene(config, with_points=False, on_prepared=progress)
    took = timed(start)
    total = size.cameras * size.frames
    stored = sum(file.stat().st_size for file in cache.glob("*.npy")) / 1e9
    print(f"decoded once: {took:.0f} s, {total / took:.0f} frames/s, cache of {stored:.2f} GB")
    print(f"peak memory after decoding: {peak():.2f} GB")
    start = time.perf_counter()
    scene = load_scene(config, with_points=False, on_prepared=lambda what, done, of: None)
    print(f"opened again: {timed(start):.1f} s")
    print(f"random access: {random_access(scene, seconds):.0f} photos/s")
    for ahead in (False, True):
        share = waiting(scene, step, seconds, ahead)
        kind = "read ahead" if ahead else "not read ahead"
        print(f"waiting for photos, steps of {1000 * step:.0f} ms, {kind}: {100 * share:.1f} %")
    print(f"peak memory of it all: {peak():.2f} GB")


def timed(start: float) -> float:
    """Seconds since `start`."""
    return time.perf_counter() - start


def progress(what: str, done: int, of: int) -> None:
    """Tells how far decoding is."""
    print(f"{what}: {done}/{of}", file=sys.stderr)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--width", type=int, default=1352)
    parser.add_argument("--height", type=int, default=1014)
    parser.add_argument("--step", type=float, default=0.03, help="seconds of a step without its data")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each of the three measurements takes")
    parser.add_argument("--folder", type=Path, help="where the temporary folder goes; needs room for set and cache")
    given = parser.parse_args()
    size = Size(given.cameras, given.frames, given.width, given.height)
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        root, cache = Path(place) / "made", Path(place) / "cache"
        root.mkdir()
        try:
            measure(root, cache, size, given.step, given.seconds)
        except ValueError as error:
            sys.exit(f"benchmarks/data.py: {error}")


if __name__ == "__main__":
    main()
