"""Our encoder as the features extractor of Stable-Baselines3's policies; needs the extra ``sb3``.

    PPO("MultiInputPolicy", env, policy_kwargs={
        "features_extractor_class": LatentExtractor,
        "features_extractor_kwargs": {"model": "runs/two-room"},
    })

While it is frozen, ``worldmodel.planners.latents_sb3`` does the same for less: it encodes a frame once, an extractor in
every epoch again.

Shapes: B observations, S pixels, D latent size.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from gymnasium import spaces
from torch import Tensor

from worldmodel.errors import BadValue, MissingExtra

try:
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
except ModuleNotFoundError as error:
    raise MissingExtra("worldmodel.planners.extractor", "sb3") from error

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


class LatentExtractor(BaseFeaturesExtractor):
    """Latents of the pictures in an observation, one after the other, then its other numbers as they are.

    The norms keep the statistics that the model was trained with, in training too: a policy is to give an action the
    probability that it had when it was chosen. Stable-Baselines3's new initial weights do not reach the encoder.

    Args:
        observation_space: a picture (3, S, S) uint8, or a Dict of pictures and vectors; Stable-Baselines3 turns them.
        model: the trained model, copied, or its run or model folder. A saved policy holds the weights; what is given
            here is saved beside them, and a folder must still be there when it is loaded.
        finetune: whether the encoder learns with the policy.
        normalize_images: what the policy was told of the same name: whether pictures come divided by 255.

    Raises:
        BadValue: no picture, or one of another size than the model was trained on.
        BadFile: no such folder.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        model: WorldModel | str | Path,
        finetune: bool = False,
        normalize_images: bool = True,
    ) -> None:
        from worldmodel.checkpoint import load_model

        model = load_model(model) if isinstance(model, str | Path) else deepcopy(model)
        entries = (
            dict(observation_space) if isinstance(observation_space, spaces.Dict) else {"pixels": observation_space}
        )
        pictures = [name for name, entry in entries.items() if len(entry.shape or ()) == 3]
        numbers = [name for name in entries if name not in pictures]
        size, expected = model.config.image_size, (3, model.config.image_size, model.config.image_size)
        for name in pictures or ["pixels"]:
            entry = entries.get(name)
            if entry is None or entry.shape != expected or entry.dtype != "uint8":
                got = "none" if entry is None else f"{entry.dtype} {entry.shape}"
                raise BadValue(f"observation {name!r}: expected pictures uint8 (3, {size}, {size}), got {got}")
        width = model.config.latent_dim * len(pictures)
        super().__init__(observation_space, width + sum(spaces.flatdim(entries[name]) for name in numbers))
        self.model = model.eval().requires_grad_(False)
        if finetune:
            self.model.encoder.requires_grad_(True)
            self.model.projector.requires_grad_(True)
        self.in_dict, self.pictures, self.numbers = isinstance(observation_space, spaces.Dict), pictures, numbers
        self.scale, self.checked = 255.0 if normalize_images else 1.0, False

    def forward(self, observations: Any) -> Tensor:
        """Features (B, features_dim) of what Stable-Baselines3 hands over: pictures (B, 3, S, S) float32.

        Raises:
            BadValue: the first pictures are not what ``normalize_images`` says.
        """
        entries = observations if self.in_dict else {"pixels": observations}
        values = self.scale * torch.cat([entries[name] for name in self.pictures])
        frames = values.round()
        if not self.checked:
            if frames.max() > 255 or (values - frames).abs().max() > 0.01:
                raise BadValue(
                    f"pictures are{' not' * (self.scale != 1)} divided by 255: give policy and extractor the same "
                    "normalize_images"
                )
            self.checked = True
        pixels = frames.to(torch.uint8).permute(0, 2, 3, 1)
        z = self.model.encode({"pixels": pixels[:, None]})[:, 0]
        return torch.cat([*z.chunk(len(self.pictures)), *(entries[name].flatten(1) for name in self.numbers)], dim=1)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of training, which the model does not follow."""
        super().train(mode)
        self.model.eval()
        return self

    def apply(self, fn: Any) -> Self:
        """Leave the weights as they are: PPO's ``ortho_init`` would begin the encoder anew."""
        return self
