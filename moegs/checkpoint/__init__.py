"""One file per mixture: named tensors and plain values, read without ever running code."""

from moegs.checkpoint.contents import Checkpoint, CheckpointError
from moegs.checkpoint.reading import load
from moegs.checkpoint.writing import save

__all__ = ["Checkpoint", "CheckpointError", "load", "save"]
