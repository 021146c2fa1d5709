"""The verbs of `moegs`: thin, over the core; a file each."""

import sys

from tyro.extras import SubcommandApp

import moegs
from moegs import system
from moegs.cli.bench import bench
from moegs.cli.compare import compare
from moegs.cli.distill import distill
from moegs.cli.evaluate import evaluate
from moegs.cli.export import export
from moegs.cli.info import info
from moegs.cli.prune import prune
from moegs.cli.render import render
from moegs.cli.sweep import sweep
from moegs.cli.train import train

app = SubcommandApp()
app.command(render)
app.command(compare)
app.command(info)
app.command(name="eval")(evaluate)
app.command(train)
app.command(prune)
app.command(sweep)
app.command(bench)
app.command(distill)
app.command(export)


def main() -> None:
    """Runs the verb that the command line names; raises ValueError for an expected failure."""
    if sys.argv[1:] == ["--version"]:
        print(f"moegs {moegs.__version__}")
        return
    with system.memory_told():
        app.cli(prog="moegs", description="Mixtures of dynamic Gaussian-splatting experts: train, score and draw them.")
