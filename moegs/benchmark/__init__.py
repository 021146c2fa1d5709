"""Benchmark: how long a mixture's frames take, stage by stage, against its experts alone and separate passes."""

from moegs.benchmark import tables
from moegs.benchmark.frames import View
from moegs.benchmark.measuring import Benchmark, measure
from moegs.benchmark.timing import Rounds, Timing

__all__ = ["Benchmark", "Rounds", "Timing", "View", "measure", "tables"]
