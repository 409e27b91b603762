"""``wm-bench``: how fast planning is, and what success costs in time."""

from __future__ import annotations

from worldmodel.cli import common
from worldmodel.cli.bench_frontier import frontier
from worldmodel.cli.bench_speed import speed


def main() -> None:
    """Entry point of ``wm-bench``."""
    commands = {"speed": speed, "frontier": frontier}
    common.run(lambda: common.subcommands(commands, "How fast planning is, and what success costs in time."))


if __name__ == "__main__":
    main()
