"""Which data set, as flags: every verb that needs photos takes the same ones."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moegs.cli.repeated import Repeated, joined

if TYPE_CHECKING:
    from moegs.data import DataConfig


@dataclass(frozen=True)
class DataChoices:
    """How the data set was read that the checkpoint was trained on."""

    set: Repeated[str] = ()
    """Choices of data in place of those that the checkpoint was trained with, which it knows: --set downscale=2."""
    cache_dir: Path | None = None
    """Where decoded frames stay, in place of the user's cache folder."""

    def of(self, data: Path, provenance: Mapping[str, Any]) -> "DataConfig":
        """The data set in the folder `data`, read as what has the `provenance` was trained on it, but for what is set.

        Raises ValueError for what it cannot be, and where there is no such folder.
        """
        from moegs import config
        from moegs.data.config import KEEPING, PLACES, DataConfig

        if not data.is_dir():
            raise ValueError(
                f"--data {data}: {'is no' if data.exists() else 'no such'} folder; give the data set's folder"
            )
        known, own = provenance.get("choices"), (*KEEPING, *PLACES)  # a checkpoint says nothing of this machine
        values = {key: value for key, value in known.items() if key not in own} if isinstance(known, dict) else {}
        values["path"] = str(data)
        config.override(values, joined(self.set, "--set"))
        settings = config.build(DataConfig, values, "data")
        return settings if self.cache_dir is None else replace(settings, cache_dir=self.cache_dir.absolute())
