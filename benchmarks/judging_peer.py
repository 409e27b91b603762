"""The half of judging_parity.py that runs where stable-worldmodel is installed, with this package on ``PYTHONPATH``.

Both evaluators drive environments of stable-worldmodel's class with the same recorded actions. Drawing is left out, in
both: it takes most of the time, and actions that were recorded do not depend on it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import gymnasium
import numpy as np

from worldmodel.benchmarks.evaluate import evaluate
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.benchmarks.policies import ReplayPolicy
from worldmodel.envs import registry


class Recorded:
    """A policy in stable-worldmodel's form that plays given actions (n, T, a), one row for each environment."""

    def __init__(self, actions: np.ndarray) -> None:
        self.actions, self.step = actions, 0

    def set_env(self, env: Any) -> None:
        """Nothing depends on it."""

    def get_action(self, infos: Any, **_: Any) -> np.ndarray:
        """The next action of every environment, (n, a)."""
        self.step += 1
        return self.actions[:, self.step - 1]


class Theirs(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """An environment of theirs as our evaluator asks for it: states go in and out, and a success is said."""

    def __init__(self, name: str, steps: int) -> None:
        self.inner: Any = gymnasium.make(name, max_episode_steps=steps)
        self.action_space = self.inner.action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Put it into a state as their evaluator does; the state that is told is the one asked for."""
        self.inner.reset(seed=seed)
        self.inner.unwrapped._set_state(options["state"])
        self.inner.unwrapped._set_goal_state(options["goal_state"])
        return {"state": options["state"]}, {"state": options["state"], "success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One step of theirs, which ends with a success."""
        _, reward, terminated, truncated, _ = self.inner.step(action)
        state = state_of(self.inner)
        return {"state": state}, float(reward), bool(terminated), truncated, {"state": state, "success": terminated}


def state_of(env: Any) -> np.ndarray:
    """What their dataset calls ``state``, float64."""
    inner = env.unwrapped
    return np.array(inner._get_obs() if hasattr(inner, "agent") else inner.agent_position, np.float64)


@contextmanager
def undrawn() -> Iterator[None]:
    """Leave out what they draw."""
    import torch
    from stable_worldmodel.envs.pusht.env import PushT
    from stable_worldmodel.envs.two_room.env import TwoRoomEnv

    with ExitStack() as stack:
        for kind, picture in (
            (PushT, np.zeros((224, 224, 3), np.uint8)),
            (TwoRoomEnv, torch.zeros(3, 224, 224).byte()),
        ):
            stack.enter_context(patch.object(kind, "_render_frame", lambda *_, shown=picture, **__: shown))
        yield


def their_rows(dataset: Any, offset: int, n: int, seed: int) -> np.ndarray:
    """Start rows by the rule of their evaluation script: uniform without replacement where the goal fits, sorted."""
    lengths, offsets = np.asarray(dataset.lengths), np.asarray(dataset.offsets)
    step = np.concatenate([np.arange(length) for length in lengths])
    valid = np.nonzero(step <= np.repeat(lengths, lengths) - offset - 1)[0]
    first = np.repeat(offsets, lengths)
    rows: np.ndarray = (first + step)[np.sort(np.random.default_rng(seed).choice(valid, n, replace=False))]
    return rows


def judge(env: str, path: str, found: str, offset: int, budget: int, n: int, seed: int, size: int) -> dict[str, Any]:
    """Let both evaluators play the actions in the file ``found``, and write what happened beside it.

    Args:
        env: their name of the environment.
        path: their dataset.
        found: an ``.npz`` with start ``rows`` (n,) and actions (n, budget, a) under the names of policies.
        offset: environment steps from start to goal.
        budget: environment steps allowed.
        n: pairs.
        seed: of the start rows.
        size: side of the pictures in the dataset.
    """
    import stable_worldmodel
    from stable_worldmodel.data import load_dataset

    given: Mapping[str, np.ndarray] = dict(np.load(found))
    dataset = load_dataset(path, num_steps=1, frameskip=1)
    rows = their_rows(dataset, offset, n, seed)
    episode = np.searchsorted(dataset.offsets, rows, side="right") - 1
    step = rows - np.asarray(dataset.offsets)[episode]
    chunks = dataset.load_chunk(episode, step, step + offset + 1)
    states = np.stack([np.asarray(chunk["state"]) for chunk in chunks])
    pairs = Pairs(
        env=env,
        starts=states[:, 0].astype(np.float64),
        goals=states[:, -1].astype(np.float64),
        actions=given["replay"][:, :offset],
        episode=episode,
        row=rows,
        hard=np.zeros(n, bool),
        hard_label="",
        offset=offset,
        split="train",
        solved_at_start=0,
        out_of_view=0,
    )
    callables = [
        {"method": "_set_state", "args": {"state": {"value": "state"}}},
        {"method": "_set_goal_state", "args": {"goal_state": {"value": "goal_state"}}},
    ]
    out = {"rows": rows, "starts": pairs.starts, "goals": pairs.goals}
    with undrawn():
        for name in (name for name in given if name != "rows"):
            world = stable_worldmodel.World(env, num_envs=n, image_shape=(size, size), max_episode_steps=budget + 1)
            world.set_policy(Recorded(given[name]))
            # Theirs resets by chance before it sets a state, and contacts of that moment are felt afterwards.
            world.reset = lambda seed=None, options=None, of=world: type(of).reset(of, seed=list(range(n)))
            told = world.evaluate(
                dataset=dataset,
                episodes_idx=episode.tolist(),
                start_steps=step.tolist(),
                goal_offset=offset,
                eval_budget=budget,
                callables=callables,
            )
            out[f"{name}.theirs"] = np.asarray(told["episode_successes"], bool)
            out[f"{name}.theirs_end"] = np.stack([state_of(one) for one in world.envs.envs])
            world.close()
            with patch.object(registry, "make", lambda task, **_: Theirs(task, budget + 1)):
                outcome = evaluate(ReplayPolicy(given[name]), env, pairs, budget)
            out[f"{name}.ours"], out[f"{name}.states"] = outcome.success, outcome.states
    np.savez(found.replace(".npz", "-out.npz"), **out)  # type: ignore[arg-type]
    return {}


if __name__ == "__main__":
    answer = judge(*json.loads(sys.argv[2]))
    print("\n" + json.dumps(answer))  # the last line: the packages above print too
