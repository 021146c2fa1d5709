"""Where the bundled demo lies."""

from pathlib import Path


def path() -> Path:
    """The demo checkpoint of this installation: beside the code in a checkout, inside the package in a wheel.

    Raises ValueError when neither is there.
    """
    package = Path(__file__).parent
    for place in (package / "checkpoints" / "demo.pt", package.parent / "checkpoints" / "demo.pt"):
        if place.is_file():
            return place
    raise ValueError("the bundled demo is missing from this installation; name a checkpoint")
