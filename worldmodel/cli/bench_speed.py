"""``wm-bench speed``: latency, throughput, memory and operations of planning, alone or beside stable-worldmodel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from worldmodel.benchmarks import planning_cases
from worldmodel.benchmarks.settings import parse
from worldmodel.cli import common
from worldmodel.errors import BadValue, UnknownName
from worldmodel.recipes import PRESETS


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Measure latency, throughput, memory and operations of planning: all combinations, or one of two lists."""

    presets: tuple[str, ...] = ("nano",)
    """Sizes, with random weights: nano, small, paper."""
    model: str | None = None
    """Run folder or model folder to take instead."""
    settings: tuple[str, ...] = ("cem",)
    """Planners with their options, such as "icem decay=1.25 precision=bf16"."""
    predictors: tuple[str, ...] = ("prefix", "one-step")
    """Which predictors of the model."""
    horizons: tuple[int, ...] = (5,)
    """Model steps."""
    environments: tuple[int, ...] = (1, 2, 5, 10, 50)
    """Planned for in one solve."""
    candidates: int = 300
    """Plans scored in each iteration."""
    iterations: int = 10
    """Of the search."""
    peer: str | None = None
    """Measure beside stable-worldmodel instead, in an environment which has it: its interpreter."""
    targets: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure what an accelerator should reach instead: the first preset at H 5 and 32, one plan and 50."""
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
    json: str = "benchmarks/results/planning-speed.json"
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
    for name in ("seconds", "least", "rounds", "threads", "candidates", "iterations"):
        if getattr(options, name) <= 0:
            raise BadValue(f"--{name}: expected more than 0, got {getattr(options, name)}")
    for name in ("horizons", "environments"):
        if min(getattr(options, name), default=0) < 1:
            raise BadValue(f"--{name}: expected numbers of 1 or more, got {getattr(options, name)}")
    for preset in options.presets:
        if preset not in PRESETS:
            raise UnknownName("--presets", preset, PRESETS)
    if options.peer and options.targets:
        raise BadValue("--targets: without --peer, which measures other cases")
    search: dict[str, Any] = {"candidates": options.candidates, "iterations": options.iterations}
    plain = {**search, "elites": max(1, options.candidates // 10), "correlation": 0.0}  # as published
    if options.peer:
        return planning_cases.beside_peer({**plain, "precision": "fp32"})
    if options.targets:
        return planning_cases.targets(plain, options.presets[0])
    with common.option("--settings"):
        settings = [parse(line, **search) for line in options.settings]
    models = [options.model] if options.model else [f"wm/{preset}" for preset in options.presets]
    return planning_cases.grid(models, settings, options.predictors, options.horizons, options.environments)
