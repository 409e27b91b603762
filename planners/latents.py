"""Environments whose observation is the latent of a trained model, for any algorithm that learns from vectors.

``LatentObservation`` wraps one Gymnasium environment, ``VectorLatentObservation`` a vector of them; for
Stable-Baselines3's VecEnv see ``worldmodel.planners.latents_sb3``.

Shapes: B environments, S pixels, D latent size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import batch_space

from worldmodel.checkpoint import load_model
from worldmodel.errors import BadValue

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


class LatentEncoder:
    """Turns observations with pictures into latents; that of a goal is kept for as long as its picture stays the same.

    Args:
        model: whose encoder is asked, or its run or model folder; it goes into evaluation mode.
        space: of a single observation: pictures (S, S, 3) uint8, or a Dict of them with ``pixels``, perhaps ``goal``,
            and whatever else, which is left out.
        goal: append the goal's latent where the space has a goal.

    Attributes:
        space: of what comes out: Box (D,), or (2D,) with the goal's latent behind that of the present.

    Raises:
        BadValue: no pictures, or of another size than the model was trained on.
        BadFile: no such folder.
    """

    def __init__(self, model: WorldModel | str | Path, space: spaces.Space[Any], goal: bool = True) -> None:
        self.model = model = (load_model(model) if isinstance(model, str | Path) else model).eval()
        self.in_dict = isinstance(space, spaces.Dict)
        entries = dict(space) if isinstance(space, spaces.Dict) else {"pixels": space}
        self.with_goal = goal and "goal" in entries
        for name in ("pixels", "goal") if self.with_goal else ("pixels",):
            if name not in entries:
                raise BadValue(f"observation space: no {name!r} picture, it has {', '.join(entries)}")
            self._check(name, entries[name].shape, entries[name].dtype)
        width = model.config.latent_dim * (1 + self.with_goal)
        self.space = spaces.Box(-np.inf, np.inf, (width,), np.float32)
        self._goals: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # of each row, its picture and its latent

    def __call__(self, observations: Any, rows: Sequence[int] | None = None) -> np.ndarray:
        """Encode the observations of environments ``rows`` (all of them by default) in one call: (B, D) or (B, 2D)."""
        pixels = np.asarray(observations["pixels"] if self.in_dict else observations)
        if not self.with_goal:
            return self.encode(pixels)
        goals = np.asarray(observations["goal"])
        rows = range(len(pixels)) if rows is None else rows
        new = [i for i, row in enumerate(rows) if row not in self._goals or (self._goals[row][0] != goals[i]).any()]
        z = self.encode(np.concatenate([pixels, goals[new]]) if new else pixels)
        for i, latent in zip(new, z[len(pixels) :]):
            self._goals[rows[i]] = goals[i].copy(), latent
        return np.concatenate([z[: len(pixels)], np.stack([self._goals[row][1] for row in rows])], axis=1)

    def view(self, observation: Any, info: Mapping[str, Any] | None = None) -> np.ndarray:
        """Encode the observation of one environment, as ``worldmodel.planners.replay.fill`` asks: (D,) or (2D,)."""
        latent: np.ndarray = self(one_row(observation))[0]
        return latent

    @torch.no_grad()
    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures (B, S, S, 3) uint8 -> latents (B, D) float32. Raises BadValue for others."""
        self._check("pixels", pictures.shape[1:], pictures.dtype)
        frames = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.model.device)
        z: np.ndarray = self.model.encode({"pixels": frames[:, None]})[:, 0].float().cpu().numpy()
        return z

    def _check(self, name: str, shape: Any, dtype: Any) -> None:
        size = self.model.config.image_size
        if shape != (size, size, 3) or dtype != np.uint8:
            raise BadValue(
                f"observation {name!r}: expected uint8 ({size}, {size}, 3), as the model was trained on, "
                f"got {dtype} {shape}"
            )


class LatentObservation(gymnasium.ObservationWrapper[np.ndarray, Any, Any], RecordConstructorArgs):
    """An environment whose observation is the latent (D,) float32 of its picture, or (2D,) with that of its goal.

    Args:
        env: observes a picture, or a Dict with ``pixels`` and perhaps ``goal``.
        model: the trained model, which is not changed, or its run or model folder.
        goal: append the goal's latent where there is a goal; it is encoded once an episode.

    Raises:
        BadValue: no pictures, or of another size than the model was trained on; another kind of environment.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], model: WorldModel | str | Path, goal: bool = True) -> None:
        require_kind(env, gymnasium.Env)
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, model=model, goal=goal)  # for the spec
        gymnasium.ObservationWrapper.__init__(self, env)
        self.encoder = LatentEncoder(model, env.observation_space, goal)
        self.observation_space = self.encoder.space

    def observation(self, observation: Any) -> np.ndarray:
        """Encode one observation."""
        return self.encoder.view(observation)


class VectorLatentObservation(gymnasium.vector.VectorWrapper[np.ndarray, Any, Any, Any, Any]):
    """The same for Gymnasium's vector environments, in any autoreset mode: all rows are encoded in one call.

    ``info["final_obs"]``, which the same-step mode gives, is encoded too.

    Args:
        env: vector environment.
        model: the trained model, which is not changed, or its run or model folder.
        goal: append the goal's latent where there is a goal; it is encoded once an episode.

    Raises:
        BadValue: no pictures, or of another size than the model was trained on; another kind of environment.
    """

    def __init__(
        self, env: gymnasium.vector.VectorEnv[Any, Any, Any], model: WorldModel | str | Path, goal: bool = True
    ) -> None:
        require_kind(env, gymnasium.vector.VectorEnv)
        super().__init__(env)
        self.encoder = LatentEncoder(model, env.single_observation_space, goal)
        self.single_observation_space = self.encoder.space
        self.observation_space = batch_space(self.encoder.space, self.num_envs)

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin episodes; takes what the environment's own ``reset`` takes."""
        observations, info = self.env.reset(**options)
        return self.encoder(observations), info

    def step(self, actions: Any) -> tuple[np.ndarray, Any, Any, Any, dict[str, Any]]:
        """Step all environments."""
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        if "final_obs" in info:
            rows = np.flatnonzero(info["_final_obs"])
            final = np.full(self.num_envs, None, dtype=object)  # Gymnasium's own is not ours to change
            for row in rows:
                final[row] = self.encoder(one_row(info["final_obs"][row]), [int(row)])[0]
            info = {**info, "final_obs": final}
        return self.encoder(observations), rewards, terminated, truncated, info


def require_kind(env: Any, kind: type) -> None:
    """Raise ``BadValue``, which says what wraps what, unless the environment is of this kind."""
    if not isinstance(env, kind):
        raise BadValue(
            f"env: expected a {kind.__module__.split('.')[0]} {kind.__name__}, got {type(env).__name__}: "
            "LatentObservation wraps one environment, VectorLatentObservation a vector of gymnasium.vector, "
            "VecLatentObservation of worldmodel.planners.latents_sb3 a VecEnv"
        )


def one_row(observation: Any) -> Any:
    """An observation as a batch of one."""
    if isinstance(observation, Mapping):
        return {name: np.asarray(value)[None] for name, value in observation.items()}
    return np.asarray(observation)[None]
