"""Start and goal pairs as the episodes of Gymnasium's and Stable-Baselines3's environments.

Environment j of n is dealt the pairs j, j + n, j + 2n, ..., which are the numbers of the episodes that row j of an
agent runs (``planners/state.py``). So ``evaluate_policy`` ends each pair as ``benchmarks/evaluate.py`` does.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from worldmodel.benchmarks.evaluate import Outcome, at_start
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.envs import registry
from worldmodel.errors import BadValue, MissingExtra


class PairEpisodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A task whose episodes are pairs: each begins at a start, and ends on success or with the budget.

    ``info`` has ``is_success``, and ``pair``, its number; after the last pair comes the first again.

    Args:
        env: the task, with the budget as its time limit.
        pairs: starts and goals.
        first: number of the first pair.
        every: from each pair to the next.

    Raises:
        BadValue: strict pairs, which are judged after the last step and not ended by success.
    """

    def __init__(self, env: Any, pairs: Pairs, first: int = 0, every: int = 1) -> None:
        if pairs.strict:
            raise BadValue("pairs: expected ones that success ends, got strict ones: wm-plan judges those")
        super().__init__(env)
        self.pairs, self.every = pairs, every
        self._next = self._pair = first

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next pair; seed and options are the pair's own."""
        self._pair, self._next = self._next, (self._next + self.every) % len(self.pairs)
        observation, info = at_start(self.env, self.pairs, self._pair)
        return observation, {**info, "pair": self._pair}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the task; success ends the episode."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        success = bool(info["success"])
        return (
            observation,
            reward,
            terminated or success,
            truncated,
            {**info, "is_success": success, "pair": self._pair},
        )


def vector(task: str, pairs: Pairs, budget: int, count: int, image_size: int = 64, **options: Any) -> Any:
    """Deal the pairs to ``count`` environments in Stable-Baselines3's ``DummyVecEnv``.

    Args:
        task: name of the environment.
        pairs: starts and goals.
        budget: environment steps allowed for each.
        count: environments; a divisor of the number of pairs, so that each gets as many.
        image_size: side of the pictures.
        options: further arguments of the task, such as ``render_preset``.

    Raises:
        BadValue: the pairs cannot be dealt out evenly, or are strict.
        MissingExtra: Stable-Baselines3 is not installed.
    """
    if count < 1 or len(pairs) % count:
        raise BadValue(f"envs: {count} environments cannot share {len(pairs)} pairs evenly")
    try:
        from stable_baselines3.common.vec_env import DummyVecEnv
    except ModuleNotFoundError as error:
        raise MissingExtra("evaluate_policy", "sb3") from error
    options |= dict(image_size=image_size, terminate_on_success=False, max_episode_steps=budget)

    def dealt(first: int) -> Any:
        return lambda: PairEpisodes(registry.make(task, **options), pairs, first, count)

    return DummyVecEnv([dealt(first) for first in range(count)])


def evaluate_by_sb3(agent: Any, envs: Any, pairs: Pairs, budget: int) -> Outcome:
    """Run every pair once by ``evaluate_policy``, in what ``vector`` has just made.

    Args:
        agent: anything with Stable-Baselines3's ``predict``.
        envs: the environments.
        pairs: the same as theirs.
        budget: the same.
    """
    from stable_baselines3.common.evaluation import evaluate_policy

    success, steps = np.zeros(len(pairs), bool), np.full(len(pairs), budget)

    def note(now: dict[str, Any], _: dict[str, Any]) -> None:
        if now["done"] and now["info"]["is_success"]:
            pair = now["info"]["pair"]
            success[pair], steps[pair] = True, now["current_lengths"][now["i"]]

    evaluate_policy(agent, envs, n_eval_episodes=len(pairs), callback=note, warn=False)
    nothing = np.empty((len(pairs), 0, 0))  # SB3 does not say what happened on the way
    return Outcome(success=success, steps=steps, rollouts=(), states=nothing, actions=nothing)
