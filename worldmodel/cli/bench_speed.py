"""``wm-bench speed``: latency, throughput, memory and operations of planning, alone or beside stable-worldmodel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Annotated

import tyro

from worldmodel.benchmarks import planning_cases
from worldmodel.benchmarks.settings import parse
from worldmodel.cli import common
from worldmodel.cli.plan_options import PREDICTORS, text
from worldmodel.errors import BadValue, UnknownName
from worldmodel.recipes import PRESETS

FLAGS = {"predictor": "--predictors", "horizon": "--horizons"}


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Measure latency, throughput, memory and operations of planning: all combinations, or one of two lists."""

    presets: Annotated[tuple[str, ...], text("NAMES", "nano; paper for the targets")] = ()
    """Sizes, with random weights: nano, small, paper."""
    model: Annotated[str | None, text("PATH", "none")] = None
    """Run folder or model folder to take instead."""
    settings: tuple[str, ...] = ("cem",)
    """Planners with their options, such as "icem decay=1.25 precision=bf16"."""
    predictors: tuple[str, ...] = ("prefix", "one-step")
    """Which predictors of the model."""
    horizons: tuple[int, ...] = (5,)
    """Model steps."""
    environments: tuple[int, ...] = (1, 2, 5, 10, 50)
    """Planned for in one solve."""
    candidates: Annotated[int | None, text("INT", "the planner's; 300 of the two lists")] = None
    """Plans scored in each iteration."""
    iterations: Annotated[int | None, text("INT", "the planner's; beside the peer 3, of the targets 30")] = None
    """Of the search."""
    peer: Annotated[str | None, text("PYTHON", "none")] = None
    """Measure beside stable-worldmodel instead, in an environment which has it: its interpreter."""
    targets: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure what an accelerator should reach instead: H 5 and 32, one plan and 50, fp32 and bf16, graphs or not."""
    seconds: float = 4.0
    """For each case in each round."""
    least: int = 2
    """Solves of each case in each round, however long they take."""
    rounds: int = 3
    """Turns of all cases."""
    threads: int = 1
    """On the processor."""
    device: str = "auto"
    """auto, cpu, or an accelerator's name."""
    json: str = "planning-speed.json"
    """Where the numbers go; a plot goes beside them."""


def speed(options: Annotated[Speed, tyro.conf.arg(name="")]) -> None:
    """Measure latency, throughput, memory and operations of planning: all combinations, or one of two lists."""
    cases, ratios = _cases(options)

    import torch

    from worldmodel.benchmarks import planning_speed, plots
    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.files import write_json

    device = common.device(options.device)
    torch.set_num_threads(options.threads)
    told = {name: getattr(options, name) for name in ("seconds", "least", "rounds", "threads", "peer")}
    with common.bar(len(cases) * options.rounds, "case", "speed") as bar:
        found = planning_speed.measure(cases, ratios, {**told, "device": str(device)}, bar.update)
    print(common.aligned(planning_speed.rows(found["cases"])))
    if ratios:
        print(common.aligned(planning_speed.ratio_rows(found["ratios"], device.type)))
    chosen = {name: value for name, value in asdict(options).items() if name not in ("peer", "json")}
    write_json(options.json, {"settings": chosen, **found, **provenance(device)})
    print(f"numbers: {options.json}")
    print(f"plot: {plots.speed(found['cases'], Path(options.json).with_suffix('.png'))}")


def _cases(options: Speed) -> planning_cases.Cases:
    """Check what needs no model, and list what is to be measured."""
    common.require_writable("--json", options.json)
    for name in ("seconds", "least", "rounds", "threads", "candidates", "iterations"):
        value = getattr(options, name)
        if value is not None and not 0 < value < inf:
            raise BadValue(f"--{name}: expected more than 0, got {value}")
    for name in ("horizons", "environments"):
        if min(getattr(options, name), default=0) < 1:
            raise BadValue(f"--{name}: expected numbers of 1 or more, got {getattr(options, name)}")
    for name in ("settings", "predictors"):
        if not getattr(options, name):
            raise BadValue(f"--{name}: expected at least one")
    for preset in options.presets:
        if preset not in PRESETS:
            raise UnknownName("--presets", preset, PRESETS)
    for name in options.predictors:
        if name not in PREDICTORS:
            with common.option("--predictors"):
                raise UnknownName("predictor", name, PREDICTORS)
    _require_heard(options)
    N, iterations = options.candidates or 300, options.iterations or (3 if options.peer else 30)
    published = {"candidates": N, "elites": max(1, N // 10), "iterations": iterations, "correlation": 0.0}
    if options.peer:
        return planning_cases.beside_peer({**published, "precision": "fp32"})
    if options.targets:
        return planning_cases.targets(published, options.presets[0] if options.presets else "paper")
    search = {"candidates": options.candidates, "iterations": options.iterations}
    search = {name: value for name, value in search.items() if value is not None}
    with common.option("--settings"):
        settings = [parse(line, FLAGS, **search) for line in options.settings]
        for setting in settings:
            if setting.options.get("deadline_ms") is not None:
                raise BadValue(
                    f"setting {setting.line!r}: deadline_ms is for wm-bench frontier, solves are timed whole"
                )
    models = [options.model] if options.model else [f"wm/{preset}" for preset in options.presets or ("nano",)]
    return planning_cases.grid(models, settings, options.predictors, options.horizons, options.environments)


def _require_heard(options: Speed) -> None:
    """Raise where an option would not be listened to, because another one has chosen what is measured."""
    listed = ("model", "settings", "predictors", "horizons", "environments")
    deaf = {"peer": ("targets", "presets", *listed), "targets": listed, "model": ("presets",)}
    for chosen, names in deaf.items():
        for name in names if getattr(options, chosen) else ():
            if getattr(options, name) != getattr(Speed, name):
                raise BadValue(f"--{name}: has no effect beside --{chosen}")
    if options.targets and len(options.presets) > 1:
        raise BadValue(f"--presets: one at most beside --targets, got {' '.join(options.presets)}")
