"""``wm-bench frontier``: success against latency, over planners, budgets and any other settings of planning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from worldmodel.benchmarks.settings import Setting, parse
from worldmodel.cli import common, plan
from worldmodel.cli.plan_options import FLAGS as PLAN_FLAGS
from worldmodel.cli.plan_options import PREDICTORS, Options, check, text
from worldmodel.errors import BadValue, UnknownName
from worldmodel.planners.config import CONTROLLERS
from worldmodel.planners.registry import config_class

DEFAULT = ("default",)  # budgets
FLAGS = {name: PLAN_FLAGS[name] for name in ("seed", "goal_offset")}


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """Measure success against latency: settings of planning on the same held-out pairs, each planned for alone."""

    model: Annotated[str | None, text("PATH", "newest run of the task")] = None
    """Run folder or model folder."""
    env: Annotated[str | None, text("NAME", "the model's")] = None
    """Task."""
    controllers: tuple[str, ...] = ()
    """Who acts: search, reflex, both; reflex once, the others with every planner and budget [auto]."""
    planners: tuple[str, ...] = ()
    """Planners, each with every budget [cem, unless --settings say it all]."""
    budgets: tuple[str, ...] = DEFAULT
    """Candidates x iterations, such as 300x10, or default: the planner's own, fewer where the reflex proposes."""
    settings: tuple[str, ...] = ()
    """Planners with any options, such as "cem iterations=30", "icem candidates=64", "cem deadline_ms=100"."""
    predictor: str = "auto"
    """Which predictor of the model: prefix, one-step, or auto for prefix if the model has it."""
    horizon: int = 5
    """Model steps planned ahead."""
    dataset: Annotated[str | None, text("PATH", "what the model was trained on, else data/<env>.h5")] = None
    """Episodes to take starts and goals from."""
    split: str = "test"
    """Which of its episodes: test, validation or train."""
    episodes: int = 200
    """Start and goal pairs."""
    offset: int = 25
    """Environment steps from start to goal, in the demonstration."""
    budget: Annotated[int | None, text("INT", "twice the offset")] = None
    """Environment steps allowed."""
    seed: int = 0
    """Of the pairs, the search and the random policy."""
    threads: int = 1
    """On the processor."""
    device: str = "auto"
    """auto, cpu, or an accelerator's name."""
    json: Annotated[str | None, text("FILE", "evaluation/frontier.json in the run folder")] = None
    """Where the numbers go; a plot goes beside them."""


def frontier(options: Annotated[Frontier, tyro.conf.arg(name="")]) -> None:
    """Measure success against latency: settings of planning on the same held-out pairs, each planned for alone."""
    fields = ("model", "env", "dataset", "split", "episodes", "offset", "budget", "seed", "device", "horizon")
    chosen = Options(**{name: getattr(options, name) for name in fields})
    check(chosen)
    settings = _settings(options)
    folder, about, env = plan.choose_model(chosen)
    path = Path(options.json or common.run_folder(folder) / "evaluation" / "frontier.json")
    common.require_writable("--json", str(path))

    import torch

    from worldmodel.benchmarks import frontier, plots
    from worldmodel.benchmarks.pairs import sample_pairs
    from worldmodel.benchmarks.provenance import file_fingerprint, provenance
    from worldmodel.checkpoint import load_model
    from worldmodel.files import write_json

    device = common.device(options.device)
    torch.set_num_threads(options.threads)
    with common.option("--model"):
        model = load_model(folder, device)
    if options.predictor != "auto":
        with common.option("--predictor"):
            model.predictor(options.predictor)
    task, look = plan.look_of(about, env, folder)
    with plan.dataset(chosen, env, about.get("dataset") or {}, model.config.image_size, look) as store:
        notes = plan.held_out(chosen.dataset, about, store, options.split)
        pairs = sample_pairs(store, task, options.offset, options.episodes, options.seed, options.split)
        data = {"path": str(store.path), "fingerprint": store.fingerprint}
    with common.option("--settings"):
        played = [frontier.Played(setting, setting.agent(model)) for setting in settings]
    budget = options.budget or 2 * options.offset
    with common.bar((len(settings) + 3) * len(pairs) * budget, "step", f"frontier {env}") as bar:
        found = frontier.measure(played, env, pairs, budget, options.seed, bar.update, render_preset=look)
    print(common.aligned(frontier.rows(found)))
    weights = {"path": str(folder), "fingerprint": file_fingerprint(folder / "model.safetensors")}
    found |= {"manifest": {"sha256": pairs.sha256, "dataset": pairs.dataset}, "notes": notes}
    told = {name: value for name, value in asdict(options).items() if name not in ("json", "model", "dataset")}
    write_json(path, {**found, "options": told, "model": weights, "dataset": data, **provenance(device)})
    print(f"numbers: {path}")
    print(f"plot: {plots.frontier(found, path.with_suffix('.png'))}")


def _settings(options: Frontier) -> list[Setting]:
    """What to measure, checked as far as that needs no model; the others are compared with the first."""
    if options.threads < 1:
        raise BadValue(f"--threads: expected 1 or more, got {options.threads}")
    if options.predictor not in ("auto", *PREDICTORS):
        with common.option("--predictor"):
            raise UnknownName("predictor", options.predictor, ("auto", *PREDICTORS))
    lines: list[tuple[str, str]] = []
    for name in options.controllers:
        if name not in CONTROLLERS:
            with common.option("--controllers"):
                raise UnknownName("controller", name, CONTROLLERS)
    if set(options.controllers) == {"reflex"} and options.planners:
        raise BadValue("--planners: have no effect on --controllers reflex, which searches nothing")
    searches = list(_searches(options))
    for who in options.controllers:
        if who == "reflex":
            lines.append(("--controllers", "cem controller=reflex"))
        else:
            lines += [("--budgets", f"{line} controller={who}") for line in searches]
    lines = lines if options.controllers else [("--budgets", line) for line in searches]
    if not options.budgets:
        raise BadValue("--budgets: expected at least one")
    base = {"predictor": options.predictor, "horizon": options.horizon, "seed": options.seed}
    settings = []
    for name, line in [*lines, *(("--settings", line) for line in options.settings)]:
        with common.option(name):
            settings.append(parse(line, FLAGS, **base, goal_offset=options.offset))
    return settings


def _searches(options: Frontier) -> Iterator[str]:
    """Every planner with every budget."""
    alone = options.settings and not options.controllers and options.budgets == DEFAULT
    for planner in options.planners or (() if alone else ("cem",)):
        with common.option("--planners"):
            config_class(planner)
        for budget in options.budgets:
            if budget == "default":
                yield planner
                continue
            match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", budget)
            if not match:
                raise BadValue(f"--budgets: expected CANDIDATESxITERATIONS such as 300x10, or default, got {budget!r}")
            yield f"{planner} candidates={match[1]} iterations={match[2]}"
