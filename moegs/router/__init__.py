"""The router: per pixel and instant, how far to trust each expert. A further kind is a file here and an entry below."""

from moegs.router.base import Router, RouterConfig, Seen, Verdict
from moegs.router.gates import MuteRule, gates
from moegs.router.pixel import PixelConfig
from moegs.router.uniform import UniformConfig
from moegs.router.volume import VolumeConfig
from moegs.router.volume_aware import VolumeAwareConfig

__all__ = [
    "AnyRouterConfig",
    "MuteRule",
    "PixelConfig",
    "Router",
    "RouterConfig",
    "Seen",
    "UniformConfig",
    "Verdict",
    "VolumeAwareConfig",
    "VolumeConfig",
    "gates",
]

AnyRouterConfig = VolumeAwareConfig | PixelConfig | VolumeConfig | UniformConfig
"""Told apart by `kind`."""
