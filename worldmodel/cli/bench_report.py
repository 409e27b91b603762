"""``wm-bench report RUN...``: one HTML page about one or several models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from worldmodel.cli import common, plan_options


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one HTML page about runs: success, rollouts and diagnoses, side by side; it needs no network."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = ()
    """Run folders [the newest run]."""
    out: Annotated[str | None, plan_options.text("FILE", "report.html in the first run folder")] = None
    """Where to write the page."""


def report(options: Annotated[Report, tyro.conf.arg(name="")]) -> None:
    """Write one HTML page about runs: success, rollouts and diagnoses, side by side; it needs no network."""
    from pathlib import Path

    runs = [Path(run) for run in options.runs] or [common.newest_run(None)]
    first = runs[0].parent if runs[0].name == "model" else runs[0]
    out = Path(options.out or first / "report.html")
    common.require_writable("--out", str(out))

    from worldmodel.benchmarks.page import write_page

    with common.option("RUN"):
        print(f"report: {write_page(out, runs)} ({out.stat().st_size / 1e6:.1f} MB)")
