"""The house rules: who may import whom, what starts light, and the four places that name the folders."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import worldmodel

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SIBLINGS = ("planners", "envs", "datasets", "benchmarks")
ROOMS = ("worldmodel", *SIBLINGS)
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
COMMANDS = {name: target.split(":")[0] for name, target in PROJECT["project"]["scripts"].items()}
HEAVY = {"torch", "gymnasium", "h5py"}

# What a room may import of ours besides itself. A name covers everything below it, except that "worldmodel" is the
# core: neither the siblings, which live under the same import name, nor the commands.
MAY_IMPORT = {
    "worldmodel": (),
    "planners": ("worldmodel",),
    "envs": ("worldmodel.errors",),
    "datasets": ("worldmodel.envs", "worldmodel.errors", "worldmodel.files"),
    "benchmarks": ("worldmodel", "worldmodel.planners", "worldmodel.envs", "worldmodel.datasets", "worldmodel.cli"),
}


def module_name(path: Path) -> str:
    """Import name of a file: ``planners/cem.py`` -> ``worldmodel.planners.cem``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "worldmodel" else ("worldmodel", *parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = sorted(module_name(path) for path in FILES)


def part(module: str) -> str:
    """The part a module belongs to: ``worldmodel.envs``, ``worldmodel.cli``, or ``worldmodel`` for the core."""
    head = ".".join(module.split(".")[:2])
    return head if head.removeprefix("worldmodel.") in (*SIBLINGS, "cli") else "worldmodel"


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every imported module with its line; a relative import keeps its dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:  # "from worldmodel.envs import registry" names a module only in its last word
                whole = f"{base}.{alias.name}"
                yield (whole if whole in MODULES or base == "worldmodel" else base), node.lineno


def allowed(path: Path, target: str, lazy: bool) -> bool:
    """Whether the file may import the target; ``lazy`` says that it does so inside a function or for types only."""
    if target.split(".")[0] in SIBLINGS or target.startswith("."):
        return False  # a bare sibling import loads the file twice, as two modules
    if target.split(".")[0] != "worldmodel" or target in ("worldmodel", "worldmodel.__version__"):
        return True
    room = path.relative_to(ROOT).parts[0]
    home = part(module_name(path))
    if home == "worldmodel.cli" or part(target) == home:
        return True
    if path == ROOT / "worldmodel" / "model.py" and lazy and part(target) == "worldmodel.planners":
        return True  # WorldModel.agent
    return any(
        part(target) == "worldmodel" if name == "worldmodel" else (target + ".").startswith(name + ".")
        for name in MAY_IMPORT[room]
    )


def broken_imports(path: Path, source: str) -> list[str]:
    """Imports of a file that its room may not make, as ``line: module``."""
    tree = ast.parse(source)
    lazy = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for _, line in imports(node)
    }
    return [f"{line}: {target}" for target, line in imports(tree) if not allowed(path, target, line in lazy)]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_follow_the_arrows(path: Path) -> None:
    assert broken_imports(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("file", "line", "legal"),
    [
        ("worldmodel/model.py", "from worldmodel.config import ModelConfig", True),
        ("worldmodel/model.py", "from worldmodel.planners.agent import Agent", False),
        ("worldmodel/model.py", "def agent():\n    from worldmodel.planners.agent import Agent", True),
        ("worldmodel/model.py", "def agent():\n    from worldmodel.envs import registry", False),
        ("worldmodel/training.py", "def f():\n    import worldmodel.datasets.store", False),
        ("worldmodel/training.py", "from worldmodel import planners", False),
        ("worldmodel/training.py", "from worldmodel.cli.common import run", False),
        ("worldmodel/cli/train.py", "from worldmodel.datasets.store import EpisodeStore", True),
        ("worldmodel/cli/train.py", "import datasets", False),
        ("planners/cem.py", "from worldmodel.interfaces import Plan", True),
        ("planners/cem.py", "from worldmodel.planners.config import CEMConfig", True),
        ("planners/cem.py", "from planners.config import CEMConfig", False),
        ("planners/cem.py", "from .config import CEMConfig", False),
        ("planners/cem.py", "import worldmodel.envs.registry", False),
        ("envs/pusht.py", "from worldmodel.errors import BadValue", True),
        ("envs/pusht.py", "from worldmodel.files import replacing", False),
        ("envs/pusht.py", "import worldmodel.model", False),
        ("datasets/collect.py", "from worldmodel.envs.registry import make", True),
        ("datasets/collect.py", "from worldmodel.envs import registry", True),
        ("datasets/collect.py", "from worldmodel.files import replacing", True),
        ("datasets/store.py", "from worldmodel import __version__", True),
        ("datasets/collect.py", "from worldmodel.config import TrainConfig", False),
        ("benchmarks/evaluate.py", "from worldmodel.planners.agent import Agent", True),
        ("benchmarks/evaluate.py", "from benchmarks.report import table", False),
    ],
)
def test_the_rule_itself(file: str, line: str, legal: bool) -> None:
    assert (broken_imports(ROOT / file, line) == []) is legal


def docstrings(tree: ast.AST) -> set[ast.AST]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.body and isinstance(node.body[0], ast.Expr)
    }


# Commands and benchmarks print and choose devices; nothing else does.
LIBRARY = [
    path
    for path in FILES
    if path.relative_to(ROOT).parts[:2] != ("worldmodel", "cli") and path.parent.name != "benchmarks"
]


@pytest.mark.parametrize("path", LIBRARY, ids=relative)
def test_library_neither_prints_nor_names_a_device(path: Path) -> None:
    tree = ast.parse(path.read_text())
    prose = docstrings(tree)
    prints = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]
    devices = [
        n.lineno
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and "cuda" in n.value and n not in prose
    ]
    assert (prints, devices) == ([], [])


def test_four_places_name_the_same_folders() -> None:
    setuptools = PROJECT["tool"]["setuptools"]
    expected = {"worldmodel", *(f"worldmodel.{name}" for name in SIBLINGS)}
    assert worldmodel._SIBLINGS == SIBLINGS
    assert set(setuptools["packages"]) == {*expected, "worldmodel.cli"}
    assert setuptools["package-dir"] == {"worldmodel": "worldmodel", **{f"worldmodel.{n}": n for n in SIBLINGS}}
    assert f"\nROOMS := {' '.join(SIBLINGS)}\n" in (ROOT / "Makefile").read_text()


def test_every_python_folder_is_packaged() -> None:
    packaged = set(PROJECT["tool"]["setuptools"]["packages"])
    assert {module_name(path.parent / "__init__.py") for path in FILES} <= packaged


def test_mapped_folders_are_not_regular_packages() -> None:
    assert [name for name in SIBLINGS if (ROOT / name / "__init__.py").exists()] == []
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_import_datasets_is_not_ours() -> None:
    """Beside Hugging Face's package ours must lose; without it, only an empty namespace is found."""
    spec = importlib.util.find_spec("datasets")
    assert spec is None or spec.origin is None or not Path(spec.origin).is_relative_to(ROOT / "datasets")


def heavy_after(code: str) -> list[str]:
    """Run code in a fresh process at the root and return the heavy packages it imported."""
    code += f"\nimport json, sys; sys.stderr.write(json.dumps(sorted({HEAVY!r} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("module", ["worldmodel", "worldmodel.config", "worldmodel.planners.config"])
def test_light_modules_import_nothing_heavy(module: str) -> None:
    assert heavy_after(f"import {module}") == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    helping = f"""
import sys
sys.argv = [{command!r}, "--help"]
from {COMMANDS[command]} import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
assert not code, code
"""
    assert heavy_after(helping) == []


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports(module: str) -> None:
    importlib.import_module(module)


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/tasks.md",
        "docs/data.md",
        "docs/export.md",
        "docs/training.md",
        "docs/models.md",
        "docs/planning.md",
        "docs/rl.md",
        "docs/evaluation.md",
    ],
)
def test_pages_name_files_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`((?:worldmodel|planners|envs|datasets|benchmarks|tests)/[\w/]*(?:\.py)?)`", text))
    links = set(re.findall(r"\]\(([\w/.]+)(?:#[\w-]+)?\)", text))
    assert named or links
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert [link for link in sorted(links) if not (ROOT / page).parent.joinpath(link).exists()] == []
