"""``wm-train --env pusht``: collect what is missing, train, check on held-out episodes, say what to type next."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.checks import check
from worldmodel.cli import common
from worldmodel.cli.facts import learned_from, trained_by
from worldmodel.cli.progress import Progress, import_wandb
from worldmodel.cli.summary import summary
from worldmodel.cli.train_options import Options, folder_of, parse, task_of
from worldmodel.config import ModelConfig
from worldmodel.errors import BadFile, BadValue
from worldmodel.plain import flat
from worldmodel.run import RunConfig, read_config, write_config

if TYPE_CHECKING:
    import torch

    from worldmodel.datasets.store import EpisodeStore

MAY_CHANGE = (  # of TrainConfig, in a run that is resumed
    *("steps", "minutes", "settle", "lr", "weight_decay", "warmup", "schedule", "final_lr", "clip"),
    *("accumulate", "compile", "log_every", "save_every", "validate_every"),
)


def main() -> None:
    """Entry point of ``wm-train``."""
    common.run(lambda: train(parse(sys.argv[1:])))


def train(options: Options) -> None:
    """Do what the options say."""
    env = task_of(options.env, options.dataset)  # a slip fails here, before anything is done
    out = folder_of(options.out, env)
    begun = (out / "config.yaml").exists()
    if begun and options.resume == "never" and not options.continues:
        raise BadValue(
            f"--out: {out} already holds a run; add --resume to finish it, --continue to train its model further, or "
            "give another folder"
        )
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
        if options.online:
            from worldmodel.cli.online import learn_online

            learn_online(options, env, out, device)
        elif said := learn(options, env, out, old, device):
            print(said)


def learn(options: Options, env: str, out: Path, old: RunConfig | None, device: torch.device) -> str:
    """Train in a run folder, which may hold the ``old`` run; return what the first process has to say at the end."""
    import torch

    from worldmodel import distributed
    from worldmodel.benchmarks import protocols
    from worldmodel.checkpoint import save_model
    from worldmodel.cli.batches import Batches, prefetched
    from worldmodel.cli.validation import Validation
    from worldmodel.datasets.windows import action_bounds, action_statistics, reward_scale
    from worldmodel.model import WorldModel
    from worldmodel.terms import Loss
    from worldmodel.training import train as fit

    first = distributed.rank() == 0
    with distributed.in_turn():  # the first process collects and decodes, the others find it done
        store = open_or_collect(options, env)
        config = RunConfig(
            env=env,
            recipe=options.recipe,
            preset=options.preset,
            dataset=str(store.path),
            fingerprint=store.fingerprint,
            model=_fit_to_data(options.model, store),
            loss=options.loss,
            train=options.train,
            online=options.online,
            round=options.round,
        )
        if old is not None:
            config = _further(old, config, out) if options.continues else _same_run(old, config, out)
        with common.option("--dataset"):
            scale = reward_scale(store) if config.model.reward else 1.0
        batches = Batches(store, config, device)
    if len({*distributed.gathered(config.fingerprint)}) > 1:
        raise BadFile(f"--dataset: {store.path} has grown while the processes opened it, start them again")

    torch.manual_seed(config.train.seed)
    model = WorldModel(config.model)
    model.set_actions(*action_statistics(store), *action_bounds(store))
    if config.model.reward:
        model.reward_scale.fill_(scale)
    model.to(device)
    loss = Loss(config.loss, config.model.predictions).to(device)
    validate = Validation(store, config.model) if first else None
    if first:
        write_config(out / "config.yaml", config)
    picture = validate.rollouts if validate else None
    with Progress(out, config, picture, options.wandb) as progress, prefetched(batches, device) as sample:
        steps, report = fit(model, loss, config.train, sample, out, validate, progress, config.begin, batches.settled)
    if not first:
        return ""
    save_model(
        out / "model",
        model,
        env=config.env,
        recipe=config.recipe,
        preset=config.preset,
        steps=steps,
        seed=config.train.seed,
        render_preset=store.attrs.get("render_preset", "fast"),
        dataset={**learned_from(store), "before": config.learned},
        training=trained_by(out, device, config.begin, steps),
        protocol=protocols.kept_ready(),
        report=report,
    )
    return summary(out, model, steps, report, config)


def open_or_collect(options: Options, env: str) -> EpisodeStore:
    """Open the episodes to learn from; collect them first where none are named and none are there."""
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
        vit = config.encoder.kind == "vit" and size % config.encoder.patch
        other = "" if vit else f" or give --model.image-size {size}"
        raise BadFile(
            f"--dataset: {store.path} has {size} px images, the model takes {config.image_size} px; "
            f"collect at that size{other}"
        )
    return replace(config, env=store.env, action_dim=store.columns["action"][0][1])


def _same_run(old: RunConfig, new: RunConfig, out: Path) -> RunConfig:
    """A resumed run may be made longer, optimised otherwise and watched otherwise, nothing else."""
    new = replace(new, learned=old.learned, begin=old.begin)
    train = replace(old.train, **{name: getattr(new.train, name) for name in MAY_CHANGE})
    changed = replace(old, train=train, online=new.online)
    refuse("--resume", flat(new), flat(changed), out)
    return changed


def _further(old: RunConfig, new: RunConfig, out: Path) -> RunConfig:
    """A run that is continued keeps its model; data, losses and optimisation may be others, from its last state on."""
    from worldmodel.training import saved_step

    same = replace(new, env=old.env, recipe=old.recipe, preset=old.preset, model=old.model)
    refuse("--continue", flat(new), flat(same), out)
    with common.option("--continue"):
        begin = saved_step(out)
    if not begin:
        raise BadFile(f"--continue: {out} has no state to go on from; --resume goes on with what was begun there")
    learned = old.learned if new.fingerprint == old.fingerprint else (*old.learned, old.fingerprint)
    return replace(new, learned=learned, begin=begin)


def refuse(option: str, asked: Mapping[str, Any], allowed: Mapping[str, Any], out: Path) -> None:
    """Raise BadValue for settings that are not those of a run and would have to be."""
    if names := [name for name in {**asked, **allowed} if asked.get(name) != allowed.get(name)]:
        way = "--continue learns from other data" if "fingerprint" in names else "leave them out, or give another --out"
        raise BadValue(f"{option}: {', '.join(names)} differ from those of {out}; {way}")


if __name__ == "__main__":
    main()
