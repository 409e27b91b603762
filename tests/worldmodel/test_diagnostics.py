"""Diagnostics give the answers that are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.oracles import surprise_slow
from tests.worldmodel.tiny import tiny_model
from worldmodel.diagnostics import action_sensitivity, action_warning, nearest, open_loop_error, surprise

B, H, D = 32, 3, 4


def walk(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents (B, H + 1, D) that move by their actions (B, H, D)."""
    actions = torch.randn(B, H, D, generator=generator)
    start = torch.randn(B, 1, D, generator=generator)
    return torch.cat([start, start + actions.cumsum(dim=1)], dim=1), actions


def test_the_error_of_not_moving_is_one_and_of_knowing_nought() -> None:
    z, _ = walk(torch.Generator().manual_seed(0))
    assert open_loop_error(z[:, :1].expand(-1, H, -1), z).tolist() == [1.0] * H
    assert open_loop_error(z[:, 1:], z).tolist() == [0.0] * H


def test_sensitivity_is_the_ratio_of_the_errors_and_one_where_actions_are_ignored() -> None:
    generator = torch.Generator().manual_seed(0)
    z, actions = walk(generator)
    z_hat = z[:, 1:] + 0.1 * torch.randn(B, H, D, generator=generator)
    shuffled = z[:, :1] + actions.roll(1, dims=0).cumsum(dim=1)
    by_hand = []
    for h in range(H):
        wrong, right = 0.0, 0.0
        for b in range(B):
            wrong += float((shuffled[b, h] - z[b, h + 1]).square().sum())
            right += float((z_hat[b, h] - z[b, h + 1]).square().sum())
        by_hand.append(wrong / right)
    assert action_sensitivity(z_hat, shuffled, z).tolist() == pytest.approx(by_hand, rel=1e-4)
    assert min(by_hand) > 50
    assert action_sensitivity(z_hat, z_hat.clone(), z).tolist() == [1.0] * H


def test_a_predictor_is_blamed_once_it_predicts_without_the_actions() -> None:
    learned, not_yet = torch.tensor([1.1, 0.7]), torch.tensor([3.0, 1.2])
    ignored, used = torch.tensor([1.0, 1.04]), torch.tensor([1.0, 1.06])
    said = action_warning("prefix", learned, ignored)
    assert said is not None and "prefix" in said and "1.04" in said and "--loss.inverse" in said
    assert action_warning("prefix", not_yet, ignored) is None
    assert action_warning("prefix", learned, used) is None


def test_nearest_is_the_least_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    bank, asked = torch.randn(50, D, generator=generator), torch.randn(5, 2, D, generator=generator)
    by_hand = [[min(range(50), key=lambda m: float((z - bank[m]).norm())) for z in row] for row in asked]
    assert nearest(asked, bank).tolist() == by_hand
    assert nearest(bank, bank).tolist() == list(range(50))


@pytest.mark.parametrize("name", ["one-step", "prefix"])
def test_surprise_is_that_of_every_frame_by_itself(name: str) -> None:
    model, rng = tiny_model(), np.random.default_rng(0)
    F, size, a = model.config.action_block, model.config.image_size, model.config.action_dim
    pictures = list(rng.integers(0, 255, (4 * F + 1, size, size, 3), np.uint8))
    actions = list(rng.uniform(-1, 1, (4 * F, a)).astype(np.float32))
    with torch.inference_mode():
        z = model.encode({"pixels": torch.from_numpy(np.stack(pictures)[None, ::F])})
        blocks = model.normalise(torch.from_numpy(np.stack(actions)).view(1, 4, -1))
        found = surprise(model.predictor(name), z, blocks)
        slow = [surprise_slow(model, name, pictures[: t * F + 1], actions[: t * F]) for t in (2, 3, 4)]
    assert found.shape == (1, 3) and found[0].tolist() == pytest.approx(slow, rel=1e-4)
