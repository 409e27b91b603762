"""Models that ship with the package: a folder for each task in ``worldmodel/zoo/``, found by the name of the task.

Such a folder is a model folder that also holds the pairs it was judged by (``pairs.npz``), what was measured
(``results/``), the configuration of its training (``config.yaml``) and its model card (``README.md``).
"""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path
from typing import Any

from worldmodel.errors import BadFile
from worldmodel.files import read_json, replacing

ZOO = Path(__file__).resolve().parent / "zoo"
PAIRS, RESULTS, CARD = "pairs.npz", "results", "README.md"
RULES = "lewm-25"  # the protocol that every shipped model is judged by


def models() -> dict[str, Path]:
    """Folders of the shipped models, by the names of their tasks."""
    folders = [config.parent for config in sorted(ZOO.glob("*/config.json"))]
    return {read_json(folder / "config.json")["env"]: folder for folder in folders}


def result(folder: Path) -> dict[str, Any]:
    """What a shipped model reaches when it plans as it does by default.

    Raises:
        BadFile: the folder holds no such result.
    """
    for predictor in ("prefix", "one-step"):  # the first that the model has is the default
        if (file := folder / RESULTS / f"{RULES}-{predictor}.json").is_file():
            found: dict[str, Any] = read_json(file)
            return found
    raise BadFile(f"{folder} is no shipped model: it holds no result by {RULES}")


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
