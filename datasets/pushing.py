"""Scripted pushing in PushT: go round the block to a point of its outline, push through it, choose the next.

The block is quasi-static and frictionless, so a push with unit speed along the inward normal n at lever r from the
centre of gravity moves it with velocity n / (1 + q^2 / I) and turns it with q / I / (1 + q^2 / I), where q = r x n and
I is the moment over the mass. The goal-seeking pusher chooses by this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from worldmodel.envs import pusht
from worldmodel.envs.pusht import PushT
from worldmodel.envs.pusht_block import Block

Array = np.ndarray
KEEP_OFF = 4.0  # px between agent and block while going round it
BEHIND = KEEP_OFF + 4.0  # px from the outline at which a push starts


@dataclass(frozen=True)
class Push:
    """One push: from ``start`` (2,) along ``direction`` (2,), a unit vector, over ``length`` px after contact."""

    start: Array
    direction: Array
    length: float


class Pusher:
    """Pushes through random points of the outline, mostly along the normal there.

    The pace is that of the published demonstrations (2411.04983): there actions have a standard deviation of 0.20 and
    the agent moves with one of 75 px/s along either axis; here, over 2,400 episodes, with 0.20 and 76 px/s.
    """

    name = "pusher"
    task: PushT
    noise = 0.04  # standard deviation of the noise on actions
    stroll = 0.1  # share of the ways that lead to a random place instead of a push

    push: Push
    way: list[Array]  # what is left of the way to its start
    began: Array | None  # where the agent was at first contact
    patience: int  # steps until another push is chosen at the latest

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode."""
        self.rng = rng
        self.speed = rng.uniform(12.0, 28.0)  # px, how far ahead the target is while pushing
        self.haste = rng.uniform(24.0, 48.0)  # and while going round
        self.task = env.unwrapped
        self._plan(env.unwrapped.get_state())

    def act(self, env: Any) -> Array:
        """Return the next action, (2,) float32."""
        state = env.unwrapped.get_state()
        agent = state[:2]
        self.patience -= 1
        while self.way and np.linalg.norm(self.way[0] - agent) < 8.0:
            self.way.pop(0)
        if self.way:
            offset = _at_most(self.way[0] - agent, self.haste)
        else:
            offset = self.push.direction * self.speed
            if self.began is None and self._touches(state):
                self.began = agent
            gone = 0.0 if self.began is None else float((agent - self.began) @ self.push.direction)
            if gone + 0.25 * self.speed > self.push.length or self._would_leave(state, self.push.direction):
                self.patience = 0
        if self.patience <= 0:
            self._plan(state)
        action = offset / pusht.REACH + self.noise * self.rng.standard_normal(2)
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def choices(self, state: Array) -> list[Push]:
        """Return pushes to try for, the preferred ones first."""
        points, normals = outline_points(self.task.block, state, self.rng.uniform(size=20))
        turns = np.radians(self.rng.normal(0.0, 15.0, len(points)))
        c, s = np.cos(turns), np.sin(turns)
        rotations = np.array([[c, -s], [s, c]]).transpose(2, 0, 1)
        directions = (rotations @ normals[..., None])[..., 0]
        starts, lengths = points - self._behind * normals, self.rng.uniform(15.0, 80.0, len(points))
        return [Push(*push) for push in zip(starts, directions, lengths)]

    def _plan(self, state: Array) -> None:
        """Take the first push that can be reached and will not press the block against a wall, and go there."""
        self.began = None
        self.patience = 40
        strolls = self.rng.uniform() < self.stroll
        low, high = self.task.room
        pushes = [
            push
            for push in (self._places() if strolls else self.choices(state))
            if push.start.min() >= low and push.start.max() <= high
            and not self._would_leave(state, push.direction, push.length)
        ]  # fmt: skip
        for push, way in zip(pushes, routes(self.task, state, [push.start for push in pushes])):
            if way is not None:
                self.push, self.way = push, way
                return
        self.push = Push(state[:2], np.zeros(2), 0.0)  # none
        self.way = [self.rng.uniform(150.0, 360.0, 2)]  # cornered: cross the middle, touching the block or not
        self.patience = 10

    def _places(self) -> list[Push]:
        return [Push(place, np.zeros(2), 0.0) for place in self.rng.uniform(*self.task.room, (5, 2))]

    def _would_leave(self, state: Array, direction: Array, length: float = 0.0) -> bool:
        """Whether the block, moved so far without turning, would touch a wall that it moves towards."""
        corners = self.task.block.outline(state) + length * direction
        low, high = pusht.WALLS[0] + 8.0, pusht.WALLS[1] - 8.0
        leaves = ((corners.min(0) < low) & (direction < -0.2)) | ((corners.max(0) > high) & (direction > 0.2))
        return bool(leaves.any())

    def _touches(self, state: Array) -> bool:
        return float(self.task.block.clearance(state, state[:2])) < self.task.agent_radius + 2.0

    @property
    def _behind(self) -> float:
        """How far the agent's centre is from the outline before a push, px."""
        return self.task.agent_radius + BEHIND


class GoalPusher(Pusher):
    """Pushes the block to a random pose, by the pushes that bring it nearest; then to another.

    Except for its strolls it looks at the same points of the outline and takes the best that can be reached, so that
    the push follows from where the block is and has to be: what can be imitated. Where none of these will do it pushes
    at random, as `Pusher`.
    """

    name = "goal-pusher"
    points = 48  # around the outline
    near = 15.0  # px of remaining error at which the pose counts as reached

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode."""
        self.task = env.unwrapped
        self._aim(rng)
        super().reset(env, rng)

    def choices(self, state: Array) -> list[Push]:
        """Return pushes that bring the block nearer to the pose, each as long as is best, then random ones."""
        if self.tries <= 0 or float(np.linalg.norm(self._error(state))) < self.near:
            self._aim(self.rng)
        self.tries -= 1
        points, normals = outline_points(self.task.block, state, (np.arange(self.points) + 0.5) / self.points)
        error = self._error(state)  # (3,) px
        effects = twists(self.task.block, state, points, normals)  # (P, 3) px per px pushed
        lengths = np.clip(effects @ error / (effects**2).sum(1), 0.0, 90.0)
        left = np.linalg.norm(error - lengths[:, None] * effects, axis=1)
        order = [i for i in np.argsort(left) if lengths[i] > 3.0]
        starts = points - self._behind * normals
        return [Push(starts[i], normals[i], float(lengths[i])) for i in order] + super().choices(state)

    def _aim(self, rng: np.random.Generator) -> None:
        self.pose, self.tries = self.task.sample(rng), 12  # pushes

    def _error(self, state: Array) -> Array:
        """What the centre of gravity must move and the block must turn (times the radius of gyration), (3,) px."""
        turn = (self.pose[4] - state[4] + np.pi) % (2 * np.pi) - np.pi
        block = self.task.block
        return np.array([*(block.centre(self.pose) - block.centre(state)), block.radius_of_gyration * turn])


def outline_points(block: Block, state: Array, shares: Array) -> tuple[Array, Array]:
    """Return points at ``shares`` (P,) of the way once around the block, and inward normals there: (P, 2) each."""
    corners = block.outline(state)
    sides = np.roll(corners, -1, axis=0) - corners
    ends = np.cumsum(np.linalg.norm(sides, axis=1))
    along = shares * ends[-1]
    i = np.searchsorted(ends, along, side="right")
    unit = sides[i] / np.linalg.norm(sides[i], axis=1, keepdims=True)
    points = corners[i] + sides[i] - (ends[i] - along)[:, None] * unit
    return points, np.stack([-unit[:, 1], unit[:, 0]], axis=1)


def twists(block: Block, state: Array, points: Array, normals: Array) -> Array:
    """Return how the block moves and turns (times the radius of gyration) per px pushed at points: (P, 3)."""
    levers = points - block.centre(state)
    q = (levers[:, 0] * normals[:, 1] - levers[:, 1] * normals[:, 0]) / block.radius_of_gyration
    return np.concatenate([normals, q[:, None]], axis=1) / (1.0 + q**2)[:, None]


def routes(task: PushT, state: Array, goals: list[Array]) -> list[list[Array] | None]:
    """Return the agent's waypoints to each goal without touching the block, the shortest over its corners, or None."""
    start, first = state[:2], []
    clearance, keep_off = task.block.clearance, task.agent_radius + KEEP_OFF
    if clearance(state, start) < keep_off:  # step back first
        start = _step_back(task, state)
        first.append(start)
    stops = (task.block.outline(state)[:, None] + (keep_off + 7.0) * _ring(8)).reshape(-1, 2).clip(*task.room)
    nodes = np.stack([start, *stops[clearance(state, stops) >= keep_off], *goals])  # (P, 2)
    a, b = nodes[: len(nodes) - len(goals)], nodes
    along = np.linspace(0.0, 1.0, 25)[:, None, None, None]
    free = (clearance(state, a[:, None] + along * (b - a[:, None])) >= keep_off).all(0)
    cost = np.where(free, np.linalg.norm(a[:, None] - b, axis=-1), np.inf)  # from a to b
    total, parent = cost[0].copy(), np.zeros(len(b), int)  # Bellman-Ford from the start
    for _ in range(6):  # no way round the block has more legs
        via = total[: len(a), None] + cost
        better = via.min(0) < total
        total[better], parent[better] = via.min(0)[better], via.argmin(0)[better]

    def trace(node: int) -> list[Array]:
        return [*(trace(int(parent[node])) if parent[node] else first), nodes[node]]

    return [trace(i) if np.isfinite(total[i]) else None for i in range(len(a), len(b))]


def _ring(count: int) -> Array:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _step_back(task: PushT, state: Array) -> Array:
    """Return the nearest of some points around the agent that keeps off the block, else the farthest from it."""
    points = np.clip(state[:2] + _ring(16) * np.array([15.0, 30.0, 60.0])[:, None, None], *task.room).reshape(-1, 2)
    gaps = task.block.clearance(state, points)
    # Nearer rings come first; argmax takes the first of equals.
    return points[int(np.argmax(np.minimum(gaps, task.agent_radius + BEHIND)))]


def _at_most(offset: Array, length: float) -> Array:
    return offset * min(1.0, length / max(float(np.linalg.norm(offset)), 1e-9))
