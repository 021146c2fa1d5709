"""Which data set, as flags: every verb that needs photos takes the same ones."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes

if TYPE_CHECKING:
    from moegs.data import DataConfig


@dataclass(frozen=True)
class DataChoices:
    """How the data set was read that the checkpoint was trained on."""

    set: tuple[str, ...] = ()
    """The choices of data that it was trained with, as key=value: --set downscale=2 end=150."""
    cache_dir: Path | None = None
    """Where decoded frames stay, in place of the user's cache folder."""

    def of(self, data: Path) -> "DataConfig":
        """The data set in the folder `data`, so read; raises ValueError for what it cannot be."""
        from moegs import config
        from moegs.data import DataConfig

        values = {"path": str(data)}
        config.override(values, self.set)
        settings = config.build(DataConfig, values, "data")
        return settings if self.cache_dir is None else replace(settings, cache_dir=self.cache_dir.absolute())


@dataclass(frozen=True)
class DataOptions:
    """The data set, for a verb that does something without one too."""

    data: Path | None = None
    """The folder of the data set that it was trained on."""
    choices: OmitArgPrefixes[DataChoices] = DataChoices()

    def settings(self) -> "DataConfig":
        """What these options describe; raises ValueError without a folder."""
        if self.data is None:
            raise ValueError("--data: name the folder of the data set")
        return self.choices.of(self.data.absolute())
