"""``wm-train --online N``: the agent acts, what it saw joins the data, the model is trained further; and again.

What is done is read from the run folder, so an interrupted run goes on where it stopped: ``episodes.h5`` shows how many
episodes were played, ``model/`` on which data it was trained, and ``online.json`` the rounds that were judged.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.cli import common, plan, plan_options
from worldmodel.cli.train import learn, open_or_collect, refuse
from worldmodel.cli.train_options import Options
from worldmodel.errors import BadValue
from worldmodel.files import read_json, replacing, write_json
from worldmodel.run import read_config, write_config

if TYPE_CHECKING:
    import torch

    from worldmodel.datasets.collect import Recipe
    from worldmodel.datasets.store import EpisodeStore

TOGETHER = 20  # episodes in lock-step; as many fill whole chunks of pictures, which are copied as they are
APART = 10**6  # between the numbers of the first episodes of two rounds


def learn_online(options: Options, env: str, out: Path, device: torch.device) -> None:
    """Train on the initial episodes, then do the rounds; print a line for each.

    The folder may hold a finished run that gathered nothing so far; its model is that of round 0.

    Raises:
        BadValue: several processes, a task that draws no goals and a model that reads no reward, a run that was not
            finished before, or too few held-out episodes to judge by.
    """
    from worldmodel import distributed
    from worldmodel.datasets.acting import require_alike
    from worldmodel.envs.registry import make

    if distributed.size() > 1:
        raise BadValue("--online: runs in one process, start it without torchrun")
    with common.option("--env"), contextlib.closing(make(env, observation="state")) as task:
        if not (task.unwrapped.restorable or options.model.reward):
            raise BadValue(f"{env} draws no goals to act towards; add --heads reward,value and it acts for reward")
    data, report = out / "episodes.h5", out / "online.json"
    settings = {f"round.{name}": value for name, value in asdict(options.round).items()}
    old = read_config(out / "config.yaml") if (out / "config.yaml").exists() else None
    if report.exists() and old is not None:
        so_far = read_json(report)
        refuse("--resume", settings, so_far["settings"], out)
    else:
        if old is not None and _trained_on(out) != old.fingerprint:
            raise BadValue(f"--online: {out} holds a run that is not finished: finish it with --resume first")
        with open_or_collect(options, env) as initial:
            require_alike(_recipe(options, initial), initial)
            _require_pairs(options, env, out, initial)
            with replacing(data) as temporary:
                shutil.copyfile(initial.path, temporary)
            so_far = {"env": env, "initial": len(initial), "settings": settings, "rounds": []}
    if old is not None:  # from now on --resume alone does the rounds, also before the first of them is trained
        write_config(out / "config.yaml", replace(old, online=options.online, round=options.round))
    write_json(report, so_far)
    options = replace(options, dataset=str(data))
    rounds = so_far["rounds"]
    print(_line(["round", "episodes", "steps", "return" if options.model.reward else "success", "95 %", "n", "random"]))
    for number in range(options.online + 1):
        if number == len(rounds):
            if number:
                _act(options, env, out, number, so_far["initial"] + (number - 1) * options.round.episodes, device)
            _train(options, env, out, device)
            rounds.append(_judge(options, env, out, number))
            write_json(report, so_far)
            with open(out / "metrics.jsonl", "a") as file:
                file.write(json.dumps(rounds[-1]) + "\n")
        print(_line(_cells(rounds[number])), flush=True)
    print(f"next: wm-plan --env {env} --model {out}")


def _trained_on(out: Path) -> str | None:
    """Fingerprint of the data that the run's model has learned from; None if there is no model yet."""
    from worldmodel.checkpoint import read_about

    return str(read_about(out)["dataset"]["fingerprint"]) if (out / "model").exists() else None


def _require_pairs(options: Options, env: str, out: Path, store: EpisodeStore) -> None:
    """Choose what every round is judged by, as judging will, so that a slip is told before anything is trained."""
    from worldmodel.cli.trials import TRIALS, Asked
    from worldmodel.envs.registry import make

    judging = replace(_judging(options, env, out), dataset=str(store.path))
    named = {"offset": "--round.offset", "episodes": "--round.pairs", "split": "--dataset"}
    try:
        with contextlib.closing(make(env, observation="state")) as task:
            look = {"render_preset": store.attrs.get("render_preset", "fast")}
            TRIALS[judging.objective](Asked(judging, env, task.unwrapped, store.image_size, look, out, {}))
    except BadValue as error:
        name, colon, rest = str(error).partition(":")
        raise BadValue(f"{named.get(name.removeprefix('--'), name)}{colon}{rest}") from error


def _act(options: Options, env: str, out: Path, number: int, before: int, device: torch.device) -> None:
    """Let the agent of the model act and append what it saw to the episodes of ``before``; what is there stays."""
    from worldmodel.checkpoint import load_model, read_about
    from worldmodel.datasets.acting import act
    from worldmodel.datasets.append import append
    from worldmodel.datasets.collect import split_of
    from worldmodel.datasets.store import EpisodeStore

    data, part, count = out / "episodes.h5", out / f"round-{number}.h5", options.round.episodes
    with EpisodeStore(data) as store:
        recipe, there = _recipe(options, store), len(store) - before
    if there == count:
        part.unlink(missing_ok=True)
        return
    split = split_of(count, recipe.seed + number)
    split[split == 2] = 0  # what is tested on are the initial episodes, for all rounds alike
    told = _planning(options, env, out)
    agent = load_model(out, device).agent(**plan_options.check(told), goal_offset=told.offset)
    about = {"round": number, "model_steps": read_about(out)["steps"], "noise": options.round.noise}
    with common.bar(count * recipe.steps, "step", f"act, round {number}") as bar:
        bar.update(there * recipe.steps)
        for first in range(there, count, TOGETHER):
            mine = slice(first, min(first + TOGETHER, count))
            numbers = [number * APART + i for i in range(count)[mine]]
            act(agent, recipe, part, numbers, split[mine].tolist(), options.round.noise, about, bar.update)
            append(data, part)
    part.unlink(missing_ok=True)


def _recipe(options: Options, store: EpisodeStore) -> Recipe:
    """Episodes such as the dataset's own."""
    from worldmodel.datasets.collect import Recipe

    return Recipe(
        env=store.env,
        steps=int(store.attrs.get("steps", store.lengths.max() - 1)),
        seed=options.train.seed,
        image_size=store.image_size,
        render_preset=store.attrs.get("render_preset", "fast"),
        variation=store.attrs.get("variation", ""),
    )


def _train(options: Options, env: str, out: Path, device: torch.device) -> None:
    """Train on the data as they are now, unless that is done; go on where such a training was interrupted."""
    from worldmodel.datasets.store import EpisodeStore

    with EpisodeStore(out / "episodes.h5") as store:
        now = store.fingerprint
    if _trained_on(out) == now:
        return
    old = read_config(out / "config.yaml") if (out / "config.yaml").exists() else None
    learn(replace(options, continues=old is not None and old.fingerprint != now), env, out, old, device)


def _judge(options: Options, env: str, out: Path, number: int) -> dict[str, Any]:
    """Measure as ``wm-plan`` does, on the same held-out pairs in every round; ``rounds/`` keeps all its numbers."""
    from worldmodel.checkpoint import read_about
    from worldmodel.datasets.store import EpisodeStore

    file = out / "rounds" / f"{number:03d}.json"
    with contextlib.redirect_stdout(io.StringIO()):
        plan.plan(replace(_judging(options, env, out), json=str(file)))
    found = read_json(file)
    if number and found.pop("data", None):  # of the agent's own episodes too, by now; round 0 says what behaviour earns
        write_json(file, found)
    what = "return" if options.model.reward else "success"
    random = found["random"]["return"] if options.model.reward else found["random"]
    with EpisodeStore(out / "episodes.h5") as store:
        about = {"step": read_about(out)["steps"], "round": number, "episodes": len(store)}
    return {**about, **{name: found[name] for name in (what, "low", "high", "n")}, "random": random}


def _planning(options: Options, env: str, out: Path) -> plan_options.Options:
    """The options of ``wm-plan`` that the agent acts and is judged by."""
    return plan_options.Options(
        env=env,
        model=str(out),
        dataset=str(out / "episodes.h5"),
        objective="reward" if options.model.reward else "goal",
        horizon=options.round.horizon,
        offset=None if options.model.reward else options.round.offset,
        device=options.device,
        no_video=True,
    )


def _judging(options: Options, env: str, out: Path) -> plan_options.Options:
    return replace(_planning(options, env, out), episodes=options.round.pairs)


def _line(cells: Sequence[object]) -> str:
    return "  ".join(str(cell).rjust(width) for cell, width in zip(cells, (5, 8, 7, 8, 16, 4, 8)))


def _cells(row: Mapping[str, Any]) -> list[object]:
    name, scale, unit = ("success", 100, " %") if "success" in row else ("return", 1, "")
    score, low, high, random = (f"{scale * row[key]:.1f}" for key in (name, "low", "high", "random"))
    return [row["round"], row["episodes"], row["step"], score + unit, f"[{low}, {high}]", row["n"], random + unit]
