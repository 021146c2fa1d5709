"""Which data set, as flags: every verb that needs photos takes the same ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moegs.cli.files import data_settings

if TYPE_CHECKING:
    from moegs.data import DataConfig


@dataclass(frozen=True)
class DataOptions:
    """The data set, with the choices that the checkpoint was trained with."""

    data: Path | None = None
    """The folder of the data set that it was trained on."""
    set: tuple[str, ...] = ()
    """Choices of data, as key=value: --set downscale=2 end=150."""
    cache_dir: Path | None = None
    """Where decoded frames stay, in place of the user's cache folder."""

    def settings(self) -> "DataConfig":
        """What these options describe; raises ValueError without a folder."""
        if self.data is None:
            raise ValueError("--data: name the folder of the data set")
        return data_settings(self.data.absolute(), self.set, self.cache_dir)
