"""The end of a report: by what rules, with what and by which commands it was measured, and what would add to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worldmodel.benchmarks.markup import Html, join, table, tag
from worldmodel.benchmarks.page_runs import DIAGNOSES, Run, evaluations, judged_on
from worldmodel.benchmarks.report import acting


def repeat(runs: Sequence[Run]) -> Html:
    """The exact commands, then rules, settings and provenance of every number, of each run what is common to all."""
    return join(part for run in runs for part in _of_run(run, len(runs) > 1))


def _of_run(run: Run, several: bool) -> Iterator[Html]:
    facts = {name: (r.values, _rules(r.values) | _with_what(r.values)) for name, _, r in evaluations([run])}
    facts |= {name: (found, {"judged on": judged_on(found)} | _with_what(found)) for name, found in run.found.items()}
    counts = Counter(item for _, known in facts.values() for item in known.items())
    common = {key: value for (key, value), n in counts.items() if n == len(facts) > 1}
    if several:
        yield tag("h3", run.name)
    if common:
        yield table(["", ""], common.items(), f"{run.name}: common to all")
    shown = []
    for name, (values, known) in facts.items():
        rows = [(key, value) for key, value in known.items() if key not in common]
        command = values.get("command")
        way = tag("pre", tag("code", command)) if command else tag("p", "Its command was not recorded.", class_="note")
        title = f"{run.name}: {name}" if several else name
        more = tag("details", tag("summary", "rules, settings, provenance"), table(["", ""], rows, title))
        shown.append(tag("div", tag("h4", title), way, more))
    yield tag("div", *shown, class_="grid tight")


def missing(runs: Sequence[Run]) -> Html | None:
    """The commands that would add what is not there."""
    lines: list[str] = []
    for run in runs:
        rules = [record.values["protocol"]["name"] for record in run.records.values()]
        lines += [plan(run, name) for name in ("lewm-25", "offset-50") if name not in rules]
        lines += [bench(name, run) for name in DIAGNOSES if name not in {*run.found, *run.outdated}]
    return tag("ul", *(tag("li", tag("code", line)) for line in lines)) if lines else None


def plan(run: Run, protocol: str) -> str:
    """The command that evaluates."""
    return f"wm-plan --model {run.folder} --protocol {protocol}"


def bench(name: str, run: Run) -> str:
    """The command that diagnoses."""
    out = f" --json {run.folder}/evaluation/frontier.json" if name == "frontier" else ""
    return f"wm-bench {name} --model {run.folder}{out}"


def _rules(v: Mapping[str, Any]) -> dict[str, Any]:
    protocol, block = v["protocol"], v["action_block"]
    goal = "official goals" if v["offset"] is None else f"goal {v['offset']} environment steps away"
    source = f"{v['from_episodes']} " + ("official tasks" if v["offset"] is None else f"{protocol['split']} episodes")
    settings = ", ".join(f"{name} {value:g}" for name, value in v["search"].items())
    searched = {
        "horizon": f"{v['horizon']} model steps = {v['horizon'] * block} environment steps",
        "planner": f"{v['planner']}: {settings}",
    }
    varied = {"variation": f"{v['variation']}, drawn for each pair"} if v.get("variation") else {}
    return {
        "protocol": protocol["shown"],
        "task": f"{goal}, {v['budget']} environment steps allowed",
        "success means": protocol.get("success", "predicate true after any step within the budget"),
        "pairs": f"{v['n']} from {source}; {protocol.get('drawn', '')}",
        "left out": f"{v['solved_at_start']} solved at the start, {v['out_of_view']} out of view",
        **varied,
        "manifest": tag("code", v["manifest"]["sha256"]),
        "seed of pairs and search": v["seed"],
        "plans again after": f"{v['execute_steps']} model steps = {v['execute_steps'] * block} environment steps",
        "acting": acting(v),
        **(searched if v.get("controller") != "reflex" else {}),
        "one plan": f"{v['ms_one_plan']:.1f} ms alone, {v['ms_per_plan']:.1f} ms among others; {v['plans']} plans",
    }


def _with_what(v: Mapping[str, Any]) -> dict[str, Any]:
    model, hardware = v.get("model") or {}, v.get("hardware") or {}
    trained = [f"{name} {model[name]}" for name in ("recipe", "preset", "steps", "seed") if model.get(name) is not None]
    facts = {
        "note": "; ".join(v.get("notes") or ()),
        "model": model.get("path"),
        "training": ", ".join(trained),
        "weights, SHA-256": model.get("fingerprint"),
        "hardware": ", ".join(f"{name} {value}" for name, value in hardware.items() if value is not None),
        "versions": ", ".join(f"{name} {version}" for name, version in (v.get("versions") or {}).items() if version),
        "commit": v.get("commit"),
        "date": v.get("date"),
    }
    return {name: value for name, value in facts.items() if value}
