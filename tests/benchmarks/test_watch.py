"""Looking on changes nothing, and shows what happens."""

from __future__ import annotations

import io
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks.evaluate import at_start, evaluate, lockstep
from worldmodel.benchmarks.imagined import Bank
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.watch import SHOWN, Line, Watch, Window, looking_on, screen
from worldmodel.checkpoint import save_model
from worldmodel.envs import registry

BUDGET, COUNT = 14, 3


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


class Kept:
    """Keeps what it is shown."""

    def __init__(self):
        self.moments = []

    def show(self, moment, over):
        self.moments.append((moment, over))

    def close(self):
        pass


@pytest.fixture(autouse=True)
def no_display():
    plt.switch_backend("agg")


@pytest.fixture
def pairs(store, task):
    return sample_pairs(store, task, 15, COUNT, seed=0)


def new_agent():
    return tiny_model().agent(horizon=4, execute_steps=2, candidates=8, elites=2, iterations=2, seed=1)


def test_an_evaluation_is_the_same_with_somebody_looking_on(pairs, tmp_path, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    model = tmp_path / "model"
    save_model(model, tiny_model())
    alone = evaluate(new_agent(), "two-room", pairs, BUDGET, 16, watch=2)
    agent = new_agent()
    with looking_on(agent, "two-room", pairs, BUDGET, model) as watch:
        seen = evaluate(watch, "two-room", pairs, BUDGET, 16, watch=2, together=1, observer=watch.observe)
    for name in ("success", "steps", "states", "actions"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(alone, name))
    lines = stream.getvalue().splitlines()
    assert len(lines) == COUNT and f"  {seen.success.sum()} of {COUNT} succeeded  " in lines[-1]
    assert agent.stats.plans == sum(-(-steps // 6) for steps in seen.steps) and watch.imagined.shape == (4, 16, 16, 3)


def play(policy, pairs, observe=None):
    """Every pair by itself; the actions of all."""
    taken = []
    for row in range(COUNT):
        env = registry.make("two-room", image_size=16, terminate_on_success=False)
        seen = at_start(env, pairs, row)[0]

        def note(row, step, action, seen, reward, info):
            over = info["success"]
            taken.append((row, step, *action.tolist()))
            if observe:
                observe(row, step, seen, info, over or step == BUDGET)
            return over

        lockstep(policy, [env], [row], [seen], BUDGET, note)
    return taken


def watched(pairs, shown, **options):
    watch = Watch(new_agent(), COUNT, BUDGET, shown, **options)
    return watch, play(watch, pairs, watch.observe)


def test_looking_on_changes_nothing(pairs):
    kept = Kept()
    frames = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8)
    _, actions = watched(pairs, kept, pictures=Bank(tiny_model(), frames))
    assert actions == play(new_agent(), pairs)
    assert len(kept.moments) == len(actions)
    assert [moment.pair for moment, over in kept.moments if over] == [1, 2, 3]
    last = kept.moments[-1][0]
    assert (last.pairs, last.over, last.budget) == (COUNT, COUNT, BUDGET)
    assert last.succeeded == sum(over and moment.step < BUDGET for moment, over in kept.moments)
    assert all(moment.imagined.shape == (4, 16, 16, 3) and moment.cost >= 0 < moment.ms for moment, _ in kept.moments)
    plans = [moment.imagined for moment, _ in kept.moments if moment.pair == 1]
    assert plans[0] is plans[5] and plans[0] is not plans[6]  # two blocks of three steps, then another plan


def test_a_terminal_has_one_line_that_changes(pairs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    watch, actions = watched(pairs, Line(stream))
    watch.screen.close()
    *lines, end = stream.getvalue().split("\x1b[K")
    assert len(lines) == len(actions) and all(line.startswith("\r") for line in lines) and end == "\n"
    assert lines[0].startswith("\rpair 1/3  environment step 1/14  0 of 0 succeeded  distance ")
    assert f"  {watch.succeeded} of 3 succeeded  " in lines[-1] and max(map(len, lines)) <= 80  # with the return


def test_elsewhere_a_line_for_every_pair(pairs):
    stream = io.StringIO()
    watch, _ = watched(pairs, Line(stream))
    watch.screen.close()
    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["pair 1/3", "pair 2/3", "pair 3/3"]
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_without_a_display_there_is_no_window(monkeypatch):
    assert isinstance(screen(5), Line)
    monkeypatch.setattr(plt, "get_backend", lambda: "TkAgg")
    shown = screen(5)
    assert isinstance(shown, Window)
    shown.close()


def test_the_window_shows_now_goal_and_plan(pairs):
    stream = io.StringIO()
    shown = Window(3, Line(stream))
    frames = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8)
    kept = Kept()
    watched(pairs, kept, pictures=Bank(tiny_model(), frames))
    moment = kept.moments[0][0]
    shown.show(moment, True)
    for name, picture in {"now": moment.frame, "goal": moment.goal, "4": moment.imagined[3]}.items():
        np.testing.assert_array_equal(shown.images[name].get_array(), picture)
    titles = [shown.images[f"{i}"].axes.get_title() for i in range(SHOWN)]
    assert titles == ["", *(f"imagined after\n{n} environment steps" for n in (3, 6, 9, 12))]  # a plan of four steps
    assert "pair 1/3" in shown.figure.get_suptitle() and stream.getvalue()
    shown.plt.close(shown.figure)
    shown.show(moment, True)  # closed by the user
    shown.close()
    assert len(stream.getvalue().splitlines()) == 2
