"""The goal-action head: it learns by hindsight, and a row's action is that row's alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.worldmodel.tiny import TRAIN, dot_groups, tiny_model
from worldmodel.checkpoint import load_model, save_model
from worldmodel.checks import check
from worldmodel.errors import BadValue
from worldmodel.files import read_json, write_json
from worldmodel.recipes import AHEAD, settings, with_heads
from worldmodel.reflex import ReflexHead
from worldmodel.terms import prediction_error


def with_goals(groups: list[dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
    """The last frame of every window as its goal."""
    return [
        group
        | {"goal": group["pixels"][:, -1], "ahead": torch.full((len(group["pixels"]),), group["pixels"].shape[1] - 2.0)}
        for group in groups
    ]


def test_it_learns_the_way_to_the_goal() -> None:
    """A latent is a place, an action a displacement: who has k steps left takes a k-th of the way."""
    torch.manual_seed(0)
    head = ReflexHead(64, 2, 2, context=2)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)

    def draw(count: int) -> tuple[torch.Tensor, ...]:
        actions, ahead = torch.rand(count, 2, 2) * 2 - 1, 1 + 7 * torch.rand(count)
        start = torch.randn(count, 1, 2)
        z = torch.cat([start, start + actions.cumsum(dim=1)], dim=1)
        return z, actions, z[:, 1] + ahead[:, None] * actions[:, 1], ahead  # it goes on as in its last step

    for _ in range(600):
        z, actions, goal, ahead = draw(256)
        hat = head(z[:, :2], goal, ahead)
        loss = (hat - actions[:, 1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    z, actions, goal, ahead = draw(256)
    with torch.no_grad():
        assert float((head(z[:, :2], goal, ahead) - actions[:, 1]).abs().mean()) < 0.05


def test_windows_teach_the_present_and_the_beginnings_before_it() -> None:
    head, seen = ReflexHead(8, 4, 6, context=3), []
    head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    z, actions = torch.randn(2, 5, 4), torch.randn(2, 4, 6)
    goal, ahead = torch.randn(2, 4), torch.tensor([1.0, 4.5])
    found = head.predict_windows(z, actions, goal, ahead)
    ((anchors, goals, left),) = seen
    for b in range(2):
        for i in range(3):
            row = 3 * b + i
            places = [max(0, i - 2), max(0, i - 1), i]
            assert torch.equal(anchors[row], z[b, places]) and torch.equal(goals[row], goal[b])
            assert torch.equal(found.target[row], actions[b, i]) and float(left[row]) == float(ahead[b]) + 2 - i


@pytest.mark.parametrize("width", [1, 3, 10, 25])
def test_a_row_is_read_alone_as_in_company(width: int) -> None:
    torch.manual_seed(0)
    head = ReflexHead(32, 16, width, context=2).eval()
    anchor, goal, ahead = torch.randn(67, 2, 16), torch.randn(67, 16), 1 + 9 * torch.rand(67)
    with torch.no_grad():
        together = head(anchor, goal, ahead)
        for size in (1, 2, 5, 15, 16, 17, 33):
            for start in (0, 20):
                rows = slice(start, start + size)
                assert torch.equal(head(anchor[rows], goal[rows], ahead[rows]), together[rows])
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(head(anchor, goal, ahead), together)


def test_a_step_encodes_goals_and_the_encoder_learns_from_them() -> None:
    model, groups = tiny_model(reflex=8), with_goals(dot_groups(0))
    step = model.step(groups)
    assert step.reflex is not None and step.reflex.hat.shape == (4 * 2 + 4 * 2, 6)
    assert [z.shape[1] for z in step.z] == [5, 3]  # SIGReg sees windows only
    gradient = torch.autograd.grad(prediction_error(step.reflex), model.projector[-1].weight)[0]
    assert bool((gradient != 0).any())
    expected = model.normalise(groups[1]["action"][:, :2]).flatten(0, 1)
    torch.testing.assert_close(step.reflex.target[8:], expected)


def test_saved_and_loaded_it_is_the_same_and_older_folders_have_none(tmp_path: Path) -> None:
    model = tiny_model(reflex=8)
    save_model(tmp_path / "new", model)
    question = torch.randn(3, 2, 16), torch.randn(3, 16), torch.tensor([1.0, 2.0, 9.0])
    again = load_model(tmp_path / "new")
    assert again.reflex is not None and model.reflex is not None
    assert torch.equal(again.reflex(*question), model.reflex(*question))
    save_model(tmp_path / "old", tiny_model())
    about = read_json(tmp_path / "old" / "config.json")
    del about["model"]["reflex"]
    write_json(tmp_path / "old" / "config.json", about | {"format": 3})
    assert load_model(tmp_path / "old").reflex is None


@pytest.mark.parametrize("recipe", ["lewm", "fast-lewm", "wm"])
def test_it_is_added_to_any_recipe(recipe: str) -> None:
    model, loss, train = with_heads(*settings(recipe, "nano"), ["reflex"])
    assert (model.reflex, loss.reflex, train.ahead) == (4 * model.latent_dim, 1.0, AHEAD)
    check(model, loss, train)
    assert with_heads(model, loss, replace(train, ahead=75), ["reflex"])[2].ahead == 75  # what is there stays


def test_settings_that_do_not_fit_are_named() -> None:
    model, loss, train = with_heads(*settings("wm", "nano"), ["reflex"])
    for ahead in (0, 4):
        with pytest.raises(BadValue, match=rf"train.ahead: goals up to {ahead} .* model.reflex = 256 and"):
            check(model, loss, replace(train, ahead=ahead))
    with pytest.raises(BadValue, match="train.ahead: goals up to 50 .* model.reflex = 0"):
        check(replace(model, reflex=0), replace(loss, reflex=0.0), train)
    with pytest.raises(BadValue, match="loss.reflex: a weight of 0.0 does not fit model.reflex = 256"):
        check(model, replace(loss, reflex=0.0), train)
    fast = with_heads(*settings("fast-lewm", "nano"), ["reflex"])
    with pytest.raises(BadValue, match=r"model.reflex: expected windows .* of more than model.context = 2 frames"):
        check(replace(fast[0], context=2), *fast[1:])
    with pytest.raises(BadValue, match="train.ahead: expected at least 0, got -1"):
        replace(TRAIN, ahead=-1)
