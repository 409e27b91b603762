"""Models that ship with the package: a folder for each task in ``worldmodel/zoo/``, found by the name of the task.

Such a folder is a model folder that also holds the pairs it was judged by (``pairs.npz``), what was measured
(``results/``), the configuration of its training (``config.yaml``) and its model card (``README.md``).
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldmodel.config import usual_predictor
from worldmodel.errors import BadFile
from worldmodel.files import read_json, replacing

ZOO = Path(__file__).resolve().parent / "zoo"
PAIRS, RESULTS, CARD = "pairs.npz", "results", "README.md"
RULES = "lewm-25"  # the protocol that every shipped model is judged by


def models() -> dict[str, Path]:
    """Folders of the shipped models, by the names of their tasks."""
    folders = [config.parent for config in sorted(ZOO.glob("*/config.json"))]
    return {read_json(folder / "config.json")["env"]: folder for folder in folders}


def main_result(about: Mapping[str, Any]) -> str:
    """Name of the result of planning as a model does by default, from its ``config.json``."""
    names = [name for name in ("one-step", "prefix") if about["model"].get(name.replace("-", "_"))]
    return f"{RULES}-{usual_predictor(names)}"


def result(folder: Path) -> dict[str, Any]:
    """What a shipped model reaches when it plans as it does by default.

    Raises:
        BadFile: the folder holds no such result.
    """
    file = folder / RESULTS / f"{main_result(read_json(folder / 'config.json'))}.json"
    if not file.is_file():
        raise BadFile(f"{folder} is no shipped model: it lacks {RESULTS}/{file.name}")
    found: dict[str, Any] = read_json(file)
    return found


def copied(folder: Path, runs: Path) -> Path:
    """Copy a shipped model to ``<runs>/<its name>-shipped/model``, a run as any other; what is equal stays.

    So what is measured and drawn of it has a place, and the package stays as it is.
    """
    copy = runs / f"{folder.name}-shipped" / "model"
    names = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    if len(filecmp.cmpfiles(folder, copy, names, shallow=False)[0]) < len(names):
        with replacing(copy) as temporary:
            for name in names:  # what may be read-only there is not here
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, temporary / name)
    return copy
