"""The agent as behaviour policy: what it experiences fills the replay buffer of a Stable-Baselines3 learner.

Shapes: n environments, a action size.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from worldmodel.errors import BadValue, MissingExtra

View = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], Any]


def fill(
    learner: Any, env: Any, agent: Any, steps: int, view: View, seed: int | None = None
) -> list[tuple[int, dict[str, Any]]]:
    """Act by planning and keep every transition as the learner's own collection would have kept it.

    The agent sees the environment's observations, the learner ``view`` of the same moments. The buffer gets actions
    scaled to [-1, 1], unless they are numbered; where an episode ends, the observation that ended it and not the next
    episode's first; and whether that was a time limit, in ``infos``. Transitions count as the learner's steps, so that
    ``learning_starts`` does not make it act at random afterwards: go on with ``learn(..., reset_num_timesteps=False)``.

    Args:
        learner: an off-policy algorithm (SAC, TD3, DDPG, DQN, with HER or not), or a replay buffer alone.
        env: a Stable-Baselines3 ``VecEnv`` of as many environments as the buffer is for, or one Gymnasium environment;
            either is reset.
        agent: what acts, by ``predict(observation, state, episode_start, deterministic)``.
        steps: environment steps, of all n environments together; rounded up to a multiple of n.
        view: (observation, info) of one environment -> what the learner observes of it, an array or a dictionary of
            arrays; such as ``lambda observation, info: info["state"]``.
        seed: of the environments; None leaves them as they are.

    Returns:
        Of every episode that ended, after how many environment steps it did, and its last info.

    Raises:
        BadValue: another number of environments, other actions, or a view that does not fit the buffer.
        MissingExtra: Stable-Baselines3 is not installed.
    """
    env = _vectorised(env)
    buffer, n = getattr(learner, "replay_buffer", learner), env.num_envs
    _require_fit(buffer, env, steps)
    _cut(buffer)
    if seed is not None:
        env.seed(seed)
    seen = env.reset()
    now = [_viewed(view, buffer, _row(seen, i), info) for i, info in enumerate(env.unwrapped.reset_infos)]
    state, ended, over = None, np.ones(n, bool), []
    for taken in range(n, steps + n, n):
        actions, state = agent.predict(seen, state, ended, True)
        seen, rewards, ended, infos = env.step(actions)
        last = [
            info["terminal_observation"] if end else _row(seen, i) for i, (end, info) in enumerate(zip(ended, infos))
        ]
        after = [_viewed(view, buffer, observation, info) for observation, info in zip(last, infos)]
        buffer.add(_stacked(now), _stacked(after), _scaled(actions, env.action_space), rewards, ended, infos)
        over += [(taken, info) for info, end in zip(infos, ended) if end]
        now = [
            _viewed(view, buffer, _row(seen, i), env.unwrapped.reset_infos[i]) if end else after[i]
            for i, end in enumerate(ended)
        ]
    _cut(buffer)
    if learner is not buffer:
        learner.num_timesteps += taken
        learner._last_obs = None  # of an episode that is cut: learning begins another
    return over


def _vectorised(env: Any) -> Any:
    """A ``VecEnv`` as it is, a Gymnasium environment as one of its own."""
    try:
        import gymnasium
        from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
    except ModuleNotFoundError as error:
        raise MissingExtra("filling a replay buffer", "sb3") from error
    if not isinstance(env, VecEnv | gymnasium.Env):
        raise BadValue(f"env: expected a VecEnv (make_vec_env) or one environment, got {type(env).__name__}")
    return env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])


def _require_fit(buffer: Any, env: Any, steps: int) -> None:
    if not hasattr(buffer, "add") or not hasattr(buffer, "n_envs"):
        raise BadValue(f"learner: expected an off-policy algorithm or its replay buffer, got {type(buffer).__name__}")
    if steps < 1:
        raise BadValue(f"steps: expected 1 or more, got {steps}")
    if buffer.n_envs != env.num_envs:
        raise BadValue(f"env: the buffer is for {buffer.n_envs} environments, got {env.num_envs}")
    if buffer.action_space != env.action_space:
        raise BadValue(f"env: the learner's actions are {buffer.action_space}, the environment's {env.action_space}")


def _cut(buffer: Any) -> None:
    """End the episodes that HER and n-step returns believe to go on, since what comes next is not theirs."""
    if hasattr(buffer, "truncate_last_trajectory"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it does what is wanted
            buffer.truncate_last_trajectory()
    elif getattr(buffer, "handle_timeout_termination", False) and (buffer.pos or buffer.full):
        last = buffer.pos - 1
        buffer.timeouts[last][buffer.dones[last] == 0] = 1  # by itself this changes nothing that is learned


def _row(batch: Any, i: int) -> Any:
    return {name: x[i] for name, x in batch.items()} if isinstance(batch, Mapping) else batch[i]


def _stacked(rows: Sequence[Any]) -> Any:
    if isinstance(rows[0], Mapping):
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return np.stack(rows)


def _viewed(view: View, buffer: Any, observation: Any, info: Mapping[str, Any]) -> Any:
    """What the learner observes, as arrays of the shape that the buffer keeps, whose numbers it can hold."""
    seen, space = view(observation, info), buffer.observation_space
    rows = {name: np.asarray(x) for name, x in seen.items()} if isinstance(seen, Mapping) else np.asarray(seen)
    got = {name: x.shape for name, x in rows.items()} if isinstance(rows, dict) else rows.shape
    expected = {name: x.shape for name, x in space.items()} if isinstance(space, Mapping) else space.shape
    if got != expected:
        raise BadValue(f"view: the learner observes {expected}, got {got}")
    for x, kept in ((rows[name], space[name]) for name in rows) if isinstance(rows, dict) else [(rows, space)]:
        if not np.can_cast(x.dtype, kept.dtype, "same_kind"):
            raise BadValue(f"view: the learner observes {kept.dtype}, got {x.dtype}")
    return rows


def _scaled(actions: np.ndarray, space: Any) -> np.ndarray:
    """Actions (n, a) as buffers keep them: -1 at the lower bound, 1 at the upper; numbered ones (n,) as they are."""
    if not hasattr(space, "low"):
        return actions
    return np.asarray(2 * (actions - space.low) / (space.high - space.low) - 1)
