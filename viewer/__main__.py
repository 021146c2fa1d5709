"""The command `moegs-view`."""

import os
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from moegs import demo, program
from viewer.origin import is_loopback

if TYPE_CHECKING:
    from moegs.checkpoint import Checkpoint
    from viewer.app import App
    from viewer.follower import Follower
    from viewer.page import Page

Device = Literal["auto", "cuda", "cpu"]
"""As in moegs.system, which brings torch: the page is to answer before that."""
KEEP_MB = 512
"""Megabytes of frames that were seen, unless told otherwise."""


def view(
    checkpoint: Positional[Annotated[Path | None, arg(metavar="[CKPT]")]] = None,
    /,
    host: str = "127.0.0.1",
    port: int = 8080,
    device: Device = "auto",
    compare: str | None = None,
    watch: Path | None = None,
    phase: str | None = None,
    keep_mb: int = KEEP_MB,
    cuda_graph: FlagCreatePairsOff[bool] = False,
    half: FlagCreatePairsOff[bool] = False,
    compile: FlagCreatePairsOff[bool] = False,
) -> None:
    """Look at a trained mixture in the browser: move through the scene, scrub time, mute experts, see the router.

    Args:
        checkpoint: A mixture written by moegs train; the bundled demo when left out.
        host: The address to listen at. Other than 127.0.0.1 it lets everybody in who can reach this machine.
        port: The port to listen at; the next free one if it is taken.
        device: Where to compute.
        compare: What to set beside it: another checkpoint of the same data set, or expert:NAME, one expert of CKPT
            alone, or kept:SHARE, CKPT pruned by its stored scores, such as kept:0.45.
        watch: Instead of CKPT, the folder of a training run (its --out), begun or not: shows how it stands, live.
        phase: With --watch, the expert to see while it trains; the first that is under way when left out.
        keep_mb: Memory of each mixture for the Gaussians of frames that were seen, so that playing them again
            evaluates no network.
        cuda_graph: On a GPU, record what it does for a frame and play it again: same pictures, less work for the host.
        half: On a GPU, keep colours in half precision.
        compile: Compile the experts' networks with torch.compile when they are first used, which takes a minute.
    """
    if keep_mb < 0:
        raise ValueError(f"--keep-mb: got {keep_mb}, expected 0 or more megabytes")
    if checkpoint is not None and watch is not None:
        raise ValueError(f"{checkpoint}, --watch {watch}: give one of them")
    if compare is not None and watch is not None:
        raise ValueError(f"--compare {compare}, --watch {watch}: what still trains is not compared; give one of them")
    if phase is not None and watch is None:
        raise ValueError(f"--phase {phase}: needs --watch RUN")
    path = demo.path() if checkpoint is None else checkpoint
    from viewer.page import Page

    # A tab may close between a look whether it is there and a message to it: no news to anybody.
    warnings.filterwarnings("ignore", "Queued a .* on a closed connection", UserWarning)
    page = Page(host, port)
    wish = _Wish(
        path if watch is None else watch,
        device,
        watch is not None,
        phase,
        compare,
        keep_mb * 10**6,
        {"cuda_graph": cuda_graph, "half": half, "compile": compile},
    )
    show = _Show(wish, page)
    with _scratch():
        try:
            show.start()
            _tell_address(page, port)
            show.ready.wait()
            if show.error is None:
                threading.Event().wait()
        except program.Stopped:
            print("\nmoegs-view: stopped", flush=True)
        tidy = show.close()
    page.close()
    if show.error is not None:
        raise show.error
    if not tidy:
        # A thread is still inside a compiled kernel; the interpreter must not be torn down under it.
        os._exit(0)


@contextmanager
def _scratch() -> Iterator[None]:
    """Gives all temporary files of the program a folder that is gone after the block, whoever still writes in it."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="moegs-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


@dataclass(frozen=True)
class _Wish:
    """What the command line asks for."""

    path: Path
    """Of the checkpoint, or of the run that is `watched`."""
    device: Device
    watched: bool
    phase: str | None
    beside: str | None
    keep_bytes: int
    faster: dict[str, bool]
    """As in moegs.acceleration, which brings torch."""


class _Show(threading.Thread):
    """Loads the mixture and opens the sessions, so that Ctrl-C is heard meanwhile."""

    def __init__(self, wish: _Wish, page: "Page") -> None:
        super().__init__(daemon=True, name="moegs-load")
        self.ready = threading.Event()
        self.error: Exception | None = None
        self._wish, self._page = wish, page
        self._app: App | None = None
        self._follower: Follower | None = None

    def run(self) -> None:
        try:
            from moegs.acceleration import Acceleration
            from moegs.runs import RunFolder
            from moegs.variants import Variants
            from viewer import app  # brings torch: some seconds

            path, loaded = self._load()
            shown = RunFolder(self._wish.path).mixture if self._wish.watched else path
            variants = Variants(loaded, shown, self._wish.keep_bytes, Acceleration(**self._wish.faster))
            beside = self._wish.beside or ""
            if beside:
                app.set_beside(variants, beside, self._page)
            self._app = app.App(self._page, variants, beside)
            print(app.summary(path, loaded), flush=True)
            if beside:
                side = variants.other(beside)
                print(f"compared with {beside}: {side.name}, {side.budget.size}", flush=True)
            if self._follower is not None:
                self._follower.follow(self._app.show, self._app.tell)
        except Exception as error:
            self.error = error
        self.ready.set()

    def _load(self) -> "tuple[Path, Checkpoint]":
        from viewer import app

        wish = self._wish
        if not wish.watched:
            return wish.path, app.load(wish.path, wish.device, self._page)
        from viewer.follower import Follower

        self._follower = Follower(wish.path, wish.device, wish.phase)
        while True:
            path = self._follower.first(self._page.say)
            try:
                return path, app.load(path, wish.device, self._page)
            except ValueError:
                if path.exists():  # else what is finished has just taken the place of a snapshot
                    raise

    def close(self) -> bool:
        """Ends the sessions; whether no thread is left that computes."""
        if self._follower is not None:
            self._follower.close()
            for thread in (self, self._follower):
                if thread.is_alive():
                    thread.join(1.0)
        return not self.is_alive() and (self._app is None or self._app.close())


def _tell_address(page: "Page", wanted: int) -> None:
    if page.port != wanted != 0:
        print(f"Port {wanted} is taken: this is on {page.port}.")
    print(f"Open {page.url} in a browser; Ctrl-C ends it.")
    forward = f"ssh -L {page.port}:localhost:{page.port} {socket.gethostname()}"
    if is_loopback(page.host):
        print(f"From another machine: {forward}, then the same address there.", flush=True)
    else:
        print(
            f"Warning: --host {page.host} lets everybody in who can reach this machine. Safer: leave --host out, and "
            f"on your own machine run: {forward}",
            file=sys.stderr,
            flush=True,
        )


def main() -> None:
    """Runs the command line."""
    program.run("moegs-view", lambda: tyro.cli(view, prog="moegs-view"))


if __name__ == "__main__":
    main()
