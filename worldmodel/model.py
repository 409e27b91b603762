"""The world model: one encoder, up to two predictors, and what it must remember to plan.

Shapes: B windows or environments, T frames, S pixels, D latent width, a action size, A = F * a.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worldmodel.blocks import FEWEST, ProjectionHead, padded_rows
from worldmodel.config import ModelConfig
from worldmodel.encoders import Pixels, make_encoder
from worldmodel.errors import BadValue, UnknownName
from worldmodel.heads import RewardHead, ValueHead
from worldmodel.imagination import predict_imagined, random_plans
from worldmodel.interfaces import Context, Prediction
from worldmodel.one_step import OneStep
from worldmodel.prefix import Prefix
from worldmodel.reflex import ReflexHead
from worldmodel.terms import Step, joined

if TYPE_CHECKING:
    from worldmodel.planners.agent import Agent


class Inverse(nn.Sequential):
    """Reads the action block back from two neighbouring latents, (M, 2D) -> (M, A), so that they keep what it moves."""

    reach = 1

    def __init__(self, hidden: int, latent_dim: int, action_width: int) -> None:
        super().__init__(nn.Linear(2 * latent_dim, hidden), nn.GELU(), nn.Linear(hidden, action_width))

    def predict_windows(self, z: Tensor, actions: Tensor) -> Prediction:
        """Actions between all neighbouring frames: z (B, T, D), actions (B, T-1, A)."""
        pairs = torch.cat([z[:, :-1], z[:, 1:]], dim=-1)
        return Prediction(self(pairs.flatten(0, 1)), actions.flatten(0, 1))


class WorldModel(nn.Module):
    """Encodes frames into latents and predicts the latents that actions lead to.

    It knows its action statistics and bounds, so that a plan can be searched in normalised units and executed in the
    environment's.

    Args:
        config: sizes and parts.
    """

    action_mean: Tensor
    action_std: Tensor
    action_low: Tensor
    action_high: Tensor
    reward_scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.about: dict[str, Any] = {}  # provenance, of a model from a folder
        width = config.action_block * config.action_dim
        self.pixels = Pixels(config.image_size)
        self.encoder = make_encoder(config.encoder, config.image_size)
        self.projector = ProjectionHead(self.encoder.width, config.encoder.projector, config.latent_dim)
        self.parts = nn.ModuleDict()
        if config.one_step is not None:
            self.parts["one-step"] = OneStep(config.one_step, config.latent_dim, width, config.context)
        if config.prefix is not None:
            self.parts["prefix"] = Prefix(config.prefix, config.latent_dim, width, config.context)
        if not self.parts:
            raise BadValue("a world model needs at least one predictor: one_step or prefix")
        D, F = config.latent_dim, config.action_block
        self.inverse = Inverse(config.inverse, D, width) if config.inverse else None
        self.reward = RewardHead(config.reward, D, width) if config.reward else None
        self.value = ValueHead(config.value, D, config.discount**F, config.expectile) if config.value else None
        self.reflex = ReflexHead(config.reflex, D, width, config.context) if config.reflex else None
        if config.reward:
            self.register_buffer("reward_scale", torch.ones(()))
        a = config.action_dim
        for name, start in (("mean", 0.0), ("std", 1.0), ("low", -1.0), ("high", 1.0)):
            self.register_buffer(f"action_{name}", torch.full((a,), start))

    # Encoding

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return self.action_mean.device

    def encode(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Encode each frame by itself: ``pixels`` uint8 (B, T, S, S, 3) -> z (B, T, D).

        Raises:
            BadValue: the frames have another size than the model was trained on.
        """
        frames, size = obs["pixels"], self.config.image_size
        if frames.ndim != 5 or frames.shape[2:] != (size, size, 3) or frames.dtype != torch.uint8:
            got = f"{tuple(frames.shape)} {str(frames.dtype).removeprefix('torch.')}"
            raise BadValue(f"pixels: expected (B, T, {size}, {size}, 3) uint8, got {got}")
        rows, real = padded_rows(frames.flatten(0, 1), FEWEST)  # a picture is dear
        features, _ = padded_rows(self._features(rows))
        z: Tensor = self.projector(features)
        return z[:real].unflatten(0, frames.shape[:2])

    def _features(self, rows: Tensor) -> Tensor:
        return self.encoder(self.pixels(rows))

    # Predicting

    @property
    def predictors(self) -> tuple[str, ...]:
        """Names of the predictors the model has."""
        return tuple(self.parts)

    def predictor(self, name: str) -> OneStep | Prefix:
        """Return a predictor by its name.

        Raises:
            UnknownName: the model has no such predictor.
        """
        if name not in self.parts:
            raise UnknownName("predictor", name, self.predictors)
        part = self.parts[name]
        assert isinstance(part, OneStep | Prefix)
        return part

    def step(
        self, groups: Sequence[Mapping[str, Tensor]], generator: torch.Generator | None = None, accumulate: int = 1
    ) -> Step:
        """Run one training step forward.

        All frames are encoded in one call, so that the encoder's batch statistics are those of the whole step. Each
        part then learns from every group of windows that are longer than its ``reach``.

        Args:
            groups: windows of one length each: ``pixels`` uint8 (B, T, S, S, 3) and ``action`` (B, T-1, A) in the
                environment's units; for heads also ``reward`` and ``terminated`` (B, T-1), or ``goal`` uint8
                (B, S, S, 3), a frame that was reached ``ahead`` (B,) model steps after frame C. For an encoder that
                stands still ``z`` (B, T, D) takes the place of ``pixels``, and goals are latents (B, D).
            generator: of the imagined plans.
            accumulate: parts in which the frames pass the encoder.
        """
        known = "z" in groups[0]
        frames = [group["z" if known else "pixels"] for group in groups]
        shown = [x.flatten(0, 1) for x in frames] + [group["goal"] for group in groups if "goal" in group]
        together = torch.cat(shown)
        encoded = together if known else self._encode_in_parts(together, accumulate)
        rows = encoded.split([len(x) for x in shown])
        windows = [
            (part.unflatten(0, x.shape[:2]), self.normalise(group["action"]))
            for part, x, group in zip(rows, frames, groups)
        ]
        parts: dict[str, OneStep | Prefix | Inverse] = {n.replace("-", "_"): self.predictor(n) for n in self.parts}
        if self.inverse is not None:
            parts["inverse"] = self.inverse
        predictions = {
            name: joined([part.predict_windows(z, a) for z, a in windows if z.shape[1] > part.reach])
            for name, part in parts.items()
        }
        if self.config.prefix is not None and self.config.prefix.imagines:
            predictions["imagined"] = self._imagined(windows, generator)
        if self.reflex is not None:
            goals = zip(windows, rows[len(groups) :], (group["ahead"] for group in groups), strict=True)
            predictions["reflex"] = joined([self.reflex.predict_windows(*w, goal, k) for w, goal, k in goals])
        if self.reward is not None:
            predictions |= self._worth(windows, groups)
        return Step(z=tuple(z for z, _ in windows), **predictions)

    def _encode_in_parts(self, rows: Tensor, parts: int) -> Tensor:
        """Encode frames (M, S, S, 3) for training, keeping the encoder's activations of one part at a time.

        The others are computed again when the gradient passes. The projector and its batch statistics, the predictors
        and the loss see the whole batch, so the gradient is that of one part but for rounding.
        """
        if parts == 1:
            return self.encode({"pixels": rows[:, None]})[:, 0]
        features = [
            checkpoint(self._features, x, use_reentrant=False, preserve_rng_state=False) for x in rows.chunk(parts)
        ]
        z: Tensor = self.projector(torch.cat(features))
        return z

    def _imagined(self, windows: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator | None) -> Prediction:
        """One random plan from the beginning of every window."""
        one_step, prefix, C = self.parts["one-step"], self.parts["prefix"], self.config.context
        assert isinstance(one_step, OneStep) and isinstance(prefix, Prefix)
        context = Context(torch.cat([z[:, :C] for z, _ in windows]), torch.cat([a[:, : C - 1] for _, a in windows]))
        count, block = len(context.z), self.config.action_block
        plans = random_plans(count, prefix.max_prefix, self.low, self.high, block, generator)
        return predict_imagined(one_step, prefix, context, plans)

    def _worth(
        self, windows: Sequence[tuple[Tensor, Tensor]], groups: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, Prediction]:
        """What the heads expect of windows, whose rewards lie in the groups."""
        assert self.reward is not None
        rewards = [group["reward"] / self.reward_scale for group in groups]
        found = {"reward": joined([self.reward.predict_windows(z, a, r) for (z, a), r in zip(windows, rewards)])}
        if self.value is not None:
            ends = [group["terminated"] for group in groups]
            known = [(z, r, over) for (z, _), r, over in zip(windows, rewards, ends) if z.shape[1] > self.value.reach]
            found["value"] = joined([self.value.predict_windows(*each) for each in known])
        return found

    def update(self) -> None:
        """Let slow averages follow, after every training step."""
        if self.value is not None:
            self.value.update()

    # Actions

    def set_actions(self, mean: Any, std: Any, low: Any, high: Any) -> None:
        """Remember the actions' statistics and bounds, each (a,) in the environment's units."""
        for name, value in (("mean", mean), ("std", std), ("low", low), ("high", high)):
            getattr(self, f"action_{name}").copy_(torch.as_tensor(value, dtype=torch.float32))
        self.action_std.clamp_(min=1e-6)

    def normalise(self, actions: Tensor) -> Tensor:
        """Standardise action blocks (..., A) given in the environment's units."""
        blocks = self.config.action_block
        return (actions - self.action_mean.repeat(blocks)) / self.action_std.repeat(blocks)

    def denormalise(self, actions: Tensor) -> Tensor:
        """Undo :meth:`normalise`: (..., A) in the environment's units."""
        blocks = self.config.action_block
        return actions * self.action_std.repeat(blocks) + self.action_mean.repeat(blocks)

    @property
    def low(self) -> Tensor:
        """Lower bound of a normalised action block, (A,)."""
        return self.normalise(self.action_low.repeat(self.config.action_block))

    @property
    def high(self) -> Tensor:
        """Upper bound of a normalised action block, (A,)."""
        return self.normalise(self.action_high.repeat(self.config.action_block))

    # Acting

    def agent(self, env: Any = None, **options: Any) -> Agent:
        """Build an agent that plans with this model, ready for ``agent.predict(obs)``.

        Args:
            env: the environment to act in; plans stay within its action bounds.
            options: ``goal``, ``objective``, ``proposal`` and ``actions``, as
                ``worldmodel.planners.options.make_agent`` takes them, and fields of
                ``worldmodel.planners.config.AgentConfig`` and of the planner's own config, such as ``horizon=32``.

        Raises:
            UnknownName: an option, planner or predictor that does not exist.
            BadValue: a value out of range, or that does not fit the model or the environment.
        """
        from worldmodel.planners.options import make_agent

        return make_agent(self, env, **options)
