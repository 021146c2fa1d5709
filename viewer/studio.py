"""Studio: the checkpoint that all tabs look at, and the one place where it is drawn."""

from collections.abc import Callable, Container

from moegs.mixture import Mixture
from moegs.shots import Shot
from moegs.variants import Variants
from moegs.views import Drawing
from viewer.worker import Turns


class Studio:
    """A checkpoint whose drawings are made one at a time, in the order of asking."""

    def __init__(self, variants: Variants, clients: Callable[[], Container[int]], beside: str) -> None:
        self.variants = variants
        self.beside = beside
        """What tabs compare it with when they open, as in `Comparison.other`."""
        self.clients = clients
        """The numbers of the tabs that are open."""
        self.note = ""
        """A line for every tab: how the training stands that is being watched; empty where none is."""
        self._turns = Turns()

    @property
    def name(self) -> str:
        """What exported files are called by first."""
        return self.variants.name

    @property
    def mixture(self) -> Mixture:
        """All of the checkpoint."""
        return self.variants.mixture

    def draw(self, shot: Shot) -> Drawing:
        """What `shot` asks for, once it is the caller's turn."""
        with self._turns.turn():
            return self.variants.draw(shot)
