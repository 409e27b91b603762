"""The rules a model is judged by: what they say, and when they refuse."""

import dataclasses
import json
from dataclasses import asdict

import numpy as np
import pytest

from tests.benchmarks.tiny import tiny
from worldmodel.benchmarks import protocols
from worldmodel.benchmarks.evaluate import evaluate, floors_and_ceiling
from worldmodel.benchmarks.pairs import official_pairs, sample_pairs
from worldmodel.benchmarks.policies import ReplayPolicy
from worldmodel.checkpoint import save_model
from worldmodel.cli import plan
from worldmodel.datasets.store import EpisodeStore
from worldmodel.envs import registry
from worldmodel.errors import BadFile, BadValue, UnknownName

QUICK = ("--candidates", 8, "--elites", 2, "--iterations", 1)


_RULES = {"split": "test", "pairs": 200, "seed": 0, "strict": False, "goals": "demonstration", "variation": ""}
_RULES |= {"offset": 25, "budget": 50}
PINNED: dict[tuple[str, int], dict] = {  # by name and version: never changed, only added to
    ("lewm-25", 1): _RULES,
    ("offset-50", 1): {**_RULES, "offset": 50, "budget": 100},
    ("offset-75", 1): {**_RULES, "offset": 75, "budget": 150},
    ("offset-100", 1): {**_RULES, "offset": 100, "budget": 200},
    ("ogbench", 1): {**_RULES, "offset": None, "budget": None, "goals": "official"},
    ("robust", 1): {**_RULES, "variation": "all"},
    ("strict", 1): {**_RULES, "strict": True},
}


@pytest.mark.parametrize("name", protocols.names())
def test_a_version_of_a_protocol_says_what_it_always_said(name):
    """Other rules under the same version would make results look comparable that are not."""
    p = protocols.load(name)
    told = {field: value for field, value in asdict(p).items() if field not in ("name", "version", "changed")}
    assert PINNED.get((name, p.version)) == told, "rules changed: give the file a new version and add it to PINNED"


@pytest.mark.parametrize("name", protocols.names())
def test_every_protocol_can_be_read_and_is_whole(name):
    p = protocols.load(name)
    assert p.version >= 1 and p.pairs >= 200 and p.split == "test" and p.changed == ()
    assert (p.goals == "official") == (p.offset is None) == (p.budget is None)
    assert p.budget is None or p.budget == 2 * p.offset
    assert str(p) == f"{name} v{p.version}"


def test_a_change_is_noted_once_and_only_if_it_is_one():
    p = protocols.load("lewm-25")
    assert p.change(offset=25, split=None) == p
    changed = p.change(offset=30).change(offset=30, pairs=5)
    assert changed.changed == ("offset", "pairs") and str(changed) == "lewm-25 v1, but offset 30, pairs 5"


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownName, match="lewm-25"):
        protocols.load("lewm25")


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ({"split": "test", "versions": {"lewm-25": 9}}, "made for version 9"),
        ({"split": "validation"}, "kept its validation episodes"),
    ],
)
def test_a_model_kept_for_other_rules_is_refused(kept, says):
    with pytest.raises(BadFile, match=says):
        protocols.require_same(protocols.load("lewm-25"), kept, "runs/x")


def test_a_model_kept_for_these_rules_passes():
    p = protocols.load("offset-50")
    for kept in (None, protocols.kept_ready(), {"offset": 25, "budget": 50, "split": "test"}):
        protocols.require_same(p, kept, "runs/x")
    protocols.require_same(p.change(split="validation"), {"split": "validation"}, "runs/x")


def test_the_rules_of_a_result_come_back():
    p = protocols.load("strict").change(pairs=7)
    values = json.loads(json.dumps({**dataclasses.asdict(p), "shown": str(p), "interval": "Wilson 95 %"}))
    assert protocols.from_values(values) == p
    with pytest.raises(BadFile, match="strict v9, which this package does not have"):
        protocols.from_values({**values, "version": 9})


def test_rules_that_a_task_cannot_be_judged_by_are_refused():
    with pytest.raises(BadValue, match="no official goals"):
        protocols.require_possible(protocols.load("ogbench"), registry.make("two-room").unwrapped, "two-room")


def test_official_pairs_take_the_tasks_in_turn():
    pytest.importorskip("ogbench", reason="ogbench is not installed")
    task = registry.make("ogbench/pointmaze-medium", observation="state").unwrapped
    pairs = official_pairs(task, "ogbench/pointmaze-medium", 7, seed=0)
    assert pairs.episode.tolist() == [1, 2, 3, 4, 5, 1, 2] and pairs.offset is None
    apart = np.linalg.norm(pairs.goals - pairs.goals[0], axis=1)  # OGBench scatters a goal by a metre or so
    assert apart[5] < 3 < apart[1] and not np.array_equal(pairs.starts[0], pairs.starts[5])
    assert task.official_steps == 1000
    again = official_pairs(task, "ogbench/pointmaze-medium", 7, seed=0)
    assert again.sha256 == pairs.sha256 != official_pairs(task, "ogbench/pointmaze-medium", 7, seed=1).sha256
    assert set(floors_and_ceiling("ogbench/pointmaze-medium", pairs, 3, seed=0)) == {"random", "noop"}


def test_strict_counts_what_holds_at_the_end(dataset):
    """The demonstrator passes through the goal after 8 steps: a success, but it is not there at the end."""
    task = registry.make("two-room", observation="state").unwrapped
    with EpisodeStore(dataset) as store:
        passed = sample_pairs(store, task, 8, 20, seed=0)
        whole = sample_pairs(store, task, 40, 20, seed=0)
    on_the_way = evaluate(ReplayPolicy(passed.actions), "two-room", passed, 20, 16)
    assert on_the_way.rate == 1.0 and np.isnan(on_the_way.states[0, -1]).all()
    with EpisodeStore(dataset) as store:
        strict = sample_pairs(store, task, 40, 20, seed=0, strict=True)
    assert np.array_equal(strict.starts, whole.starts)  # in two-room success and accomplishment are one
    assert strict.sha256 != whole.sha256
    there = evaluate(ReplayPolicy(strict.actions), "two-room", strict, 40, 16)
    assert there.rate == 1.0 and there.steps.max() <= 40
    assert np.isfinite(there.states).all() and np.array_equal(there.states[:, -1], strict.goals)
    gone = evaluate(Away(strict.actions), "two-room", strict, 60, 16)
    assert gone.rate < 0.5 and (gone.steps[~gone.success] == 60).all()


class Away(ReplayPolicy):
    """To the goal, and on to the corner."""

    def __init__(self, actions):
        n, _, a = actions.shape
        super().__init__(np.concatenate([actions, np.ones((n, 20, a), np.float32)], axis=1))


def test_strict_pusht_asks_for_the_block_alone():
    task = registry.make("pusht", observation="state").unwrapped
    state = task.sample(np.random.default_rng(0))
    goal = state.copy()
    goal[:2] += 100.0
    assert task.accomplished(state, goal) and not task.success(state, goal)
    assert task.shortfall(state, goal) == 0 < task.distance(state, goal)
    goal[2:5] += 3, 4, np.radians(25)
    assert not task.accomplished(state, goal) and task.shortfall(state, goal) == pytest.approx(30)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--protocol lewm25", "--protocol: unknown protocol 'lewm25': did you mean 'lewm-25'"),
        ("--protocol ogbench", "--protocol: protocol ogbench: two-room has no official goals"),
        ("--model others/two", "--protocol: others/two/model was made for version 2 of the protocol lewm-25"),
        ("--model others/elsewhere", "--dataset: data/two-room.h5 is not what the model learned from"),
        ("--pairs nowhere.npz", "--pairs: no such file: nowhere.npz"),
        ("--pairs text.h5", "--pairs: text.h5 cannot be read"),
        ("--split test --model others/kept", "--protocol: others/kept/model kept its validation episodes"),
        ("--record others", "--record: others holds other things than an evaluation"),
        ("--record text.h5", "--record: text.h5 is a file"),
        ("--record text.h5/deeper", "--record: text.h5/deeper/result.json cannot be written"),
        ("--workers 2 --deadline-ms 100", "--workers: share the processor, which a deadline does not"),
        ("--workers 2 --watch", "--watch: shows one process only"),
        ("--pairs data/two-room.h5", "two-room.h5 cannot be read: it is not what wm-plan writes, or damaged\n"),
        ("--pairs runs --episodes 5", "--episodes: has no effect on --pairs"),
    ],
)
def test_a_mismatch_is_one_line(command, workplace, arguments, says):
    data = {"path": "data/two-room.h5", "fingerprint": "0" * 64}
    save_model(workplace / "others" / "elsewhere" / "model", tiny(), env="two-room", dataset=data)
    newer = {"split": "test", "versions": {"lewm-25": 2}}
    save_model(workplace / "others" / "two" / "model", tiny(), env="two-room", protocol=newer)
    kept = {"split": "validation"}
    save_model(workplace / "others" / "kept" / "model", tiny(), env="two-room", protocol=kept)
    code, out, err = command(plan.main, *arguments.split())
    assert (code, out, err.count("\n")) == (2, "", 1) and says in err


def test_the_same_pairs_again_without_the_dataset(command, tmp_path):
    """What was kept of an evaluation is enough to judge by it again, by its rules, and gives the same."""
    kept, again, other = tmp_path / "kept", tmp_path / "again.json", tmp_path / "other.json"
    line = ("--episodes", 5, "--offset", 10, "--seed", 3, "--no-video", "--record", kept, *QUICK)
    code, out, _ = command(plan.main, *line)
    assert code == 0 and f"record: {kept}" in out
    quick = ("--pairs", kept, "--no-video", "--record", tmp_path / "second", *QUICK)
    assert command(plan.main, "--json", again, *quick)[::2] == (0, "")
    first, second = json.loads((kept / "result.json").read_text()), json.loads(again.read_text())
    for name in ("success", "random", "hard", "manifest", "mean_steps_to_success", "n", "offset", "budget", "protocol"):
        assert first[name] == second[name]
    assert second["dataset"] is None and first["seeds"] == second["seeds"] == {"training": None, "evaluation": 3}
    assert first["agent"]["seed"] == second["agent"]["seed"] == 3
    assert command(plan.main, "--json", other, "--seed", 4, *quick)[::2] == (0, "")
    third = json.loads(other.read_text())
    assert third["manifest"] == first["manifest"] and third["agent"]["seed"] == third["seeds"]["evaluation"] == 4
    code, _, err = command(plan.main, "--protocol", "offset-50", *quick)
    assert code == 2 and "holds pairs with offset 10, offset-50 has 50" in err


def test_official_goals_are_not_drawn_otherwise(command, workplace):
    pytest.importorskip("ogbench", reason="ogbench is not installed")
    save_model(
        workplace / "others" / "maze" / "model", tiny("ogbench/pointmaze-medium"), env="ogbench/pointmaze-medium"
    )
    code, _, err = command(plan.main, "--model", "others/maze", "--protocol", "ogbench", "--offset", 5)
    assert code == 2 and "--offset: has no effect on the official goals of protocol ogbench" in err


def test_other_planning_is_another_record(command):
    for told in ((), ("--horizon", 3)):
        code, out, _ = command(plan.main, "--episodes", 2, "--no-video", *QUICK, *told)
        assert code == 0
    asked = "candidates-8-elites-2-iterations-1-horizon-3"
    assert f"record: runs/two-room/evaluation/lewm-25-pairs-2-{asked}-prefix" in out


def test_several_workers_and_the_simulator(command, tmp_path):
    results = []
    for told in (("--workers", 1), ("--workers", 2, "--simulator", 2)):
        file = tmp_path / f"{told[1]}.json"
        code, out, _ = command(plan.main, "--episodes", 4, "--offset", 10, "--no-video", "--json", file, *QUICK, *told)
        assert code == 0
        results.append(json.loads(file.read_text()))
    for name in ("success", "random", "noop", "replay", "hard", "mean_steps_to_success", "plans"):
        assert results[0][name] == results[1][name]
    assert results[0]["simulator"] is None and results[1]["simulator"]["n"] == 2 and "simulator" in out
