"""``wm-model``: say what a model is, show what it imagines, export and ship it, import published weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from worldmodel.cli.common import aligned, option, options_as_fields, run, subcommands
from worldmodel.cli.decoder import decoder
from worldmodel.cli.shipping import ship, slim, write_card
from worldmodel.errors import BadFile, BadValue, UnknownName
from worldmodel.files import read_json

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

FORMATS = ("onnx", "torch", "published")


def info(path: Annotated[str, tyro.conf.Positional]) -> None:
    """Say what a model is and what it learned from.

    Args:
        path: Model or run folder, or the task of a shipped model.
    """
    from worldmodel.checkpoint import load_decoder, load_model, model_folder, read_about

    folder = model_folder(path)
    facts = list(_facts(folder, read_about(folder), load_model(folder)))
    if (drawing := load_decoder(folder)) is not None:
        found = [f"{drawing.about[name]:.1f} dB" for name in ("psnr", "psnr_mean") if name in drawing.about]
        facts.append(("decoder", " PSNR held out, the mean picture ".join(found) or "not judged"))
    print(aligned(facts))


def export(
    path: Annotated[str, tyro.conf.Positional], out: str, format: str = "onnx", transformers: int | None = None
) -> None:
    """Write a model for other programs: as graphs that run without this package, or under the published names.

    Args:
        path: Model or run folder, or the task of a shipped model.
        out: What to make: a folder of graphs, or a file of published weights such as weights.pt.
        format: onnx, torch (torch.export) or published (LeWM's or Fast-LeWM's state dict).
        transformers: Release of that library, 4 (usual) or 5, whose names published weights take.
    """
    if format not in FORMATS:
        with option("--format"):
            raise UnknownName("format", format, FORMATS)
    if transformers is not None and format != "published":
        raise BadValue(f"--transformers: has no effect on --format {format}, but on published")
    if transformers not in (None, 4, 5):
        raise BadValue(f"--transformers: expected 4 or 5, got {transformers}")
    _must_be_new(out)

    from worldmodel.checkpoint import load_model, read_about

    about, model = read_about(path), load_model(path)
    if format == "published":
        from worldmodel.published import write_published

        with options_as_fields():
            write_published(out, model, transformers or 4)
        print(aligned([("weights", f"{out} ({_megabytes(Path(out))})"), ("actions", _published_note(model))]))
        return

    from worldmodel.export import export_model

    kept = ("env", "recipe", "preset", "steps", "render_preset", "dataset")
    difference = export_model(out, model, format, **{name: about[name] for name in kept if name in about})
    rows = [("graph", "size", "inputs", "output", "differs by")]
    for name, graph in read_json(Path(out) / "config.json")["graphs"].items():
        inputs = ", ".join(f"{key} ({', '.join(map(str, shape))})" for key, shape in graph["inputs"].items())
        file = Path(out) / graph["file"]
        rows.append((str(file), _megabytes(file), inputs, graph["output"], f"{difference[name]:.0e}"))
    print(aligned(rows))
    print(f"sizes, bounds and statistics of actions: {Path(out) / 'config.json'}")


def import_(weights: Annotated[str, tyro.conf.Positional], out: str, dataset: str = "") -> None:
    """Make a model folder of published LeWM or Fast-LeWM weights.

    Args:
        weights: State dict, such as weights.pt; nothing in it is executed.
        out: Folder to make; wm-plan --model and worldmodel.load take it.
        dataset: Episodes the weights were trained on, which say the task, the statistics and the bounds of actions.
    """
    _must_be_new(out)
    if not dataset:
        raise BadValue(
            "--dataset: published weights hold neither statistics nor bounds of actions, and no plan can be executed "
            "without: give the dataset they were trained on (wm-data convert reads stable-worldmodel's)"
        )

    from worldmodel.checkpoint import save_model
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.datasets.windows import action_bounds, action_statistics
    from worldmodel.published import read_published

    model = read_published(weights)
    with option("--dataset"), EpisodeStore(dataset) as store:
        if "action" not in store.columns:
            raise BadFile(f"{dataset} has no column 'action'")
        actions, expected = store.columns["action"][0][1:], model.config.action_dim
        if actions != (expected,):
            block = model.config.action_block
            raise BadFile(f"{dataset} has actions of shape {actions}, {weights} was trained on {block} x {expected}")
        if store.image_size != model.config.image_size:
            size = model.config.image_size
            raise BadFile(f"{dataset} has {store.image_size} px images, {weights} was trained on {size} px")
        model.config = replace(model.config, env=store.env)
        model.set_actions(*action_statistics(store, None), *action_bounds(store))  # of all episodes, as published
        learned_from = {"path": dataset, "fingerprint": store.fingerprint}
        look = store.attrs.get("render_preset", "official")
    recipe = "fast-lewm" if "prefix" in model.predictors else "lewm"
    save_model(
        out, model, env=model.config.env, recipe=recipe, preset="published", source=str(weights), render_preset=look,
        dataset=learned_from,  # no protocol: nobody knows which episodes published weights learned from
    )  # fmt: skip
    info(out)


def _must_be_new(out: str) -> None:
    if Path(out).exists():
        raise BadValue(f"--out: {out} is already there")


def _facts(folder: Path, about: dict[str, Any], model: WorldModel) -> Iterator[tuple[str, str]]:
    c = model.config
    yield "model", f"{folder} ({_megabytes(folder)}), format {about['format']}, worldmodel {about.get('worldmodel')}"
    yield "task", str(about.get("env") or c.env or "not recorded")
    trained = (("", "recipe"), ("preset ", "preset"), ("seed ", "seed"), ("steps ", "steps"), ("from ", "source"))
    known = [f"{word}{about[name]}" for word, name in trained if name in about]
    yield "recipe", ", ".join(known) or "not recorded"
    counts = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in (*model.named_children(), *model.parts.items())
        if name not in ("pixels", "parts")
    }
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    yield "parameters", f"{sum(counts.values()):,}: {parts}"
    yield "latent", f"{c.latent_dim} numbers, of a picture of {c.image_size} x {c.image_size}"
    yield "context", f"{c.context} frame{'s' * (c.context > 1)}, {c.action_block} environment steps apart"
    yield "action", f"{c.action_dim} numbers, {c.action_block} actions in a model step"
    for name in ("mean", "std", "low", "high"):
        yield f"  {name}", " ".join(f"{number:.3g}" for number in getattr(model, f"action_{name}").tolist())
    for name in model.predictors:
        most = model.predictor(name).max_prefix
        yield name, f"{most} model step{'s' * (most > 1)} in one pass"
    yield "pictures", str(about.get("render_preset", "not recorded"))
    learned_from = about.get("dataset")
    if isinstance(learned_from, dict):
        yield "dataset", f"{learned_from.get('path')}, fingerprint {str(learned_from.get('fingerprint'))[:16]}"


def _published_note(model: WorldModel) -> str:
    return "their statistics do not travel along: " + "; ".join(
        f"{name} {' '.join(f'{number:.4g}' for number in getattr(model, f'action_{name}').tolist())}"
        for name in ("mean", "std")
    )


def _megabytes(path: Path) -> str:
    files = path.rglob("*") if path.is_dir() else [path]
    return f"{sum(file.stat().st_size for file in files if file.is_file()) / 1e6:.1f} MB"


def main() -> None:
    """Entry point of ``wm-model``."""
    commands = {
        "info": info, "decoder": decoder, "export": export, "import": import_,
        "slim": slim, "ship": ship, "card": write_card,
    }  # fmt: skip
    run(lambda: subcommands(commands, "Look at models and move them."))


if __name__ == "__main__":
    main()
