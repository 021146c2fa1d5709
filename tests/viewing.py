"""The made mixture as the viewer's tests see it: with lenses whose principal point is not in the middle."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import mixtures
import torch

from moegs.cameras import Camera
from moegs.checkpoint import Checkpoint
from moegs.mixture import Mixture, MixtureRender
from moegs.variants import Variants
from viewer.app import App
from viewer.page import Page

SIZE = (64, 48)
"""Of the canvas of a tab, pixels."""


def mixture(kinds: tuple[str, ...] = ("poly", "key")) -> Mixture:
    """Two experts, or others, six frames, three cameras, the first held out."""
    made = mixtures.mixture(kinds)
    made.rig = replace(made.rig, cameras=tuple(map(_off_centre, made.rig.cameras)))
    return made


def variants(made: Mixture | None = None) -> Variants:
    """All that there is to look at of `made`, or of the two experts, with random scores of every Gaussian."""
    made = mixture() if made is None else made
    generator = torch.Generator().manual_seed(11)
    experts = zip(made.names, made.members, strict=True)
    scores = {name: torch.rand(len(expert), generator=generator) for name, expert in experts}
    return Variants(Checkpoint(made, importance={"contribution": scores}), Path("moegs.pt"))


class Held:
    """Renders of a mixture that begin and do not end until they may."""

    def __init__(self, made: Mixture) -> None:
        self._render = made.render
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any, **options: Any) -> MixtureRender:
        self.begun.set()
        assert self.go.wait(20)
        return self._render(*arguments, **options)


@contextmanager
def served(shown: Variants, beside: str = "") -> Iterator[int]:
    """The port of a page that shows `shown`, as if `moegs-view --compare` had been given `beside`."""
    page = Page("127.0.0.1", 0)
    app = App(page, shown, beside)
    yield page.port
    assert app.close()
    page.close()


def _off_centre(camera: Camera) -> Camera:
    K = camera.K.clone()
    K[:2, 2] += K.new_tensor([0.06, -0.03]) * camera.width
    return replace(camera, K=K)
