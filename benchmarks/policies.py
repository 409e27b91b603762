"""What a success rate is read against: the floors, which do not look, and the ceiling, which knows the answer.

A policy here has ``begin(rows)``, which returns a state for those rows, and ``predict(observation, state)``. A row acts
the same whichever rows accompany it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """The memory of a policy: a frozen dataclass with one entry for each environment."""

    @property
    def rows(self) -> tuple[Any, ...]:
        """One entry for each environment, in order."""
        ...


class Policy(Protocol):
    """Whatever can be evaluated; an ``Agent`` can.

    It may also say of each row by ``looks(state)`` whether it will look at the next picture, which is drawn only then.
    """

    def begin(self, rows: Sequence[int]) -> Any:
        """Return the state (see ``Rows``) at the beginning of an episode, for these rows of the evaluation."""
        ...

    def predict(self, observation: Mapping[str, Any], state: Any) -> tuple[np.ndarray, Any]:
        """Return actions (B, a) for the observations of B environments, and the new state."""
        ...


@dataclass(frozen=True)
class Memory:
    """A state with one entry for each row."""

    rows: tuple[Any, ...]


class RandomPolicy:
    """Draws every action uniformly within the bounds, from a generator for each row.

    Args:
        space: the Box action space.
        seed: of all rows.
    """

    def __init__(self, space: Any, seed: int = 0) -> None:
        self.space, self.seed = space, seed

    def begin(self, rows: Sequence[int]) -> Memory:
        """Seed each row by its number."""
        return Memory(tuple(np.random.default_rng((self.seed, row)) for row in rows))

    def predict(self, observation: Mapping[str, Any], state: Memory) -> tuple[np.ndarray, Memory]:
        """Draw; the generators in the state advance."""
        low, high = self.space.low, self.space.high
        return np.stack([rng.uniform(low, high).astype(np.float32) for rng in state.rows]), state


class ReplayPolicy:
    """Plays given actions (n, T, a), then does nothing: the demonstrator's own way, the ceiling."""

    def __init__(self, actions: np.ndarray) -> None:
        self.actions = actions.astype(np.float32)

    def begin(self, rows: Sequence[int]) -> Memory:
        """Rewind."""
        return Memory(tuple((row, 0) for row in rows))

    def predict(self, observation: Mapping[str, Any], state: Memory) -> tuple[np.ndarray, Memory]:
        """Take the next action of each row; zeros when there is none left."""
        length, still = self.actions.shape[1], np.zeros(self.actions.shape[2], np.float32)
        actions = [self.actions[row, step] if step < length else still for row, step in state.rows]
        return np.stack(actions), Memory(tuple((row, step + 1) for row, step in state.rows))


class NoopPolicy(ReplayPolicy):
    """Does nothing: zeros."""

    def __init__(self, count: int, action_dim: int) -> None:
        super().__init__(np.zeros((count, 0, action_dim)))
