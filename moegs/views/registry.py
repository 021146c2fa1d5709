"""The registry of views: each with its id, what it shows, how it is painted, and the numbers behind its colours."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from moegs.legends import Legend
from moegs.mixture import Mixture, MixtureRender
from moegs.views import painting
from moegs.views.painting import Pixels


@dataclass(frozen=True)
class View:
    """One entry of the registry; `paint` takes the mixture, its render and the expert's number."""

    id: str
    help: str
    paint: Callable[[Mixture, MixtureRender, int], tuple[Pixels, Legend | None]]
    values: Callable[[MixtureRender, int], Float[Tensor, "H W C"]] | None = None
    """The numbers in [0, 1] behind the colours, from the render and the expert's number; None where there are none."""
    scale: str = ""
    """What a difference of these numbers is of, where the view's id alone does not say it."""
    per_expert: bool = False
    needs_router: bool = False


VIEWS = (
    View("rgb", "the mixture", painting.rgb, lambda render, number: render.picture.clamp(0, 1), "mean of RGB"),
    View(
        "expert",
        "one expert's own picture",
        painting.expert,
        lambda render, number: render.images[number].clamp(0, 1),
        "mean of RGB",
        per_expert=True,
    ),
    View(
        "gate",
        "one expert's share of each pixel, 0 to 1",
        painting.gate,
        lambda render, number: render.gates[number][..., None],
        per_expert=True,
        needs_router=True,
    ),
    View("gates", "all gates side by side", painting.gate_grid, needs_router=True),
    View("gate-argmax", "which expert has the largest gate", painting.argmax, needs_router=True),
    View(
        "gate-entropy",
        "how undecided the router is: entropy of the gates over its largest, 0 to 1",
        painting.entropy,
        lambda render, number: painting.gate_entropy(render.gates)[..., None],
        needs_router=True,
    ),
    View(
        "depth",
        "distance along the camera's axis; black where there is nothing",
        painting.depth,
        lambda render, number: painting.nearness(render).clamp(0, 1)[..., None],
        "inverse, 0 far to 1 near",
    ),
    View("alpha", "how opaque the mixture is", painting.alpha, lambda render, number: render.alpha),
)
"""The registry: it serves the browser's menu, the command line, the help texts and the tests."""
