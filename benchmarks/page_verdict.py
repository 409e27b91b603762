"""The top of a report: of each run how planning went, and what is to be known of the model."""

from __future__ import annotations

from collections.abc import Sequence

from worldmodel.benchmarks.findings import Finding
from worldmodel.benchmarks.markup import Html, tag
from worldmodel.benchmarks.page_repeat import bench, plan
from worldmodel.benchmarks.page_runs import FLOORS, OTHER, Run, interval, percent, simulator
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.report import acting
from worldmodel.benchmarks.verdict import verdict

SIGNS = {"good": "✓", "warning": "!", "bad": "✗"}


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
    """First how the main evaluation went, then what the model is, then, folded, the other evaluations."""
    judged = verdict(run.found, run.records)
    inside = [tag("h2", run.name if run.name == run.env else f"{run.name}: {run.env}")]
    inside += [] if run.main is None else _rate(run.records[run.main])
    first = judged.evaluations.get(run.main or "", [])
    inside.append(tag("ul", *map(_item, first), *_changed(run), *map(_item, judged.model), class_="findings"))
    others = [one for name, found in judged.evaluations.items() if name != run.main for one in found]
    if others:
        summary = tag("summary", f"the other evaluations ({len(run.records) - 1})")
        inside.append(tag("details", summary, tag("ul", *map(_item, others), class_="findings")))
    return tag("section", *inside, class_="card")


def _rate(record: Record) -> list[Html]:
    v, ceiling = record.values, simulator(record.values)
    said = f"95 % interval {interval(v)}; {v['protocol']['shown']}, {acting(v)}"
    beside = [f"{label} {percent(record.floors[name].rate)}" for name, label in FLOORS.items() if name in record.floors]
    beside += [f"{ceiling}: {percent(v['simulator']['success'])} {interval(v['simulator'])}"] if ceiling else []
    return [
        tag("div", percent(v["success"]), tag("small", f" of {v['n']} goals reached"), class_="big"),
        tag("p", said, class_="note"),
        tag("p", "; ".join(beside), class_="note"),
    ]


def _item(one: Finding) -> Html:
    name = tag("strong", f"{one.name[:1].upper()}{one.name[1:]}.")
    advice = tag("em", " ", one.advice) if one.advice else None
    return tag("li", name, " ", one.sentence, advice, class_=one.severity, data_sign=SIGNS[one.severity])


def _changed(run: Run) -> list[Html]:
    """What was measured of other weights, before the model was trained again, and how to measure it again."""
    old = {name: record.values for name, record in run.records.items() if not run.current(record.values)}
    kinds = (
        ("Diagnoses left out", "", run.outdated, {name: bench(name, run) for name in run.outdated}),
        (
            "Old evaluations",
            " (marked below)",
            old,
            {name: plan(run, v["protocol"]["name"]) for name, v in old.items()},
        ),
    )
    return [
        tag(
            "li",
            tag("strong", f"{title}."),
            f" {', '.join(values)}: {OTHER} than the model has now{more}. Measure again: ",
            tag("code", "; ".join(values[name].get("command") or guess for name, guess in commands.items())),
            class_="warning",
            data_sign=SIGNS["warning"],
        )
        for title, more, values, commands in kinds
        if values
    ]
