"""``wm-bench report RUN...``: one HTML page about one or several models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from worldmodel.cli import common, plan_options
from worldmodel.cli.bench_geometry import Geometry, geometry
from worldmodel.cli.bench_openloop import OpenLoop, openloop
from worldmodel.cli.bench_probe import Probe, probe
from worldmodel.cli.bench_surprise import Surprise, surprise
from worldmodel.cli.diagnosis import Diagnosis
from worldmodel.errors import WorldModelError
from worldmodel.files import read_json

DIAGNOSES: dict[str, tuple[type[Diagnosis], Callable[[Any], None]]] = {
    "openloop": (OpenLoop, openloop),
    "geometry": (Geometry, geometry),
    "probe": (Probe, probe),
    "surprise": (Surprise, surprise),
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one HTML page about runs: success, rollouts and diagnoses, side by side; it needs no network."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = ()
    """Run folders [the newest run]."""
    measure: tyro.conf.FlagCreatePairsOff[bool] = False
    """First measure what is missing or was measured of other weights: openloop, geometry, probe and surprise."""
    out: Annotated[str | None, plan_options.text("FILE", "report.html in the first run folder")] = None
    """Where to write the page."""


def report(options: Annotated[Report, tyro.conf.arg(name="")]) -> None:
    """Write one HTML page about runs: success, rollouts and diagnoses, side by side; it needs no network."""
    runs = [Path(run) for run in options.runs] or [common.newest_run(None, otherwise="RUN")]
    out = Path(options.out or common.run_folder(runs[0]) / "report.html")
    common.require_writable("--out", str(out))
    if options.measure:
        _measure(runs)

    with common.option("RUN"):
        write(out, runs)
    print(f"report: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def write(out: str | Path, runs: Sequence[Path]) -> None:
    """Write the page, with a progress bar."""
    from worldmodel.benchmarks.page import write_page

    with common.bar(None, "part", "report") as line:
        write_page(out, runs, progress=lambda done, total: common.move(line, done, total))


def _measure(runs: Sequence[Path]) -> None:
    """Measure of every run what is not there of its present weights; what cannot be measured is said."""
    from worldmodel.benchmarks.page_runs import is_current, weights

    for name, (options_of, diagnose) in DIAGNOSES.items():
        for run in runs:
            file = common.run_folder(run) / "evaluation" / f"{name}.json"
            if file.is_file() and is_current(read_json(file), weights(common.run_folder(run))):
                continue
            print(f"\n{name} of {run}")
            try:
                diagnose(options_of(model=str(run)))
            except WorldModelError as error:
                print(f"not measured: {error}")
