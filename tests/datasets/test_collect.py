from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.collecting import STEPS, collect_here, interrupt_after, same
from tests.datasets.episodes import episode
from worldmodel.datasets.collect import PART, Recipe, collect, parts_folder, rollout, split_of
from worldmodel.datasets.policies import usual_episodes
from worldmodel.datasets.store import write_store
from worldmodel.datasets.verify import verify
from worldmodel.envs import registry
from worldmodel.envs.factors import column
from worldmodel.errors import BadFile, BadValue, UnknownName

EPISODES = 5 * PART


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collect_here(tmp_path_factory.mktemp("collect") / "whole.h5", EPISODES)


@pytest.mark.parametrize("env", registry.TASKS)
def test_a_dataset_of_each_task(env: str, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    path = collect(env, tmp_path / "a.h5", 4, STEPS, 5, 1, 48, progress=lambda *call: calls.append(call))
    assert calls == [(0, 4), (4, 4)]
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]
    with verify(path) as store:
        assert store.env == env
        assert store.attrs["seed"] == 5 and store.attrs["image_size"] == 48 and store.attrs["action_dim"] == 2
        assert sum(store.attrs["policies"].values()) == 4
        assert store.lengths.tolist() == [STEPS + 1] * 4
        assert sorted(store.split.tolist()) == [0, 0, 1, 2]
        assert store.columns["pixels"][0] == (4 * (STEPS + 1), 48, 48, 3)
        last = store.offsets + store.lengths - 1
        action = store.read("action", 0, store.rows)
        assert np.flatnonzero(np.isnan(action).any(axis=1)).tolist() == last.tolist()
        assert np.nanmax(np.abs(action)) <= 1 and np.nanstd(action) > 0.1
        assert np.flatnonzero(store.read("truncated", 0, store.rows)).tolist() == last.tolist()
        assert not store.read("terminated", 0, store.rows).any()


@pytest.mark.parametrize("env", registry.TASKS)
def test_actions_belong_to_their_rows(env: str, tmp_path: Path) -> None:
    """Reset with the recorded seed and the recorded actions gives the recorded states and pictures, bit for bit."""
    recipe = Recipe(env=env, steps=STEPS, seed=2, image_size=32)
    task = registry.make(env, image_size=32, terminate_on_success=False, max_episode_steps=STEPS)
    episode = rollout(task, recipe, 7)
    obs, info = task.reset(seed=episode["seed"])
    for row, action in enumerate(episode["action"]):
        np.testing.assert_array_equal(info["state"], episode["state"][row])
        np.testing.assert_array_equal(obs["pixels"], episode["pixels"][row])
        if row < STEPS:
            obs, reward, _, _, info = task.step(action)
            assert np.float32(reward) == np.float32(episode["reward"][row + 1])


def test_varied_worlds_are_recorded_and_replay(tmp_path: Path) -> None:
    """Every factor is a column; the recorded seed, values and actions give the recorded states and pictures."""
    path = collect_here(tmp_path / "a.h5", 6, variation="door,agent.colour")
    task = registry.make("two-room", image_size=32, terminate_on_success=False)
    factors = task.unwrapped.factors
    with verify(path) as store:
        assert store.attrs["variation"] == "door,agent.colour"
        assert {name for name in store.columns if name.startswith("variation")} == set(map(column, factors))
        worlds = []
        for e in range(len(store)):
            columns = {name: store.read_episode(column(name), e) for name in factors}
            worlds.append({name: rows[0] for name, rows in columns.items()})
            assert all(rows.dtype == np.float64 for rows in columns.values())
            seed = int(store.read_episode("seed", e)[0])
            obs, info = task.reset(seed=seed, options={"variation": worlds[-1]})
            for state, pixels, action in zip(*(store.read_episode(c, e) for c in ("state", "pixels", "action"))):
                assert np.array_equal(info["state"], state) and np.array_equal(obs["pixels"], pixels)
                if np.isfinite(action).all():
                    obs, _, _, _, info = task.step(action)
            drawn = task.reset(seed=seed, options={"variation": "door,agent.colour"})[1]["variation"]
            assert all(np.array_equal(drawn[name], worlds[-1][name]) for name in factors)
    for name, factor in factors.items():
        different = {tuple(np.ravel(world[name])) for world in worlds}
        assert len(different) == (6 if name in ("door.position", "door.width", "agent.colour") else 1)
        assert len(different) > 1 or different == {tuple(np.ravel(factor.default))}
    with pytest.raises(BadFile, match="already there with variation 'door,agent.colour', not ''"):
        collect_here(path, 6)
    with pytest.raises(BadValue, match="variation: unknown factor 'doors': did you mean"):
        collect_here(tmp_path / "b.h5", 6, variation="doors")
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]


def test_a_varied_column_must_not_change_within_an_episode(tmp_path: Path) -> None:
    wrong = {**episode(0, 6), "variation_door_width": np.arange(6.0)}
    path = write_store(tmp_path / "a.h5", [wrong], {"env": "two-room"})
    with pytest.raises(BadFile, match="column 'variation_door_width' changes within the episode"):
        verify(path)


def test_the_number_of_workers_does_not_matter(uninterrupted: Path, tmp_path: Path) -> None:
    same(uninterrupted, collect_here(tmp_path / "b.h5", EPISODES, workers=2))


def test_split_is_by_episode_and_seeded() -> None:
    split = split_of(1000, 3)
    assert np.bincount(split).tolist() == [900, 50, 50]
    assert (split == split_of(1000, 3)).all() and (split != split_of(1000, 4)).any()
    assert split_of(2, 0).tolist() == [0, 0] and sorted(split_of(3, 0).tolist()) == [0, 1, 2]


def test_going_on_finds_what_was_finished(uninterrupted: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        collect_here(path, EPISODES, progress=interrupt_after(2 * PART))
    parts = sorted(parts_folder(path).glob("part-*"))
    assert len(parts) == 2 and not path.exists()
    parts[0].write_bytes(parts[0].read_bytes()[:-1])  # a damaged part is collected again
    calls: list[tuple[int, int]] = []
    collect_here(path, EPISODES, progress=lambda *call: calls.append(call))
    assert calls[0] == (PART, EPISODES) and len(calls) == 5
    same(uninterrupted, path)


def test_other_arguments_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        collect_here(path, PART + 1, progress=interrupt_after(PART))
    for option, value, says in (
        ("seed", 1, "seed 0, not 1"),
        ("steps", 9, "steps 30, not 9"),
        ("image_size", 64, "image_size 32, not 64"),
    ):
        with pytest.raises(BadFile, match=f"unfinished collection with {says}"):
            collect_here(path, PART + 1, **{option: value})
    collect_here(path, PART + 1)
    written = path.stat().st_mtime_ns
    collect_here(path, PART + 1)  # complete: left as it is
    assert path.stat().st_mtime_ns == written
    with pytest.raises(BadFile, match="already there with episodes 21, not 22"):
        collect_here(path, PART + 2)
    with pytest.raises(BadFile, match="already there with env 'two-room', not 'pusht'"):
        collect("pusht", path, PART + 1, STEPS, workers=1, image_size=32)


def test_few_episodes_where_pictures_are_slow() -> None:
    assert usual_episodes("pusht") == usual_episodes("ogbench/pointmaze-medium") == 1000
    assert usual_episodes("ogbench/cube-single") == usual_episodes("ogbench/scene") == 200


def test_bad_arguments(tmp_path: Path) -> None:
    for option, value in (("episodes", 0), ("steps", 0), ("workers", 0), ("seed", -1), ("image_size", 2)):
        with pytest.raises(BadValue, match=f"{option}: expected at least .*, got {value}"):
            collect_here(tmp_path / "a.h5", **{option: value})
    with pytest.raises(UnknownName, match="did you mean 'two-room'"):
        collect("tworoom", tmp_path / "a.h5", 3)
    assert not list(tmp_path.iterdir())
