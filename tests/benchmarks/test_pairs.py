from __future__ import annotations

import numpy as np
import pytest

from worldmodel.benchmarks.evaluate import evaluate
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.policies import ReplayPolicy
from worldmodel.datasets.store import write_store
from worldmodel.errors import BadFile, BadValue


def test_pairs_are_held_out_and_what_the_demonstrator_did(store, task):
    pairs = sample_pairs(store, task, 10, 30, seed=0)
    assert len(pairs) == 30
    assert set(pairs.episode) <= set(store.episodes("test"))
    assert (np.diff(pairs.row) > 0).all()  # sorted, without replacement
    for i, row in enumerate(pairs.row):
        assert pairs.episode[i] == np.searchsorted(store.offsets, row, side="right") - 1
        assert row + 10 < store.offsets[pairs.episode[i]] + store.lengths[pairs.episode[i]]
        state = store.read("state", row, row + 11)
        assert np.array_equal(pairs.starts[i], state[0]) and np.array_equal(pairs.goals[i], state[10])
        assert np.array_equal(pairs.actions[i], store.read("action", row, row + 10))
        assert pairs.hard[i] == task.hard(state[0], state[10])
    assert np.isfinite(pairs.actions).all()


def test_every_valid_row_is_taken_or_counted(store, task):
    """Asking for all there is leaves out exactly the rows that are solved at the start or out of view."""
    usable = solved = hidden = 0
    for episode in store.episodes("test"):
        states = store.read_episode("state", episode)
        for start, goal in zip(states, states[25:]):
            seen = task.in_view(start) and task.in_view(goal)
            hidden += not seen
            solved += seen and task.success(start, goal)
            usable += seen and not task.success(start, goal)
    assert solved and usable
    with pytest.raises(BadValue, match=f"episodes: {usable + 1} pairs are more than the {usable}"):
        sample_pairs(store, task, 25, usable + 1, seed=0)
    pairs = sample_pairs(store, task, 25, usable, seed=3)
    assert not any(task.success(start, goal) for start, goal in zip(pairs.starts, pairs.goals))
    assert 0 < pairs.solved_at_start <= solved and 0 <= pairs.out_of_view <= hidden


def test_some_of_the_pairs_are_spread_evenly_and_keep_their_worlds(store, task):
    pairs = sample_pairs(store, task, 10, 30, seed=0, variation="door")
    few = pairs.some(4)
    rows = [0, 10, 19, 29]
    assert len(few) == 4 and few.sha256 != pairs.sha256 and few.offset == 10
    assert np.array_equal(few.starts, pairs.starts[rows]) and np.array_equal(few.row, pairs.row[rows])
    assert few.worlds == tuple(pairs.worlds[i] for i in rows) and few.ways == ()
    assert pairs.some(30).sha256 == pairs.sha256


def test_seed_decides(store, task):
    one, two, three = (sample_pairs(store, task, 10, 20, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.row, two.row)
    assert not np.array_equal(one.row, three.row)


def test_longest_offset_leaves_one_row_per_episode(store, task):
    with pytest.raises(BadValue, match="offset: 61 steps do not fit into the 3 test episodes .* has 60"):
        sample_pairs(store, task, 61, 1, seed=0)
    pairs = sample_pairs(store, task, 60, 1, seed=0)
    assert pairs.row[0] in store.offsets


@pytest.mark.parametrize(
    ("name", "options"), [("offset", {"offset": 0}), ("episodes", {"n": 0}), ("seed", {"seed": -1})]
)
def test_bad_numbers(store, task, name, options):
    with pytest.raises(BadValue, match=f"^{name}: expected"):
        sample_pairs(store, task, **{"offset": 5, "n": 1, "seed": 0, **options})


def test_dataset_without_fitting_states(tmp_path, task):
    from worldmodel.datasets.store import EpisodeStore

    episode = {"state": np.zeros((5, 7)), "action": np.zeros((5, 2), np.float32), "split": 2}
    write_store(tmp_path / "foreign.h5", [episode], {"env": "two-room"})
    with EpisodeStore(tmp_path / "foreign.h5") as store, pytest.raises(BadFile, match=r"TwoRoom needs 2 numbers"):
        sample_pairs(store, task, 1, 1, seed=0)


def test_varied_pairs_fit_into_their_worlds(store, task):
    """Each pair has its own world, by (seed, row); who would be in a wall there is left out and counted."""
    pairs, again = (sample_pairs(store, task, 15, 40, seed=0, variation="all") for _ in range(2))
    plain = sample_pairs(store, task, 15, 40, seed=0)
    assert (pairs.variation, plain.variation) == ("all", "") and "variation" not in plain.options(0)
    assert np.array_equal(pairs.row, again.row) and pairs.out_of_view > plain.out_of_view
    doors = set()
    for i, row in enumerate(pairs.row):
        world = pairs.options(i)["variation"]
        assert str(world) == str(again.options(i)["variation"])
        doors.add(float(world["door.position"]))
        _, info = task.reset(seed=i, options=pairs.options(i))
        assert np.array_equal(info["state"], store.read("state", row, row + 1)[0])
        assert str(info["variation"]) == str(world)
        assert task.in_view(info["state"]) and task.in_view(info["goal_state"])
    assert len(doors) == len(pairs)
    with pytest.raises(BadValue, match="variation: unknown factor 'doors'"):
        sample_pairs(store, task, 15, 1, seed=0, variation="doors")


def test_pairs_of_varied_episodes_are_played_in_the_world_of_their_episode(task, tmp_path):
    from worldmodel.datasets.collect import collect
    from worldmodel.datasets.store import EpisodeStore

    path = collect("two-room", tmp_path / "a.h5", 12, 60, workers=1, image_size=16, variation="door.width,agent")
    with EpisodeStore(path) as store:
        pairs = sample_pairs(store, task, 15, 20, seed=0, split="train")
        for i, row in enumerate(pairs.row):
            for name, value in pairs.options(i)["variation"].items():
                column = "variation_" + name.replace(".", "_")
                assert np.array_equal(value, store.read(column, row, row + 1)[0])
    assert len(set(pairs.episode)) > 3
    outcome = evaluate(ReplayPolicy(pairs.actions), "two-room", pairs, 15, 16)
    assert outcome.rate == 1.0  # other radii, speeds and doors would lead elsewhere


def test_a_split_without_episodes_is_said(tmp_path, task):
    from worldmodel.datasets.store import EpisodeStore

    episode = {"state": np.zeros((40, 2)), "action": np.zeros((40, 2), np.float32), "split": 1}
    write_store(tmp_path / "a.h5", [episode], {"env": "two-room"})
    says = r"split: .* has no test episode \(0 train, 1 validation, 0 test\)"
    with EpisodeStore(tmp_path / "a.h5") as store, pytest.raises(BadValue, match=says):
        sample_pairs(store, task, 5, 1, seed=0)
