"""Studio: the mixture that all tabs look at, and the one place where it is drawn."""

from collections.abc import Callable, Container

from moegs.mixture import Mixture
from moegs.shots import Shot
from moegs.views import Drawing, draw
from viewer.worker import Turns


class Studio:
    """A mixture whose drawings are made one at a time, in the order of asking."""

    def __init__(self, mixture: Mixture, clients: Callable[[], Container[int]], name: str) -> None:
        self.mixture = mixture
        self.name = name
        """What exported files are called by first."""
        self.clients = clients
        """The numbers of the tabs that are open."""
        self.note = ""
        """A line for every tab: how the training stands that is being watched; empty where none is."""
        self._turns = Turns()

    def draw(self, shot: Shot) -> Drawing:
        """What `moegs.views.draw` gives for `shot`, once it is the caller's turn."""
        with self._turns.turn():
            return draw(self.mixture, shot)
