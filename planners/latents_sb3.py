"""Stable-Baselines3's VecEnv with latents for observations; needs the extra ``sb3``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.errors import MissingExtra
from worldmodel.planners.latents import LatentEncoder, one_row, require_kind

try:
    from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
except ModuleNotFoundError as error:
    raise MissingExtra("worldmodel.planners.latents_sb3", "sb3") from error

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


class VecLatentObservation(VecEnvWrapper):
    """A VecEnv whose observations are latents (B, D) float32, or (B, 2D) with those of the goals.

    All environments are encoded in one call, goals once an episode, and the ``terminal_observation`` in infos too.
    ``MlpPolicy`` is the policy for them.

    Args:
        venv: observes pictures (S, S, 3), or a Dict with ``pixels`` and perhaps ``goal``.
        model: the trained model, which is not changed, or its run or model folder.
        goal: append the goals' latents where there are goals.

    Raises:
        BadValue: no pictures, or of another size than the model was trained on; another kind of environment.
    """

    def __init__(self, venv: VecEnv, model: WorldModel | str | Path, goal: bool = True) -> None:
        require_kind(venv, VecEnv)
        self.encoder = LatentEncoder(model, venv.observation_space, goal)
        super().__init__(venv, observation_space=self.encoder.space)

    def reset(self) -> np.ndarray:
        """Begin episodes in all environments."""
        return self.encoder(self.venv.reset())

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Wait for the environments and encode what they show."""
        observations, rewards, ended, infos = self.venv.step_wait()
        for row in np.flatnonzero(ended):  # before the goals of the next episodes are seen
            last = one_row(infos[row]["terminal_observation"])
            infos[row]["terminal_observation"] = self.encoder(last, [int(row)])[0]
        return self.encoder(observations), rewards, ended, infos
