"""The part of a report about success: rates beside floors and ceilings, distance of the goal, and time."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from worldmodel.benchmarks.chart_parts import Axis
from worldmodel.benchmarks.charts import Point, Series, lines, rates
from worldmodel.benchmarks.compare import paired
from worldmodel.benchmarks.markup import Html, join, table, tag
from worldmodel.benchmarks.page_runs import (
    FLOORS,
    Run,
    by_task,
    evaluations,
    fixed,
    interval,
    p_value,
    percent,
    simulator,
    who,
)
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.report import proportion

NONE = "–"  # a cell without a number
DISTANCES = ("lewm-25", "offset-50", "offset-75", "offset-100")  # protocols that differ by the distance of the goal


def success(runs: Sequence[Run]) -> Html | None:
    """Rates beside floors and ceilings, against the distance of the goal, and against the time that a plan takes."""
    charts: list[Html | None] = [_rates(run, runs) for run in runs if run.records]
    charts += [_offsets(begin, same, runs) for begin, same in by_task(runs)]
    charts += [_frontier(run.name, run.found["frontier"]) for run in runs if "frontier" in run.found]
    tables = [_numbers(run, runs) for run in runs if run.records]
    shown = [chart for chart in charts if chart is not None]
    return join((tag("div", *shown, class_="columns"), *tables)) if shown else None


def _rates(run: Run, runs: Sequence[Run]) -> Html:
    """Rates with intervals beside floors and ceilings, all pairs and the hard ones."""
    named, rows = evaluations([run]), []
    for name, _, record in named:
        hard = record.pairs.hard
        rows.append((f"{name}, n = {len(hard)}", _points(record, np.ones(len(hard), bool)) + _ceiling(record)))
        if 0 < hard.sum() < len(hard):
            rows.append((f"↳ {record.pairs.hard_label}, n = {hard.sum()}", _points(record, hard)))
    name, _, main = named[0]
    floor = max((main.floors[f].rate for f in ("random", "noop") if f in main.floors), default=None)
    title = f"{run.name}: " if len(runs) > 1 else ""
    title += f"{percent(main.outcome.rate)} of goals reached ({name})"
    title += "" if floor is None else f"; {percent(floor)} without a model"
    return rates(title, rows)


def _points(record: Record, rows: np.ndarray) -> list[Point]:
    ours = proportion(record.outcome.success[rows])
    found = [Point(name="the model", value=ours["success"], low=ours["low"], high=ours["high"])]
    there = ((label, record.floors[name]) for name, label in FLOORS.items() if name in record.floors)
    return found + [Point(name=label, value=float(outcome.success[rows].mean())) for label, outcome in there]


def _ceiling(record: Record) -> list[Point]:
    """What the search reaches on the true simulator, on some of the pairs."""
    found, label = record.values.get("simulator"), simulator(record.values)
    return [Point(name=label, value=found["success"], low=found["low"], high=found["high"])] if found and label else []


def _numbers(run: Run, runs: Sequence[Run]) -> Html:
    """A table of a run, its evaluations as rows; a column without any number is left out."""
    named = evaluations([run])
    labels = {record.pairs.hard_label for _, _, record in named}
    columns: dict[str, Callable[[Record], str]] = {
        "goals reached [95 %]": lambda r: _rate(r.values),
        "interval by episodes": _by_episode,
        labels.pop() if len(labels) == 1 else "hard pairs": lambda r: _rate(r.values["hard"], "no such pair"),
        "the other pairs": lambda r: _rate(r.values.get("easy")),
        **{f"{label} (hard pairs)": functools.partial(_floor, name) for name, label in FLOORS.items()},
        "mean time to success [environment steps]": lambda r: _steps(r.values["mean_steps_to_success"]),
    }
    filled = {head: [show(record) for _, _, record in named] for head, show in columns.items()}
    kept = {head: cells for head, cells in filled.items() if set(cells) != {NONE}}
    rows = [[name, *(cells[i] for cells in kept.values())] for i, (name, _, _) in enumerate(named)]
    numbers = table(["", *kept], rows, f"Success of {run.name}")
    return join((tag("h3", run.name) if len(runs) > 1 else None, numbers, *_simulated(named)))


def _simulated(named: Sequence[tuple[str, Run, Record]]) -> Iterator[Html]:
    """A table of the ceilings by the true simulator, and of what the model reaches on just the same pairs."""
    rows = []
    for name, _, record in named:
        if label := simulator(record.values):
            found = record.values["simulator"]
            ours, p = found.get("policy"), found.get("mcnemar_p_pairs_independent")
            rows.append([f"{name}: {label}", _rate(found), _rate(ours), NONE if p is None else p_value(p)])
    if rows:
        head = [
            "where every prediction is true",
            "goals reached [95 %]",
            "the model on these pairs",
            "McNemar p",
        ]
        yield table(head, rows, "Ceiling by the true simulator")


def _rate(part: Mapping[str, Any] | None, none: str = NONE) -> str:
    if not part or not part["n"]:
        return none
    return f"{percent(part['success'])} {fixed(interval(part))} " + fixed(f"n = {part['n']}")


def _by_episode(record: Record) -> str:
    """Nothing over a few official tasks, or where all episodes ended alike."""
    found = record.values.get("by_episode")
    if not found or found["low"] is None or found["low"] == found["high"] or record.values["offset"] is None:
        return NONE
    return fixed(interval(found))


def _floor(name: str, record: Record) -> str:
    if name not in record.floors:
        return NONE
    hard = record.floors[name].success[record.pairs.hard]
    return percent(record.floors[name].rate) + (f" ({percent(hard.mean())})" if len(hard) else "")


def _steps(mean: float | None) -> str:
    return NONE if mean is None else f"{mean:.0f}"


def _offsets(begin: str, same_task: Sequence[Run], runs: Sequence[Run]) -> Html | None:
    """Success against the distance of the goal, if it was measured at several."""
    series: list[Series] = []
    blocks: set[int] = set()
    for run in same_task:
        found: dict[str, dict[int, Mapping[str, Any]]] = {}
        for record in run.records.values():
            protocol, same = record.values["protocol"], found.setdefault(who(record.values), {})
            standard = protocol["name"] in DISTANCES and set(protocol["changed"]) <= {"pairs", "seed"}
            if standard and run.current(record.values):
                same.setdefault(record.values["offset"], record.values)
        for acted, at in found.items():
            x, (look, dash) = sorted(at), run.look(acted)
            if len(x) > 1:
                y, low, high = ([100 * at[offset][key] for offset in x] for key in ("success", "low", "high"))
                name = run.called(acted, runs)
                series.append(Series(name=name, x=x, y=y, low=low, high=high, look=look, dash=dash))
                blocks |= {at[offset]["action_block"] for offset in x}
    if not series:
        return None
    ticks = sorted({x for one in series for x in one.x})
    axis = Axis(label="environment steps to the goal", ticks=ticks, low=0)
    if len(blocks) == 1:
        label = "environment steps to the goal (below: model steps)"
        axis = Axis(label=label, ticks=ticks, low=0, second=1 / blocks.pop())
    one, (near, far) = series[0], (percent(series[0].y[i] / 100) for i in (0, -1))
    title = f"{begin}From {one.x[0]} to {one.x[-1]} steps away success goes from {near} to {far} ({one.name})"
    return lines(title, series, axis, Axis(label="goals reached [%]", low=0, high=100))


def _frontier(name: str, found: Mapping[str, Any]) -> Html:
    settings = sorted(found["settings"], key=lambda one: one["p50_ms"])
    series = [
        Series(
            name=one["setting"],
            x=[one["p50_ms"]],
            y=[100 * one["success"]],
            low=[100 * one["low"]],
            high=[100 * one["high"]],
            look=i,
            joined=False,
        )
        for i, one in enumerate(settings)
    ]
    best = max(settings, key=lambda one: (one["success"], -one["p50_ms"]))
    fastest = settings[0]
    title = f"{name}: {percent(best['success'])} at {best['p50_ms']:.0f} ms a plan ({best['setting']}), "
    title += f"{percent(fastest['success'])} at {fastest['p50_ms']:.0f} ms ({fastest['setting']})"
    low = 10 * (min(one.low[0] for one in series) // 10)
    levels = [(100 * found[key], FLOORS[key]) for key in ("random", "noop") if 100 * found[key] >= low]
    high = min(100.0, 10 * (max(one.high[0] for one in series) // 10 + 1))
    y = Axis(label=f"goals reached [%], n = {found['n']}", low=low, high=high)
    return lines(title, series, Axis(label="one plan, median [ms, logarithmic]", log=True), y, levels)


def side_by_side(runs: Sequence[Run]) -> Html | None:
    """Every two evaluations on the same starts and goals, compared pair by pair."""
    rows = []
    for (first, _, a), (second, _, b) in itertools.combinations(evaluations(runs), 2):
        if any(a.values[key] != b.values[key] for key in ("manifest", "budget")):
            continue
        found = paired(b.outcome.success, a.outcome.success, a.pairs.episode)
        difference = f"{100 * found['difference']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
        alone = (found["only_second"], found["only_first"])
        rows.append([f"{first} → {second}", percent(a.outcome.rate), percent(b.outcome.rate), difference, *alone])
        rows[-1] += [p_value(found[key]) for key in ("mcnemar_p_pairs_independent", "sign_flip_p_by_episode")]
    head = ["same starts and goals", "first", "second", "difference [points]", "only first", "only second"]
    head += ["McNemar p, by pair", "sign-flip p, by episode"]
    return table(head, rows, "Paired comparison") if rows else None
