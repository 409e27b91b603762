"""Mirrors: the tasks in the table really look and act alike there, and windows are mirrored as a whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from worldmodel.datasets.mirrors import MIRRORS, PICTURES, Mirroring
from worldmodel.envs.registry import make
from worldmodel.errors import BadValue

Array = np.ndarray
IN_PICTURE = {
    "left-right": ((-1.0, 0.0), (0.0, 1.0)),
    "top-bottom": ((1.0, 0.0), (0.0, -1.0)),
    "diagonal": ((0.0, 1.0), (1.0, 0.0)),
}


def pusht(state: Array, mirror: str) -> Array:
    """Places about the arena's centre, velocities, and the block's axis are mirrored; it turns the other way round."""
    linear, centre, seen = np.asarray(IN_PICTURE[mirror]), np.full(2, 511 / 2), state.copy()
    for place in (0, 2):
        seen[place : place + 2] = linear @ (state[place : place + 2] - centre) + centre
    for velocity in (5, 7):
        seen[velocity : velocity + 2] = linear @ state[velocity : velocity + 2]
    axis = linear @ np.array([-np.sin(state[4]), np.cos(state[4])])
    seen[4], seen[9] = np.arctan2(-axis[0], axis[1]), -state[9]
    return seen


def reacher(state: Array, mirror: str) -> Array:
    """Time, two angles and their velocities; along the picture's diagonal the arm's y becomes -x and its x -y."""
    seen = state.copy()
    seen[1:5] = -state[1:5]
    seen[1] -= np.pi / 2
    return seen


STATES: dict[str, Callable[[Array, str], Array]] = {"pusht": pusht, "dmc/reacher-qpos": reacher}


LOOKS = {"pusht": ("fast",), "dmc/reacher-qpos": ("fast", "official")}


@pytest.mark.parametrize(
    ("env", "mirror", "look"),
    [(env, mirror, look) for env in MIRRORS for mirror in MIRRORS[env] for look in LOOKS[env]],
)
def test_a_task_looks_and_acts_alike_in_its_mirrors(env: str, mirror: str, look: str) -> None:
    """What follows from the mirrored state by the mirrored action is the mirrored state that follows, and looks so."""
    if env.startswith("dmc/"):
        pytest.importorskip("dm_control", reason="needs the extra mujoco")
    rng, linear = np.random.default_rng(0), np.asarray(MIRRORS[env][mirror])
    with make(env, observation="pixels", render_preset=look) as made:
        task, gaps, mismatches = made.unwrapped, [], []
        for seed in range(8):
            _, info = made.reset(seed=seed)
            state = info["state"]
            for _ in range(6):
                action = rng.uniform(-0.5, 0.5, 2)
                after = task.advance(state, action)
                seen = STATES[env](after, mirror)
                follows = task.advance(STATES[env](state, mirror), linear @ action)
                np.testing.assert_allclose(follows[:4], seen[:4], atol=0.5)  # px, or rad and rad/s
                state = after
            picture, drawn = torch.from_numpy(task.draw(state)), torch.from_numpy(task.draw(seen))
            gaps.append(float((PICTURES[mirror](picture).float() - drawn).abs().mean()))
            mismatches.append(float((picture.float() - drawn).abs().mean()))
    assert np.mean(gaps) < 0.1 * np.mean(mismatches)


def test_a_window_is_mirrored_with_its_goal_or_not_at_all() -> None:
    torch.manual_seed(0)
    group = {
        "pixels": torch.randint(0, 256, (3, 4, 6, 6, 3), dtype=torch.uint8),
        "goal": torch.randint(0, 256, (3, 6, 6, 3), dtype=torch.uint8),
        "action": torch.randn(3, 3, 10),
        "ahead": torch.arange(3.0),
    }
    mirroring = Mirroring("pusht")
    held = np.array([[False, True, True], [False, False, True], [False, False, True]])
    found = mirroring(group, held)
    assert found["ahead"] is group["ahead"]
    for name in ("pixels", "goal"):
        assert torch.equal(found[name][0], group[name][0])
        assert torch.equal(found[name][1], group[name][1].flip(-2))
        assert torch.equal(found[name][2], group[name][2].flip(-2).flip(-3).transpose(-3, -2))
    moves, mirrored = (x["action"].unflatten(-1, (5, 2)) for x in (group, found))
    torch.testing.assert_close(mirrored[0], moves[0])
    torch.testing.assert_close(mirrored[1], moves[1] * torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(mirrored[2], -moves[2].flip(-1))


def test_many_windows_are_mirrored_as_each_would_be_alone() -> None:
    """Those held alike are turned together; all eight ways of PushT, in any order."""
    rng, mirroring = np.random.default_rng(0), Mirroring("pusht")
    held = rng.random((3, 40)) < 0.5
    made = torch.Generator().manual_seed(0)
    group = {
        "pixels": torch.randint(256, (40, 3, 4, 4, 3), dtype=torch.uint8, generator=made),
        "goal": torch.randint(256, (40, 4, 4, 3), dtype=torch.uint8, generator=made),
        "action": torch.randn(40, 2, 10, generator=made),
    }
    found = mirroring(group, held)
    for i in range(40):
        for name in ("pixels", "goal"):
            alone = group[name][i]
            for mirror in np.array(list(mirroring.actions))[held[:, i]]:
                alone = PICTURES[mirror](alone)
            assert torch.equal(found[name][i], alone)
        one = mirroring({name: x[i : i + 1] for name, x in group.items()}, held[:, i : i + 1])
        assert all(torch.equal(one[name][0], found[name][i]) for name in group)


@pytest.mark.parametrize(
    ("low", "high", "alike"),
    [([-1, -1], [1, 1], True), ([-0.97, -1], [1, 0.9], True), ([0, 0], [512, 512], False), ([-1] * 3, [1] * 3, False)],
)
def test_only_actions_that_stay_in_their_range_are_mirrored(low: list[float], high: list[float], alike: bool) -> None:
    bounds = np.array(low, np.float32), np.array(high, np.float32)
    if alike:
        Mirroring("pusht").require_alike(*bounds)
    else:
        with pytest.raises(BadValue, match=r"train.mirror: mirrored \(left-right\), .* leave .* --train.no-mirror"):
            Mirroring("pusht").require_alike(*bounds)


def test_a_task_without_mirrors_keeps_its_windows() -> None:
    group = {"pixels": torch.zeros(2, 3, 4, 4, 3), "action": torch.ones(2, 2, 5)}
    mirroring = Mirroring("two-room")
    assert not mirroring and mirroring(group, np.zeros((0, 2), bool)) == group
