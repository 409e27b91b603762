"""The part of a report about the model itself: what the diagnoses of ``wm-bench`` measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worldmodel.benchmarks.chart_parts import Axis
from worldmodel.benchmarks.charts import Point, Series, bars, lines
from worldmodel.benchmarks.markup import Html, join, table, tag
from worldmodel.benchmarks.page_runs import Run, by_task, fixed, judged_on, p_value, percent

MOST = 16  # numbers in a chart of probes
CONTROLS = {"latent": "latent", "pixels": "raw pixels", "random": "random encoder"}


def openloop(runs: Sequence[Run]) -> Html | None:
    """Error of every predictor over that of copying the last latent, and how much the actions matter to it."""
    there = [run for run in runs if "openloop" in run.found]
    charts = [chart for begin, same in by_task(there) for chart in _openloop(begin, same, runs)]
    return join((_source(there, "openloop"), tag("div", *charts, class_="grid"))) if charts else None


def _openloop(begin: str, same_task: Sequence[Run], runs: Sequence[Run]) -> Iterator[Html]:
    found = [run.found["openloop"] for run in same_task]
    blocks = {values["env_steps"][0] // values["horizons"][0] for values in found}
    ticks = sorted({h for values in found for h in values["horizons"]})
    x = Axis(label="model steps ahead", ticks=ticks)
    if len(blocks) == 1:
        x = Axis(label="model steps ahead (below: environment steps)", ticks=ticks, second=blocks.pop())
    errors = _curves(same_task, runs, "over_copy", "low", "high")
    title, known = f"{begin}Error over copying’s", [one for one in errors if math.isfinite(one.y[0] + one.y[-1])]
    if known:
        best = min(known, key=lambda one: (-one.x[-1], one.y[-1]))
        near, far = (f"{float(f'{100 * error:.2g}'):g}\N{NO-BREAK SPACE}%" for error in (best.y[0], best.y[-1]))
        title = f"{begin}{best.name}: {near} of copying’s error {best.x[0]} model step ahead, {far} at {best.x[-1]}"
    y = Axis(label="squared error / copying’s (log.)", log=True)
    yield lines(title, errors, x, y, [(1.0, "copying the last latent")], band=True)
    matter = _curves(same_task, runs, "sensitivity", "sensitivity_low", "sensitivity_high")
    title, known = f"{begin}With other episodes’ actions", [one for one in matter if math.isfinite(one.y[0])]
    if known:
        most = max(known, key=lambda one: one.y[0])
        times = f"{float(f'{most.y[0]:.2g}'):g} times"
        title += f" the error is {times} as large {most.x[0]} model step ahead ({most.name})"
    y = Axis(label="their error / error (log.)", log=True)
    yield lines(title, matter, x, y, [(1.0, "actions are ignored")], band=True)


def _source(there: Sequence[Run], name: str) -> Html:
    """What was judged on which episodes."""
    said = [(run.name, judged_on(run.found[name])) for run in there]
    words = said[0][1] if len(said) == 1 else "; ".join(f"{run}: {on}" for run, on in said)
    return tag("p", f"Judged on {words}.", class_="note")


def _curves(same_task: Sequence[Run], runs: Sequence[Run], value: str, low: str, high: str) -> list[Series]:
    return [
        Series(
            name=run.called(name, runs),
            x=run.found["openloop"]["horizons"],
            y=_finite(one[value]),
            low=_finite(one[low]),
            high=_finite(one[high]),
            look=run.look(name)[0],
            dash=run.look(name)[1],
        )
        for run in same_task
        for name, one in run.found["openloop"]["predictors"].items()
    ]


def _finite(values: Sequence[float | None]) -> list[float]:
    """What was not measured is not a number."""
    return [math.nan if value is None else value for value in values]


def probes(runs: Sequence[Run]) -> Html | None:
    """What can be read from a latent, beside what can be read from raw pixels and from an untrained encoder."""
    there = [run for run in runs if "probe" in run.found]
    charts = []
    for run in there:
        found = run.found["probe"]
        for kind, called in (("linear", "linear probe"), ("mlp", "MLP probe")):
            rows = [
                (number, [Point(name=label, value=found[kind][who]["r2"][i]) for who, label in CONTROLS.items()])
                for i, number in enumerate(found["numbers"])
            ]
            rows = rows if len(rows) <= MOST else sorted(rows, key=lambda row: -row[1][0].value)
            latent, begin = found[kind]["latent"], f"{run.name}, " if len(runs) > 1 else ""
            title = f"{begin}{called}: mean R² {_spread(latent['mean'], 'r2')}"
            title += f", over raw pixels {_spread(latent['over_pixels'], 'r2', '+')}"
            title += f"; the {MOST // 2} best and worst of {len(rows)} numbers" if len(rows) > MOST else ""
            split = (found.get("dataset") or {}).get("split")
            label = f"R² on {split} episodes" if split else "R²"
            charts.append(bars(title, rows, label, -0.1, 1.0, MOST))
    return join((_source(there, "probe"), tag("div", *charts, class_="grid"))) if charts else None


def _spread(found: Mapping[str, Any], key: str, sign: str = "", digits: int = 3) -> str:
    """A value, and its interval if it has one."""
    number = f"{sign}.{digits}f"
    there = found["low"] is not None
    return f"{found[key]:{number}}" + (f" [{found['low']:{number}}, {found['high']:{number}}]" if there else "")


def surprise(runs: Sequence[Run]) -> Html | None:
    """Prediction error around a change that no action explains, beside that of the same clips unchanged."""
    charts, rows = [], []
    for run in runs:
        found = run.found.get("surprise", {"predictors": {}})
        for predictor, versions in found["predictors"].items():
            called = predictor if len(runs) == 1 else f"{run.name}, {predictor}"
            block = found["env_steps"][-1] // found["steps"][-1]
            label = "model steps from the change on (below: environment)"
            x = Axis(label=label, ticks=found["steps"], second=block)
            series = [
                Series(name=VERSIONS[name], x=found["steps"], y=one["curve"], look=look, dash=look)
                for look, (name, one) in enumerate(
                    sorted(versions.items(), key=lambda item: list(VERSIONS).index(item[0]))
                )
            ]
            changes = {name: one for name, one in versions.items() if name != "control"}
            seen = ", ".join(f"{VERSIONS[name]} {percent(one['stands_out'])}" for name, one in changes.items())
            title = f"{called}: clips in which a change stands out: {seen}"
            charts.append(lines(title, series, x, Axis(label="squared latent error", low=0)))
            rows += [[f"{called}: {VERSIONS[name]}", *_change(one)] for name, one in changes.items()]
    if not charts:
        return None
    head = ["at the change", "surprise over the control’s", "p", "afterwards", "p"]
    there = [run for run in runs if "surprise" in run.found]
    return join(
        (_source(there, "surprise"), tag("div", *charts, class_="grid"), table(head, rows, "Surprise against control"))
    )


VERSIONS = {"control": "nothing is changed", "colour": "another colour", "teleport": "suddenly elsewhere"}


def _change(one: Mapping[str, Any]) -> list[str]:
    at, after = (
        {"value": one[f"{when}difference"], "low": one[f"{when}low"], "high": one[f"{when}high"]}
        for when in ("", "after_")
    )
    return [_spread(at, "value", "+"), p_value(one["p"]), _spread(after, "value", "+"), p_value(one["after_p"])]


def geometry(runs: Sequence[Run]) -> Html | None:
    """How the latent space is laid out, and whether wrong predictions explain failures."""
    there = [run for run in runs if "geometry" in run.found]
    if not there:
        return None
    head = ["", *(run.name for run in there)] if len(runs) > 1 else ["", "measured"]
    space = table(head, _space([run.found["geometry"] for run in there]), "Latent space", merge=True)
    failed = [row for run in there for row in _failures(run, runs)]
    parts = [_source(there, "geometry"), space]
    if failed:
        columns = ["evaluation", "failed", "why", "one-step: error explains failure", "prefix: the same", "copying"]
        parts += [tag("h3", "Do wrong predictions explain failures?"), tag("p", AUC, class_="note")]
        parts.append(table(columns, failed, "Failures"))
    return tag("div", *parts)


AUC = (
    "How far predicted and reached latents are apart along the first executed plan: the probability that a failure has "
    "the larger error than a success (AUC; 0.5 says nothing), and p. Copying, the distance that was "
    "covered, is the control. Intervals: bootstrap 95 % over episodes; p-values are not corrected for their number."
)


def _space(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    def mean(one: Mapping[str, Any] | None) -> str:
        known = one is not None and one["mean"] is not None
        return _spread(one, "mean", digits=2) if one and known else "–"

    rows = [
        ["effective rank", *(f"{one['effective_rank']:.0f} of {one['latent_dim']}" for one in found)],
        ["standard deviation (1 expected)", *(f"{one['std']:.2f}" for one in found)],
        ["the same, of random weights", *(f"{one['random_std']:.2g}" if "random_std" in one else "–" for one in found)],
        ["rank correlation of latent distance and steps to go", *(mean(one["rank_correlation"]) for one in found)],
        [
            "the same, by the task’s own distance",
            *(mean(one["rank_correlation"].get("task_distance")) for one in found),
        ],
        ["straightness (cosine of consecutive steps)", *(mean(one["straightness"]) for one in found)],
    ]
    splits = dict.fromkeys(tuple(s["split"]) for one in found for s in one["semigroup"].get("prefix", ()))
    for split in list(splits)[len(splits) // 2 :][:1]:  # the middle one
        name = f"prefix, {sum(split)} model steps: one jump against {split[0]} + {split[1]}, gap over the error"
        rows.append([name, *(_gap(one["semigroup"].get("prefix", ()), split) for one in found)])
    return rows


def _gap(splits: Sequence[Mapping[str, Any]], split: tuple[int, ...]) -> str:
    said = (_spread(one, "gap_over_error", digits=2) for one in splits if tuple(one["split"]) == split)
    return next(said, "–")


def _failures(run: Run, runs: Sequence[Run]) -> list[list[str]]:
    def auc(found: Mapping[str, Any] | None) -> str:
        if found is None or found["auc"] is None:
            return "–"
        return fixed(_spread(found, "auc", digits=2)) + (
            "" if found["p"] is None else " " + fixed(f"p {p_value(found['p'])}")
        )

    rows = []
    for name, one in run.found["geometry"]["executed"].items():
        why = ", ".join(f"{n} {reason}" for reason, n in (one["failures"] or {}).items() if n) or "–"
        why = "no plan to examine" if one.get("controller") == "reflex" else why
        called = name if len(runs) == 1 else f"{run.name}: {name}"
        sources = (one["first"].get(source) for source in ("one-step", "prefix", "copy"))
        rows.append([called, f"{one['n_failed']} of {one['n']}", why, *map(auc, sources)])
    return rows
