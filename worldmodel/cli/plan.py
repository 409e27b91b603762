"""``wm-plan --env pusht``: plan on held-out start and goal pairs, or for reward, and say how well that works."""

from __future__ import annotations

import shlex
import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel import shipped
from worldmodel.cli import common
from worldmodel.cli.plan_options import TOGETHER, WATCHED, Options, check
from worldmodel.config import usual_predictor
from worldmodel.errors import BadFile

if TYPE_CHECKING:
    import torch

    from worldmodel.datasets.store import EpisodeStore


ELSEWHERE = "the model learned from another dataset; these episodes may not be held out from it"


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
    from worldmodel.cli.trials import TRIALS, Asked
    from worldmodel.files import write_json

    with common.option("--model"):
        model = load_model(folder, device)
    predictor = usual_predictor(model.predictors) if options.predictor == "auto" else options.predictor
    with common.option("--predictor"):
        model.predictor(predictor)
    if options.objective == "reward":
        from worldmodel.planners.reward import Reward

        with common.options_as_fields(["objective"]):
            Reward(model)  # refuses a model without the head, before any episode is asked for
    task, preset = look_of(about, env, folder)
    look: dict[str, Any] = {"render_preset": preset}
    trial = TRIALS[options.objective](Asked(options, env, task, model.config.image_size, look, folder, about))

    with common.options_as_fields(["controller", "deadline_ms", "horizon", "objective"]):
        agent = model.agent(predictor=predictor, **trial.agent_options | chosen)
    watch = 0 if options.no_video else WATCHED
    together = TOGETHER if options.deadline_ms is None else 1  # a deadline is for one robot, who does not share it
    trial.play(agent, watch, together)
    stats = agent.stats
    if distributed.rank() > 0:
        return
    taken: dict[str, Any] = {
        "plans": stats.plans,
        "reflexes": stats.reflexes,
        "ms_per_plan": stats.ms_per_plan,
        "iterations_done": statistics.mean(solve.iterations for solve in stats.solves),
        **time_one_plan(agent, env, trial.start, model.config.image_size, **look),
    }
    planning = Planning(
        predictor=predictor,
        controller=agent.controller,
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
    trained = ("recipe", "preset", "steps", "seed")
    model_facts: dict[str, Any] = {name: about.get(name) for name in trained}
    model_facts["dataset"] = (about.get("dataset") or {}).get("fingerprint")
    model_facts |= {"path": str(folder), "fingerprint": file_fingerprint(folder / "model.safetensors")}
    values = {
        "env": env,
        "objective": options.objective,
        "image_size": model.config.image_size,
        **look,
        **trial.values(planning),
        "notes": trial.notes,
        "workers": options.workers,
        "model": model_facts,
        "command": shlex.join([common.program(), *sys.argv[1:]]),
        **provenance(device),
    }
    print(common.aligned(trial.rows(values)))
    for note in trial.notes:
        print(f"note: {note}")
    if options.json is not None:
        write_json(options.json, values)
        print(f"numbers: {options.json}")
    run = common.run_folder(folder)
    if (kept := trial.keep(values, options.record, run)) is not None:
        print(f"record: {kept}")
    if options.report is not None:
        from worldmodel.cli import bench_report

        bench_report.write(options.report, [run])
        print(f"report: {options.report}")
    if not options.no_video:
        from worldmodel.benchmarks.video import compose, write_video

        print(f"video: {write_video(options.video or run / 'plan.mp4', compose(trial.rollouts))}")


def choose_model(options: Options, simulated: bool = True) -> tuple[Path, dict[str, Any], str]:
    """Find the model folder, what it says of itself, and its task, which ``--env`` must agree with.

    A shipped model is copied into ``runs/``, where what is made of it has its place.

    Args:
        options: of a command.
        simulated: whether it must be a task that something here simulates; else recorded episodes of any will do.
    """
    env = options.env
    if env is not None and (simulated or common.is_simulated(env)):
        with common.option("--env"):
            env = common.short_name(env)
    path = _newest(env) if options.model is None else Path(options.model)

    from worldmodel.checkpoint import model_folder, read_about

    with common.option("--model"):
        folder, about = model_folder(path), read_about(path)
        trained_on = str(about.get("env"))
        if common.is_simulated(trained_on):
            trained_on = common.short_name(trained_on)
        elif simulated:
            raise BadFile(
                f"{path} was trained on {trained_on}, which nothing here simulates; wm-bench openloop and probe judge "
                "it on recorded episodes"
            )
        if env not in (None, trained_on):
            raise BadFile(f"{path} was trained on {trained_on}, not on {env}")
    if folder.resolve() in shipped.models().values() and not common.rank():
        folder = shipped.copied(folder, common.RUNS)
    return folder, about, trained_on


def _newest(env: str | None) -> Path:
    """The newest run of a task, or the model that ships for it, which is said."""
    try:
        return common.newest_run(env)
    except BadFile:
        if env not in (ships := shipped.models()):
            raise
    found = shipped.result(ships[env])
    rate = f"{100 * found['success']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
    if not common.rank():
        print(
            f"model: the one that ships for {env}, with success on {rate} of n = {found['n']} pairs by "
            f"{found['protocol']['shown']}; train your own with wm-train --env {env}"
        )
    return ships[env]


def look_of(about: Mapping[str, Any], env: str, folder: Path) -> tuple[Any, str]:
    """Make the task and name the look of the pictures that a model learned from, which it must be able to draw."""
    from worldmodel.envs.registry import make

    look = about.get("render_preset", "fast")
    with common.option("--env"):
        task = make(env, observation="state").unwrapped
    if look not in task.presets:
        raise BadFile(
            f"--model: {folder} learned from {look!r} pictures, which {env} does not draw: train on a dataset "
            "converted with --redraw"
        )
    return task, look


@contextmanager
def dataset(
    options: Options, env: str, trained_on: Mapping[str, Any], image_size: int, render_preset: str
) -> Iterator[EpisodeStore]:
    """Open the episodes and check that they are the task's and look as what the model learned from.

    Args:
        options: of a command.
        env: the task's name.
        trained_on: what the model knows of its dataset.
        image_size: side of its pictures.
        render_preset: their look.
    """
    from worldmodel.datasets.store import EpisodeStore, split_number

    with common.option("--split"):
        split_number(options.split or "test")
    path = Path(options.dataset or common.default_file(env))
    command = trained_on.get("command") if options.dataset is None else None
    if options.dataset is None and (command or Path(trained_on.get("path") or "").is_file()):
        path = Path(trained_on["path"])
    again = command or f"wm-data collect --env {env} --out {path}"
    if not path.is_file():
        if not common.is_simulated(env):
            raise BadFile(f"--dataset: no such file: {path}; name the episodes of {env}")
        other = "" if command else f", or wm-train --env {env} does"
        raise BadFile(f"--dataset: no such file: {path}; make it with {again}{other}")
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
        if look != render_preset:
            raise BadFile(f"{path} has {look!r} pictures, the model was trained on {render_preset!r} ones")
        yield store


def held_out(dataset: str | None, about: Mapping[str, Any], store: EpisodeStore, split: str) -> list[str]:
    """Whether episodes were held out from a model: notes of what is not known.

    Args:
        dataset: as it was named, if it was.
        about: what the model's ``config.json`` says.
        store: the episodes.
        split: which of them.

    Raises:
        BadFile: nobody named another dataset than the model's, but this one is.
    """
    trained_on = about.get("dataset") or {}
    learned_from = {trained_on.get("fingerprint"), *(trained_on.get("before") or ())} - {None}
    same = {store.fingerprint, *(old["fingerprint"] for old in store.attrs.get("grown_from", []))}
    if split == "train":
        return []
    if not learned_from or "source" in about:  # published weights: the dataset is that of their action statistics
        return ["it is not known which episodes the model learned from; these may be among them"]
    if learned_from <= same:
        return []
    if dataset is None and trained_on.get("path") is not None:
        raise BadFile(
            f"--dataset: {store.path} is not what the model learned from, its {split} episodes may not be held out: "
            "name it, or another, to judge by it all the same"
        )
    return [ELSEWHERE]


if __name__ == "__main__":
    main()
