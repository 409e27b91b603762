"""``wm-bench compare``: who solved which of the same pairs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldmodel.benchmarks.compare import paired, rows
from worldmodel.benchmarks.evaluate import evaluate
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.policies import NoopPolicy, ReplayPolicy
from worldmodel.benchmarks.record import Record
from worldmodel.cli import bench


def test_counts_difference_and_p():
    first = np.array([True] * 12 + [False] * 8)
    second = np.array([True] * 3 + [False] * 16 + [True])
    found = paired(first, second, np.arange(20))
    assert [found[name] for name in ("both", "only_first", "only_second", "neither", "n")] == [3, 9, 1, 7, 20]
    assert found["difference"] == pytest.approx(0.4)
    # the mean of 20 values of -1, 0, 1 with this variance, by the normal approximation
    half = 1.96 * np.sqrt((0.5 - 0.4**2) / 20)
    assert (found["low"], found["high"]) == pytest.approx((0.4 - half, 0.4 + half), abs=0.06)
    swapped = paired(second, first, np.arange(20))
    assert swapped["difference"] == -found["difference"]
    for name in ("mcnemar_p_pairs_independent", "sign_flip_p_by_episode"):  # each pair is an episode of its own
        assert swapped[name] == found[name] == pytest.approx(22 / 1024)
    assert swapped["first"] == found["second"] and swapped["only_first"] == found["only_second"]


def test_pairs_of_one_episode_count_as_one():
    first, episode = np.repeat(np.arange(8) < 5, 10), np.repeat(np.arange(8), 10)
    found = paired(first, np.zeros(80, bool), episode)
    by_pair, by_episode = found["high"] - found["low"], found["by_episode"]["high"] - found["by_episode"]["low"]
    assert by_episode > 2 * by_pair
    assert found["mcnemar_p_pairs_independent"] < 1e-9
    assert found["sign_flip_p_by_episode"] == 2 / 2**5  # five episodes say so, not fifty pairs


@pytest.mark.parametrize(("first", "episodes"), [(np.ones(40, bool), 20), (np.arange(40) % 3 > 0, 4)])
def test_an_interval_by_episode_that_says_nothing_is_left_out(first, episodes):
    """All are alike, or too few to draw from."""
    found = paired(first, np.zeros(40, bool), np.arange(40) % episodes)
    assert found["by_episode"] is None and found["low"] > 0
    labels = {"hard_label": "far"}
    assert rows(labels | {kind: found for kind in ("all", "hard", "easy")})[1][8] == "-"


def test_no_pair_of_a_kind():
    none = np.zeros(0, bool)
    found = paired(none, none, np.zeros(0, int))
    assert found["difference"] is None and found["n"] == 0 and found["mcnemar_p_pairs_independent"] == 1.0


@pytest.fixture
def folders(store, task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairs = sample_pairs(store, task, 15, 12, seed=0)

    def save(name, policy, these, budget=30):
        outcome = evaluate(policy, "two-room", these, budget, observation="state")
        record = Record(values={"env": "two-room"}, pairs=these, outcome=outcome, floors={})
        record.save(Path("runs") / name / "evaluation" / "lewm-25-prefix")

    save("replay", ReplayPolicy(pairs.actions), pairs)
    save("noop", NoopPolicy(12, 2), pairs)
    save("short", NoopPolicy(12, 2), pairs, budget=29)
    save("other", NoopPolicy(12, 2), replace(pairs, starts=pairs.starts + 1e-9))


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["wm-bench", "compare", *arguments])
        code = 0
        try:
            bench.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


def test_the_command(folders, call):
    code, out, err = call("runs/replay", "runs/noop/evaluation/lewm-25-prefix", "--json", "c.json")
    assert "McNemar p (pairs taken as independent)  sign-flip p (by episode)" in out
    assert (code, err) == (0, "") and out.startswith("A: runs/replay/evaluation/lewm-25-prefix\nB: runs/noop")
    found = json.loads(Path("c.json").read_text())
    everything, hard, easy = (found[kind] for kind in ("all", "hard", "easy"))
    assert everything["difference"] == everything["low"] == everything["high"] == 1.0
    assert everything["only_first"] == 12 and everything["mcnemar_p_pairs_independent"] == pytest.approx(2 / 2**12)
    assert hard["n"] + easy["n"] == 12 and found["second"]["folder"].startswith("runs/noop")
    assert found["manifest"]["sha256"] and found["budget"] == 30


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ("runs/other", "pairs: expected the same start and goal pairs, got 12 of two-room ("),
        ("runs/short", "budget: expected the same number of environment steps, got 30 and 29"),
        ("runs/nobody", "no such folder: runs/nobody"),
    ],
)
def test_what_cannot_be_compared_is_refused(folders, call, second, says):
    code, out, err = call("runs/replay", second)
    assert (code, out) == (2, "") and err.startswith("wm-bench: ") and says in err and err.count("\n") == 1
