"""Tasks that look and act alike in a mirror: each window can then be learned from in up to eight ways.

Shapes: B windows, T frames, S pixels, F action block, a action size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import BadValue

Matrix = tuple[tuple[float, ...], ...]

# What a picture looks like in each mirror: rows are its axis -3, columns -2.
PICTURES: dict[str, Callable[[Tensor], Tensor]] = {
    "left-right": lambda x: x.flip(-2),
    "top-bottom": lambda x: x.flip(-3),
    "diagonal": lambda x: x.transpose(-3, -2),
}
# Task -> mirror -> what becomes of an action there, (a, a).
MIRRORS: dict[str, Mapping[str, Matrix]] = {
    "pusht": {
        "left-right": ((-1.0, 0.0), (0.0, 1.0)),
        "top-bottom": ((1.0, 0.0), (0.0, -1.0)),
        "diagonal": ((0.0, 1.0), (1.0, 0.0)),
    },
    # In the other two its floor looks different.
    "dmc/reacher-qpos": {"diagonal": ((-1.0, 0.0), (0.0, -1.0))},
}


class Mirroring:
    """Holds windows, each with its goal, before the mirrors of a task; one without mirrors keeps them as they are.

    Args:
        env: the task.
    """

    def __init__(self, env: str) -> None:
        self.actions = {name: torch.tensor(matrix) for name, matrix in MIRRORS.get(env, {}).items()}

    def __len__(self) -> int:
        return len(self.actions)

    def require_alike(self, low: np.ndarray, high: np.ndarray) -> None:
        """Refuse actions that mirrors would take out of their range, such as places in pixels.

        Args:
            low: lowest primitive action, (a,).
            high: highest.

        Raises:
            BadValue: a mirror moves their bounds by more than a tenth of the range, or they have another size.
        """
        for name, matrix in self.actions.items():
            ends = np.stack([low, high])
            seen = ends @ matrix.numpy().T if len(low) == len(matrix) else np.full_like(ends, np.inf)
            moved = np.abs(np.sort(seen, axis=0) - ends)
            if (moved > 0.1 * (high - low)).any():
                raise BadValue(
                    f"train.mirror: mirrored ({name}), actions from {low.tolist()} to {high.tolist()} would leave that "
                    "range; give --train.no-mirror"
                )

    def __call__(self, group: Mapping[str, Tensor], held: np.ndarray) -> dict[str, Tensor]:
        """Mirror windows.

        Args:
            group: ``pixels`` uint8 (B, T, S, S, 3), ``action`` (B, T-1, F * a), perhaps ``goal`` uint8 (B, S, S, 3);
                all else stays as it is.
            held: (mirrors, B) bool, whether a window is held before a mirror; one after the other.
        """
        found = dict(group)
        if not held.size:
            return found
        for matrix, chosen in zip(self.actions.values(), torch.from_numpy(held).to(found["action"].device)):
            turned = found["action"].unflatten(-1, (-1, len(matrix))) @ matrix.T.to(found["action"])
            found["action"] = torch.where(chosen[:, None, None], turned.flatten(-2), found["action"])
        for shown in found.keys() & {"pixels", "goal"}:
            found[shown] = self._pictures(found[shown], held)
        return found

    def _pictures(self, x: Tensor, held: np.ndarray) -> Tensor:
        """Pictures (B, ..., S, S, 3), those that are turned alike side by side meanwhile."""
        way = 2 ** np.arange(len(held)) @ held  # (B,), a bit for each mirror
        order = np.argsort(way, kind="stable")
        ways, counts = np.unique(way, return_counts=True)
        turned = []
        for number, part in zip(ways, x.index_select(0, _on(x, order)).split(counts.tolist())):
            for bit, name in enumerate(self.actions):
                part = PICTURES[name](part) if number >> bit & 1 else part
            turned.append(part)
        return torch.cat(turned).index_select(0, _on(x, np.argsort(order)))


def _on(x: Tensor, rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows).to(x.device)
