"""The end of a report: by what rules, with what and by which commands it was measured, and what would add to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worldmodel.benchmarks.markup import Html, join, table, tag
from worldmodel.benchmarks.page_runs import DIAGNOSES, Run, evaluations


def repeat(runs: Sequence[Run]) -> Html:
    """The exact commands, then rules, settings and provenance of every number."""
    named = evaluations(runs)
    commands = [(name, r.values.get("command") or _plan(run, r.values["protocol"]["name"])) for name, run, r in named]
    diagnoses = [(name, run, found) for run in runs for name, found in run.found.items()]
    commands += [(name, _bench(name, run)) for name, run, _ in diagnoses]
    shown = (tag("div", tag("h3", name), tag("pre", tag("code", command))) for name, command in commands)
    parts = [tag("div", *shown, class_="grid tight")]
    if named:
        columns = [_rules(record.values) | _with_what(record.values) for _, _, record in named]
        parts += [tag("h3", "Evaluations"), _table([name for name, _, _ in named], columns)]
    if diagnoses:
        called = [name if len(runs) == 1 else f"{run.name}: {name}" for name, run, _ in diagnoses]
        parts += [tag("h3", "Diagnoses"), _table(called, [_with_what(found) for _, _, found in diagnoses])]
    return join(parts)


def missing(runs: Sequence[Run]) -> Html | None:
    """The commands that would add what is not there."""
    lines: list[str] = []
    for run in runs:
        rules = [record.values["protocol"]["name"] for record in run.records.values()]
        lines += [_plan(run, name) for name in ("lewm-25", "offset-50") if name not in rules]
        lines += [_bench(name, run) for name in DIAGNOSES if name not in run.found]
    return tag("ul", *(tag("li", tag("code", line)) for line in lines)) if lines else None


def _plan(run: Run, protocol: str) -> str:
    return f"wm-plan --model {run.folder} --protocol {protocol}"


def _bench(name: str, run: Run) -> str:
    out = f" --json {run.folder}/evaluation/frontier.json" if name == "frontier" else ""
    return f"wm-bench {name} --model {run.folder}{out}"


def _table(names: Sequence[str], columns: Sequence[Mapping[str, Any]]) -> Html:
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = [[key, *(column.get(key, "–") for column in columns)] for key in keys]
    return table(["", *names], rows, "How it was measured", merge=True)


def _rules(v: Mapping[str, Any]) -> dict[str, Any]:
    protocol, block = v["protocol"], v["action_block"]
    goal = "official goals" if v["offset"] is None else f"goal {v['offset']} environment steps away"
    settings = ", ".join(f"{name} {value:g}" for name, value in v["search"].items())
    varied = {"variation": f"{v['variation']}, drawn for each pair"} if v.get("variation") else {}
    return {
        "protocol": protocol["shown"],
        "task": f"{goal}, {v['budget']} environment steps allowed",
        "success means": protocol.get("success", "predicate true after any step within the budget"),
        "pairs": f"{v['n']} from {v['from_episodes']} {protocol['split']} episodes; {protocol.get('drawn', '')}",
        "left out": f"{v['solved_at_start']} solved at the start, {v['out_of_view']} out of view",
        **varied,
        "manifest": tag("code", v["manifest"]["sha256"]),
        "seed of pairs and search": v["seed"],
        "horizon": f"{v['horizon']} model steps = {v['horizon'] * block} environment steps",
        "plans again after": f"{v['execute_steps']} model steps = {v['execute_steps'] * block} environment steps",
        "planner": f"{v['planner']}: {settings}",
        "one plan": f"{v['ms_one_plan']:.1f} ms alone, {v['ms_per_plan']:.1f} ms among others; {v['plans']} plans",
    }


def _with_what(v: Mapping[str, Any]) -> dict[str, Any]:
    model, hardware = v.get("model") or {}, v.get("hardware") or {}
    trained = [f"{name} {model[name]}" for name in ("recipe", "preset", "steps", "seed") if model.get(name) is not None]
    facts = {
        "model": model.get("path"),
        "training": ", ".join(trained),
        "weights, SHA-256": model.get("fingerprint"),
        "hardware": ", ".join(f"{name} {value}" for name, value in hardware.items() if value is not None),
        "versions": ", ".join(f"{name} {version}" for name, version in (v.get("versions") or {}).items() if version),
        "commit": v.get("commit"),
        "date": v.get("date"),
    }
    return {name: value for name, value in facts.items() if value}
