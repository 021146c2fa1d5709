"""Small experts of every kind for the tests."""

import torch

from moegs.experts.base import Expert, ExpertConfig
from moegs.experts.embedding import EmbeddingConfig
from moegs.experts.heads import HeadsConfig
from moegs.experts.hexplane import HexPlaneConfig
from moegs.experts.keyframe import KeyframeConfig
from moegs.experts.planes import PlanesConfig
from moegs.experts.polynomial import PolynomialConfig
from moegs.gaussians import Points

FRAMES, VIEWS, TRAINED = 30, 3, 10**6
SMALL_HEADS = HeadsConfig(width=8)
SMALL = {
    "hexplane": HexPlaneConfig(
        sh_degree=1, planes=PlanesConfig(channels=4, resolution=(5, 6, 7), time_resolution=8), heads=SMALL_HEADS
    ),
    "embedding": EmbeddingConfig(sh_degree=1, size=4, time_size=6, time_rows=9, coarse_rows=3, heads=SMALL_HEADS),
    "polynomial": PolynomialConfig(sh_degree=1, turns=None),
    "polynomial, two segments": PolynomialConfig(sh_degree=1, turns=None, segments=2),
    "keyframe": KeyframeConfig(sh_degree=1, interval=5, dynamic_share=0.3),
}


def points(count: int = 40) -> Points:
    generator = torch.Generator().manual_seed(7)
    means, colors = (torch.rand(count, 3, generator=generator) for _ in range(2))
    return Points(means * 2 - 1, colors, torch.arange(count) % FRAMES / FRAMES)


def started(settings: ExpertConfig) -> Expert:
    torch.manual_seed(1)
    expert = settings.start(points(), FRAMES, VIEWS)
    expert.begin_step(TRAINED)
    return expert


def stirred(settings: ExpertConfig) -> Expert:
    """An expert after all schedules in which no parameter is at a special value such as 0."""
    expert = started(settings)
    with torch.no_grad():
        for parameter in expert.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return expert
