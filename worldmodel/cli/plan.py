"""``wm-plan --env pusht``: plan on held-out start and goal pairs, or for reward, and say how well that works."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from worldmodel.cli import common
from worldmodel.errors import BadFile, BadValue, UnknownName
from worldmodel.planners.config import OBJECTIVES, AgentConfig
from worldmodel.planners.settings import configured, kinds, parsed

if TYPE_CHECKING:
    import torch

    from worldmodel.datasets.store import EpisodeStore

PREDICTORS = ("one-step", "prefix")
NAMES = (
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
    predictor: Annotated[str | None, text("NAME", "prefix if the model has it")] = None
    """Which predictor of the model plans: prefix or one-step."""
    objective: str = AgentConfig.objective
    """What for: goal, or reward, which takes a model with a reward head (wm-train --heads reward,value)."""
    horizon: int = AgentConfig.horizon
    """Model steps planned ahead."""
    model: Annotated[str | None, text("PATH", "newest run of the task")] = None
    """Run folder or model folder."""
    dataset: Annotated[str | None, text("PATH", "what the model was trained on, else data/<env>.h5")] = None
    """Episodes to take starts and goals from."""
    split: str = "test"
    """Which of its episodes: test, validation or train."""
    episodes: int = 20
    """Start and goal pairs; for reward, episodes."""
    offset: Annotated[int | None, text("INT", "25")] = None
    """Environment steps from start to goal, in the demonstration."""
    variation: Annotated[str, text("NAMES", "the world of the episodes")] = ""
    """Factors of the world to draw for each pair, to measure robustness: all, or such as agent.colour,block."""
    budget: Annotated[int | None, text("INT", "twice the offset; for reward, as long as the dataset's episodes")] = None
    """Environment steps allowed."""
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
    execute_steps: Annotated[int | None, text("INT", "5; for reward, 1")] = None
    """Model steps executed before planning again."""
    seed: int = 0
    """Of the pairs or episodes, the search and the random policy."""
    device: str = "auto"
    """auto, cpu, or an accelerator's name."""
    json: Annotated[str | None, text("FILE", "none")] = None
    """Write every number here."""
    video: Annotated[str | None, text("FILE", "plan.mp4 in the run folder")] = None
    """Write rollouts beside their goals here."""
    no_video: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write no video."""


def main() -> None:
    """Entry point of ``wm-plan``."""
    common.run(lambda: plan(common.parse(Options)))


def plan(options: Options) -> None:
    """Do what the options say; what is cheap to check is checked first."""
    chosen = check(options)
    folder, about, env = choose_model(options)

    from worldmodel.cli.processes import processes

    with processes(common.device(options.device)) as device:
        _plan(options, chosen, folder, about, env, device)


def _plan(
    options: Options, chosen: dict[str, Any], folder: Path, about: dict[str, Any], env: str, device: torch.device
) -> None:
    from worldmodel import distributed
    from worldmodel.benchmarks.evaluate import time_one_plan
    from worldmodel.benchmarks.provenance import file_fingerprint, provenance
    from worldmodel.benchmarks.report import Planning
    from worldmodel.checkpoint import load_model
    from worldmodel.cli.trials import TRIALS, Goals, Rewards
    from worldmodel.envs.registry import make
    from worldmodel.files import write_json

    with common.option("--model"):
        model = load_model(folder, device)
    predictor = options.predictor or ("prefix" if "prefix" in model.predictors else model.predictors[0])
    with common.option("--predictor"):
        model.predictor(predictor)
    trained_on = about.get("dataset") or {}
    look = {"render_preset": about.get("render_preset", "fast")}
    with common.option("--env"):
        task = make(env, observation="state").unwrapped
    if look["render_preset"] not in task.presets:
        raise BadFile(
            f"--model: {folder} learned from {look['render_preset']!r} pictures, which {env} does not draw: train on a "
            "dataset converted with --redraw"
        )
    with dataset(options, env, trained_on.get("path"), model.config.image_size, look["render_preset"]) as store:
        trial: Goals | Rewards = TRIALS[options.objective](options, env, task, store, look)
        data = {"path": str(store.path), "fingerprint": store.fingerprint}
        same_split = {store.fingerprint, *(old["fingerprint"] for old in store.attrs.get("grown_from", []))}

    with common.options_as_fields(["deadline_ms", "horizon", "objective"]):
        agent = model.agent(predictor=predictor, **trial.agent_options, **chosen)
    watch = 0 if options.no_video else WATCHED
    together = TOGETHER if options.deadline_ms is None else 1  # a deadline is for one robot, who does not share it
    trial.play(agent, watch, together)
    stats = agent.stats
    taken: dict[str, Any] = {"plans": sum(distributed.gathered(stats.plans)), "ms_per_plan": stats.ms_per_plan}
    iterations = distributed.gathered([solve.iterations for solve in stats.solves])  # none where no pairs are
    if distributed.rank() > 0:
        return
    taken |= {
        "ms_one_plan": time_one_plan(agent, env, trial.start, model.config.image_size, **look),
        "iterations_done": statistics.mean(chain.from_iterable(iterations)),
    }
    planning = Planning(
        predictor=predictor,
        max_prefix=model.predictor(predictor).max_prefix,
        action_block=model.config.action_block,
        horizon=options.horizon,
        execute_steps=agent.execute_steps,
        reads=agent.objective.steps(options.horizon),
        planner=options.planner,
        search=asdict(agent.planner.config),
        agent=asdict(agent.config),
        told=options.search,
        deadline_ms=options.deadline_ms,
        **taken,
    )
    values = {"env": env, "objective": options.objective, **look, **trial.values(planning)}
    print(common.aligned(trial.rows(values)))
    if not {trained_on.get("fingerprint"), *(trained_on.get("before") or ())} - {None} <= same_split:
        print("note: the model learned from another dataset; these episodes may not be held out from it")

    if options.json is not None:
        trained = ("recipe", "preset", "steps", "seed")
        model_facts: dict[str, Any] = {name: about.get(name) for name in trained}
        model_facts["dataset"] = trained_on.get("fingerprint")  # another than the one below: perhaps not held out
        model_facts |= {"path": str(folder), "fingerprint": file_fingerprint(folder / "model.safetensors")}
        write_json(options.json, {**values, "model": model_facts, "dataset": data, **provenance(device)})
        print(f"numbers: {options.json}")
    if not options.no_video:
        from worldmodel.benchmarks.video import compose, write_video

        film = options.video or (folder.parent if folder.name == "model" else folder) / "plan.mp4"
        print(f"video: {write_video(film, compose(trial.rollouts))}")


def check(options: Options) -> dict[str, Any]:
    """Check every number and name that needs no file; return the options of the agent."""
    with common.option("--planner"):
        known = kinds(options.planner)
    if options.objective not in OBJECTIVES:
        with common.option("--objective"):
            raise UnknownName("objective", options.objective, OBJECTIVES)
    chosen = {name: value for name in NAMES if (value := getattr(options, name)) is not None}
    for name in chosen:
        if name not in known:
            raise BadValue(f"{FLAGS[name]}: the planner {options.planner} has no such option")
    with common.option("--search"):
        chosen |= parsed(options.search, options.planner, FLAGS)
    with common.options_as_fields(NAMES):
        configured(chosen)
    if options.objective != "goal":
        for name in ("offset", "variation", "split"):
            if getattr(options, name) != getattr(Options, name):
                raise BadValue(f"--{name}: has no effect where nothing is planned but --objective {options.objective}")
    for name in ("episodes", "offset", "budget"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise BadValue(f"--{name}: expected 1 or more, got {value}")
    if options.predictor not in (None, *PREDICTORS):
        with common.option("--predictor"):
            raise UnknownName("predictor", options.predictor, PREDICTORS)
    for name in ("json", "video"):
        common.require_writable(f"--{name}", getattr(options, name))
    return chosen


def choose_model(options: Options) -> tuple[Path, dict[str, Any], str]:
    """Find the model folder, what it says of itself, and its task, which ``--env`` must agree with."""
    env = None
    if options.env is not None:
        with common.option("--env"):
            env = common.short_name(options.env)
    path = common.newest_run(env) if options.model is None else Path(options.model)

    from worldmodel.checkpoint import model_folder, read_about

    with common.option("--model"):
        folder, about = model_folder(path), read_about(path)
        try:
            trained_on = common.short_name(str(about.get("env")))
        except UnknownName as error:
            raise BadFile(f"{path} was trained on {about.get('env')}, which nothing here simulates") from error
        if env not in (None, trained_on):
            raise BadFile(f"{path} was trained on {trained_on}, not on {env}")
    return folder, about, trained_on


@contextmanager
def dataset(options: Options, env: str, trained_on: str | None, image_size: int, preset: str) -> Iterator[EpisodeStore]:
    """Open the episodes and check that they are the task's and look as what the model learned from."""
    from worldmodel.datasets.store import EpisodeStore, split_number

    with common.option("--split"):
        split_number(options.split)
    path = Path(options.dataset or common.default_file(env))
    if options.dataset is None and trained_on is not None and Path(trained_on).is_file():
        path = Path(trained_on)
    again = f"wm-data collect --env {env} --out {path}"
    if not path.is_file():
        raise BadFile(f"--dataset: no such file: {path}; make it with {again}, or wm-train --env {env} does")
    try:
        store = EpisodeStore(path)
    except BadFile as error:
        raise BadFile(f"--dataset: {error}; remove it and make it again with {again}") from error
    with store, common.option("--dataset"), common.options_as_fields():
        if store.env != env:
            raise BadFile(f"{path} holds episodes of {store.env}, not of {env}")
        size = store.image_size
        if size != image_size:
            raise BadFile(f"{path} has {size} px images, the model was trained on {image_size} px")
        look = store.attrs.get("render_preset", "fast")
        if look != preset:
            raise BadFile(f"{path} has {look!r} pictures, the model was trained on {preset!r} ones")
        yield store


if __name__ == "__main__":
    main()
