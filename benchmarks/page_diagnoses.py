"""The part of a report about the model itself: what the diagnoses of ``wm-bench`` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worldmodel.benchmarks.chart_parts import Axis
from worldmodel.benchmarks.charts import Point, Series, bars, lines
from worldmodel.benchmarks.markup import Html, join, table, tag
from worldmodel.benchmarks.page_runs import Run, p_value, percent

CONTROLS = {"latent": "latent", "pixels": "raw pixels", "random": "random encoder"}


def openloop(runs: Sequence[Run]) -> Html | None:
    """Error of every predictor over that of copying the last latent, and how much the actions matter to it."""
    found = [run.found["openloop"] for run in runs if "openloop" in run.found]
    if not found:
        return None
    blocks = {values["env_steps"][0] // values["horizons"][0] for values in found}
    ticks = sorted({h for values in found for h in values["horizons"]})
    x = Axis(label="model steps ahead", ticks=ticks)
    if len(blocks) == 1:
        x = Axis(label="model steps ahead (below: environment steps)", ticks=ticks, second=blocks.pop())
    errors = _curves(runs, "over_copy", "low", "high")
    best = min(errors, key=lambda one: (-one.x[-1], one.y[-1]))
    near, far = (f"{float(f'{100 * error:.2g}'):g}\N{NO-BREAK SPACE}%" for error in (best.y[0], best.y[-1]))
    title = f"{best.name}: {near} of copying’s error {best.x[0]} model step ahead, {far} at {best.x[-1]}"
    y = Axis(label="error / copying’s (log.)", log=True)
    charts = [lines(title, errors, x, y, [(1.0, "copying the last latent")], band=True)]
    matter = _curves(runs, "sensitivity", "sensitivity_low", "sensitivity_high")
    most = max(matter, key=lambda one: one.y[0])
    times = f"{float(f'{most.y[0]:.2g}'):g} times"
    title = f"Actions matter: with other episodes’ the error is {times} as large one model step ahead ({most.name})"
    y = Axis(label="their error / error (log.)", log=True)
    charts.append(lines(title, matter, x, y, [(1.0, "actions are ignored")], band=True))
    return tag("div", *charts, class_="grid")


def _curves(runs: Sequence[Run], value: str, low: str, high: str) -> list[Series]:
    return [
        Series(
            name=run.called(name, runs),
            x=run.found["openloop"]["horizons"],
            y=one[value],
            low=() if None in one[low] else one[low],
            high=() if None in one[high] else one[high],
            look=run.look(name),
            dash=run.look(name) % 2,
        )
        for run in runs
        for name, one in run.found.get("openloop", {}).get("predictors", {}).items()
    ]


def probes(runs: Sequence[Run]) -> Html | None:
    """What can be read from a latent, beside what can be read from raw pixels and from an untrained encoder."""
    charts = []
    for run in runs:
        found = run.found.get("probe", {})
        for kind, called in (("linear", "linear probe"), ("mlp", "MLP probe")) if found else ():
            rows = [
                (number, [Point(name=label, value=found[kind][who]["r2"][i]) for who, label in CONTROLS.items()])
                for i, number in enumerate(found["numbers"])
            ]
            better = sum(points[0].value > max(points[1].value, points[2].value) for _, points in rows)
            title = f"{run.name}, {called}: the latent is the best source of {better} of {len(rows)} numbers"
            charts.append(bars(title, rows, "R² on held-out episodes", -0.1, 1.0))
    return tag("div", *charts, class_="grid") if charts else None


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
    return join((tag("div", *charts, class_="grid"), table(head, rows, "Surprise against control")))


VERSIONS = {"control": "nothing is changed", "colour": "another colour", "teleport": "suddenly elsewhere"}


def _change(one: Mapping[str, Any]) -> list[str]:
    at = f"{one['difference']:+.3g}{_ends(one, '+.3g')}"
    return [at, p_value(one["p"]), f"{one['after_difference']:+.3g}", p_value(one["after_p"])]


def _ends(one: Mapping[str, Any], form: str = ".2f") -> str:
    """An interval as text; nothing where there is none, as of too few episodes."""
    return "" if one["low"] is None else f" [{one['low']:{form}}, {one['high']:{form}}]"


def geometry(runs: Sequence[Run]) -> Html | None:
    """How the latent space is laid out, and whether wrong predictions explain failures."""
    there = [run for run in runs if "geometry" in run.found]
    if not there:
        return None
    head = ["", *(run.name for run in there)] if len(runs) > 1 else ["", "measured"]
    space = table(head, _space([run.found["geometry"] for run in there]), "Latent space", merge=True)
    failed = [row for run in there for row in _failures(run, runs)]
    parts = [space]
    if failed:
        columns = ["evaluation", "failed", "why", "one-step: error explains failure", "prefix: the same", "copying"]
        parts += [tag("h3", "Do wrong predictions explain failures?"), tag("p", AUC, class_="note")]
        parts.append(table(columns, failed, "Failures"))
    return tag("div", *parts)


AUC = (
    "How far predicted and reached latents are apart along the first executed plan: the probability that a failure has "
    "the larger error than a success (AUC; 0.5 says nothing), its 95 % interval, and p. Copying, the distance that was "
    "covered, is the control."
)


def _space(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    def mean(one: Mapping[str, Any] | None) -> str:
        known = one is not None and one["mean"] is not None
        return f"{one['mean']:.2f}{_ends(one)}" if one and known else "–"

    rows = [
        ["effective rank", *(f"{one['effective_rank']:.0f} of {one['latent_dim']}" for one in found)],
        ["standard deviation (1 expected)", *(f"{one['std']:.2f}" for one in found)],
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
    said = (f"{one['gap_over_error']:.2f}{_ends(one)}" for one in splits if tuple(one["split"]) == split)
    return next(said, "–")


def _failures(run: Run, runs: Sequence[Run]) -> list[list[str]]:
    def auc(found: Mapping[str, Any] | None) -> str:
        if found is None or found["auc"] is None:
            return "–"
        p = "" if found["p"] is None else f", p {p_value(found['p'])}"
        return f"{found['auc']:.2f}{_ends(found)}{p}"

    rows = []
    for name, one in run.found["geometry"]["executed"].items():
        why = ", ".join(f"{n} {reason}" for reason, n in (one["failures"] or {}).items() if n) or "–"
        called = name if len(runs) == 1 else f"{run.name}: {name}"
        sources = (one["first"].get(source) for source in ("one-step", "prefix", "copy"))
        rows.append([called, f"{one['n_failed']} of {one['n']}", why, *map(auc, sources)])
    return rows
