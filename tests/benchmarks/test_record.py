"""A finished evaluation is written and read back whole, and what is damaged is said."""

import dataclasses
import json

import numpy as np
import pytest

from worldmodel.benchmarks.evaluate import evaluate, floors_and_ceiling
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.policies import RandomPolicy
from worldmodel.benchmarks.record import Record, find, load_pairs, save_pairs
from worldmodel.datasets.store import EpisodeStore
from worldmodel.envs import registry
from worldmodel.errors import BadFile


@pytest.fixture(scope="module")
def record(dataset):
    task = registry.make("two-room", observation="state").unwrapped
    with EpisodeStore(dataset) as store:
        pairs = sample_pairs(store, task, 15, 6, seed=0, variation="colour,door")
    outcome = evaluate(RandomPolicy(task.action_space), "two-room", pairs, 20, 16, watch=2)
    values = {"env": "two-room", "protocol": {"name": "lewm-25"}, "success": outcome.rate}
    return Record(values=values, pairs=pairs, outcome=outcome, floors=floors_and_ceiling("two-room", pairs, 20, seed=0))


def test_a_record_comes_back_as_it_was(record, tmp_path):
    folder = record.save(tmp_path / "run" / "evaluation" / "lewm-25-prefix")
    record.save(folder)  # over the old one
    assert find(tmp_path / "run") == find(tmp_path / "run" / "model") == [folder]
    back = Record.load(folder)
    assert back.values == record.values and back.floors.keys() == record.floors.keys()
    assert back.pairs.sha256 == record.pairs.sha256
    for before, after in ((record.outcome, back.outcome), *((record.floors[k], back.floors[k]) for k in back.floors)):
        for field in dataclasses.fields(before):
            if field.name != "rollouts":
                np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))


def test_what_happened_follows_from_start_and_actions(record):
    """Played again, the recorded actions lead through the recorded states, which end where the episode ended."""
    env = registry.make("two-room", observation="state", max_episode_steps=20)
    for i in range(len(record.pairs)):
        env.reset(seed=i, options=record.pairs.options(i))
        steps = int(record.outcome.steps[i])
        for t in range(steps):
            _, _, _, _, info = env.step(record.outcome.actions[i, t])
            np.testing.assert_array_equal(info["state"], record.outcome.states[i, t + 1])
        assert np.isnan(record.outcome.states[i, steps + 1 :]).all()
        assert np.isnan(record.outcome.actions[i, steps:]).all()


def test_the_hash_is_of_what_is_played(record):
    pairs = record.pairs
    other = {"starts": pairs.starts + 1e-9, "goals": pairs.goals[::-1], "actions": pairs.actions * 2, "strict": True}
    other |= {"worlds": pairs.worlds[::-1], "env": "pusht", "variation": "all", "offset": 14, "row": pairs.row + 1}
    other |= {"split": "train", "dataset": "0" * 64, "episode": pairs.episode * 0, "hard": ~pairs.hard}
    ways = _ways(len(pairs))
    other["ways"] = ways
    hashes = {dataclasses.replace(pairs, **{name: value}).sha256 for name, value in other.items()}
    assert len({*hashes, pairs.sha256}) == 1 + len(other) == 15
    for name, value in ways[-1].items():
        hashes.add(dataclasses.replace(pairs, ways=(*ways[:-1], {**ways[-1], name: value + 1})).sha256)
    assert len(hashes) == len(other) + 5
    assert dataclasses.replace(pairs, solved_at_start=99).sha256 == pairs.sha256


def _ways(n):
    """Reset options as those of an environment that can only replay."""
    return tuple(
        {
            "seed": i,
            "actions": np.full((i, 2), 0.5, np.float32),
            "goal": np.full((16, 16, 3), i, np.uint8),
            "goal_state": np.full(2, i / 3),
            "scale": np.full(2, 1.5),
        }
        for i in range(n)
    )


def test_ways_back_come_back_as_they_were(record, tmp_path):
    ways = _ways(len(record.pairs))
    pairs = dataclasses.replace(record.pairs, ways=ways, worlds=(), variation="")
    back = load_pairs(save_pairs(tmp_path / "pairs.npz", pairs))
    assert back.sha256 == pairs.sha256 and type(back.ways[0]["seed"]) is int
    for before, after in zip(ways, back.ways, strict=True):
        assert before.keys() == after.keys()
        for name in before:
            np.testing.assert_array_equal(before[name], after[name], strict=name != "seed")


def test_damage_is_said(record, tmp_path):
    with pytest.raises(BadFile, match="holds no evaluation"):
        Record.load(tmp_path)
    file = save_pairs(tmp_path / "pairs.npz", record.pairs)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFile, match="cannot be read"):
        load_pairs(file)
    arrays = dict(np.load(save_pairs(file, record.pairs)))
    np.savez(file, **arrays | {"starts": arrays["starts"] + 1})
    with pytest.raises(BadFile, match="was changed: its pairs have the hash"):
        load_pairs(file)
    np.savez(file, about=np.array(json.dumps({})))
    with pytest.raises(BadFile, match="is no manifest"):
        load_pairs(file)
    folder = record.save(tmp_path / "evaluation")
    np.savez(folder / "trace.npz", nothing=np.zeros(1))
    with pytest.raises(BadFile, match="is not what wm-plan writes"):
        Record.load(folder)
