"""Which rows of a vector environment begin an episode, in each of Gymnasium's ways to reset them.

Shapes: B environments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from worldmodel.errors import BadValue


class EpisodeStarts:
    """The ``episode_start`` of ``predict``, kept from step to step.

    In ``NEXT_STEP``, the default of ``gymnasium.vector``, an environment that has ended shows its last picture, ignores
    the next action and shows the first picture of the new episode after that: ``terminated | truncated`` would be one
    step early. In ``SAME_STEP``, as in Stable-Baselines3, and in ``DISABLED``, where the caller resets those that have
    ended before the next call, it is right.

    Args:
        envs: vector environment of Gymnasium or Stable-Baselines3, just reset.

    Attributes:
        mask: (B,) bool, for the next call of ``predict``.

    Raises:
        BadValue: no vector environment.
    """

    def __init__(self, envs: Any) -> None:
        if not hasattr(envs, "num_envs"):
            raise BadValue(
                f"envs: expected a vector environment, got {type(envs).__name__}; of a single one the next "
                "episode_start is terminated or truncated"
            )
        mode = (getattr(envs, "metadata", None) or {}).get("autoreset_mode")
        self._late = getattr(mode, "value", mode) == "NextStep"
        self.mask = np.ones(envs.num_envs, bool)
        self._ended = np.zeros(envs.num_envs, bool)

    def update(self, terminated: Any, truncated: Any = False) -> None:
        """Note what ``step`` returned, (B,) booleans; Stable-Baselines3's ``dones`` will do as the first."""
        ended = np.broadcast_to(np.logical_or(terminated, truncated), self.mask.shape).copy()
        self.mask, self._ended = (self._ended, ended) if self._late else (ended, self._ended)
