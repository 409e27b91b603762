"""The control loop, on a clock that only it moves and with plans that take as many seconds as they are told to."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

from tests.planners.test_agent import agent as torch_agent
from tests.planners.toys import FakeModel
from worldmodel.errors import BadValue, WorldModelError
from worldmodel.planners import serving_report
from worldmodel.planners.past import spaced
from worldmodel.planners.serving import Controller

ROOT = Path(__file__).parent.parent.parent
HZ, F, L = 10, 3, 12  # ticks in a second, action block, actions of a plan


class Clock:
    def __init__(self):
        self.now = 100.0
        self.sleeps = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds


class Planner:
    """Its n-th plan is 100 n, 100 n + 1, ...; the goal says how long it takes."""

    context, action_block, action_dim = 2, F, 1

    def __init__(self):
        self.asked = []

    def plan(self, pictures, sent, goal, rest, number):
        self.asked.append(([int(p.flat[0]) for p in pictures], sent[:, 0].tolist(), goal, rest[:, 0].tolist()))
        if isinstance(goal, Exception):
            raise goal
        return (100 * number + np.arange(L, dtype=np.float32))[:, None]


class Worker:
    """Makes plans at once that are ready some seconds later."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.closed = clock, seconds, False

    def submit(self, function, *arguments):
        worker, ready = self, self.clock.now + self.seconds

        class Later(Future):
            def done(self):
                return worker.clock.now > ready - 1e-6

            def result(self):
                worker.clock.now = max(worker.clock.now, ready)
                return function(*arguments)

        return Later()

    def shutdown(self, wait):
        assert wait
        self.closed = True


class Robot:
    """Shows the number of its picture."""

    def __init__(self, clock, slow=()):
        self.clock, self.slow = clock, dict(slow)
        self.shown, self.acted = 0, []

    def read(self):
        self.shown += 1
        return np.full((2, 2, 3), self.shown - 1, np.uint8)

    def act(self, action):
        self.clock.now += self.slow.get(len(self.acted), 0.0)
        self.acted.append(float(action[0]))


def serve(seconds, ticks=20, slow=(), **options):
    """Run for some ticks with plans that take so many seconds."""
    clock, workers = Clock(), []

    def worker():
        workers.append(Worker(clock, seconds))
        return workers[-1]

    robot, planner = Robot(clock, slow), Planner()
    controller = Controller(planner, hz=HZ, clock=clock, sleep=clock.sleep, worker=worker, **options)
    report = controller.run(robot.read, robot.act, ticks / HZ)
    assert all(w.closed for w in workers) and len(workers) == 1
    return robot.acted, planner.asked, report, controller


def test_plans_in_time_are_entered_where_the_time_is():
    acted, asked, report, _ = serve(0.2, ticks=10)
    # The first one is waited for; those asked for at ticks 3 and 6 are ready two ticks later, at their third action.
    assert acted == [0, 1, 2, 3, 4, 102, 103, 104, 202, 203]
    assert (report.ticks, report.plans, report.late, report.fallback, report.held, report.missed) == (10, 3, 0, 0, 0, 0)
    assert report.plan_p50_ms == pytest.approx(200) and report.jitter_p99_ms == pytest.approx(0, abs=1e-6)


def test_a_plan_is_made_from_pictures_a_block_apart_what_was_sent_and_what_is_left():
    _, asked, _, _ = serve(0.2, ticks=10)
    assert [pictures for pictures, *_ in asked] == [[0], [0, 3], [3, 6], [6, 9]][: len(asked)]
    assert [sent for _, sent, *_ in asked[:3]] == [[], [0, 1, 2], [3, 4, 102]]
    assert [rest for *_, rest in asked[:3]] == [[], list(range(3, L)), list(range(103, 100 + L))]


def test_a_late_plan_is_counted_and_the_last_one_goes_on():
    acted, _, report, _ = serve(0.5, ticks=12)
    # Asked for at tick 3, due at 6, ready at 8, when the next is asked for.
    assert acted == [0, 1, 2, 3, 4, 5, 6, 7, 105, 106, 107, 108]
    assert (report.plans, report.late, report.fallback, report.held) == (2, 2, 3, 0)


@pytest.mark.parametrize("safe", [None, [-1.0]])
def test_when_the_plan_is_used_up_the_last_action_is_held_or_a_safe_one_sent(safe):
    acted, _, report, _ = serve(1.0, ticks=17, safe=safe)
    # Asked for at tick 3 and ready at 13, the second plan has two actions left.
    if safe is None:
        assert acted == [*range(12), 11, 110, 111, 111, 111]
    else:
        assert acted == [*range(12), -1, 110, 111, -1, -1, -1]  # and once more in the end
    assert (report.held, report.ticks) == (3, 17)


def test_ticks_keep_their_times_and_those_a_slow_robot_misses_are_left_out():
    acted, _, report, _ = serve(0.1, ticks=10, slow={1: 0.05, 2: 0.12, 4: 0.31})
    # Half a tick is slept off. After one and a fifth tick 3 is late by 20 ms, and so is the plan asked for there. After
    # three, two ticks are missed, and that plan is entered behind them.
    assert acted == [0, 1, 2, 3, 4, 104, 105, 202]
    assert (report.ticks, report.missed) == (8, 2)
    assert report.jitter_p99_ms == pytest.approx(20) and report.jitter_p50_ms == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("passed", "pictures", "sent"),
    [
        ((1, 1, 3, 1), [1, 2], [1, 1, 1]),  # ticks 0, 1, 4: what was sent at 1 went on
        ((1, 2, 2, 1), [2], []),  # ticks 0, 2, 4: there is no picture of 1
        ((1, 9, 1), [1], []),
    ],
)
def test_a_plan_looks_back_as_far_as_there_are_pictures(passed, pictures, sent):
    clock = Clock()
    controller = Controller(Planner(), worker=lambda: Worker(clock, 0.0), clock=clock)
    for ticks in passed:
        controller.tick(np.full((2, 2, 3), controller.counts.ticks, np.uint8), ticks)
    assert controller.agent.asked[-1][:2] == (pictures, sent)
    assert controller.counts.missed == sum(passed) - len(passed)


def test_spaced():
    seen, sent = [0, None, 2, 3, 4, 5, 6], [[float(i)] for i in range(6)]
    for action_block, pictures, actions in [(3, [0, 3, 6], range(6)), (2, [0, 2, 4, 6], range(6)), (5, [6], ())]:
        found, between = spaced(seen, sent, action_block, 1)
        assert found == pictures
        np.testing.assert_array_equal(between, np.reshape(list(actions), (-1, 1)))
    assert spaced([1], [], 4, 2)[1].shape == (0, 2)


def test_a_new_goal_is_planned_for_at_once_and_the_old_plan_goes_on_meanwhile():
    clock = Clock()
    planner = Planner()
    controller = Controller(planner, hz=HZ, goal="left", clock=clock, worker=lambda: Worker(clock, 0.2))
    acted = []

    def ticks(count):
        for _ in range(count):
            acted.append(float(controller.tick(np.zeros((2, 2, 3), np.uint8))[0]))
            clock.now += 1 / HZ

    ticks(4)  # at tick 3 a plan is asked for
    controller.aim("right")
    ticks(4)  # which is for the old goal and not taken, at tick 5; the next is ready at tick 7
    assert acted == [0, 1, 2, 3, 4, 5, 6, 202]
    assert [(goal, len(rest)) for *_, goal, rest in planner.asked] == [("left", 0), ("left", L - 3), ("right", 0)]
    controller.aim("up", afresh=True)
    ticks(3)  # elsewhere: the last action is held until there is a plan
    assert acted[8:] == [202, 202, 302]
    assert planner.asked[-1][0] == [0] and controller.counts.held == 2


def test_ctrl_c_ends_in_good_order():
    clock = Clock()
    robot, worker = Robot(clock), Worker(clock, 0.0)

    def read():
        if robot.shown == 4:
            raise KeyboardInterrupt
        return robot.read()

    controller = Controller(Planner(), hz=HZ, safe=[7.0], clock=clock, sleep=clock.sleep, worker=lambda: worker)
    report = controller.run(read, robot.act)
    assert report.ticks == 4 and robot.acted[-1] == 7.0 and worker.closed


def test_what_the_robot_or_the_planner_raises_is_passed_on_after_the_safe_action():
    clock = Clock()
    robot, worker = Robot(clock), Worker(clock, 0.0)
    options = dict(hz=HZ, safe=[7.0], clock=clock, sleep=clock.sleep, worker=lambda: worker)

    def act(action):
        robot.act(action)
        if len(robot.acted) == 3:
            raise OSError("no such motor")

    with pytest.raises(OSError, match="no such motor"):
        Controller(Planner(), **options).run(robot.read, act)
    assert robot.acted[2:] == [2.0, 7.0] and worker.closed

    worker.closed = False
    with pytest.raises(WorldModelError, match="latents"):
        Controller(Planner(), goal=WorldModelError("infinite latents"), **options).run(robot.read, robot.act)
    assert robot.acted[4:] == [7.0] and worker.closed


def test_a_controller_runs_again_after_it_has_ended():
    acted, asked, _, controller = serve(0.0, ticks=2)
    robot = Robot(controller.clock)
    controller._make_worker = lambda: Worker(controller.clock, 0.0)
    controller.run(robot.read, robot.act, 0.2)
    assert robot.acted == [100, 101] and asked[-1][0] == [0]


def test_with_a_real_thread_a_plan_that_hangs_does_not_keep_an_action_waiting():
    go, begun, planner = threading.Event(), threading.Event(), Planner()
    go.set()

    class Hanging(Planner):
        def plan(self, *question):
            begun.set()
            assert go.wait(60)
            return planner.plan(*question)

    controller = Controller(Hanging(), hz=HZ)
    picture = np.zeros((2, 2, 3), np.uint8)
    acted = [float(controller.tick(picture)[0])]
    go.clear()
    begun.clear()
    acted += [float(controller.tick(picture)[0]) for _ in range(9)]
    assert acted == list(range(10)) and begun.wait(60)
    assert (controller.counts.late, controller.counts.fallback) == (1, 4)
    go.set()
    controller.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("planner")]


def test_an_agent_is_served_as_it_plans():
    """From the same pictures and actions, its plan is that of ``predict``; from what is left it goes on."""
    model = FakeModel(context=2)
    agent = torch_agent(model, horizon=4, execute_steps=4)
    served = Controller(agent).agent
    picture, goal = np.zeros((2, 4, 4, 3), np.uint8)
    goal[0, 0, :2] = 40
    plan = served.plan([picture], np.empty((0, 2), np.float32), goal, np.empty((0, 2), np.float32), 0)
    assert plan.shape == (12, 2) and plan.dtype == np.float32
    state = None
    for expected in plan:
        action, state = agent.predict({"pixels": picture, "goal": goal}, state)
        np.testing.assert_allclose(action, expected, atol=1e-6)
    assert agent.execute_steps == 4  # it was not changed

    sent = np.full((3, 2), 0.25, np.float32)
    starts = []
    solve = served.agent.planner.solve

    def noted(cost, start, *others):
        starts.append(start)
        return solve(cost, start, *others)

    served.agent.planner.solve = noted
    served.plan([picture], sent[:0], goal, plan[1:], 1)  # less than a model step after the plan before
    left = model.denormalise(starts[-1])[0].reshape(-1, 2).numpy()
    np.testing.assert_allclose(left, [*plan[1:], [0.1, -0.2]], atol=1e-6)
    served.plan([picture, picture], sent, goal, plan[5:], 1)
    np.testing.assert_allclose(
        model.contexts[-1].actions[0, 0], model.normalise(torch.from_numpy(sent.reshape(-1))), atol=1e-6
    )
    assert model.contexts[-1].z.shape == (1, 2, 2)
    left = model.denormalise(starts[-1])[0].reshape(-1, 2).numpy()
    np.testing.assert_allclose(left[:7], plan[5:], atol=1e-6)
    np.testing.assert_allclose(left[7:], np.tile([0.1, -0.2], (5, 1)), atol=1e-6)


def test_an_agent_is_given_goals_of_every_kind_and_keeps_its_own():
    goal = np.zeros((4, 4, 3), np.uint8)
    goal[0, 0, :2] = 40
    none = np.empty((0, 2), np.float32)
    agent = torch_agent(goal=goal)
    served = Controller(agent).agent
    own = served.plan([goal], none, None, none, 0)
    given = served.plan([goal], none, {"latent": [0.0, 0.0]}, none, 0)
    assert np.abs(own - given).max() > 0.1
    np.testing.assert_array_equal(served.plan([goal], none, goal, none, 0), own)
    served.plan([goal], none, {"latent": [0.0, 0.0]}, none, 0)
    np.testing.assert_array_equal(served.plan([goal], none, None, none, 0), own)
    with pytest.raises(BadValue, match="goal 'latent'"):
        served.plan([goal], none, {"latent": [0.0]}, none, 0)
    np.testing.assert_array_equal(served.plan([goal], none, None, none, 0), own)
    np.testing.assert_array_equal(agent.goal, [40, 40])


def test_a_state_is_drawn_by_the_thread_that_gives_it():
    """A picture of MuJoCo's can only be drawn where its context is."""
    drawn_by = []

    def draw(state):
        drawn_by.append(threading.get_ident())
        return np.full((4, 4, 3), int(state[0]), np.uint8)

    env = SimpleNamespace(draw=draw, state_dim=1, action_space=gymnasium.spaces.Box(-1, 1, (2,)))
    controller = Controller(torch_agent(env=env), goal={"state": [40]})
    picture = np.zeros((4, 4, 3), np.uint8)
    try:
        controller.tick(picture)
        controller.aim({"state": [20]})
        controller.tick(picture)
    finally:
        controller.close()
    assert drawn_by == [threading.get_ident()] * 2
    with pytest.raises(BadValue, match="goal 'state': expected 1 finite numbers"):
        controller.aim({"state": [1, 2]})


def test_mistakes_are_one_line():
    with pytest.raises(BadValue, match="agent: expected what model.agent.. makes, or an OnnxAgent, got dict"):
        Controller({})
    with pytest.raises(BadValue, match="hz: expected a finite number above 0, got 0"):
        Controller(Planner(), hz=0)
    with pytest.raises(BadValue, match="every: expected 1 tick or more, got 0"):
        Controller(Planner(), every=0)
    for wrong in (dict(hz="x"), dict(hz=None), dict(every="x"), dict(every=2.5)):
        with pytest.raises(BadValue, match=f"{[*wrong][0]}: expected (float|int), got {[*wrong.values()][0]!r}"):
            Controller(Planner(), **wrong)
    for passed in (0, -1, 1.5):
        with pytest.raises(BadValue, match=f"passed: expected .*, got {passed}"):
            Controller(Planner()).tick(np.zeros((2, 2, 3), np.uint8), passed)
    for seconds in ("x", -1, math.nan):
        with pytest.raises(BadValue, match=f"seconds: expected .*, got {seconds!r}"):
            Controller(Planner(), safe=[0.0]).run(None, None, seconds)  # neither is asked
    for safe in ([1.0, 2.0], [math.nan], "x", {}, [[1.0], [2.0, 3.0]]):
        with pytest.raises(BadValue, match="safe: expected an action of 1 finite numbers"):
            Controller(Planner(), safe=safe)


def test_an_agent_that_cannot_be_served_is_refused():
    from gymnasium.spaces import Discrete

    model = FakeModel()
    model.action_low = torch.zeros(2)
    choosing = torch_agent(model, SimpleNamespace(action_space=Discrete(2)))
    with pytest.raises(BadValue, match="agent: its environment numbers its actions"):
        Controller(choosing)
    with pytest.raises(BadValue, match="goal_offset: a robot is served without end"):
        Controller(torch_agent(goal_offset=18))


def test_a_report_before_anything_happened(monkeypatch):
    report = Controller(Planner()).report()
    assert report.ticks == report.plans == 0 and math.isnan(report.plan_p50_ms) and report.memory_mib > 1
    monkeypatch.setattr(serving_report, "Path", lambda path: ROOT / "none")
    assert math.isnan(serving_report.resident_mib())


def test_a_robot_needs_neither_gymnasium_nor_torch():
    code = """
import sys
sys.modules.update(dict.fromkeys(("torch", "gymnasium", "h5py"), None))
from worldmodel.planners.serving import Controller
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_robot_with_torch_needs_no_gymnasium(tmp_path):
    from tests.worldmodel.tiny import tiny_model
    from worldmodel.checkpoint import save_model

    save_model(tmp_path / "model", tiny_model())
    code = f"""
import sys
sys.modules["gymnasium"] = None
import numpy as np
import worldmodel
from worldmodel.planners.serving import Controller

agent = worldmodel.load({str(tmp_path)!r}).agent(candidates=8, elites=2, iterations=1)
picture, sent = np.zeros((16, 16, 3), np.uint8), []
report = Controller(agent, hz=1000, goal=picture, safe=[0, 0]).run(lambda: picture, sent.append, seconds=0.02)
assert len(sent) == report.ticks + 1 and not sent[-1].any()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
