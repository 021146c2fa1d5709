"""How fast the viewer is: start-up, pictures per second while orbiting, and videos against rendering alone.

    python benchmarks/viewer.py [CKPT] [--seconds 8] [--size 640 360] [--compare B]

With --compare it orbits around two pictures at once as well, and drags the divider between them.

The tab is the tests' own: it speaks the page's protocol and answers at once, so that what is measured is the server.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tyro

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser_tab import BrowserTab  # noqa: E402  (after the path)

from moegs import checkpoint, demo, export, program, views  # noqa: E402
from moegs.shots import Shot, film, for_video  # noqa: E402
from moegs.tours import Tour  # noqa: E402


@contextmanager
def serving(path: Path, cache: str | None = None, beside: str | None = None) -> Iterator[int]:
    """The port of a fresh viewer process; `cache`: numba's folder for compiled kernels; `beside`: for --compare."""
    compare = [] if beside is None else ["--compare", beside]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "viewer", str(path), "--port", "0", *compare],
        cwd=ROOT, text=True, stdout=subprocess.PIPE,
        env=os.environ if cache is None else {**os.environ, "NUMBA_CACHE_DIR": cache},
    )  # fmt: skip
    assert process.stdout is not None
    found = re.search(r":(\d+)", process.stdout.readline())
    assert found is not None
    try:
        yield int(found[1])
    finally:
        process.kill()
        process.wait()


def start_up(path: Path, size: tuple[int, int]) -> None:
    """Seconds until the page answers and until the first picture, with nothing compiled and with all compiled."""
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm"):
            begun = time.monotonic()
            with serving(path, cache) as port, BrowserTab(port, *size) as tab:
                answered = time.monotonic() - begun
                tab.wait(lambda tab=tab: tab.html("statistics"), 300)
                print(f"start, {name} kernels: page {answered:.1f} s, first picture {time.monotonic() - begun:.1f} s")


def orbit(path: Path, size: tuple[int, int], seconds: float, beside: str | None = None) -> None:
    """Pictures per second while the camera moves 50 times a second, and how soon it is sharp afterwards."""
    with serving(path, beside=beside) as port, BrowserTab(port, *size) as tab:
        tab.wait(lambda: tab.html("statistics"), 300)  # until then it gets pictures that say what is waited for
        center, start = tab.look_at.copy(), tab.position - tab.look_at
        arrivals, sizes, seen = [], [], len(tab.pictures)
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < seconds:
            angle = 0.5 * np.sin(now)
            turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
            tab.move(tuple(center + turn @ start))
            time.sleep(0.02)
            for picture in tab.pictures[seen:]:
                arrivals.append(time.monotonic())
                sizes.append(f"{picture.shape[1]}x{picture.shape[0]}")
            seen = len(tab.pictures)
        stopped = time.monotonic()
        tab.wait(lambda: tab.pictures[-1].shape[1] == size[0] and "still" in tab.html("statistics"))
        sharp = time.monotonic() - stopped
    gaps = np.diff(arrivals)
    what = "orbit" if beside is None else f"orbit beside {beside}"
    print(
        f"{what}, canvas {size[0]}x{size[1]}: {1 / np.median(gaps):.1f} pictures/s in the median, slowest twentieth "
        f"{1 / np.quantile(gaps, 0.95):.1f}, mostly {statistics.mode(sizes)}; sharp {sharp:.2f} s after the last move"
    )


def drag(path: Path, size: tuple[int, int], seconds: float, beside: str) -> None:
    """Pictures per second while the divider of a wipe moves 50 times a second."""
    with serving(path, beside=beside) as port, BrowserTab(port, *size) as tab:
        tab.wait(lambda: tab.html("statistics"), 300)  # until then it gets pictures that say what is waited for
        seen, begun = len(tab.pictures), time.monotonic()
        for number in range(round(50 * seconds)):
            tab.set("Divider", abs(number % 198 - 99))
            time.sleep(0.02)
        rate = (len(tab.pictures) - seen) / (time.monotonic() - begun)
    print(f"divider, canvas {size[0]}x{size[1]}: {rate:.1f} pictures/s, all sharp")


def video(path: Path, size: tuple[int, int]) -> None:
    """Frames per second of a turntable video, and of rendering the same shots alone, in turn."""
    mixture = checkpoint.load(path).mixture
    camera = mixture.rig.cameras[(*mixture.rig.test, 0)[0]].fitted(*size)
    first, _ = for_video(Shot(camera, 0.0))
    size = first.camera.width, first.camera.height
    shots = film(mixture.rig, first, Tour(360.0, 2.0, 30.0, running=True))
    alone, whole = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            begun = time.monotonic()
            for shot in shots:
                views.draw(mixture, shot).burnt()
            alone.append(time.monotonic() - begun)
            begun = time.monotonic()
            pictures = (views.draw(mixture, shot).burnt() for shot in shots)
            export.write_video(pictures, Path(folder) / "turn.mp4", size, 30)
            whole.append(time.monotonic() - begun)
    share = statistics.median(alone) / statistics.median(whole)
    print(
        f"turntable {size[0]}x{size[1]}: {len(shots) / statistics.median(whole):.1f} frames/s, {share:.2f} of the "
        f"{len(shots) / statistics.median(alone):.1f} of rendering alone"
    )


def main(
    path: tyro.conf.Positional[Path | None] = None,
    seconds: float = 8,
    size: tuple[int, int] = (640, 360),
    compare: str | None = None,
) -> None:
    """Measures the viewer on a checkpoint, the bundled demo when left out."""
    path = (path or demo.path()).resolve()
    start_up(path, size)
    orbit(path, size, seconds)
    if compare is not None:
        orbit(path, size, seconds, compare)
        drag(path, size, seconds, compare)
    video(path, size)


if __name__ == "__main__":
    program.run("viewer.py", lambda: tyro.cli(main))
