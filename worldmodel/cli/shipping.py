"""``wm-model slim``, ``ship`` and ``card``: from a finished run to a folder of the model zoo."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated, Any

import tyro

from worldmodel import shipped
from worldmodel.cli import common
from worldmodel.errors import BadFile, BadValue
from worldmodel.files import read_json, replacing, write_json

MOST_BYTES = 16 * 2**20  # of a model's weights
FEWEST_PAIRS = 200


def slim(path: Annotated[str, tyro.conf.Positional], out: str, dataset: str = "") -> None:
    """Make a run whose model is small: bfloat16 weights, without what only training needs; judge that, then ship it.

    Args:
        path: Run folder or model folder.
        out: Run folder to make.
        dataset: Episodes that the model learned from, which its card describes [default: as its training noted].
    """
    if Path(out).exists():
        raise BadValue(f"--out: {out} is already there")

    from worldmodel.checkpoint import for_planning, load_model, model_folder, read_about, save_model
    from worldmodel.cli.facts import learned_from
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.training import saved_minutes

    folder = model_folder(path)
    about = {name: x for name, x in read_about(folder).items() if name not in ("format", "worldmodel", "model")}
    run = folder.parent
    if "training" not in about and (minutes := saved_minutes(run)):  # trained before such things were noted
        about["training"] = {"minutes": minutes}
    if dataset:
        with common.option("--dataset"), EpisodeStore(dataset) as store:
            known = about.get("dataset") or {}
            if store.fingerprint != known.get("fingerprint"):
                raise BadFile(f"{dataset} is not what {path} learned from: another fingerprint")
            about["dataset"] = known | learned_from(store) | {"path": known.get("path", dataset)}
    with replacing(out) as temporary:
        save_model(temporary / "model", for_planning(load_model(folder)), **about | {"precision": "bf16"})
        if (run / "config.yaml").is_file():
            shutil.copy(run / "config.yaml", temporary)
    before, after = ((at / "model.safetensors").stat().st_size / 1e6 for at in (folder, Path(out) / "model"))
    print(f"{out}: {after:.1f} MB of weights instead of {before:.1f}")
    print(f"next: wm-plan --model {out}, with every protocol that the card is to show; then wm-model ship {out}")


def ship(path: Annotated[str, tyro.conf.Positional], zoo: str = "worldmodel/zoo") -> None:
    """Publish a run that was judged as a folder of the zoo: model, pairs, results and card; an older one is replaced.

    Args:
        path: Run folder that wm-model slim made.
        zoo: Folder of the zoo.
    """
    from worldmodel.benchmarks import card, record
    from worldmodel.benchmarks.provenance import file_fingerprint
    from worldmodel.checkpoint import model_folder, read_about
    from worldmodel.envs.registry import file_name

    folder = model_folder(path)
    about, weights = read_about(folder), folder / "model.safetensors"
    if about.get("precision") != "bf16" or about["model"].get("inverse"):
        raise BadFile(
            f"{path} is as it was trained: make it small by wm-model slim {path} --out FOLDER, and judge that"
        )
    if weights.stat().st_size > MOST_BYTES:
        raise BadFile(
            f"{weights} has {weights.stat().st_size / 2**20:.1f} MiB, at most {MOST_BYTES / 2**20:.0f} may ship"
        )
    results, now = {}, file_fingerprint(weights)
    for found in record.find(folder):
        values = read_json(found / record.RESULT)
        if values["model"]["fingerprint"] == now:
            results[found.name] = values
        else:
            print(f"left out: {found} was measured of other weights")
    main = f"{shipped.RULES}-{'prefix' if about['model'].get('prefix') else 'one-step'}"
    if main not in results or results[main]["protocol"]["changed"] or results[main]["n"] < FEWEST_PAIRS:
        lacks = f"{path} lacks evaluation/{main} of these weights on {FEWEST_PAIRS} pairs"
        raise BadFile(f"{lacks}: wm-plan --model {path} makes it")
    pairs = record.load_pairs(folder.parent / "evaluation" / main / record.PAIRS)
    if pairs.sha256 != results[main]["manifest"]["sha256"]:
        raise BadFile(f"evaluation/{main} of {path} has pairs of another hash than its result: judge the model again")
    target = Path(zoo) / file_name(about["env"])
    with replacing(target) as temporary:
        temporary.mkdir(parents=True)
        shutil.copy(weights, temporary)
        record.save_pairs(temporary / shipped.PAIRS, pairs)
        write_json(temporary / "config.json", _anywhere(about))
        (temporary / "config.yaml").write_text(_anywhere((folder.parent / "config.yaml").read_text()))
        for name, values in results.items():
            write_json(temporary / shipped.RESULTS / f"{name}.json", _anywhere(values))
        (temporary / shipped.CARD).write_text(card.render(temporary))
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 1e6
    print(f"{target}: {size:.1f} MB, {len(results)} results, model card {target / shipped.CARD}")


def write_card(path: Annotated[str, tyro.conf.Positional]) -> None:
    """Write the model card of a folder of the zoo anew, from the JSON files in it.

    Args:
        path: Folder of the zoo.
    """
    from worldmodel.benchmarks import card

    with replacing(Path(path) / shipped.CARD) as temporary:
        temporary.write_text(card.render(Path(path)))
    print(Path(path) / shipped.CARD)


def _anywhere(value: Any) -> Any:
    """The same without the folders of absolute paths, which mean nothing on another machine."""
    if isinstance(value, dict):
        return {name: _anywhere(x) for name, x in value.items()}
    if isinstance(value, list):
        return [_anywhere(x) for x in value]
    return re.sub(r"(?<![\w./:])/(?:[\w.+-]+/)+", "", value) if isinstance(value, str) else value
