"""The model card of a shipped model: Markdown, with every number read from the files beside it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from worldmodel import shipped
from worldmodel.benchmarks.provenance import file_fingerprint
from worldmodel.benchmarks.report import acting
from worldmodel.checkpoint import load_model
from worldmodel.envs.registry import file_name
from worldmodel.files import read_json
from worldmodel.run import read_config

NOT_NOTED = "not noted"


def render(folder: Path) -> str:
    """Return the card of a folder of the zoo.

    Raises:
        BadFile: something that belongs into it is missing or damaged.
    """
    about, main = read_json(folder / "config.json"), shipped.result(folder)
    env = about["env"]
    results = {file.stem: read_json(file) for file in sorted((folder / shipped.RESULTS).glob("*.json"))}
    parts = [
        f"# {env}",
        f"A world model of `{env}`. Success: {_rate(main)} held-out pairs by {main['protocol']['shown']}. "
        f"It ships with worldmodel: `wm-plan --env {env}` plans with it where there is no run of your own, and "
        f'`worldmodel.load("{env}")` loads it.',
        "Everything below is read from the files in this folder, which `wm-model card` does again.",
        "## Model",
        _table(("", ""), _model(folder, about)),
        "## Data",
        _table(("", ""), _data(about.get("dataset") or {})),
        "## Training",
        _table(("", ""), _training(folder, about, env)),
        "## Results",
        "Of exactly these weights. Success with its Wilson 95 % interval, on pairs of held-out episodes; those solved "
        "at the start or out of view are left out. What it is to be compared with is of the same pairs: random and no "
        "actions, the demonstrator's own actions, and CEM on the true simulator.",
        _table(*_results(results)),
        f"`{shipped.PAIRS}` holds the {main['n']} pairs of {main['protocol']['shown']}, with which "
        f"`wm-plan --model {env} --episodes {main['n']}` repeats that result without the dataset.",
        _table(("result", "pairs", "left out", "manifest", "planned by", "measured on"), _how(about, results)),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(about, main, results)),
        "## Licence",
        "MIT, as the project.",
    ]
    return "\n\n".join(parts) + "\n"


def _model(folder: Path, about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model, weights = load_model(folder), folder / "model.safetensors"
    c, size = model.config, weights.stat().st_size / 1e6
    yield "recipe, preset", f"`{about['recipe']}`, `{about['preset']}`"
    yield "parameters", f"{sum(x.numel() for x in model.parameters()):,}, {size:.2f} MB of {about['precision']}"
    yield "sees", f"{c.context} pictures of {c.image_size} x {c.image_size} (`{about['render_preset']}`)"
    yield "latent", f"{c.latent_dim} numbers"
    yield (
        "model steps predicted",
        ", ".join(f"{name}, {model.predictor(name).max_prefix} in one pass" for name in model.predictors),
    )
    yield "model step", f"{c.action_block} actions of {c.action_dim} numbers"
    yield "weights, SHA-256", f"`{file_fingerprint(weights)}`"


def _data(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "command", f"`{data['command']}`" if "command" in data else NOT_NOTED
    yield "episodes", f"{data['episodes']:,} with {data['rows']:,} rows" if "episodes" in data else NOT_NOTED
    if "policies" in data:
        yield "behaviour", ", ".join(f"{name} {n}" for name, n in data["policies"].items())
    yield "fingerprint", f"`{data['fingerprint']}`"
    if data.get("before"):
        yield "learned from before", ", ".join(f"`{before}`" for before in data["before"])


def _training(folder: Path, about: Mapping[str, Any], env: str) -> Iterator[tuple[str, str]]:
    config, training = read_config(folder / "config.yaml"), about.get("training") or {}
    for earlier in training.get("before", ()):
        minutes = f", {earlier['minutes']:.1f} minutes" if "minutes" in earlier else ""
        yield "trained before by", f"`{earlier.get('command', NOT_NOTED)}`{minutes}"
    if "command" in training:
        yield "command", f"`{training['command']}`"
    if config.begin:
        yield "settings", "`config.yaml` has those of the last training"
    else:
        made = shlex.split((about.get("dataset") or {}).get("command", ""))
        where = next((made[i + 1] for i in reversed(range(len(made) - 1)) if made[i] == "--out"), config.dataset)
        file, steps = f"worldmodel/zoo/{file_name(env)}/config.yaml", about["steps"]
        again = shlex.join(["wm-train", "--config", file, "--dataset", where, "--steps", str(steps)])
        yield "settings", f"`{again}` trains again with the same settings, for as many steps"
    further = f", continued from step {config.begin}" if config.begin else ""
    yield "steps", f"{about['steps']:,} of batch {config.train.batch}{further}; seed {about['seed']}"
    all_of_them = [*training.get("before", ()), training]
    known = all("minutes" in one for one in all_of_them)
    yield "minutes", f"{sum(one['minutes'] for one in all_of_them):.1f}" if known else NOT_NOTED
    yield "hardware", _hardware(training.get("hardware"))


def _hardware(hardware: Mapping[str, Any] | None) -> str:
    if hardware is None:
        return NOT_NOTED
    where = hardware["accelerator"] or f"{hardware['threads']} of {hardware['cores']} cores"
    return f"{hardware['processor']}, {where}"


def _results(results: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("result", "rules", "success", "of the hard pairs", "random", "no-op", "replay", "true simulator")
    rows = []
    for name, r in results.items():
        floors = (f"{100 * r[who]:.1f} %" if who in r else "" for who in ("random", "noop", "replay"))
        ceiling = _rate(r["simulator"]) if r.get("simulator") else "not measured"
        hard = f"{_rate(r['hard'])}, {r['hard']['label']}" if r["hard"]["n"] else "none"
        rules = f"{r['protocol']['shown']}, goal {r['offset'] or 'official'}, budget {r['budget']}"
        rows.append((f"`{name}`", rules, _rate(r), hard, *floors, ceiling))
    return head, rows


def _how(about: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for name, r in results.items():
        left = f"{r['solved_at_start']} solved at the start, {r['out_of_view']} out of view"
        how = f"{acting(r)}, again after {r['execute_steps'] * r['action_block']} actions"
        if r.get("controller") != "reflex":
            many = " x ".join(str(r["search"][name]) for name in ("candidates", "iterations") if name in r["search"])
            how += f", horizon {r['horizon']}, {r['planner']} {many}"
        told = f", {' '.join(r['told'])}" if r["told"] else ""
        known = (None, about["dataset"]["fingerprint"], *about["dataset"].get("before", ()))
        other = "" if r["manifest"]["dataset"] in known else " of another dataset"
        pairs = f"{r['n']} of {r['from_episodes']} episodes{other}"
        hash_, hardware = f"`{r['manifest']['sha256'][:12]}`", _hardware(r["hardware"])
        yield f"`{name}`", pairs, left, hash_, how + told + f"; {r['ms_one_plan']:.0f} ms a plan", hardware


def _limits(
    about: Mapping[str, Any], main: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    yield (
        f"It knows the pictures and the dynamics of this simulator ({about['render_preset']} pictures, "
        f"{main['image_size']} px) and what the behaviour above did in it, nothing else."
    )
    if main["hard"]["n"]:
        yield f"Where it is hard ({main['hard']['label']}) it reaches {_rate(main['hard'])}."
    for name, r in results.items():
        if r["protocol"]["name"] != main["protocol"]["name"] and r["high"] < main["low"]:
            yield f"By {r['protocol']['shown']} (`{name}`) it reaches only {_rate(r)}."
    yield "One training seed: another training may be better or worse by more than these intervals say."


def _rate(part: Mapping[str, Any]) -> str:
    return f"{100 * part['success']:.1f} % [{100 * part['low']:.1f}, {100 * part['high']:.1f}], n = {part['n']}"


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
