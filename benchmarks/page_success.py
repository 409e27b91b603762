"""The part of a report about success: the verdict, rates beside floors and ceilings, distance of the goal, and time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from worldmodel.benchmarks.chart_parts import Axis
from worldmodel.benchmarks.charts import Point, Series, lines, rates
from worldmodel.benchmarks.compare import paired
from worldmodel.benchmarks.findings import Finding
from worldmodel.benchmarks.markup import Html, join, table, tag
from worldmodel.benchmarks.page_runs import FLOORS, Run, evaluations, interval, p_value, percent
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.report import proportion
from worldmodel.benchmarks.verdict import verdict

SIGNS = {"good": "✓", "warning": "!", "bad": "✗"}
DISTANCES = ("lewm-25", "offset-50", "offset-75", "offset-100")  # protocols that differ by the distance of the goal


def headline(runs: Sequence[Run]) -> str:
    """The page in one line."""
    if len(runs) > 1:
        return f"{len(runs)} models compared"
    run = runs[0]
    if run.main is None:
        return f"{run.env}: what the model knows"
    return f"{run.env}: {percent(run.records[run.main].values['success'])} of goals reached"


def verdicts(runs: Sequence[Run]) -> Html:
    """A card for each run: its rate, and what was found."""
    return tag("div", *(_card(run) for run in runs), class_="grid")


def _card(run: Run) -> Html:
    inside = [tag("h2", run.name if run.name == run.env else f"{run.name}: {run.env}")]
    if run.main is not None:
        v = run.records[run.main].values
        said = f"95 % interval {interval(v)}; {v['protocol']['shown']}, {v['predictor']} predictor"
        of = tag("small", f" of {v['n']} goals reached")
        inside += [tag("div", percent(v["success"]), of, class_="big"), tag("p", said, class_="note")]
    judged = verdict(run.found, run.records)
    main, *others = [*judged.evaluations.values()] or [[]]
    inside.append(tag("ul", *map(_item, [*judged.model, *main]), class_="findings"))
    if others:
        more = tag("ul", *(_item(one) for found in others for one in found), class_="findings")
        inside.append(tag("details", tag("summary", f"the other evaluations ({len(others)})"), more))
    return tag("section", *inside, class_="card")


def _item(one: Finding) -> Html:
    name = tag("strong", f"{one.name[:1].upper()}{one.name[1:]}.")
    advice = tag("em", " ", one.advice) if one.advice else None
    return tag("li", name, " ", one.sentence, advice, class_=one.severity, data_sign=SIGNS[one.severity])


def success(runs: Sequence[Run]) -> Html | None:
    """Rates beside floors and ceilings, against the distance of the goal, and against the time that a plan takes."""
    charts = [chart for chart in (_rates(runs), _offsets(runs), *_latency(runs)) if chart is not None]
    named = evaluations(runs)
    numbers = None
    if named:
        rows = _numbers([record for _, _, record in named])
        numbers = table(["", *(name for name, _, _ in named)], rows, "Success", merge=True)
    return join((tag("div", *charts, class_="columns"), numbers)) if charts else None


def _rates(runs: Sequence[Run]) -> Html | None:
    """Rates with intervals beside floors and ceilings, all pairs and the hard ones."""
    named = evaluations(runs)
    if not named:
        return None
    rows = []
    for name, _, record in named:
        hard = record.pairs.hard
        rows.append((f"{name}, n = {len(hard)}", _points(record, np.ones(len(hard), bool))))
        if 0 < hard.sum() < len(hard):
            rows.append((f"↳ {record.pairs.hard_label}, n = {hard.sum()}", _points(record, hard)))
    name, _, best = named[0] if len(runs) == 1 else max(named, key=lambda one: one[2].outcome.rate)
    floor = max((best.floors[f].rate for f in ("random", "noop") if f in best.floors), default=None)
    title = f"{percent(best.outcome.rate)} of goals reached ({name})"
    title += "" if floor is None else f"; {percent(floor)} without a model"
    return rates(title, rows, "goals reached within the budget [%]; bars: Wilson 95 %")


def _points(record: Record, rows: np.ndarray) -> list[Point]:
    ours = proportion(record.outcome.success[rows])
    found = [Point(name="the model", value=ours["success"], low=ours["low"], high=ours["high"])]
    there = ((label, record.floors[name]) for name, label in FLOORS.items() if name in record.floors)
    return found + [Point(name=label, value=float(outcome.success[rows].mean())) for label, outcome in there]


def _numbers(records: Sequence[Record]) -> list[list[str]]:
    def row(name: str, show: Callable[[Record], str]) -> list[str]:
        return [name, *map(show, records)]

    def part(kind: str) -> Callable[[Record], str]:
        def show(record: Record) -> str:
            found = record.values[kind]
            return f"{percent(found['success'])} {interval(found)}, n = {found['n']}" if found["n"] else "no such pair"

        return show

    def floor(name: str) -> Callable[[Record], str]:
        def show(record: Record) -> str:
            if name not in record.floors:
                return "not measured"
            hard = record.floors[name].success[record.pairs.hard]
            return percent(record.floors[name].rate) + (f", of the hard {percent(hard.mean())}" if len(hard) else "")

        return show

    v = [record.values for record in records]
    labels = {one["hard"]["label"] for one in v}
    found = [row("goals reached", lambda r: f"{percent(r.values['success'])} {interval(r.values)}, n = {len(r.pairs)}")]
    if all("by_episode" in one for one in v):
        found.append(row("interval by episodes", lambda r: interval(r.values["by_episode"])))
    found.append(row(labels.pop() if len(labels) == 1 else "hard pairs", part("hard")))
    if all("easy" in one for one in v):
        found.append(row("the other pairs", part("easy")))
    return [
        *found,
        *(row(label, floor(name)) for name, label in FLOORS.items() if any(name in r.floors for r in records)),
        row("mean time to success", lambda r: _steps(r.values["mean_steps_to_success"])),
        row("one plan", lambda r: f"{r.values['ms_one_plan']:.0f} ms on {r.values['hardware']['device']}"),
    ]


def _steps(mean: float | None) -> str:
    return "–" if mean is None else f"{mean:.0f} environment steps"


def _offsets(runs: Sequence[Run]) -> Html | None:
    """Success against the distance of the goal, if it was measured at several."""
    series: list[Series] = []
    blocks: set[int] = set()
    for run in runs:
        found: dict[str, dict[int, Mapping[str, Any]]] = {}
        for record in run.records.values():
            protocol, same = record.values["protocol"], found.setdefault(record.values["predictor"], {})
            if protocol["name"] in DISTANCES and set(protocol["changed"]) <= {"pairs", "seed"}:
                same.setdefault(record.values["offset"], record.values)
        for predictor, at in found.items():
            x, look = sorted(at), run.look(predictor)
            if len(x) > 1:
                y, low, high = ([100 * at[offset][key] for offset in x] for key in ("success", "low", "high"))
                name = run.called(predictor, runs)
                series.append(Series(name=name, x=x, y=y, low=low, high=high, look=look, dash=look % 2))
                blocks |= {at[offset]["action_block"] for offset in x}
    if not series:
        return None
    ticks = sorted({x for one in series for x in one.x})
    axis = Axis(label="environment steps to the goal", ticks=ticks, low=0)
    if len(blocks) == 1:
        label = "environment steps to the goal (below: model steps)"
        axis = Axis(label=label, ticks=ticks, low=0, second=1 / blocks.pop())
    one, (near, far) = series[0], (percent(series[0].y[i] / 100) for i in (0, -1))
    title = f"From {one.x[0]} to {one.x[-1]} steps away success goes from {near} to {far} ({one.name})"
    return lines(title, series, axis, Axis(label="goals reached [%]", low=0, high=100))


def _latency(runs: Sequence[Run]) -> list[Html]:
    """Success against the time that a plan takes, of ``wm-bench frontier``."""
    return [_frontier(run.name, run.found["frontier"]) for run in runs if "frontier" in run.found]


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
        rows[-1].append(p_value(found["mcnemar_p_pairs_independent"]))
    head = ["same starts and goals", "first", "second", "difference [points]", "only first", "only second", "McNemar p"]
    return table(head, rows, "Paired comparison") if rows else None
