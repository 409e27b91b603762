"""Pictures under every common name, and the one line that answers anything else."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.errors import BadValue
from worldmodel.planners.observations import read

S = 8
RNG = np.random.default_rng(0)


def picture(*batch):
    return RNG.integers(0, 256, (*batch, S, S, 3), dtype=np.uint8)


def first(image):
    return np.moveaxis(image, -1, -3)


ONE, GOAL, MANY, GOALS = picture(), picture(), picture(5), picture(5)


@pytest.mark.parametrize(
    ("observation", "pixels", "goal"),
    [
        ({"pixels": ONE, "goal": GOAL}, ONE, GOAL),
        ({"observation": ONE, "achieved_goal": ONE, "desired_goal": GOAL}, ONE, GOAL),
        ({"pixels": ONE, "state": np.zeros(3)}, ONE, None),
        (ONE, ONE, None),
        (first(ONE), ONE, None),
        ({"pixels": MANY, "goal": GOALS}, MANY, GOALS),
        ({"observation": first(MANY), "desired_goal": first(GOALS)}, MANY, GOALS),
        (MANY, MANY, None),
        (first(MANY), MANY, None),
    ],
)
def test_pictures_are_found(observation, pixels, goal):
    seen = read(observation, S)
    assert seen.single == (pixels.ndim == 3)
    np.testing.assert_array_equal(seen.pixels, pixels[None] if seen.single else pixels)
    if goal is None:
        assert seen.goal is None
    else:
        np.testing.assert_array_equal(seen.goal, goal[None] if seen.single else goal)


def test_a_goal_that_is_not_asked_for_is_not_looked_at():
    assert read({"observation": ONE, "desired_goal": np.zeros(2)}, S, goal=False).goal is None


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (picture()[:4], r"the size the model was trained on, got \(4, 8, 3\); gymnasium.wrappers.ResizeObservation"),
        (np.zeros((96, 96, 3), np.uint8), r"expected uint8 \(8, 8, 3\) .* got \(96, 96, 3\).*\(env, \(8, 8\)\)"),
        (np.zeros((S, S, 12), np.uint8), r"got \(8, 8, 12\)$"),
        (np.zeros((S, S, 1), np.uint8), r"got \(8, 8, 1\)$"),  # another size would not help
        (np.zeros((0, S, S, 3), np.uint8), r"got \(0, 8, 8, 3\)"),
        (np.zeros((2, 2, S, S, 3), np.uint8), r"got \(2, 2, 8, 8, 3\)"),
        (ONE.tolist(), r"uint8 0..255, got int64 \(8, 8, 3\)"),
        (ONE / 255, "expected a picture of uint8 0..255, got float64"),
        (np.full((S, S, 3), np.nan, np.float32), "NaN or infinite numbers"),
        (
            np.zeros(4, np.float32),
            r"expected a picture, got float32 \(4,\); make .*registry.make.*AddRenderObservation",
        ),
        ({"pixels": np.zeros((5, 4))}, r"observation 'pixels': expected a picture, got float64 \(5, 4\)"),
        ({"state": ONE, "goal": ONE}, r"named 'pixels' or 'observation', got \['state', 'goal'\]"),
        ((ONE, {}), "observation, info = env.reset()"),
        ([[1], [2, 3]], "expected a picture, got list"),
        (None, "expected a picture, got NoneType"),
        ({"pixels": MANY, "goal": GOAL}, "'pixels' .* and 'goal' .* differ in shape"),
        ({"pixels": MANY, "goal": GOALS[:3]}, "differ in shape"),
        ({"pixels": ONE, "goal": GOAL[:4]}, r"observation 'goal': .* got \(4, 8, 3\)"),
    ],
)
def test_anything_else_is_one_line(observation, words):
    with pytest.raises(BadValue, match=words) as error:
        read(observation, S)
    assert "\n" not in str(error.value) and str(error.value).startswith("observation")
