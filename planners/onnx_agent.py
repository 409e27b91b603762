"""Planning without torch: the cross-entropy method in numpy, on the graphs that ``wm-model export`` writes.

Shapes: N candidates, K elites, H horizon (model steps), F action block, a action size, A = F * a, C context frames,
c of them that were seen, S pixels, D latent size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.errors import BadFile, BadValue, MissingExtra, UnknownName
from worldmodel.files import read_json
from worldmodel.planners.arrivals import arrival_steps
from worldmodel.planners.config import AgentConfig, CEMConfig
from worldmodel.planners.numpy_cem import cem
from worldmodel.planners.past import spaced
from worldmodel.planners.settings import configured

Array = np.ndarray
Graph = Callable[..., Array]
HERE = ("predictor", "horizon", "execute_steps", "arrivals", "warm_start", "seed", "deadline_ms")  # of the agent's


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What an agent remembers between calls of ``predict``; it is not changed."""

    seen: tuple[Array, ...] = ()  # pictures of the last ticks, as far back as the model looks
    sent: tuple[Array, ...] = ()  # actions of all of them but the last
    rest: Array  # of the plan, (L, a)
    pending: int = 0  # actions of it to execute before planning again
    plans: int = 0


class OnnxAgent:
    """Plans for one robot as ``model.agent(controller="search")`` does, with CEM and the distance to the goal's latent.

    Args:
        folder: what ``wm-model export`` wrote.
        graphs: functions that take the place of the folder's graphs, by name.
        threads: that onnxruntime uses; as many as it likes if None.
        options: fields of ``CEMConfig`` and those of ``AgentConfig`` named in ``HERE``, with the same defaults.

    Raises:
        BadFile: the folder is missing or holds no ONNX graphs.
        BadValue: a value out of range, or an option that plans without torch do not have.
        UnknownName: an option or predictor that does not exist.
        MissingExtra: onnxruntime is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        graphs: Mapping[str, Graph] | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        for name in sorted({f.name for f in fields(AgentConfig)} - {*HERE} & {*options}):
            raise BadValue(
                f"{name}: plans without torch have no such option, expected those of cem or {', '.join(HERE)}"
            )
        config, search = configured(options)
        assert isinstance(search, CEMConfig)
        self.config, self.search = config, search
        about = read_json(Path(folder) / "config.json")
        if "graphs" not in about:
            raise BadFile(f"{folder} is no exported model: make one with wm-model export RUN --out {folder}")
        self.graphs = graphs or _opened(Path(folder), about["graphs"], threads)
        names = tuple(name for name in self.graphs if name != "encoder")
        self.predictor = config.predictor_of(names)
        if self.predictor not in names:
            raise UnknownName("predictor", self.predictor, names)
        self.image_size, self.latent_dim, self.max_prefix = (
            about[name] for name in ("image_size", "latent_dim", "max_prefix")
        )
        self.context, self.action_block, self.action_dim = (
            about[name] for name in ("context", "action_block", "action_dim")
        )
        self.action_low, self.action_high, self._mean, self._std = (
            np.array(about[f"action_{name}"], np.float32) for name in ("low", "high", "mean", "std")
        )
        if not (np.isfinite(self.action_low).all() and np.isfinite(self.action_high).all()):
            raise BadFile(f"{folder}: actions have no bounds")
        self._low, self._high = (
            np.tile((bound - self._mean) / self._std, self.action_block)
            for bound in (self.action_low, self.action_high)
        )

    def predict(self, pixels: Array, goal: Array, state: Memory | None = None) -> tuple[Array, Memory]:
        """Choose the next primitive action; every R * F of them a plan is made.

        Args:
            pixels: uint8 (S, S, 3).
            goal: another picture, or a latent (D,).
            state: what the last call returned; None at the beginning of an episode.

        Returns:
            The action (a,) float32 within the bounds, and the new state.

        Raises:
            BadValue: a picture of another size or type.
            WorldModelError: no plan has a finite cost.
        """
        kept = (self.context - 1) * self.action_block
        memory = state or Memory(rest=np.empty((0, self.action_dim), np.float32))
        seen = (*memory.seen, np.array(pixels))[-kept - 1 :]
        if not memory.pending:
            pictures, sent = spaced(seen, memory.sent, self.action_block, self.action_dim)
            plan = self.plan(pictures, sent, goal, memory.rest, memory.plans)
            pending = self.config.steps_executed * self.action_block
            memory = replace(memory, rest=plan, pending=pending, plans=memory.plans + 1)
        action: Array = memory.rest[0]
        sent_now = (*memory.sent, action)[-kept:] if kept else ()
        return action.copy(), replace(
            memory, seen=seen, sent=sent_now, rest=memory.rest[1:], pending=memory.pending - 1
        )

    def plan(self, pictures: Sequence[Array], sent: Array, goal: Any, rest: Array, number: int) -> Array:
        """Plan once, (H * F, a); see ``worldmodel.planners.serving.Planning``."""
        until = None if self.config.deadline_ms is None else time.perf_counter() + self.config.deadline_ms / 1000
        shown = [self._image("pixels", picture) for picture in pictures]
        goal = np.asarray(goal)
        if goal.ndim != 1:
            shown.append(self._image("goal", goal))
        elif goal.shape != (self.latent_dim,) or not np.isfinite(goal).all():
            raise BadValue(f"goal: expected a latent of {self.latent_dim} finite numbers, got shape {goal.shape}")
        z = self.graphs["encoder"](pixels=np.stack(shown))
        z, z_goal = (z, goal.astype(np.float32)) if goal.ndim == 1 else (z[:-1], z[-1])
        H, F, A = self.config.horizon, self.action_block, len(self._low)
        start = np.zeros((H * F, self.action_dim), np.float32)
        if self.config.warm_start:
            start[: len(rest)] = ((rest - self._mean) / self._std)[: len(start)]
        random = self.noise(number)
        bounds = self._low, self._high
        found = cem(
            lambda plans: self.cost(z, sent, z_goal, plans), start.reshape(H, A), *bounds, F, random, self.search, until
        )
        actions = found.reshape(-1, self.action_dim) * self._std + self._mean
        return np.clip(actions, self.action_low, self.action_high)

    def noise(self, number: int) -> Callable[[tuple[int, ...]], Array]:
        """Standard normal numbers of a shape, for the plan of this number."""
        random = np.random.default_rng((self.config.seed, number))
        return lambda shape: random.standard_normal(shape, np.float32)

    def cost(self, z: Array, sent: Array, z_goal: Array, plans: Array) -> Array:
        """Squared distance to the goal's latent at the best arrival, (N,).

        Args:
            z: what was seen, (c, D), oldest first.
            sent: actions in between, ((c - 1) * F, a).
            z_goal: (D,).
            plans: normalised, (N, H, A).
        """
        F = self.action_block
        H = plans.shape[1]
        steps = self.config.arrivals or arrival_steps(H, None) or (H,)
        blocks = (plans * np.tile(self._std, F) + np.tile(self._mean, F)).astype(np.float32)
        before = np.broadcast_to(z, (len(plans), *z.shape))
        if self.predictor == "prefix":
            after = self._jumps(before, blocks, steps)
        else:
            past = np.broadcast_to(sent.reshape(-1, blocks.shape[-1]), (len(plans), len(z) - 1, blocks.shape[-1]))
            after = self._walk(before, np.concatenate([past, blocks], axis=1), steps)
        distance: Array = np.square(after - z_goal).sum(axis=-1).min(axis=1)
        return distance

    def _jumps(self, z: Array, blocks: Array, steps: Sequence[int]) -> Array:
        """Latents (N, steps, D) after some of the steps: in jumps, each from the end of the last."""
        found: dict[int, Array] = {}
        for start in range(0, max(steps), self.max_prefix):
            stop = min(start + self.max_prefix, max(steps))
            anchors = range(max(start, stop - self.context) + 1, stop + 1) if stop < max(steps) else ()
            wanted = sorted({step for step in steps if start < step <= stop} | {*anchors})
            asked = np.array(wanted, np.int64) - start
            after = self.graphs["prefix"](z=z, actions=blocks[:, start:stop], steps=asked)
            found |= dict(zip(wanted, after.swapaxes(0, 1)))
            z = np.concatenate([z, *(found[step][:, None] for step in anchors)], axis=1)[:, -self.context :]
        return np.stack([found[step] for step in steps], axis=1)

    def _walk(self, z: Array, blocks: Array, steps: Sequence[int]) -> Array:
        """The same, one step after another; ``blocks`` (N, c - 1 + H, A) begin with what was executed."""
        seen = z.shape[1]
        for step in range(seen, seen + max(steps)):
            some = slice(max(0, step - self.context), step)
            after = self.graphs["one-step"](z=z[:, some], actions=blocks[:, some])
            z = np.concatenate([z, after[:, None]], axis=1)
        return z[:, [seen - 1 + step for step in steps]]

    def _image(self, name: str, image: Any) -> Array:
        S, image = self.image_size, np.asarray(image)
        if image.shape != (S, S, 3) or image.dtype != np.uint8:
            raise BadValue(f"{name}: expected uint8 ({S}, {S}, 3), got {image.dtype} {image.shape}")
        return image


def _opened(folder: Path, graphs: Mapping[str, Mapping[str, Any]], threads: int | None) -> dict[str, Graph]:
    """The graphs of a folder as functions of arrays."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("planning without torch", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0

    def graph(file: str) -> Graph:
        if not (folder / file).is_file() or not file.endswith(".onnx"):
            raise BadFile(f"{folder / file}: expected an ONNX graph, as wm-model export --format onnx writes it")
        session = onnxruntime.InferenceSession(folder / file, options, providers=["CPUExecutionProvider"])
        return lambda **inputs: session.run(None, inputs)[0]

    return {name: graph(about["file"]) for name, about in graphs.items()}
