"""What makes frames faster and is off unless asked for: a CUDA graph, colours in half precision, compiled networks."""

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

from torch import nn

from moegs.mixture import Mixture

if TYPE_CHECKING:
    from moegs.experts.base import Expert

_COMPILED: WeakSet[nn.Module] = WeakSet()


@dataclass(frozen=True)
class Acceleration:
    """What makes frames faster, each by itself."""

    cuda_graph: bool = False
    """On a GPU, record what it does for a frame and play it again: same pictures, less work for the host."""
    half: bool = False
    """On a GPU, keep colours in half precision: moves no pixel by more than a step of 255 where it was measured."""
    compile: bool = False
    """Compile the experts' networks with torch.compile when they are first used, which takes a minute."""

    def apply(self, mixture: Mixture) -> None:
        """Makes the frames of `mixture` faster. Raises ValueError for what its device cannot do."""
        for asked, flag in ((self.cuda_graph, "--cuda-graph"), (self.half, "--half")):
            if asked and mixture.device.type != "cuda":
                raise ValueError(f"{flag}: the mixture is on the {mixture.device.type.upper()}; it needs --device cuda")
        if self.compile and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "cl")))):
            raise ValueError("--compile: torch.compile needs a C++ compiler; install g++ or clang++, or leave it out")
        mixture.graphs = None
        if self.cuda_graph:
            from moegs.rasterize.cuda.graphs import Graphs

            mixture.graphs = Graphs()
        mixture.instants.half = self.half
        if self.compile:
            for expert in mixture.members:
                for network in networks(expert):
                    if network not in _COMPILED:  # an expert may be shown in several mixtures
                        network.compile()
                        _COMPILED.add(network)


def networks(expert: "Expert") -> list[nn.Module]:
    """The modules of `expert` that are made of linear layers."""
    parts = [child for child in expert.children() if child is not expert.groups]
    return [part for part in parts if any(isinstance(module, nn.Linear) for module in part.modules())]
