"""Actions in the environment's shape and numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from tests.planners.toys import FakeModel
from worldmodel.errors import BadValue
from worldmodel.planners.actions import actions_of
from worldmodel.planners.options import make_agent


def env(space):
    return SimpleNamespace(action_space=space)


def choosing():
    """A model of two numbered actions."""
    model = FakeModel()
    model.action_low = torch.zeros(2)
    return model


def test_a_box_of_another_shape_is_filled():
    space = Box(-0.5, 0.5, (2, 1))
    a = make_agent(FakeModel(), env(space), candidates=8, elites=2, iterations=1)
    images = np.ones((3, 4, 4, 3), np.uint8)
    many, _ = a.predict({"pixels": images, "goal": images})
    one, _ = a.predict({"pixels": images[0], "goal": images[0]})
    assert many.shape == (3, 2, 1) and one in space and all(action in space for action in many)
    narrow = actions_of(FakeModel(), env(Box(np.float32([[-0.25, -9]]), np.float32([[0.5, 9]]))))
    assert narrow.low.tolist() == [-0.25, -1] and narrow.high.tolist() == [0.5, 1] and narrow.shape == (1, 2)


def test_bounds_are_rounded_inwards():
    exact = np.array([0.1, 0.3])  # float32 is more than both
    space = Box(-exact, exact, dtype=np.float64)
    found = actions_of(FakeModel(), env(space))
    assert found.low in space and found.high in space and found.low.dtype == found.high.dtype == np.float32
    assert np.nextafter(found.high, np.float32(1)) not in space


def test_numbered_actions_are_numbers():
    space = Discrete(2, start=5)
    a = make_agent(choosing(), env(space), candidates=8, elites=2, iterations=1)
    images = np.ones((3, 4, 4, 3), np.uint8)
    many, state = a.predict({"pixels": images, "goal": images})
    one, _ = a.predict({"pixels": images[0], "goal": images[0]})
    assert many.shape == (3,) and many.dtype == np.int64 and one in space and all(action in space for action in many)
    assert many.tolist() == [5 + row.queue[0].argmax() for row in state.rows]


@pytest.mark.parametrize(
    ("model", "space"),
    [
        (FakeModel(), Discrete(2)),  # the model's numbers are not choices
        (choosing(), Discrete(3)),
        (choosing(), MultiBinary(2)),
        (choosing(), MultiDiscrete([2, 2])),
        (FakeModel(), Box(-1, 1, (3,))),
    ],
)
def test_other_actions_are_refused_in_one_line(model, space):
    with pytest.raises(BadValue, match=r"env: expected a Box action space of shape \(2,\).*got") as error:
        actions_of(model, env(space))
    assert "\n" not in str(error.value)
