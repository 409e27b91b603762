"""``wm-model slim``, ``ship`` and ``card``: from a finished run to a folder of the model zoo."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from worldmodel import shipped
from worldmodel.cli import common
from worldmodel.errors import BadFile, BadValue
from worldmodel.files import read_json, replacing, write_json

MOST_BYTES = 16 * 2**20  # of a model's weights
FEWEST_PAIRS = 200
FAR = r"(?<![\w.:/~-])(?:~[\w.-]*|(?:[\w.-]+/)*\.\.)?/(?:[^\s/]+/)*(?=[^\s/])"  # folders of a path from elsewhere


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

    folder = model_folder(path)
    about = {name: x for name, x in read_about(folder).items() if name not in ("format", "worldmodel", "model")}
    run = common.run_folder(folder)
    if not (run / "config.yaml").is_file():
        raise BadFile(f"{run} holds no config.yaml: without the settings of its training, a model cannot ship")
    if dataset:
        with common.option("--dataset"), EpisodeStore(dataset) as store:
            known = about.get("dataset") or {}
            if store.fingerprint != known.get("fingerprint"):
                raise BadFile(f"{dataset} is not what {path} learned from: another fingerprint")
            about["dataset"] = known | learned_from(store) | {"path": known.get("path", dataset)}
    with replacing(out) as temporary:
        save_model(temporary / "model", for_planning(load_model(folder)), **about | {"precision": "bf16"})
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
    results, now, few = {}, file_fingerprint(weights), []
    for found in record.find(folder):
        values = read_json(found / record.RESULT)
        if values["model"]["fingerprint"] != now:
            print(f"left out: {found} was measured of other weights")
        elif values["n"] < FEWEST_PAIRS:
            few.append(found.name)
        else:
            results[found.name] = values
    if few:
        print(f"left out, as they are of fewer than {FEWEST_PAIRS} pairs: {', '.join(few)}")
    main = shipped.main_result(about)
    if main not in results or results[main]["protocol"]["changed"]:
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
        settings = yaml.safe_load((folder.parent / "config.yaml").read_text())
        (temporary / "config.yaml").write_text(yaml.safe_dump(_anywhere(settings), sort_keys=False))
        for name, values in results.items():
            write_json(temporary / shipped.RESULTS / f"{name}.json", _anywhere(values))
        (temporary / shipped.CARD).write_text(card.render(temporary))
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 1e6
    print(f"{target}: {size:.1f} MB, {len(results)} results, model card {target / shipped.CARD}")


def write_card(path: Annotated[str, tyro.conf.Positional]) -> None:
    """Write the model card of a folder of the zoo anew, from the files in it.

    Args:
        path: Folder of the zoo.
    """
    from worldmodel.benchmarks import card

    with replacing(Path(path) / shipped.CARD) as temporary:
        temporary.write_text(card.render(Path(path)))
    print(Path(path) / shipped.CARD)


def _anywhere(value: Any) -> Any:
    """The same with bare names for paths that mean nothing on another machine: absolute, upwards, or of a home."""
    whole = sorted(set(_paths(value)), key=len, reverse=True)

    def near(x: Any) -> Any:
        if isinstance(x, dict):
            return {
                name: _commands(y) if name == "command" and isinstance(y, str) else near(y) for name, y in x.items()
            }
        if isinstance(x, list):
            return [near(y) for y in x]
        if isinstance(x, str):
            for path in whole:
                x = x.replace(path, Path(path).name)
            return re.sub(FAR, "", x)
        return x

    return near(value)


def _paths(value: Any) -> Iterator[str]:
    """Values that are such a path as a whole and have a blank in it, so that a text does not tell where it ends."""
    if isinstance(value, dict | list):
        for x in value.values() if isinstance(value, dict) else value:
            yield from _paths(x)
    elif isinstance(value, str) and re.match(FAR, value) and re.search(r"\s", value):
        yield value


def _commands(line: str) -> str:
    """Commands, one after the other, each as `_command` has it."""
    return "; ".join(map(_command, line.split("; ")))


def _command(line: str) -> str:
    """A command with bare names for such paths; each of its words is one."""
    parted = (re.match("(--[^=]*=)?", word) for word in shlex.split(line))
    words = ((found[0], found.string[found.end() :]) for found in parted if found)
    return shlex.join(name + (Path(x).name if re.match(FAR, x) or ".." in Path(x).parts else x) for name, x in words)
