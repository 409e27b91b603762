"""Reward and value heads, on chains whose values are known."""

from __future__ import annotations

import pytest
import torch

from tests.worldmodel.tiny import dot_groups, tiny_model
from worldmodel.checks import check
from worldmodel.config import ModelConfig, TrainConfig
from worldmodel.errors import BadValue, UnknownName
from worldmodel.heads import RewardHead, ValueHead
from worldmodel.recipes import settings, with_heads
from worldmodel.terms import expectile_error, prediction_error

D, LAST = 4, 5


def chain(state: torch.Tensor) -> torch.Tensor:
    """Latents (..., D) of places 0 .. LAST on a line."""
    return torch.stack([torch.cos(state * k) for k in range(1, D + 1)], dim=-1)


def fit(head: ValueHead, z: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, steps: int = 800) -> None:
    head.pace = 0.1
    optimizer = torch.optim.Adam(head.head.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = expectile_error(head.predict_windows(z, reward, terminated))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        head.update()


def test_value_of_a_walk_to_an_end() -> None:
    """One place a step, a reward of the place arrived at, and nothing after the last: V is a finite sum."""
    torch.manual_seed(0)
    places = torch.arange(LAST - 1.0)[:, None] + torch.arange(3.0)  # every window of three places
    reward, terminated = places[:, 1:] / LAST, places[:, 1:] == LAST
    head = ValueHead(32, D, discount=0.5, expectile=0.5)
    fit(head, chain(places), reward, terminated)
    expected = [sum(0.5 ** (k - s - 1) * k / LAST for k in range(s + 1, LAST + 1)) for s in range(1, LAST)]
    with torch.no_grad():
        found = head(chain(places[:, 0]), chain(places[:, 1]))
    torch.testing.assert_close(found, torch.tensor(expected), atol=0.02, rtol=0)


@pytest.mark.parametrize(("expectile", "expected"), [(0.5, 0.5), (0.9, 0.9)])
def test_an_expectile_above_a_half_counts_the_better_continuation_more(expectile: float, expected: float) -> None:
    """From one place half of the data earn 1 and half nothing, and end: v solves t (1 - v) = (1 - t) v."""
    torch.manual_seed(0)
    places = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 3.0]])
    reward, terminated = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([[False, True]] * 2)
    head = ValueHead(32, D, discount=0.9, expectile=expectile)
    fit(head, chain(places), reward, terminated, steps=300)
    with torch.no_grad():
        found = head(chain(places[:1, 0]), chain(places[:1, 1]))
    assert float(found) == pytest.approx(expected, abs=0.02)


def test_the_encoder_learns_from_rewards_and_not_from_values() -> None:
    z, actions = torch.randn(3, 4, D, requires_grad=True), torch.randn(3, 3, 6)
    reward, terminated = torch.randn(3, 3), torch.zeros(3, 3, dtype=torch.bool)
    value = ValueHead(8, D, 0.9, 0.7)
    expectile_error(value.predict_windows(z, reward, terminated)).backward()
    assert z.grad is None and all(p.grad is None for p in value.average.parameters())
    prediction_error(RewardHead(8, D, 6).predict_windows(z, actions, reward)).backward()
    assert z.grad is not None and bool((z.grad != 0).all())


def test_a_step_has_both_and_its_average_follows() -> None:
    model = tiny_model(reward=8, value=8)
    assert model.value is not None
    groups = [
        group | {"reward": torch.randn(len(group["action"]), group["action"].shape[1])} for group in dot_groups(0)
    ]
    groups = [group | {"terminated": torch.zeros_like(group["reward"], dtype=torch.bool)} for group in groups]
    step = model.step(groups)
    assert step.reward is not None and step.value is not None and step.value.weight is not None
    assert step.reward.hat.shape == (4 * 4 + 4 * 2, 1) and step.value.hat.shape == (4 * 3 + 4 * 1, 1)
    rewards = torch.cat([group["reward"].flatten() for group in groups])
    torch.testing.assert_close(step.reward.target[:, 0], rewards)
    model.reward_scale.fill_(2.0)
    torch.testing.assert_close(model.step(groups).reward.target[:, 0], rewards / 2)  # type: ignore[union-attr]
    before = [p.clone() for p in model.value.average.parameters()]
    model.update()
    for slow, old, fast in zip(model.value.average.parameters(), before, model.value.head.parameters()):
        torch.testing.assert_close(slow, old + 0.01 * (fast - old))


def test_heads_are_added_to_any_recipe() -> None:
    model, loss, train = settings("lewm", "nano")
    model, loss, train = with_heads(model, loss, train, ["reward", "value"])
    assert (model.reward, model.value, loss.reward, loss.value) == (256, 256, 1.0, 1.0)
    assert {"reward", "value"} <= model.predictions
    check(model, loss, train)
    assert with_heads(model, loss, train, ["reward"]) == (model, loss, train)  # what is there stays


def test_heads_that_make_no_sense() -> None:
    model, loss, train = settings("fast-lewm", "nano")
    with pytest.raises(UnknownName, match="unknown head 'valeu'.*value"):
        with_heads(model, loss, train, ["valeu"])
    with pytest.raises(BadValue, match="model.value: expected model.reward"):
        with_heads(model, loss, train, ["value"])
    with pytest.raises(BadValue, match=r"model.value: .*none cut short"):
        check(*with_heads(model, loss, train, ["reward", "value"]))
    with pytest.raises(BadValue, match=r"model.expectile: expected 0.5 to below 1, got 1"):
        ModelConfig(expectile=1.0)
    with pytest.raises(BadValue, match="model.discount"):
        ModelConfig(discount=1.0)
    assert TrainConfig().window >= 3
