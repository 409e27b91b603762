"""Plan with latent world models learned from pixels and actions.

``import worldmodel`` is cheap: torch, gymnasium and h5py are imported only by the parts that need them.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

_ROOT = Path(__file__).resolve().parent.parent
_SIBLINGS = ("planners", "envs", "datasets", "benchmarks")


class _SourceCheckoutFinder:
    """Finds ``worldmodel.planners`` and its sisters beside this package in a source checkout.

    An installed wheel needs no help: there the folders lie inside the package (see ``[tool.setuptools.package-dir]``).
    """

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        parent, _, name = fullname.rpartition(".")
        if parent == __name__ and name in _SIBLINGS:
            return PathFinder.find_spec(fullname, [str(_ROOT)])
        return None


if (_ROOT / "pyproject.toml").exists() and (_ROOT / "planners").is_dir():
    sys.meta_path.append(_SourceCheckoutFinder)


def load(path: str, device: str = "cpu") -> WorldModel:
    """Load a trained world model from a run folder or a model folder, or the one that ships for a task.

    Args:
        path: a run folder (holds ``model/``), a model folder (holds ``config.json`` and ``model.safetensors``), or,
            where there is no such folder, a task for which a model ships, such as ``"pusht"``.
        device: where to put it, such as ``"cpu"``.

    Raises:
        BadFile: the folder is missing, incomplete, or of a newer format; nothing in it is ever executed.
    """
    from worldmodel.checkpoint import load_model

    return load_model(path, device)
