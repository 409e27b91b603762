"""Behaviours for OGBench's tasks by the scripted oracles that come with it, as its own data is made (arXiv 2410.20092).

Ant, humanoid and soccer have no oracle: OGBench's data for them comes from agents trained for up to 40 million steps.
They get random actions, which hardly leave their place; bring a policy of your own for more.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

Array = np.ndarray
PARTS = {"cube": ["cube"], "puzzle": ["button"], "scene": ["cube", "button", "drawer", "window"]}
STACKING = {"double": (0.0, 0.25), "triple": (0.05, 0.35), "quadruple": (0.1, 0.5), "octuple": (0.0, 0.35)}


class Play:
    """Cube, puzzle and scene: one thing after another, each by a plan made in advance with smooth noise in it."""

    name = "play"
    kind = "plan"
    options: dict[str, float] = {"noise": 0.1, "noise_smoothing": 0.5}

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode; the share of cubes to stack is drawn for each, as OGBench does."""
        self.rng, self.task, self.finished = rng, env.unwrapped, 0
        domain, _, size = self.task.name.partition("-")
        self.stacking = rng.uniform(*STACKING.get(size, (0.0, 0.0)))
        closed = {"gripper_always_closed": True} if domain == "puzzle" else {}
        made_with = {"env": self.task.inner, **self.options, **closed}
        self.oracles = {part: self._oracle(part)(**made_with) for part in PARTS[domain]}
        self._aim()

    def act(self, env: Any) -> Array:
        """Return the next action."""
        if self.oracle.done:
            self.finished += 1
            self._aim()
        return np.clip(self._wish(), -1.0, 1.0).astype(np.float32)

    def _wish(self) -> Array:
        return np.asarray(self.oracle.select_action(None, self.task.info() | self.target))

    def _aim(self) -> None:
        from worldmodel.envs.ogbench import chance

        self.target = self.task.new_target(self.rng, self.stacking)
        self.oracle = self.oracles[self.target["privileged/target_task"]]
        with chance(int(self.rng.integers(2**31))):  # an oracle plans its own way
            self.oracle.reset(None, self.task.info() | self.target)

    def _oracle(self, part: str) -> Any:
        module = import_module(f"ogbench.manipspace.oracles.{self.kind}.{part}_{self.kind}")
        return getattr(module, f"{part.title()}{self.kind.title()}Oracle")


class Noisy(Play):
    """Cube, puzzle and scene: one thing after another, by oracles that look anew at each step, with noise.

    The noise is Gaussian, of a strength drawn for the episode; now and then an action is random altogether.
    """

    name = "noisy"
    kind = "markov"
    options = {"min_norm": 0.4}
    noise = 0.1 * np.array([1.0, 1.0, 1.0, 3.0, 10.0])  # standard deviation of each number at most
    random = {"puzzle": 0.2}  # share of random actions; 0.1 else

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode."""
        super().reset(env, rng)
        self.std = rng.uniform() * self.noise
        self.share = self.random.get(self.task.name.partition("-")[0], 0.1)

    def _wish(self) -> Array:
        if self.rng.uniform() < self.share:
            return self.rng.uniform(-1.0, 1.0, 5)
        return super()._wish() + self.std * self.rng.standard_normal(5)


class Expert(Noisy):
    """Cube: the same oracles with little noise and no random actions, as in LeWM's data (2603.19312)."""

    name = "expert"
    noise = 0.1 * np.array([1.0, 1.0, 1.0, 3.0, 1.0])
    random = {"cube": 0.0}


class Guide:
    """Point in a maze: walk to a random place by the shortest way through the cells, with noise; then to another."""

    name = "guide"
    noise = 0.5  # standard deviation, of actions

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode."""
        self.rng, self.reached = rng, 0
        self._aim(env.unwrapped)

    def act(self, env: Any) -> Array:
        """Return the next action."""
        task = env.unwrapped
        here, maze = task.where(task.get_state()), task.inner
        if np.linalg.norm(self.goal - here) <= maze._goal_tol:
            self.reached += 1
            self._aim(task)
        there = maze.get_oracle_subgoal(here, self.goal)[0]  # OGBench's breadth-first search
        if maze.xy_to_ij(here) == maze.xy_to_ij(self.goal):
            there = self.goal
        heading = (there - here) / max(float(np.linalg.norm(there - here)), 1e-9)
        return np.clip(heading + self.noise * self.rng.standard_normal(2), -1.0, 1.0).astype(np.float32)

    def _aim(self, task: Any) -> None:
        self.goal = task.where(task.sample(self.rng))


class Paint:
    """Powderworld: fill the world, draw lines and squares, one after another; some strokes are random.

    An action is uniform in [0, 1]^n like a random one, but for the place of its largest number, which is what counts.
    """

    name = "paint"
    shares = {"Fill": 1 / 7, "Line": 3 / 7, "Square": 3 / 7}
    random = 0.05  # share of random strokes

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Start an episode."""
        self.rng, self.task = rng, env.unwrapped
        self._aim()

    def act(self, env: Any) -> Array:
        """Return the next action."""
        step = self.task.stage(self.task.get_state())
        if step == 0:
            self._choose()
        action = self.rng.uniform(0.0, 1.0, self.task.action_space.shape)
        choice, largest = self.stroke[step], int(action.argmax())
        action[[choice, largest]] = action[[largest, choice]]
        return action.astype(np.float32)

    def _choose(self) -> None:
        elements = self.task.inner._elem_names
        if self.rng.uniform() < self.random:
            self.stroke = (int(self.rng.integers(len(elements))), *self.rng.integers(8, size=2).tolist())
            return
        if self.behaviour.done:
            self._aim()
        element, *place = self.behaviour.select_action(None, None)
        self.stroke = (elements.index(element), *place)

    def _aim(self) -> None:
        from ogbench.powderworld import behaviors

        from worldmodel.envs.ogbench import chance

        kind = self.rng.choice(list(self.shares), p=list(self.shares.values()))
        self.behaviour = getattr(behaviors, f"{kind}Behavior")(self.task.inner)
        with chance(int(self.rng.integers(2**31))):
            self.behaviour.reset(None, None)
