"""Goals as latents in the form that hindsight experience replay (1707.01495) wants, such as SB3's HerReplayBuffer.

Shapes: B transitions, D latent size.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from worldmodel.errors import BadValue
from worldmodel.planners.latents import LatentEncoder, one_row

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


class LatentGoalEnv(gymnasium.Wrapper[dict[str, np.ndarray], Any, Any, Any], RecordConstructorArgs):
    """Observes ``observation``, ``achieved_goal`` and ``desired_goal``, latents (D,), and rewards their distance.

    The first two are the present's latent, the third the goal's. With distance ``d = |z - z_goal| / sqrt(D)`` the
    reward is 0 where ``d < threshold`` and -1 elsewhere, or -d without a threshold. When an episode ends is the
    environment's matter, and what counts as a success: ``info["success"]`` is repeated as ``is_success``, where SB3
    looks for it.

    Args:
        env: observes a Dict with the pictures ``pixels`` and ``goal``.
        model: the trained model, which is not changed, or its run or model folder.
        threshold: None rewards -d.

    Raises:
        BadValue: no pictures, or of another size than the model was trained on; a threshold of 0 or less; a black goal,
            which a task without goals shows.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], model: WorldModel | str | Path, threshold: float | None = None
    ) -> None:
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, model=model, threshold=threshold)
        gymnasium.Wrapper.__init__(self, env)
        if threshold is not None and not threshold > 0:
            raise BadValue(f"threshold: expected more than 0, or None, got {threshold}")
        self._encoder = LatentEncoder(model, env.observation_space)
        if not self._encoder.with_goal:
            raise BadValue("observation space: no 'goal' picture, which goals as latents need")
        self.threshold, self._goal = threshold, np.empty(0, np.float32)
        latent = spaces.Box(-np.inf, np.inf, (self._encoder.model.config.latent_dim,), np.float32)
        names = ("observation", "achieved_goal", "desired_goal")
        self.observation_space = spaces.Dict({name: latent for name in names})  # type: ignore[assignment]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._goals(observation), info

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Step the environment, whose own reward is left out."""
        observation, _, terminated, truncated, info = self.env.step(action)
        goals = self._goals(observation)
        if "success" in info:
            info = {**info, "is_success": bool(info["success"])}
        reward = float(self.compute_reward(goals["achieved_goal"], goals["desired_goal"], info))
        return goals, reward, terminated, truncated, info

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> np.ndarray:
        """Reward of latents achieved for latents desired: (D,) -> (), or (B, D) -> (B,) float32."""
        distance = np.sqrt(np.square(achieved_goal - desired_goal).mean(axis=-1))
        reward = -distance if self.threshold is None else np.where(distance < self.threshold, 0.0, -1.0)
        return np.asarray(reward, np.float32)

    def _goals(self, observation: Any) -> dict[str, np.ndarray]:
        if not np.any(observation["goal"]):
            raise BadValue("observation 'goal': the picture is black, this task has no goal to be paid for")
        now, goal = np.split(self._encoder(one_row(observation))[0], 2)
        return {"observation": now, "achieved_goal": now.copy(), "desired_goal": goal}
