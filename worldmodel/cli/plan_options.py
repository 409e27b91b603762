"""What ``wm-plan`` can be told, and what of it can be checked before any file is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from worldmodel.cli import common
from worldmodel.errors import BadValue, UnknownName
from worldmodel.planners.config import CONTROLLERS, OBJECTIVES, AgentConfig
from worldmodel.planners.registry import config_class
from worldmodel.planners.settings import configured, kinds, parsed

PREDICTORS = ("one-step", "prefix")
NAMES = (
    "controller",
    "planner",
    "objective",
    "candidates",
    "elites",
    "iterations",
    "horizon",
    "execute_steps",
    "deadline_ms",
    "seed",
)
SEARCHING = ("candidates", "elites", "iterations")  # of a search, besides its planner
DRAWING = ("episodes", "offset", "variation", "split", "dataset")  # how pairs are drawn
FLAGS = {name: f"--{name.replace('_', '-')}" for name in (*NAMES, "predictor")} | {"goal_offset": "--offset"}
WATCHED = 9  # rollouts in the video
TOGETHER = 50  # environments in lock-step at most


def text(metavar: str, default: str) -> Any:
    """How an option that may be left out is shown."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Plan with a trained world model on held-out start and goal pairs, or for reward: a table, a video, and JSON."""

    env: Annotated[str | None, text("NAME", "the model's")] = None
    """Task, such as pusht, dmc/reacher-qpos, ogbench/cube-single or gym/Pendulum-v1."""
    predictor: str = AgentConfig.predictor
    """Which predictor of the model plans: prefix, one-step, or auto for prefix if the model has it."""
    objective: str = AgentConfig.objective
    """What for: goal, or reward, which takes a model with a reward head (wm-train --heads reward,value)."""
    horizon: int = AgentConfig.horizon
    """Model steps planned ahead."""
    model: Annotated[str | None, text("PATH", "newest run of the task, else the model that ships for it")] = None
    """Run folder or model folder."""
    dataset: Annotated[str | None, text("PATH", "what the model was trained on, else data/<env>.h5")] = None
    """Episodes to take starts and goals from; a shipped model brings its pairs along and needs none."""
    split: Annotated[str | None, text("NAME", "the protocol's: test")] = None
    """Which of its episodes: test, validation or train."""
    protocol: Annotated[str | None, text("NAME", "lewm-25; with --pairs, theirs")] = None
    """Rules of the evaluation: lewm-25, offset-50, offset-75, offset-100, strict, robust or ogbench."""
    episodes: Annotated[int | None, text("INT", "the protocol's, 200; of a shipped model's, 50; for reward, 20")] = None
    """Start and goal pairs; for reward, episodes."""
    offset: Annotated[int | None, text("INT", "the protocol's")] = None
    """Environment steps from start to goal, in the demonstration."""
    variation: Annotated[str | None, text("NAMES", "the protocol's")] = None
    """Factors of the world to draw for each pair, to measure robustness: all, or such as agent.colour,block."""
    budget: Annotated[int | None, text("INT", "the protocol's; for reward, as long as the dataset's episodes")] = None
    """Environment steps allowed."""
    pairs: Annotated[str | None, text("PATH", "drawn from the dataset")] = None
    """Play exactly these starts and goals: pairs.npz of an earlier evaluation, or its folder."""
    controller: str = AgentConfig.controller
    """Who acts: search, reflex (the model's: no search), both (it proposes) or auto: both if the model has a reflex."""
    planner: str = AgentConfig.planner
    """How to search: cem, icem, mppi, predictive-sampling, gradient, cem-gradient or categorical-cem."""
    candidates: Annotated[int | None, text("INT", "the planner's")] = None
    """Plans scored in each iteration of the search."""
    elites: Annotated[int | None, text("INT", "the planner's")] = None
    """Cheapest ones that the next iteration is drawn around."""
    iterations: Annotated[int | None, text("INT", "the planner's")] = None
    """Iterations of the search."""
    search: Annotated[tuple[str, ...], text("NAME=VALUE ...", "none")] = ()
    """Further options of the planner and the agent, such as correlation=0 decay=1.25; docs/planning.md has them."""
    deadline_ms: Annotated[float | None, text("MS", "none")] = None
    """Milliseconds in which to plan, encoding included: the best found by then is executed."""
    execute_steps: Annotated[int | None, text("INT", "5; 1 for reward and where the reflex acts")] = None
    """Model steps executed before planning again."""
    seed: Annotated[int | None, text("INT", "the protocol's; for reward, 0")] = None
    """Of the pairs or episodes, the search and the random policy."""
    workers: int = 1
    """Processes that share the pairs, which changes no result; 0 for one a core."""
    simulator: int = 0
    """Pairs on which CEM (64 candidates, 5 iterations) also plans on the true simulator: a ceiling, such as 50."""
    watch: tyro.conf.FlagCreatePairsOff[bool] = False
    """Watch it plan, one pair after another: in a window, or in a line of the terminal."""
    device: str = "auto"
    """auto, cpu, or an accelerator's name."""
    json: Annotated[str | None, text("FILE", "none")] = None
    """Write every number here."""
    record: Annotated[str | None, text("FOLDER", "evaluation/<rules>-<predictor> in the run folder")] = None
    """Keep the evaluation here: its numbers, its pairs, and what happened on each of them."""
    video: Annotated[str | None, text("FILE", "plan.mp4 in the run folder")] = None
    """Write rollouts beside their goals here."""
    report: Annotated[str | None, text("FILE", "none")] = None
    """Write one HTML page about the run here, to look at in a browser."""
    no_video: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write no video."""


def check(options: Options) -> dict[str, Any]:
    """Check every number and name that needs no file; return the options of the agent."""
    with common.option("--planner"):
        known = kinds(options.planner)
    for name, choices in (("objective", OBJECTIVES), ("controller", CONTROLLERS)):
        if getattr(options, name) not in choices:
            with common.option(f"--{name}"):
                raise UnknownName(name, getattr(options, name), choices)
    if options.controller == "reflex":
        for name in ("planner", *SEARCHING):
            if getattr(options, name) != getattr(Options, name):
                raise BadValue(f"--{name}: has no effect on --controller reflex, which searches nothing")
    chosen = {name: value for name in NAMES if (value := getattr(options, name)) is not None}
    for name in chosen:
        if name not in known:
            raise BadValue(f"{FLAGS[name]}: the planner {options.planner} has no such option")
    with common.option("--search"):
        further = parsed(options.search, options.planner, FLAGS)
        if options.controller == "reflex" and (
            idle := further.keys() & {f.name for f in fields(config_class(options.planner))}
        ):
            raise BadValue(f"{min(idle)}: has no effect on --controller reflex, which searches nothing")
        chosen |= further
    with common.options_as_fields(NAMES):
        configured(chosen)
    if options.objective != "goal":
        for name in ("protocol", "offset", "variation", "split", "pairs", "record", "simulator", "report", "watch"):
            if getattr(options, name) != getattr(Options, name):
                raise BadValue(f"--{name}: has no effect where nothing is planned but --objective {options.objective}")
    if options.pairs is not None:
        for name in DRAWING:
            if getattr(options, name) is not None:
                raise BadValue(f"--{name}: has no effect on --pairs, which are all played as they are")
    if options.seed is not None and options.seed < 0:
        raise BadValue(f"--seed: expected 0 or more, got {options.seed}")
    for name in ("episodes", "offset", "budget"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise BadValue(f"--{name}: expected 1 or more, got {value}")
    for name in ("workers", "simulator"):
        if getattr(options, name) < 0:
            raise BadValue(f"--{name}: expected 0 or more, got {getattr(options, name)}")
    if options.deadline_ms is not None and options.workers != 1:
        raise BadValue("--workers: share the processor, which a deadline does not; leave out one of the two")
    if options.watch and options.workers != 1:
        raise BadValue("--watch: shows one process only, leave out --workers")
    if options.predictor not in ("auto", *PREDICTORS):
        with common.option("--predictor"):
            raise UnknownName("predictor", options.predictor, ("auto", *PREDICTORS))
    if options.no_video and options.video is not None:
        raise BadValue("--video: has no effect on --no-video, leave out one of the two")
    _require_record(options.record)
    for name in ("json", "video", "report"):
        common.require_writable(f"--{name}", getattr(options, name))
    return chosen


def planned_otherwise(options: Options) -> list[str]:
    """What was asked of planning that is not its default, as the name of an evaluation says it."""
    names = [name for name in NAMES if name not in ("objective", "seed")]
    told = [f"{name}-{value}" for name in names if (value := getattr(options, name)) != getattr(Options, name)]
    return told + [option.replace("=", "-") for option in options.search]


def _require_record(folder: str | None) -> None:
    """Refuse to replace a folder that is no evaluation, or to find out at the end that none can be written."""
    if folder is None:
        return
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()) and not (path / "result.json").is_file():
        raise BadValue(f"--record: {folder} holds other things than an evaluation, and would be replaced")
    if path.is_file():
        raise BadValue(f"--record: {folder} is a file, expected a folder")
    common.require_writable("--record", str(path / "result.json"))
