"""What a latent is worth: heads that read reward and value from two neighbouring latents, which show velocities.

Reward is counted per environment step, averaged over the F of a model step, and divided by its root mean square in the
training data. Shapes: B windows, T frames, M pairs, D latent size, A = F * a.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.blocks import at_least_float32, padded_rows
from worldmodel.interfaces import Prediction
from worldmodel.products import Linear


class Head(nn.Sequential):
    """An MLP with two hidden layers that reads one number: (..., width) -> (...)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(Linear(width, hidden), nn.GELU(), Linear(hidden, hidden), nn.GELU(), Linear(hidden, 1))

    def read(self, *parts: Tensor) -> Tensor:
        """Read from the parts (..., width_i), side by side."""
        x = at_least_float32(torch.cat(parts, dim=-1))
        rows, real = padded_rows(x.flatten(0, -2))
        with torch.autocast(x.device.type, enabled=False):  # in half precision plans that are nearly as good would tie
            return self(rows)[:real, 0].unflatten(0, x.shape[:-1])


class RewardHead(nn.Module):
    """The reward received on the way from one latent to the next by an action block.

    Args:
        hidden: width of the hidden layers.
        latent_dim: D.
        action_width: A.
    """

    reach = 1

    def __init__(self, hidden: int, latent_dim: int, action_width: int) -> None:
        super().__init__()
        self.head = Head(2 * latent_dim + action_width, hidden)

    def forward(self, before: Tensor, actions: Tensor, after: Tensor) -> Tensor:
        """Latents before and after (..., D), normalised blocks (..., A) -> reward per environment step (...)."""
        return self.head.read(before, actions, after)

    def predict_windows(self, z: Tensor, actions: Tensor, reward: Tensor) -> Prediction:
        """Rewards between all neighbouring frames: z (B, T, D), actions (B, T-1, A), reward (B, T-1)."""
        hat = self(z[:, :-1], actions, z[:, 1:])
        return Prediction(hat.flatten()[:, None], reward.flatten()[:, None])


class ValueHead(nn.Module):
    """Discounted mean of the rewards that follow, learned off-policy: what the better half of the data's actions reach.

    ``v(z, z') = (1 - g) r' + g v(z', z'')``, nothing after a terminated step, is fitted by expectile regression
    (implicit Q-learning, 2110.06169, without its Q: where the world is deterministic the next latent tells the action).
    A mean is of the size of a reward, whatever g; the sum is ``v / (1 - g)``. On the right side stands a slowly moving
    average of the head. The encoder does not learn from it.

    Args:
        hidden: width of the hidden layers.
        latent_dim: D.
        discount: g, of one model step.
        expectile: 0.5 for the data's mean value; towards 1, for the best continuation the data show.
    """

    reach = 2
    pace = 0.01  # share of the way that the average moves at each training step

    def __init__(self, hidden: int, latent_dim: int, discount: float, expectile: float) -> None:
        super().__init__()
        self.head, self.average = Head(2 * latent_dim, hidden), Head(2 * latent_dim, hidden)
        self.average.load_state_dict(self.head.state_dict())
        self.average.requires_grad_(False)
        self.discount, self.expectile = discount, expectile

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Neighbouring latents (..., D) -> discounted sum of what follows the second, in model steps' rewards (...)."""
        return self.head.read(before, after) / (1 - self.discount)

    def predict_windows(self, z: Tensor, reward: Tensor, terminated: Tensor) -> Prediction:
        """Values at all inner frames: z (B, T, D), reward and terminated (B, T-1)."""
        z = z.detach()
        hat = self.head.read(z[:, :-2], z[:, 1:-1])
        with torch.no_grad():
            follows = self.discount * self.average.read(z[:, 1:-1], z[:, 2:])
            follows = torch.where(terminated[:, 1:], torch.zeros_like(follows), follows)
            target = (1 - self.discount) * reward[:, 1:] + follows
            weight = 2 * torch.where(target > hat, self.expectile, 1 - self.expectile)
        return Prediction(hat.flatten()[:, None], target.flatten()[:, None], weight.flatten())

    @torch.no_grad()
    def update(self) -> None:
        """Move the average, after a training step."""
        for slow, fast in zip(self.average.parameters(), self.head.parameters()):
            slow.lerp_(fast, self.pace)
