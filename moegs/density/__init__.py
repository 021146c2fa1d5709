"""Density control: Gaussians are added where the picture asks for it and removed where nothing shows them."""

from moegs.density.config import DensityConfig, McmcConfig
from moegs.density.control import Change, DensityControl
from moegs.density.rows import resize, rewrite

__all__ = ["Change", "DensityConfig", "DensityControl", "McmcConfig", "resize", "rewrite"]
