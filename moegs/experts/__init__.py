"""The kinds of expert. A further kind is a file in this folder and an entry in this list."""

from moegs.experts.embedding import EmbeddingConfig
from moegs.experts.hexplane import HexPlaneConfig
from moegs.experts.keyframe import KeyframeConfig
from moegs.experts.polynomial import PolynomialConfig

AnyExpertConfig = HexPlaneConfig | EmbeddingConfig | PolynomialConfig | KeyframeConfig
"""Told apart by `kind`."""

KINDS = {config.kind: config for config in AnyExpertConfig.__args__}
"""The config class of each kind, by its name."""
