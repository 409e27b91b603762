"""``wm-train --env pusht``: collect what is missing, train, check on held-out episodes, say what to type next."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from worldmodel.cli import common
from worldmodel.cli.progress import Progress, import_wandb
from worldmodel.cli.summary import summary
from worldmodel.config import LossConfig, ModelConfig, TrainConfig, check, flat
from worldmodel.errors import BadFile, BadValue, UnknownName
from worldmodel.recipes import settings, with_heads
from worldmodel.run import RunConfig, read_config, write_config

if TYPE_CHECKING:
    import torch

    from worldmodel.datasets.store import EpisodeStore

DEFAULT = "pusht"
RESUME = ("always", "auto", "never")
MAY_CHANGE = (  # of TrainConfig, in a run that is resumed
    *("steps", "minutes", "lr", "weight_decay", "warmup", "schedule", "final_lr", "clip"),
    *("accumulate", "compile", "log_every", "save_every", "validate_every"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a world model from pixels and actions; collects episodes first when there are none."""

    env: str | None = None
    """Task, such as pusht, dmc/reacher-qpos, ogbench/cube-single or gym/Pendulum-v1 [the dataset's, else pusht]."""
    recipe: str = "wm"
    """What is learned: wm (both predictors), lewm (one-step), fast-lewm (prefix)."""
    heads: tuple[str, ...] = ()
    """What else is learned of tasks that reward: reward, or reward value (what can still be had, too)."""
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
    steps: int | None = None
    """Optimiser steps [the preset's]."""
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


def main() -> None:
    """Entry point of ``wm-train``."""
    common.run(lambda: train(parse(sys.argv[1:])))


def parse(arguments: list[str]) -> Options:
    """Parse the command line on top of what its run to resume, or config, or recipe and preset say."""
    arguments = _say_always(arguments)
    peek = {name: _peek(arguments, name) for name in ("env", "dataset", "out", "config", "recipe", "preset", "device")}
    resume = _peek(arguments, "resume")
    if resume == "always" and not peek["config"]:
        folder = peek["out"] or _folder(None, _task(peek["env"], peek["dataset"]))
        peek["config"] = str(Path(folder) / "config.yaml")
    if peek["config"]:
        for name in ("recipe", "preset"):
            if peek[name]:
                raise BadValue(f"--{name}: {peek['config']} already says what is trained; leave one of the two out")
        with common.option("--resume" if resume == "always" else "--config"):
            base = read_config(Path(peek["config"]))
        default = Options(**{k: getattr(base, k) for k in RunConfig.__dataclass_fields__ if k != "fingerprint"})
    else:
        preset = peek["preset"] or "auto"
        asks_help = any(argument in ("-h", "--help") for argument in arguments)
        size = common.auto_preset(peek["device"] or "auto") if preset == "auto" and not asks_help else preset
        model, loss, train = settings(peek["recipe"] or "wm", "nano" if size == "auto" else size)
        default = Options(preset=size, model=model, loss=loss, train=train)
    with common.options_as_fields():
        options = common.parse(Options, arguments, default)
    if options.preset == "auto":
        options = replace(options, preset=default.preset)
    with common.option("--heads"):
        model, loss = with_heads(options.model, options.loss, _names(options.heads))
        options = replace(options, model=model, loss=loss)
    if options.resume not in RESUME:
        raise UnknownName("--resume", options.resume, RESUME)
    said = {name: getattr(options, name) for name in ("steps", "minutes", "seed") if getattr(options, name) is not None}
    for name in ("steps", "minutes"):
        if name in said and said[name] <= 0:
            raise BadValue(f"--{name}: expected more than 0, got {said[name]}")
    if "minutes" in said and "steps" not in said:
        said["steps"] = 10**7  # the clock decides
    if "steps" in said and "minutes" not in said:
        said["minutes"] = 0.0
    with common.options_as_fields():
        return replace(options, train=replace(options.train, **said))


def _names(heads: Sequence[str]) -> list[str]:
    """Heads that are separated by commas, by spaces, or both."""
    return [name for part in heads for name in part.split(",") if name]


def _folder(out: str | None, env: str) -> Path:
    from worldmodel.envs.registry import file_name

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


def train(options: Options) -> None:
    """Do what the options say."""
    env = _task(options.env, options.dataset)  # a slip fails here, before anything is done
    out = _folder(options.out, env)
    begun = (out / "config.yaml").exists()
    if begun and options.resume == "never":
        raise BadValue(f"--out: {out} already holds a run; add --resume to go on with it, or give another folder")
    if options.resume == "always" and not begun:
        raise BadFile(f"--resume: {out} holds no run to go on with")
    with common.option("--resume"):
        old = read_config(out / "config.yaml") if begun else None
    with common.options_as_fields():
        check(options.model, options.loss, options.train)

    if options.wandb:
        import_wandb()

    from worldmodel.cli.processes import processes

    with processes(common.device(options.device)) as device:
        _train(options, env, out, old, device)


def _train(options: Options, env: str, out: Path, old: RunConfig | None, device: torch.device) -> None:
    import torch

    from worldmodel import distributed
    from worldmodel.checkpoint import save_model
    from worldmodel.cli.batches import Batches, ahead
    from worldmodel.cli.validation import Validation
    from worldmodel.datasets.windows import action_bounds, action_statistics, reward_scale
    from worldmodel.model import WorldModel
    from worldmodel.terms import Loss
    from worldmodel.training import train as fit

    first = distributed.rank() == 0
    with distributed.in_turn():  # the first process collects and decodes, the others find it done
        store = _open_or_collect(options, env)
        config = RunConfig(
            env=env,
            recipe=options.recipe,
            preset=options.preset,
            dataset=str(store.path),
            fingerprint=store.fingerprint,
            model=_fit_to_data(options.model, store),
            loss=options.loss,
            train=options.train,
        )
        if old is not None:
            config = _same_run(old, config, out)
        batches = Batches(store, config, device)

    torch.manual_seed(config.train.seed)
    model = WorldModel(config.model)
    model.set_actions(*action_statistics(store), *action_bounds(store))
    if config.model.reward:
        model.reward_scale.fill_(reward_scale(store))
    model.to(device)
    loss = Loss(config.loss, config.model.predictions).to(device)
    validate = Validation(store, config.model) if first else None
    if first:
        write_config(out / "config.yaml", config)
    picture = validate.rollouts if validate else None
    with Progress(out, config, picture, options.wandb) as progress, ahead(batches, device) as sample:
        steps, report = fit(model, loss, config.train, sample, out, validate, progress)
    if not first:
        return
    save_model(
        out / "model",
        model,
        env=config.env,
        recipe=config.recipe,
        preset=config.preset,
        steps=steps,
        seed=config.train.seed,
        render_preset=store.attrs.get("render_preset", "fast"),
        dataset={"path": str(store.path), "fingerprint": store.fingerprint},
        protocol={"offset": 25, "budget": 50, "split": "test"},
        report=report,
    )
    print(summary(out, model, steps, report, config))


def _task(env: str | None, dataset: str | None) -> str:
    """The task: what is asked for, or what the dataset says, which may be one that nothing here simulates."""
    from worldmodel.datasets.store import EpisodeStore

    if dataset is not None and Path(dataset).is_file():
        with common.option("--dataset"), EpisodeStore(dataset) as store:
            if env in (None, store.env):
                return store.env
    with common.option("--env"):
        return common.short_name(env or DEFAULT)


def _open_or_collect(options: Options, env: str) -> EpisodeStore:
    from worldmodel.datasets.store import EpisodeStore

    default = common.default_file(env)
    path = Path(options.dataset or default)
    if not path.exists():
        if path != default:
            raise BadFile(f"--dataset: no such file: {path} (leave the option out to collect {default})")
        from worldmodel.cli.data import collect_with_bar

        collect_with_bar(env, path, episodes=options.episodes, image_size=options.model.image_size)
    with common.option("--dataset"):
        store = EpisodeStore(path)
        if store.env != env:
            raise BadFile(f"{path} holds episodes of {store.env}, not of {env}")
    return store


def _fit_to_data(config: ModelConfig, store: EpisodeStore) -> ModelConfig:
    """Take from the data what it decides: image and action size."""
    size = store.image_size
    if size != config.image_size:
        raise BadFile(
            f"--dataset: {store.path} has {size} px images, the model takes {config.image_size} px; "
            f"collect at that size or give --model.image-size {size}"
        )
    return replace(config, env=store.env, action_dim=store.columns["action"][0][1])


def _same_run(old: RunConfig, new: RunConfig, out: Path) -> RunConfig:
    """A resumed run may be made longer, optimised otherwise and watched otherwise, nothing else."""
    changed = replace(old, train=replace(old.train, **{name: getattr(new.train, name) for name in MAY_CHANGE}))
    if new != changed:
        names = ", ".join(name for name, value in flat(new).items() if flat(changed)[name] != value)
        raise BadValue(f"--resume: {names} differ from those of {out}; leave them out, or give another --out")
    return changed


if __name__ == "__main__":
    main()
