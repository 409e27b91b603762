"""OGBench's manipulation tasks: cubes to place, buttons that are lights-out, and a scene with a drawer and a window."""

from __future__ import annotations

from typing import Any

import numpy as np

from worldmodel.envs.ogbench_arm import Manipulation
from worldmodel.envs.task import Array

TOLERANCE = 0.04  # m, for cubes, drawer and window


class Cube(Manipulation):
    """Put 1, 2, 3, 4 or 8 cubes in their places; success when each is within 4 cm, as OGBench has it."""

    hard_label = "a cube > 10 cm from its place"

    def official(self, task: dict[str, Any], rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw which cube is which, and turn and place them about where they start."""
        order = rng.permutation(len(self._cubes))
        start = self._arrange(rng, *self._strewn(rng, task["init_xyzs"][order]))
        return start, self._arrange(rng, task["goal_xyzs"][order], np.zeros(len(order)))

    def distance(self, state: Array, goal: Array) -> float:
        """Distance of the cube that is farthest from its place, m."""
        return float(self.cube_gaps(state, goal).max())

    def success(self, state: Array, goal: Array) -> bool:
        """Every cube within 4 cm."""
        return self.distance(state, goal) <= TOLERANCE

    def hard(self, start: Array, goal: Array) -> bool:
        """Whether a cube has to move more than 10 cm."""
        return self.distance(start, goal) > 0.1


class Scene(Cube):
    """A cube, a drawer and a window that two buttons lock.

    Success when cube, drawer and window are within 4 cm and the buttons equal, as OGBench has it.
    """

    hard_label = "more than one thing to change"

    def official(self, task: dict[str, Any], rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw the start about the task's; the goal is exactly the task's."""
        start, goal = task["init"], task["goal"]
        noise = rng.uniform(-0.01, 0.01, 2)
        drawer, window = np.clip([start["drawer_pos"], start["window_pos"]] + noise, (-0.16, 0.0), (0.0, 0.2))
        cubes, yaws = self._strewn(rng, start["block_xyzs"])
        begin = self._arrange(
            rng, cubes, yaws, buttons=start["button_states"], drawer_slide=drawer, window_slide=window
        )
        end = self._arrange(
            rng, goal["block_xyzs"], np.zeros(1), buttons=goal["button_states"],
            drawer_slide=goal["drawer_pos"], window_slide=goal["window_pos"],
        )  # fmt: skip
        return begin, end

    def distance(self, state: Array, goal: Array) -> float:
        """Sum of the distances of cube, drawer and window, m, and of the wrong buttons, 1 each."""
        return float(self._gaps(state, goal).sum())

    def success(self, state: Array, goal: Array) -> bool:
        """Cube, drawer and window within 4 cm, buttons equal."""
        return bool((self._gaps(state, goal) <= TOLERANCE).all())

    def hard(self, start: Array, goal: Array) -> bool:
        """Whether more than one of cube, drawer, window and buttons has to change."""
        return int((self._gaps(start, goal) > TOLERANCE).sum()) > 1

    def _gaps(self, state: Array, goal: Array) -> Array:
        slides = [self.model.joint(name).qposadr[0] for name in ("drawer_slide", "window_slide")]
        moved = np.abs(self.qpos(state)[slides] - self.qpos(goal)[slides])
        wrong = self.buttons(state) != self.buttons(goal)
        return np.concatenate([self.cube_gaps(state, goal), moved, wrong])


class Puzzle(Manipulation):
    """Lights-out: a button that is pressed switches itself and its neighbours. Success when all are as in the goal."""

    hard_label = "more than one press"

    def official(self, task: dict[str, Any], rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw the arm; the buttons are the task's."""
        none = np.empty((0, 3)), np.empty(0)
        start, goal = (task[key] for key in ("init_button_states", "goal_button_states"))
        return self._arrange(rng, *none, buttons=start), self._arrange(rng, *none, buttons=goal)

    def distance(self, state: Array, goal: Array) -> float:
        """Number of wrong buttons."""
        return float((self.buttons(state) != self.buttons(goal)).sum())

    def success(self, state: Array, goal: Array) -> bool:
        """Every button as in the goal."""
        return self.distance(state, goal) == 0

    def hard(self, start: Array, goal: Array) -> bool:
        """Whether no single press does it."""
        rows, columns = self.inner._num_rows, self.inner._num_cols
        wrong = np.argwhere((self.buttons(start) != self.buttons(goal)).reshape(rows, columns))
        presses = np.argwhere(np.ones((rows, columns)))
        near = np.abs(presses[:, None] - presses).sum(-1) <= 1  # (pressed, switched)
        switched = np.zeros(rows * columns, bool)
        switched[wrong @ [columns, 1]] = True
        return bool(switched.any() and not (near == switched).all(1).any())
