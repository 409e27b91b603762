"""Prediction error as intrinsic reward: a policy is paid for what the world model did not expect.

Shapes: D latent size, C context frames, F action block, a action size, A = F * a.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium.utils import RecordConstructorArgs

from worldmodel.diagnostics import surprise
from worldmodel.errors import BadValue
from worldmodel.planners.latents import LatentEncoder, one_row

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


class SurpriseReward(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds ``weight * error / (mean of all errors so far)`` to the reward, which is ``weight`` on average.

    ``error = |z_hat - z|^2 / D`` at every environment step, z the latent of the present picture and z_hat the model's
    prediction of it, one model step ahead of the C latents F steps apart that end F steps ago. It is 0 in the first
    C * F - 1 steps of an episode, where these are not known. ``info["surprise"]`` is it before it is weighted. Follows
    the prediction error of 1705.05363, with a model that is trained already and does not learn meanwhile.

    Args:
        env: observes a picture, or a Dict with ``pixels``; observations pass unchanged.
        model: the trained model, which is not changed, or its run or model folder.
        weight: of the surprise, in units of the reward.
        replace: leave the environment's own reward out.
        predictor: ``"one-step"`` or ``"prefix"``; the model's first by default.

    Raises:
        BadValue: no pictures, or of another size than the model was trained on; actions of another size.
        UnknownName: the model has no such predictor.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        model: WorldModel | str | Path,
        weight: float = 1.0,
        replace: bool = False,
        predictor: str | None = None,
    ) -> None:
        options = {"weight": weight, "replace": replace, "predictor": predictor}
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, model=model, **options)
        gymnasium.Wrapper.__init__(self, env)
        self._encoder = LatentEncoder(model, env.observation_space, goal=False)
        self.model = model = self._encoder.model
        a, shape = model.config.action_dim, env.action_space.shape
        if shape != (a,):
            raise BadValue(f"action space: expected ({a},), as the model was trained on, got {shape}")
        self.weight, self.replace = weight, replace
        self.predictor = model.predictor(predictor or model.predictors[0])
        past = model.config.context * model.config.action_block
        self._latents: deque[np.ndarray] = deque(maxlen=past + 1)
        self._actions: deque[np.ndarray] = deque(maxlen=past)
        self._errors, self._count = 0.0, 0  # their sum and number, of all episodes

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; what was seen before it is forgotten."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._latents.clear()
        self._actions.clear()
        self._latents.append(self._encoder(one_row(observation))[0])
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and judge what it shows."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._latents.append(self._encoder(one_row(observation))[0])
        self._actions.append(np.array(action, np.float32))
        surprise = self._surprise() if len(self._actions) == self._actions.maxlen else 0.0
        reward = self.weight * surprise + (0.0 if self.replace else float(reward))
        return observation, reward, terminated, truncated, {**info, "surprise": surprise}

    @torch.no_grad()
    def _surprise(self) -> float:
        """The error of predicting the present latent over the mean of all."""
        device, block = self.model.device, self.model.config.action_block
        z = torch.from_numpy(np.stack(self._latents)[::block]).to(device)
        blocks = torch.from_numpy(np.stack(self._actions)).to(device).view(-1, len(self.model.low))
        error = float(surprise(self.predictor, z[None], self.model.normalise(blocks)[None]))
        self._errors, self._count = self._errors + error, self._count + 1
        return error * self._count / self._errors if self._errors else 0.0
