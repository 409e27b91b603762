"""Charts of a study: the same order and colours on each."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from worldmodel.benchmarks import plots

TASKS, VARIANTS, OFFSETS = ("two-room", "pusht"), ("wm", "lewm", "fast-lewm"), (25, 50)
MEASURED = {"success": 0.5, "low": 0.4, "high": 0.6, "random": 0.1, "seeds": {"0": 0.5}, "ms_per_action": 5.0}
FOUND = {
    "rows": [
        {"task": task, "variant": variant, "offset": offset, **MEASURED}
        for task, offset, variant in product(TASKS, OFFSETS, VARIANTS)
    ],
    "comparisons": [],
}


@pytest.mark.parametrize("draw", [plots.offsets, plots.latency])
def test_tasks_and_variants_stand_in_the_order_of_the_study(draw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "_write", lambda figure, path: figure)
    figure = draw(FOUND, Path("chart.png"))
    assert [axis.get_title() for axis in figure.axes] == list(TASKS)
    for axis in figure.axes:
        drawn = {bars.get_label(): bars.lines[0].get_color() for bars in axis.containers}
        assert drawn == dict(zip(VARIANTS, plots.COLOURS))
