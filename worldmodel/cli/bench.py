"""``wm-bench``: how fast planning is, what success costs in time, and what is good or wrong about a model."""

from __future__ import annotations

from worldmodel.cli import common
from worldmodel.cli.bench_compare import compare
from worldmodel.cli.bench_frontier import frontier
from worldmodel.cli.bench_geometry import geometry
from worldmodel.cli.bench_openloop import openloop
from worldmodel.cli.bench_probe import probe
from worldmodel.cli.bench_report import report
from worldmodel.cli.bench_speed import speed
from worldmodel.cli.bench_surprise import surprise


def main() -> None:
    """Entry point of ``wm-bench``."""
    commands = {
        "speed": speed,
        "frontier": frontier,
        "compare": compare,
        "openloop": openloop,
        "geometry": geometry,
        "probe": probe,
        "surprise": surprise,
        "report": report,
    }
    about = "How fast planning is, what success costs in time, and what is good or wrong about a model."
    common.run(lambda: common.subcommands(commands, about))


if __name__ == "__main__":
    main()
