"""Options of ``wm-train``: what is typed, on top of what the run to go on with, a config or a recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from worldmodel.cli import common
from worldmodel.config import LossConfig, ModelConfig, RoundConfig, TrainConfig
from worldmodel.envs.registry import file_name, slow_to_draw
from worldmodel.errors import BadValue, UnknownName
from worldmodel.recipes import settings, with_heads
from worldmodel.run import RunConfig, read_config

DEFAULT = "pusht"
RESUME = ("always", "auto", "never")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a world model from pixels and actions; collects episodes first when there are none."""

    env: str | None = None
    """Task, such as pusht, dmc/reacher-qpos, ogbench/cube-single or gym/Pendulum-v1 [the dataset's, else pusht]."""
    recipe: str = "wm"
    """What is learned: wm (both predictors and a reflex), lewm (one-step), fast-lewm (prefix)."""
    heads: tuple[str, ...] = ()
    """What else is learned: reflex (the action towards a goal); of tasks that reward: reward, or reward value."""
    preset: str = "auto"
    """How large: nano (CPU), small (one GPU), paper (224 px); auto is nano without an accelerator, else small."""
    dataset: str | None = None
    """Episodes to learn from [data/<env>.h5, collected when missing]."""
    out: str | None = None
    """Run folder [runs/<env>]."""
    config: str | None = None
    """config.yaml of an earlier run to start from; further options override it."""
    resume: Annotated[str, tyro.conf.arg(metavar="[always|auto|never]")] = "never"
    """Go on from the state in the run folder, which must be there; auto starts the run if it is not."""
    continues: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="continue")] = False
    """Train the run folder's model further, on its dataset, which may have grown, or on another one of the task."""
    online: int = 0
    """Rounds in which the agent acts, its episodes join a dataset of the run's own, and training goes on."""
    steps: int | None = None
    """Optimiser steps; with --continue, further ones; with --online, of each round [the preset's]."""
    minutes: float | None = None
    """Wall-clock minutes to stop after; the learning rate then follows the clock [no limit]."""
    seed: int | None = None
    """Of weights, batches and dropout [0]."""
    device: str = "auto"
    """auto, cpu, or an accelerator's name."""
    wandb: bool = False
    """Show numbers and rollouts in Weights & Biases too; WANDB_MODE=offline keeps them on this machine."""
    episodes: int | None = None
    """Episodes to collect when the dataset is missing [1000; 200 where a picture is slow, as OGBench's arm]."""
    model: Annotated[ModelConfig, tyro.conf.AvoidSubcommands] = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    round: RoundConfig = field(default_factory=RoundConfig)


def parse(arguments: list[str]) -> Options:
    """Parse the command line on top of what its run to resume, or config, or recipe and preset say."""
    arguments = _say_always(arguments)
    peek = {name: _peek(arguments, name) for name in ("env", "dataset", "out", "config", "recipe", "preset", "device")}
    resume, continues = _peek(arguments, "resume"), "--continue" in arguments
    if continues and (resume or peek["config"]):
        other = "resume, which finishes the old one" if resume else "config"
        raise BadValue(f"--continue: begins a new training of the run's model, leave out --{other}")
    if (resume == "always" or continues) and not peek["config"]:
        folder = peek["out"] or folder_of(None, task_of(peek["env"], peek["dataset"]))
        peek["config"] = str(Path(folder) / "config.yaml")
    if peek["config"]:
        for name in ("recipe", "preset"):
            if peek[name]:
                raise BadValue(f"--{name}: {peek['config']} already says what is trained; leave one of the two out")
        with common.option("--continue" if continues else "--resume" if resume == "always" else "--config"):
            base = read_config(Path(peek["config"]))
        known = Options.__dataclass_fields__.keys() & RunConfig.__dataclass_fields__
        default = Options(**{name: getattr(base, name) for name in known - ({"online"} if continues else set())})
    else:
        preset = peek["preset"] or "auto"
        asks_help = any(argument in ("-h", "--help") for argument in arguments)
        size = common.auto_preset(peek["device"] or "auto") if preset == "auto" and not asks_help else preset
        env = peek["env"] or "" if asks_help else task_of(peek["env"], peek["dataset"])
        recipe, built = peek["recipe"] or "wm", "nano" if size == "auto" else size
        model, loss, train = settings(recipe, built, few_episodes=slow_to_draw(env))
        default = Options(preset=size, model=model, loss=loss, train=train)
    with common.options_as_fields():
        options = common.parse(Options, arguments, default)
    if options.preset == "auto":
        options = replace(options, preset=default.preset)
    with common.option("--heads"):
        model, loss, train = with_heads(options.model, options.loss, options.train, _names(options.heads))
        options = replace(options, model=model, loss=loss, train=train)
    if options.resume not in RESUME:
        raise UnknownName("--resume", options.resume, RESUME)
    said = {name: getattr(options, name) for name in ("steps", "minutes", "seed") if getattr(options, name) is not None}
    for name in ("steps", "minutes"):
        if name in said and said[name] <= 0:
            raise BadValue(f"--{name}: expected more than 0, got {said[name]}")
    if options.online < 0:
        raise BadValue(f"--online: expected 0 rounds or more, got {options.online}")
    if options.online and options.continues:
        raise BadValue("--continue: --online continues after every round by itself, leave one of the two out")
    if "minutes" in said and "steps" not in said:
        said["steps"] = 10**7  # the clock decides
    if "steps" in said and "minutes" not in said:
        said["minutes"] = 0.0
    with common.options_as_fields():
        return replace(options, train=replace(options.train, **said))


def _names(heads: Sequence[str]) -> list[str]:
    """Heads that are separated by commas, by spaces, or both."""
    return [name for part in heads for name in part.split(",") if name]


def folder_of(out: str | None, env: str) -> Path:
    """Return the run folder: what is asked for, or ``runs/<env>``."""
    return Path(out or f"runs/{file_name(env)}")


def _say_always(arguments: list[str]) -> list[str]:
    """Write ``--resume`` without a value as ``--resume always``."""
    said = []
    for argument, following in zip(arguments, [*arguments[1:], "--"]):
        said += [argument, "always"] if argument == "--resume" and following.startswith("-") else [argument]
    return said


def _peek(arguments: list[str], name: str) -> str | None:
    for i, argument in enumerate(arguments):
        if argument.startswith(f"--{name}="):
            return argument.split("=", 1)[1]
        if argument == f"--{name}" and i + 1 < len(arguments):
            return arguments[i + 1]
    return None


def task_of(env: str | None, dataset: str | None) -> str:
    """The task: what is asked for, or what the dataset says, which may be one that nothing here simulates."""
    from worldmodel.datasets.store import EpisodeStore

    if dataset is not None and Path(dataset).is_file():
        with common.option("--dataset"), EpisodeStore(dataset) as store:
            if env in (None, store.env):
                return store.env
    with common.option("--env"):
        return common.short_name(env or DEFAULT)
