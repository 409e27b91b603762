"""Collecting episodes in worker processes, resumable: whatever was finished when it stopped is found again.

Episodes are numbered; number i depends on (seed, i) only, so the result is the same for any number of workers. Every
20 episodes are one part file in ``<path>.parts/``, written whole or not at all; when all are there they are joined into
``path`` and the folder is removed. 20 episodes always fill whole chunks of pictures, which are joined without being
compressed again.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import worldmodel
from worldmodel.datasets.merge import policy_counts
from worldmodel.datasets.policies import mixture
from worldmodel.datasets.processes import cores, run_in_processes
from worldmodel.datasets.recording import Recording
from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.writing import IMAGE_CHUNK, StoreWriter, write_store
from worldmodel.envs import registry
from worldmodel.envs.factors import chosen
from worldmodel.errors import BadFile, BadValue
from worldmodel.files import locked, read_json, replacing, write_json

PART = IMAGE_CHUNK  # episodes in one part file
HELD_OUT = 0.05  # share of the episodes for validation, and the same for test


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that an episode depends on, besides its number."""

    env: str
    steps: int
    seed: int
    image_size: int
    render_preset: str = "fast"
    variation: str = ""  # what of the world changes from episode to episode; see worldmodel.envs.factors
    version: str = worldmodel.__version__


def collect(
    env: str,
    path: str | Path,
    episodes: int,
    steps: int = 200,
    seed: int = 0,
    workers: int | None = None,
    image_size: int = 64,
    render_preset: str = "fast",
    variation: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Collect episodes of the environment's behaviour policies into a dataset, going on where an earlier call stopped.

    A dataset that is already there, complete and made with the same arguments, is left as it is.

    Args:
        env: environment name, such as ``"pusht"``.
        path: the dataset to make.
        episodes: how many; 90 % are for training, 5 % each for validation and test.
        steps: environment steps in each; an episode has one row more.
        seed: episode i is drawn from (seed, i).
        workers: processes; all cores by default. 1 works in this process.
        image_size: side of the square pictures, pixels.
        render_preset: look of the pictures, one of the task's ``presets``.
        variation: factors of the world that are drawn for each episode, as ``"all"`` or ``"agent.colour,block"``; the
            values of all factors are in columns ``variation_agent_colour`` and so on.
        progress: called with (episodes done, episodes); the first call tells how many an earlier run left.

    Returns:
        The path.

    Raises:
        UnknownName: no such environment.
        BadValue: a number out of range, or no such factor.
        BadFile: ``path`` or the unfinished collection beside it was made with other arguments, another process is
            collecting into it, or the disk is full.
        WorldModelError: a worker was killed.
    """
    for option, value, least in (
        ("episodes", episodes, 1), ("steps", steps, 1), ("seed", seed, 0), ("image_size", image_size, 8),
        ("workers", 1 if workers is None else workers, 1),
    ):  # fmt: skip
        if value < least:
            raise BadValue(f"{option}: expected at least {least}, got {value}")
    path, folder = Path(path), parts_folder(path)
    recipe = Recipe(
        env=registry.short_name(env),
        steps=steps,
        seed=seed,
        image_size=image_size,
        render_preset=render_preset,
        variation=variation,
    )
    if path.exists():
        return _already(path, recipe, episodes)
    with make_env(recipe) as made:  # what cannot be made fails here, before anything is written
        if variation:
            chosen(made.unwrapped.factors, variation)
    busy = f"another process is collecting into {path}: wait for it, or choose another file"
    with locked(folder / "lock", busy):
        return _go_on(path, recipe, episodes, workers, progress)


def _go_on(
    path: Path, recipe: Recipe, episodes: int, workers: int | None, progress: Callable[[int, int], None] | None
) -> Path:
    folder = parts_folder(path)
    if path.exists():  # by now: another process has just finished
        return _already(path, recipe, episodes)
    _claim(folder, recipe)
    parts = {_part_path(folder, start, stop): (start, stop) for start, stop in _ranges(episodes)}
    todo = {part: span for part, span in parts.items() if not _is_whole(part)}
    done = episodes - sum(stop - start for start, stop in todo.values())
    progress = progress or (lambda done, total: None)
    progress(done, episodes)
    calls = [(recipe, part, start, stop) for part, (start, stop) in todo.items()]
    with closing(run_in_processes(collect_part, calls, min(workers or cores(), len(calls)))) as finished:
        for part in finished:
            start, stop = parts[part]
            done += stop - start
            progress(done, episodes)
    _join(path, list(parts), split_of(episodes, recipe.seed))
    shutil.rmtree(folder, ignore_errors=True)
    return path


def parts_folder(path: str | Path) -> Path:
    """Return where an unfinished collection into ``path`` keeps its parts."""
    return Path(f"{path}.parts")


def unfinished(folder: str | Path) -> list[tuple[Path, str, int]]:
    """Find unfinished collections in a folder: (dataset to be, environment, episodes found)."""
    found = []
    for note in sorted(Path(folder).glob("*.parts/recipe.json")):
        spans = [part.stem.split("-")[1:] for part in note.parent.glob("part-*-*.h5")]
        episodes = sum(int(stop) - int(start) for start, stop in spans)
        try:
            env = str(read_json(note).get("env"))
        except (BadFile, AttributeError):
            env = "?"
        found.append((note.parent.with_suffix(""), env, episodes))
    return found


def split_of(episodes: int, seed: int) -> np.ndarray:
    """Assign episodes to train 0, validation 1 and test 2: (E,) int8, 90/5/5 by a seeded permutation.

    From three episodes on, every split has at least one.
    """
    held_out = max(round(HELD_OUT * episodes), 1) if episodes >= 3 else 0
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))).permutation(episodes)
    split = np.zeros(episodes, np.int8)
    split[order[:held_out]] = 1
    split[order[held_out : 2 * held_out]] = 2
    return split


def rollout(env: Any, recipe: Recipe, number: int) -> dict[str, Any]:
    """Play episode ``number`` to its end in an environment made for the recipe, and return its columns (store.py)."""
    seed, rng = drawn_from(recipe, number)
    behaviour = mixture(recipe.env, rng)
    episode = Recording(env, seed, recipe.variation)
    behaviour.reset(env, rng)
    while not episode.over:
        episode.step(behaviour.act(env))
    return episode.columns(behaviour.name)


def drawn_from(recipe: Recipe, number: int) -> tuple[int, np.random.Generator]:
    """The seed of an episode's environment, and the chance of what acts in it."""
    sequence = np.random.SeedSequence((recipe.seed, number))
    return int(sequence.generate_state(1)[0]), np.random.default_rng(sequence.spawn(1)[0])


def collect_part(recipe: Recipe, part: Path, start: int, stop: int) -> Path:
    """Collect the episodes ``start:stop`` into one part file. Runs in a worker process."""
    env = make_env(recipe)
    try:
        episodes = (rollout(env, recipe, number) for number in range(start, stop))
        return write_store(part, episodes, provenance(recipe, env))
    finally:
        env.close()


def make_env(recipe: Recipe, observations: Sequence[str] = ("state", "pixels")) -> Any:
    """Make the environment with the first of these observations that it can be recorded with.

    One whose states can be drawn afterwards need not draw now, unless somebody looks.
    """
    options = dict(image_size=recipe.image_size, render_preset=recipe.render_preset, terminate_on_success=False)
    for observation in observations:
        env = registry.make(recipe.env, observation=observation, max_episode_steps=recipe.steps, **options)
        if env.unwrapped.restorable:
            break
    return env


def provenance(recipe: Recipe, env: Any) -> dict[str, Any]:
    """What a dataset says of how it was made: the recipe and the bounds of its actions."""
    space = env.action_space
    made = {name: value for name, value in asdict(recipe).items() if value != ""}
    return {**made, "action_low": space.low.tolist(), "action_high": space.high.tolist(), "action_dim": len(space.low)}


def _join(path: Path, parts: list[Path], split: np.ndarray) -> None:
    policies: Counter[str] = Counter()
    with replacing(path) as temporary, StoreWriter(temporary, {}) as writer:
        for number, part in enumerate(parts):
            with EpisodeStore(part) as store:
                writer.extend(store, split[number * PART : number * PART + len(store)])
                policies.update(policy_counts(store, store.episodes()))
                about = {name: value for name, value in store.attrs.items() if name not in ("format", "created")}
        writer.describe({**about, "policies": dict(sorted(policies.items()))})  # episodes of each


def _claim(folder: Path, recipe: Recipe) -> None:
    """Make the folder of parts, or check that the one which is there belongs to this recipe."""
    note = folder / "recipe.json"
    if note.exists():
        before = read_json(note)
        for option, value in asdict(recipe).items():
            if before.get(option) != value:
                raise BadFile(
                    f"{folder} holds an unfinished collection with {option} {before.get(option)!r}, not {value!r}: "
                    "continue it with that, choose another file, or delete the folder"
                )
    else:
        write_json(note, asdict(recipe))


def _already(path: Path, recipe: Recipe, episodes: int) -> Path:
    """Check that the dataset which is there is the one asked for, and tidy up."""
    with EpisodeStore(path) as store:
        defaults = {option: getattr(Recipe, option, None) for option in asdict(recipe)}  # provenance leaves "" out
        found = {**defaults, **store.attrs, "episodes": len(store)}
    for option, value in {**asdict(recipe), "episodes": episodes}.items():
        if option != "version" and found.get(option) != value:
            raise BadFile(
                f"{path} is already there with {option} {found.get(option)!r}, not {value!r}: "
                "choose another file or delete it"
            )
    shutil.rmtree(parts_folder(path), ignore_errors=True)  # a kill between joining and tidying up leaves it
    return path


def _is_whole(part: Path) -> bool:
    try:
        with EpisodeStore(part):
            return True
    except BadFile:
        return False


def _ranges(episodes: int) -> list[tuple[int, int]]:
    return [(start, min(start + PART, episodes)) for start in range(0, episodes, PART)]


def _part_path(folder: Path, start: int, stop: int) -> Path:
    return folder / f"part-{start:07d}-{stop:07d}.h5"
