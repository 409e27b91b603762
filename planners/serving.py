"""Serving a robot at a fixed rate: an action at every tick, whatever the planner is doing. Needs numpy alone.

A plan is made in another thread from the newest picture. It is ready some ticks later, when the robot has already
executed the beginning of the plan before. So it is entered where the time is, and its actions for the ticks that have
passed are left out; that costs little because the search starts from what was left of the plan before, which those
ticks executed. While a plan is late the last one goes on, and the ticks on which that happens are counted.

Shapes: C context frames, c pictures, S pixels, F action block, a action size, L actions of a plan.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from typing import Any, NamedTuple, Protocol

import numpy as np

from worldmodel.errors import BadValue
from worldmodel.planners.past import spaced
from worldmodel.planners.serving_report import Counts, Report
from worldmodel.planners.settings import typed

Array = np.ndarray


class Planning(Protocol):
    """What can be served: an ``OnnxAgent``, and an ``Agent`` by ``planners/serving_agent.py``."""

    context: int  # C, pictures that a plan may look at
    action_block: int  # F, ticks from one of them to the next
    action_dim: int  # a

    def plan(self, pictures: Sequence[Array], sent: Array, goal: Any, rest: Array, number: int) -> Array:
        """Plan once.

        Args:
            pictures: at most C, uint8 (S, S, 3), F ticks apart, oldest first; the last one is now.
            sent: the actions in between, ((c - 1) * F, a).
            goal: what to reach.
            rest: what is left of the plan in hand from now on, (any number, a).
            number: of the plan, which seeds its noise.

        Returns:
            The actions from now on, (L, a) float32.
        """
        ...


class _Plan(NamedTuple):
    begin: int  # tick of its first action
    goal_number: int
    actions: Array  # (L, a)


class _Solve(NamedTuple):
    begin: int
    goal_number: int
    future: Future[tuple[Array, float]]


def one_thread() -> ThreadPoolExecutor:
    """Where plans are made."""
    return ThreadPoolExecutor(1, thread_name_prefix="planner")


class Controller:
    """Gives a robot an action at every tick, and plans meanwhile.

    Args:
        agent: what plans: an ``Agent``, an ``OnnxAgent``, or anything with the four names of ``Planning``.
        hz: ticks in a second; a primitive action of the model takes one.
        goal: what to reach: for an ``Agent`` whatever its ``set_goal`` takes, by default what it was made for; for an
            ``OnnxAgent`` a picture (S, S, 3) or a latent (D,). ``aim`` changes it.
        every: ticks from the beginning of a solve to that of the next, at least; a model step (F) by default.
        safe: action (a,) where there is no plan or its actions are used up, and at the end of ``run``; by default the
            last one is held, as suits positions but not velocities.
        clock: seconds.
        sleep: waits for some seconds.
        worker: makes the executor that plans are made in.

    Attributes:
        counts: what the report is made of.

    Raises:
        BadValue: an agent that cannot plan so, or a value out of range.
    """

    _plan: _Plan | None  # in hand
    _solve: _Solve | None  # that is being made
    _is_late: bool  # it should have been ready by now
    _time: int  # tick that it is, of the robot's life in one place
    _due: int  # tick of the next solve
    _seen: deque[Array | None]
    _sent: deque[Array | None]

    def __init__(
        self,
        agent: Any,
        hz: float = 20.0,
        goal: Any = None,
        every: int | None = None,
        safe: Any = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
        worker: Callable[[], Any] = one_thread,
    ) -> None:
        self.agent = _planning(agent)
        if not 0 < typed("hz", "float", hz) < math.inf:
            raise BadValue(f"hz: expected a finite number above 0, got {hz}")
        if every is not None and typed("every", "int", every) < 1:
            raise BadValue(f"every: expected 1 tick or more, got {every}")
        self.safe = None if safe is None else _safe(safe, self.agent.action_dim)
        self._shown = getattr(self.agent, "shown", copy)  # a goal as the planning thread can take it
        self.hz, self.goal, self.every = hz, self._shown(goal), every or self.agent.action_block
        self.clock, self.sleep, self._make_worker = clock, sleep, worker
        self.counts = Counts()
        self._reflex: Planning | None = getattr(self.agent, "reflex", None)  # acts until there is a plan
        self._nothing = np.empty((0, self.agent.action_dim), np.float32)
        self._kept = (self.agent.context - 1) * self.agent.action_block  # ticks that a plan looks back
        self._worker: Any = None
        self._last: Array | None = None  # action given
        self._begun = self._goal_number = 0  # plans, goals
        self._forget()

    def aim(self, goal: Any, afresh: bool = False) -> None:
        """Change the goal, from the thread that ticks; the plan in hand goes on until there is one for the new goal.

        Args:
            goal: what to reach from now on; for an ``Agent`` None is what it was made for.
            afresh: the robot was put elsewhere. What was seen is forgotten and the plan dropped: until there is
                another, the robot gets the safe action, or its last one.
        """
        if afresh:
            self._forget()
        self.goal, self._goal_number, self._due = self._shown(goal), self._goal_number + 1, self._time + 1

    def tick(self, pixels: Array, passed: int = 1) -> Array:
        """Return the action (a,) for now, at once; only the very first one waits for its plan.

        A model with a reflex acts by it until there is a plan, so that not even the first one waits.

        Args:
            pixels: the newest picture, uint8 (S, S, 3).
            passed: ticks since the last call; during those left out the robot went on with its last action.

        Raises:
            BadValue: ``passed`` is below 1 or no whole number.
            WorldModelError: the planner's, from the solve that has just ended.
        """
        if typed("passed", "int", passed) < 1:
            raise BadValue(f"passed: expected 1 tick or more, got {passed}")
        for _ in range(min(passed - 1, self._kept)):
            self._seen.append(None)
            self._sent.append(self._last)
        self._seen.append(np.array(pixels))  # the camera may write over its own
        self._time += passed
        if self._solve is not None and self._solve.future.done():
            self._adopt(self._solve)
        if self._solve is None and self._time >= self._due:
            self._solve = self._begin()
        if self._plan is None and self._reflex is not None:
            actions = self._reflex.plan(*self._past(), self.goal, self._nothing, 0)
            self._plan = _Plan(self._time, self._goal_number, actions)
        if self._last is None and self._plan is None and self._solve is not None:
            self._adopt(self._solve)
        if self._solve is not None and self._time - self._solve.begin >= self.every:
            self.counts.late += not self._is_late
            self.counts.fallback += 1
            self._is_late = True
        self.counts.ticks += 1
        self.counts.missed += passed - 1
        self._last = self._action()
        self._sent.append(self._last)
        return self._last.copy()

    def run(self, read: Callable[[], Array], act: Callable[[Array], object], seconds: float = math.inf) -> Report:
        """Serve a robot until the time is up or Ctrl-C is pressed.

        Ticks are due at fixed times, so that what one took too long is not added to the next; a robot whose functions
        take longer than a tick misses some, and the plan goes on where the time is. However this ends, the safe action
        is sent, if there is one, and the planning thread has ended.

        Args:
            read: returns the newest picture, uint8 (S, S, 3).
            act: sends an action (a,) to the robot.
            seconds: how long, from the first action, which waits for its plan.

        Raises:
            BadValue: ``seconds`` is no number of 0 or more; nothing has been sent then.
            Exception: what the robot's functions or the planner raised.
        """
        if not typed("seconds", "float", seconds) >= 0:
            raise BadValue(f"seconds: expected 0 or more, got {seconds}")
        begin: float | None = None
        slot, passed = 0, 1
        try:
            while slot < seconds * self.hz:
                action = self.tick(read(), passed)
                begin = self.clock() if begin is None else begin
                self.counts.jitter.append(self.clock() - begin - slot / self.hz)
                act(action)
                passed = max(1, int((self.clock() - begin) * self.hz) - slot)
                slot += passed
                self.sleep(max(0.0, begin + slot / self.hz - self.clock()))
        except KeyboardInterrupt:
            pass
        finally:
            try:
                if self.safe is not None:
                    act(self.safe.copy())
            finally:
                self.close()
        return self.report()

    def close(self) -> None:
        """End the thread, after the solve it is at; another ``tick`` or ``run`` begins afresh."""
        if self._worker is not None:
            self._worker.shutdown(wait=True)
        self._worker = self._last = None
        self._forget()

    def report(self) -> Report:
        """How it went so far."""
        return self.counts.report()

    def _forget(self) -> None:
        self._seen, self._sent = deque(maxlen=self._kept + 1), deque(maxlen=self._kept)
        self._plan = self._solve = None
        self._time, self._due = -1, 0

    def _begin(self) -> _Solve:
        """Have the next plan made."""
        if self._worker is None:
            self._worker = self._make_worker()
        rest = self._nothing
        if self._plan is not None and self._plan.goal_number == self._goal_number:
            rest = self._plan.actions[self._time - self._plan.begin :]
        future = self._worker.submit(self._timed, *self._past(), self.goal, rest, self._begun, self.clock())
        self._begun, self._due, self._is_late = self._begun + 1, self._time + self.every, False
        return _Solve(self._time, self._goal_number, future)

    def _past(self) -> tuple[list[Array], Array]:
        """What a plan looks back on."""
        return spaced(self._seen, self._sent, self.agent.action_block, self.agent.action_dim)

    def _timed(self, *question: Any) -> tuple[Array, float]:
        *arguments, asked = question
        return self.agent.plan(*arguments), self.clock() - asked

    def _adopt(self, solve: _Solve) -> None:
        """Take a plan into use, unless the goal has changed since it was asked for."""
        self._solve = None
        actions, seconds = solve.future.result()
        self.counts.latency.append(seconds)
        if solve.goal_number == self._goal_number:
            self._plan = _Plan(solve.begin, solve.goal_number, actions)
            self.counts.plans += 1

    def _action(self) -> Array:
        """What the plan says for now, else something safe."""
        if self._plan is not None and self._time - self._plan.begin < len(self._plan.actions):
            action: Array = self._plan.actions[self._time - self._plan.begin]
            return action
        self.counts.held += 1
        held = self._last if self.safe is None else self.safe
        assert held is not None
        return held


def _safe(value: Any, action_dim: int) -> Array:
    """A safe action as an array of its own."""
    try:
        action = np.array(value, np.float32)
    except (TypeError, ValueError):
        action = np.empty(0, np.float32)
    if action.shape != (action_dim,) or not np.isfinite(action).all():
        raise BadValue(f"safe: expected an action of {action_dim} finite numbers, got {value!r}")
    return action


def _planning(agent: Any) -> Planning:
    if hasattr(agent, "plan"):
        return agent
    if not hasattr(agent, "predict") or not hasattr(agent, "model"):
        raise BadValue(f"agent: expected what model.agent() makes, or an OnnxAgent, got {type(agent).__name__}")
    from worldmodel.planners.serving_agent import ServedAgent  # torch

    return ServedAgent(agent)
