"""A finished evaluation in a folder: its numbers, its start and goal pairs, and what happened on every one of them.

Pictures are not kept: they are drawn again from the states, and what a model makes of them is predicted again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.benchmarks.evaluate import Outcome
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.cli import common
from worldmodel.errors import BadFile
from worldmodel.files import read_json, replacing, write_json

RESULT, PAIRS, TRACE = "result.json", "pairs.npz", "trace.npz"
_ARRAYS = ("starts", "goals", "actions", "episode", "row", "hard")
_WORLD = "world."  # prefix of the factors of variation
_WAY, _STEPS = "way.", "steps"  # prefix of the ways back to starts, whose actions lie end to end; how many of each


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished evaluation.

    Attributes:
        values: every number, as ``wm-plan --json`` writes them.
        pairs: the starts and goals.
        outcome: of the policy, without frames.
        floors: of ``random``, ``noop``, ``replay`` ... on the same pairs, without frames.
    """

    values: Mapping[str, Any]
    pairs: Pairs
    outcome: Outcome
    floors: Mapping[str, Outcome]

    def save(self, folder: str | Path) -> Path:
        """Write the folder, whole or not at all; an older record there is replaced."""
        with replacing(folder) as temporary:
            temporary.mkdir(parents=True)
            write_json(temporary / RESULT, self.values)
            save_pairs(temporary / PAIRS, self.pairs)
            outcomes = {"policy": self.outcome, **self.floors}
            arrays: dict[str, Any] = {
                f"{who}.{name}": x for who, outcome in outcomes.items() for name, x in _traced(outcome).items()
            }
            with replacing(temporary / TRACE) as file, open(file, "wb") as out:
                np.savez_compressed(out, **arrays)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Record:
        """Read a folder that `save` wrote.

        Raises:
            BadFile: it is not one, or not whole.
        """
        folder = Path(folder)
        if not (folder / RESULT).is_file():
            raise BadFile(f"{folder} holds no evaluation: no {RESULT}; wm-plan writes one into its run folder")
        outcomes: dict[str, dict[str, Any]] = {}
        for name, x in _arrays(folder / TRACE).items():
            who, _, what = name.partition(".")
            outcomes.setdefault(who, {"rollouts": ()})[what] = x
        pairs = load_pairs(folder / PAIRS)
        try:
            made = {who: Outcome(**found) for who, found in outcomes.items()}
            return cls(values=read_json(folder / RESULT), pairs=pairs, outcome=made.pop("policy"), floors=made)
        except (TypeError, KeyError) as error:
            raise BadFile(f"{folder / TRACE} is not what wm-plan writes: run it again") from error


def find(run: str | Path) -> list[Path]:
    """Folders of the evaluations of a run or model folder, in order of their names."""
    return sorted(path.parent for path in (common.run_folder(Path(run)) / "evaluation").glob(f"*/{RESULT}"))


def save_pairs(path: str | Path, pairs: Pairs) -> Path:
    """Write a manifest: pairs that anyone can play again without the dataset, and their hash."""
    facts = {f.name: getattr(pairs, f.name) for f in fields(Pairs) if f.name not in (*_ARRAYS, "ways", "worlds")}
    arrays = {name: getattr(pairs, name) for name in _ARRAYS}
    for name in pairs.worlds[0].get("variation", ()) if pairs.worlds else ():
        arrays[_WORLD + name] = np.stack([world["variation"][name] for world in pairs.worlds])
    arrays |= {_WAY + name: x for name, x in _joined(pairs.ways).items()}
    facts["sha256"] = pairs.sha256
    with replacing(path) as temporary, open(temporary, "wb") as out:
        np.savez_compressed(out, about=np.array(json.dumps(facts)), **arrays)
    return Path(path)


def load_pairs(path: str | Path) -> Pairs:
    """Read a manifest.

    Raises:
        BadFile: no such file, it is no manifest, or its hash is another.
    """
    arrays = _arrays(Path(path))
    try:
        facts = json.loads(str(arrays.pop("about")))
        said = facts.pop("sha256")
        varied, way = (
            {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}
            for prefix in (_WORLD, _WAY)
        )
        worlds = [{"variation": {k: x[i] for k, x in varied.items()}} for i in range(len(arrays["starts"]))]
        facts |= {name: arrays[name] for name in _ARRAYS}
        pairs = Pairs(**facts, worlds=tuple(worlds) if varied else (), ways=_parted(way))
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(
            f"{path} is no manifest of start and goal pairs: wm-plan writes {PAIRS} beside its result"
        ) from error
    if pairs.sha256 != said:
        raise BadFile(f"{path} was changed: its pairs have the hash {pairs.sha256[:12]}, not {said[:12]}")
    return pairs


def _joined(ways: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """What leads back to each start as one array for each thing; actions, so many for each, end to end."""
    if not ways:
        return {}
    found = {name: np.stack([way[name] for way in ways]) for name in ways[0] if name != "actions"}
    actions = [way["actions"] for way in ways]
    return {**found, "actions": np.concatenate(actions), _STEPS: np.array([len(taken) for taken in actions])}


def _parted(found: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], ...]:
    """The ways that `_joined` joined."""
    if not found:
        return ()
    others = {name: x for name, x in found.items() if name not in ("actions", "seed", _STEPS)}
    parts = np.split(found["actions"], np.cumsum(found[_STEPS])[:-1])
    return tuple(
        {"seed": int(seed), "actions": taken, **{name: x[i] for name, x in others.items()}}
        for i, (seed, taken) in enumerate(zip(found["seed"], parts, strict=True))
    )


def _traced(outcome: Outcome) -> dict[str, np.ndarray]:
    return {f.name: getattr(outcome, f.name) for f in fields(Outcome) if f.name != "rollouts"}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError as error:
        raise BadFile(f"no such file: {path}") from error
    except Exception as error:  # a damaged archive is reported in many ways, with advice that is none
        raise BadFile(f"{path} cannot be read: it is not what wm-plan writes, or damaged") from error
