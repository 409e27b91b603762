"""Recording an episode row by row while somebody plays it."""

from __future__ import annotations

from typing import Any

import numpy as np

from worldmodel.envs.factors import column


class Recording:
    """One episode from its reset on, in the columns of datasets/store.py.

    Where pictures are not observed, the states are drawn afterwards: they do not interrupt the simulator.

    Args:
        env: a task; it is reset.
        seed: of the reset.
        variation: what of the world is drawn for this episode; see worldmodel.envs.factors.

    Attributes:
        obs: what was observed last.
        info: what was said beside it.
    """

    def __init__(self, env: Any, seed: int, variation: str = "") -> None:
        self.env, self.seed = env, seed
        self.obs, self.info = env.reset(seed=seed, options={"variation": variation} if variation else None)
        self._world = self.info["variation"] if variation else {}
        self._pixels, self._states = [self.obs.get("pixels")], [self.info["state"]]
        self._actions: list[np.ndarray] = []
        self._rewards, self._terminated, self._truncated = [np.nan], [False], [False]

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self._terminated[-1] or self._truncated[-1]

    def step(self, action: Any) -> None:
        """Take an action and note what it leads to."""
        self._actions.append(np.asarray(action, np.float32))
        self.obs, reward, terminated, truncated, self.info = self.env.step(self._actions[-1])
        self._pixels.append(self.obs.get("pixels"))
        self._states.append(self.info["state"])
        self._rewards.append(float(reward))
        self._terminated.append(bool(terminated))
        self._truncated.append(bool(truncated))

    def columns(self, policy: str, split: int = 0) -> dict[str, Any]:
        """Return the columns of the episode as it is now; ``policy`` is the name of what played it."""
        task, states = self.env.unwrapped, np.stack(self._states)
        drawn = self._pixels if self._pixels[0] is not None else [task.draw(state) for state in states]
        return {
            "pixels": np.stack(drawn),
            "action": np.stack([*self._actions, np.full_like(self._actions[-1], np.nan)]),
            "reward": np.asarray(self._rewards),
            "terminated": np.asarray(self._terminated),
            "truncated": np.asarray(self._truncated),
            **({"state": states} if task.state_dim else {}),
            **(task.columns(states) if task.restorable else {}),
            "split": split,
            "seed": self.seed,
            "policy": policy.encode(),
            **{
                column(name): np.broadcast_to(value, (len(states), *value.shape)) for name, value in self._world.items()
            },
        }
