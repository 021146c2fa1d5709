"""The application: a checkpoint, and a session for every tab that looks at it."""

import threading
import time
from pathlib import Path

import viser

from moegs import checkpoint, views
from moegs.checkpoint import Checkpoint
from moegs.mixture import Mixture
from moegs.shots import Shot
from moegs.system import Device, device, memory_told
from moegs.variants import Variants
from viewer.page import Page
from viewer.session import Session
from viewer.studio import Studio

WARM_UP_SIZE = (64, 48)
"""Of the picture that is drawn once so that everything is compiled before somebody waits for it."""
PATIENCE = 1.0
"""Seconds that threads get to finish the frame they are at when the program ends."""


class App:
    """Sessions by the number of their tab."""

    def __init__(self, page: Page, variants: Variants, beside: str = "") -> None:
        """Shows `variants` in all tabs of `page`, those that are open and those that come, compared with `beside`."""
        self._studio = Studio(variants, page.server.get_clients, beside)
        self._sessions: dict[int, Session] = {}
        self._lock = threading.Lock()
        page.server.scene.set_up_direction(variants.mixture.rig.up.double().cpu().numpy())
        page.hand_over(self._join, self._leave)

    def close(self) -> bool:
        """Ends all sessions; whether all of their threads have come to an end in time."""
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.close()
        threads = [thread for session in sessions for thread in session.threads()]
        deadline = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def show(self, mixture: Mixture) -> None:
        """Puts `mixture`, a later state of the same training, in the place of the one that is shown."""
        with self._lock:
            before = self._studio.variants
            self._studio.variants = Variants(Checkpoint(mixture), before.path, before.keep_bytes, before.acceleration)
            sessions = list(self._sessions.values())
        for session in sessions:
            session.renew()

    def tell(self, note: str) -> None:
        """Shows `note`, a line of HTML, in all tabs."""
        with self._lock:
            self._studio.note = note
            sessions = list(self._sessions.values())
        for session in sessions:
            session.show_note()

    def _join(self, client: viser.ClientHandle) -> None:
        with self._lock:
            if client.client_id not in self._sessions:
                self._sessions[client.client_id] = Session(client, self._studio)
        if client.client_id not in self._studio.clients():  # closed meanwhile, which nobody may tell again
            self._leave(client)

    def _leave(self, client: viser.ClientHandle) -> None:
        with self._lock:
            session = self._sessions.pop(client.client_id, None)
        if session is not None:
            session.close()


def load(path: Path, where: Device, page: Page) -> Checkpoint:
    """The checkpoint at `path`, ready to be drawn at once; `page` says what takes so long.

    Raises ValueError in one line where there is nothing to show.
    """
    with memory_told():
        page.say(f"Loading {path.name}")
        loaded = checkpoint.load(path, device(where))
        page.say("Compiling the rasterizer, once on this machine")
        rig = loaded.mixture.rig
        views.draw(loaded.mixture, Shot(rig.cameras[0].fitted(*WARM_UP_SIZE), rig.timeline.t(0)))
    return loaded


def set_beside(variants: Variants, text: str, page: Page) -> None:
    """Makes ready what `text` names, so that it can be set beside `variants`; `page` says what takes so long.

    Raises ValueError in one line where the two cannot be compared.
    """
    with memory_told():
        page.say(f"Loading {text}")
        variants.open(text, variants.mixture.device)


def summary(path: Path, loaded: Checkpoint) -> str:
    """What was loaded, for the terminal."""
    mixture = loaded.mixture
    rig, timeline = mixture.rig, mixture.rig.timeline
    members = zip(mixture.names, mixture.members, strict=True)
    lines = [f"  {name:<12} {member.config.kind:<12} {len(member):>9,} Gaussians" for name, member in members]
    experts = "1 expert" if len(lines) == 1 else f"{len(lines)} experts"
    return "\n".join([
        f"{path}: {experts}, {timeline.frames} frames at {timeline.fps:g} frames/s, "
        f"{len(rig.train)} training and {len(rig.test)} test cameras, on {mixture.device}",
        *lines,
    ])  # fmt: skip
