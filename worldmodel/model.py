"""The world model: one encoder, up to two predictors, and what it must remember to plan.

Shapes: B windows or environments, T frames, S pixels, D latent width, a action size, A = F * a.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.blocks import ProjectionHead, padded_rows
from worldmodel.config import ModelConfig
from worldmodel.encoders import Pixels, make_encoder
from worldmodel.errors import BadValue, UnknownName
from worldmodel.interfaces import Prediction
from worldmodel.one_step import OneStep
from worldmodel.prefix import Prefix
from worldmodel.terms import Step

if TYPE_CHECKING:
    from worldmodel.planners.agent import Agent


class Thumbnail(nn.Sequential):
    """Decodes a latent into a picture of 32 x 32 pixels: (M, D) -> (M, 3072). A training aid; planning never uses it.

    Two linear layers on purpose: in a short run convolutions upwards take far longer to show where anything is.
    """

    side = 32

    def __init__(self, config: ModelConfig) -> None:
        hidden = config.reconstruction
        super().__init__(nn.Linear(config.latent_dim, hidden), nn.GELU(), nn.Linear(hidden, 3 * self.side**2))

    def predict_windows(self, z: Tensor, pixels: Tensor) -> Prediction:
        """Decode the first and the last frame of each window: z (B, T, D), pixels uint8 (B, T, S, S, 3)."""
        ends = pixels[:, [0, -1]].flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        return Prediction(self(z[:, [0, -1]].flatten(0, 1)), F.adaptive_avg_pool2d(ends, self.side).flatten(1))


class WorldModel(nn.Module):
    """Encodes frames into latents and predicts the latents that actions lead to.

    It knows its action statistics and bounds, so that a plan can be searched in normalised units and executed in the
    environment's.

    Args:
        config: sizes and parts.
    """

    columns = ("pixels",)
    action_mean: Tensor
    action_std: Tensor
    action_low: Tensor
    action_high: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
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
        self.inverse = (
            nn.Sequential(nn.Linear(2 * config.latent_dim, config.inverse), nn.GELU(), nn.Linear(config.inverse, width))
            if config.inverse
            else None
        )
        self.decoder = Thumbnail(config) if config.reconstruction else None
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
        rows, real = padded_rows(frames.flatten(0, 1))
        z: Tensor = self.projector(self.encoder(self.pixels(rows)))
        return z[:real].unflatten(0, frames.shape[:2])

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

    def step(self, batch: Mapping[str, Tensor]) -> Step:
        """Run one training step forward, without branches on what is trained.

        Args:
            batch: ``pixels`` uint8 (B, T, S, S, 3) and ``action`` (B, T-1, A) in the environment's units.
        """
        z, actions = self.encode(batch), self.normalise(batch["action"])
        predictions = {name.replace("-", "_"): self.predictor(name).predict_windows(z, actions) for name in self.parts}
        inverse = None if self.inverse is None else self.inverse(torch.cat([z[:, :-1], z[:, 1:]], dim=-1))
        thumbnail = None if self.decoder is None else self.decoder.predict_windows(z, batch["pixels"])
        return Step(z=z, actions=actions, actions_hat=inverse, thumbnail=thumbnail, **predictions)

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
            env: the environment to act in; what is returned is clipped to its action bounds.
            options: fields of ``worldmodel.planners.config.AgentConfig`` and ``CEMConfig``.
        """
        from worldmodel.planners.agent import make_agent

        return make_agent(self, env, **options)
