"""Reading Minari datasets, through the ``minari`` package: by id (``D4RL/pointmaze/umaze-v2``) or by folder.

Pictures are observations of uint8 pictures, or ``pixels`` (else the first picture) of observations that are dicts. The
rest of such a dict is kept under its names, and so are infos that are recorded for every observation. A dataset without
pictures becomes one without ``pixels``: its states can be looked at, a model cannot be trained on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.datasets.sources import Source, reading
from worldmodel.envs.registry import TASKS, gym_id
from worldmodel.errors import BadFile, MissingExtra


def read_minari(path: Path) -> Source:
    """Read a Minari dataset.

    Args:
        path: the dataset's folder, its ``data`` folder, or the id of a dataset that was downloaded.

    Raises:
        MissingExtra: ``minari`` is not installed.
        BadFile: no such dataset, or a damaged one.
    """
    try:
        import minari
        from gymnasium.spaces import Box
    except ImportError as error:
        raise MissingExtra("reading Minari datasets", "minari") from error
    try:
        folder = path / "data" if (path / "data").is_dir() else path
        dataset = minari.MinariDataset(folder) if path.is_dir() else minari.load_dataset(path.as_posix())
    except FileNotFoundError as error:
        raise BadFile(f"no such Minari dataset: {path} (get it with: minari download {path.as_posix()})") from error
    except Exception as error:  # of any kind: its metadata are parsed into spaces
        raise BadFile(f"{path} is not a Minari dataset that can be read: {error}") from error
    attrs: dict[str, Any] = {}
    space = dataset.action_space
    if not isinstance(space, Box):
        raise BadFile(f"{path}: actions must be real numbers (Box), not {space}")
    if np.isfinite(space.low).all() and np.isfinite(space.high).all():
        attrs |= {"action_low": space.low.tolist(), "action_high": space.high.tolist()}
    if dataset.env_spec is not None:
        name = dataset.env_spec.id
        attrs["env"] = next((short for short in TASKS if gym_id(short) == name), name)
    return Source(attrs, dataset.total_episodes, _episodes(path, dataset))


def _episodes(path: Path, dataset: Any) -> Iterator[dict[str, Any]]:
    episodes = iter(dataset.iterate_episodes())
    for number in range(dataset.total_episodes):
        with reading(f"{path}: episode {number}", Exception):
            recorded = next(episodes)
        columns = dict(_flat(recorded.infos, len(recorded) + 1))
        if isinstance(recorded.observations, Mapping):
            columns |= _flat(recorded.observations, len(recorded) + 1)
        else:
            columns["observation"] = np.asarray(recorded.observations)
        pictures = [name for name, values in columns.items() if values.dtype == np.uint8 and values.ndim == 4]
        if pictures and "pixels" not in columns:
            columns["pixels"] = columns.pop(pictures[0])
        yield columns | {
            "action": np.asarray(recorded.actions),
            "reward": np.asarray(recorded.rewards),
            "terminated": np.asarray(recorded.terminations),
            "truncated": np.asarray(recorded.truncations),
        }


def _flat(values: Any, rows: int, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of nested dicts that have a value for every row, under names joined with slashes."""
    for name, value in (values or {}).items():
        if isinstance(value, Mapping):
            yield from _flat(value, rows, f"{prefix}{name}/")
        elif isinstance(value, np.ndarray) and value.shape[:1] == (rows,):
            yield prefix + name, value
