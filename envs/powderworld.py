"""OGBench's powderworld: paint with sand, water, fire, plants ... that fall, flow, burn and grow, until it looks so."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from gymnasium import spaces

from worldmodel.envs.factors import Factor
from worldmodel.envs.ogbench import OfficialTasks, chance, make_inner, next_chance
from worldmodel.envs.task import Array

TOLERANCE = 32  # wrong cells that are forgiven; OGBench's easier official tasks have a tolerance of their own
LINES = (1, 8)  # of a random start or goal, least and most
EMPTY = 0  # the element of a cell with nothing in it
_REST = 5  # numbers of a state that are not the world's


class Powderworld(OfficialTasks):
    """A world of 32 x 32 cells. Action: the largest of 8 numbers, as element, then as column, then as row of a brush.

    So the world changes in every third step only. What was chosen on the way there colours the wall at the bottom of
    the picture (OGBench has three more channels for it). State: the world's 9 numbers for each cell; the step of three
    with what was chosen in it; how many cells may be wrong when the state is a goal; the seed of the next step.
    """

    hard_label = "> 100 cells to change"
    colour_factor = "cells.tint"
    factors = {colour_factor: Factor((1.0, 1.0, 1.0), 0.5, 1.6)}  # multiplies the colour of cells that are not empty

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.inner = make_inner(name)
        with chance(0):
            self.inner.reset()
        self.inner._mode = "data_collection"  # it judges nothing, and starts empty
        self.action_space = spaces.Box(0.0, 1.0, (int(self.inner.action_space.n),), np.float32)
        self._shape = self.inner._world.shape
        self._tolerance, self._chance = TOLERANCE, 0.0
        self.state_dim = int(np.prod(self._shape)) + _REST
        self.state_names = tuple(f"state_{i}" for i in range(self.state_dim))
        super().__init__(**options)

    def advance(self, state: Array, action: Array) -> Array:
        """Step OGBench's environment."""
        self._load(state)
        with chance(int(self._chance)):
            self.inner.step(int(action.argmax()))
            self._chance = next_chance()
        return self._save()

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw lines of random elements on an empty world."""
        strokes = []
        for _ in range(rng.integers(*LINES, endpoint=True)):
            element = rng.choice(self.inner._elem_names)
            across, down, length = rng.integers(8, size=3).tolist()
            line = [(i, down) for i in range(across, min(across + length + 1, 8))]
            upright = rng.integers(2)
            strokes += [(element, y, x) if upright else (element, x, y) for x, y in line]
        return self._painted(strokes, rng)

    def official(self, task: dict[str, Any], rng: np.random.Generator) -> tuple[Array, Array]:
        """Paint the task's picture, and start with one random stroke."""
        with chance(int(rng.integers(2**31))):
            first = [self.inner.sample_semantic_action()]
        goal = self._painted(task["action_seq"], rng)
        goal[-2] = task["tol"]
        return self._painted(first, rng), goal

    def draw(self, state: Array) -> Array:
        """Draw the world, and in the bottom wall what was chosen so far."""
        self._load(state)
        seen = self.inner._get_ob()
        picture, chosen = seen[..., :3].copy(), seen[-1, :, 3:]
        filled = self._elements(state) != EMPTY
        picture[filled] = np.minimum(picture[filled] * self.variation[self.colour_factor], 255)
        picture[-1] = np.where(chosen.any(-1, keepdims=True), chosen, picture[-1])
        way = cv2.INTER_NEAREST if self.image_size >= len(picture) else cv2.INTER_AREA
        return cv2.resize(picture, (self.image_size, self.image_size), interpolation=way)

    def features(self, state: Array) -> Array:
        """Return OGBench's own observation, (32 * 32 * 6,), the world in colours and the choice, divided by 255."""
        self._load(state)
        return self.inner._get_ob().astype(np.float64).ravel() / 255

    def distance(self, state: Array, goal: Array) -> float:
        """Number of cells with another element than the goal's in it and in the four beside it."""
        now, then = self._elements(state), self._elements(goal)
        shifts = [np.roll(now, shift, (0, 1)) for shift in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))]
        return float((np.stack(shifts) != then).all(0).sum())

    def success(self, state: Array, goal: Array) -> bool:
        """Fewer wrong cells than the goal allows."""
        return bool(self.distance(state, goal) < goal[-2])

    def hard(self, start: Array, goal: Array) -> bool:
        """Whether more than a tenth of the cells have to change."""
        return self.distance(start, goal) > 100

    def in_view(self, state: Array) -> bool:
        """Whether the state can be a start or a goal: always, nothing can be lost."""
        return True

    def stage(self, state: Array) -> int:
        """Return what the next action is about: 0 the element, 1 the column, 2 the row."""
        return int(state[-_REST])

    def _elements(self, state: Array) -> Array:
        _, _, rows, columns = self._shape
        return state[: rows * columns].reshape(rows, columns)

    def _painted(self, strokes: Any, rng: np.random.Generator) -> Array:
        """Return the state after painting on an empty world."""
        with chance(int(rng.integers(2**31))):
            self.inner.reset()
            for stroke in strokes:
                for _ in range(3):
                    self.inner.step(self.inner.semantic_action_to_action(*stroke))
        self._tolerance, self._chance = TOLERANCE, float(rng.integers(2**31))
        return self._save()

    def _load(self, state: Array) -> None:
        step, element, across, self._tolerance, self._chance = state[-_REST:].tolist()
        self.inner._world = state[:-_REST].reshape(self._shape).astype(np.float32)
        self.inner._action_step = int(step)
        self.inner._action_elem_id = int(element) if step > 0 else None
        self.inner._action_x = int(across) if step > 1 else None

    def _save(self) -> Array:
        chosen = [0 if choice is None else choice for choice in (self.inner._action_elem_id, self.inner._action_x)]
        rest = [self.inner._action_step, *chosen, self._tolerance, self._chance]
        return np.concatenate([self.inner._world.ravel(), rest])
