from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.envs.two_room import TwoRoom

TASK = TwoRoom()
LOW, HIGH = TASK.room
DOOR_LOW, DOOR_HIGH = TASK.passage


def free(x: float, y: float) -> bool:
    """The three rectangles where the agent's centre can be."""
    in_door = DOOR_LOW <= y <= DOOR_HIGH
    return LOW <= x <= HIGH and LOW <= y <= HIGH and (abs(x - 112) >= 12.5 or in_door)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    x=st.floats(LOW, HIGH), y=st.floats(LOW, HIGH),
    moves=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=12),
)  # fmt: skip
def test_it_stays_in_the_rooms_and_the_doorway(x: float, y: float, moves: list[tuple[float, float]]) -> None:
    if not free(x, y):
        return
    state = np.array([x, y])
    for move in moves:
        after = TASK.advance(state, np.array(move))
        assert np.abs(after - state).max() <= TASK.speed + 1e-9  # nothing throws it out of a wall
        for share in np.linspace(0, 1, 11):  # both legs of the way, x first
            assert free(state[0] + share * (after[0] - state[0]), state[1])
            assert free(after[0], state[1] + share * (after[1] - state[1]))
        state = after


@settings(max_examples=200, deadline=None, derandomize=True)
@given(y=st.floats(LOW, HIGH), side=st.sampled_from([-1.0, 1.0]), slant=st.floats(-1, 1))
def test_only_the_door_lets_it_through(y: float, side: float, slant: float) -> None:
    """Against the wall at any height, with any slant: who gets across was in the door all the way."""
    state = np.array([112 - side * 15.0, y])
    for _ in range(12):
        after = TASK.advance(state, np.array([side, slant]))
        if (state[0] < 112) != (after[0] < 112):
            assert all(DOOR_LOW <= z <= DOOR_HIGH for z in (state[1], after[1]))
        state = after


def test_door_edge_stops_the_agent_in_the_doorway() -> None:
    """Looking at the end of the move only, the agent would be thrown to x = 124.5."""
    after = TASK.advance(np.array([113.0, DOOR_HIGH - 1]), np.array([0.2, 1.0]))
    assert after == pytest.approx([114.0, DOOR_HIGH])


def test_walls_in_numbers() -> None:
    for start, move, expected in (
        ([98.0, 150.0], [1, 0], [99.5, 150.0]),
        ([126.0, 150.0], [-1, 0], [124.5, 150.0]),
        ([98.0, 49.0], [1, 0], [103.0, 49.0]),
        ([22.0, 22.0], [-1, -1], [21.0, 21.0]),
        ([202.0, 202.0], [1, 1], [203.0, 203.0]),
        ([99.5, 70.0], [1, -1], [99.5, 65.0]),  # slides along the wall
        ([112.0, 150.0], [1, 1], [112.0, 155.0]),  # put into the wall by a state
    ):
        assert TASK.advance(np.array(start), np.array(move, float)) == pytest.approx(expected)


def test_success_and_sides() -> None:
    here = np.array([60.0, 60.0])
    assert TwoRoom.success(here, here + [0, 15.9]) and not TwoRoom.success(here, here + [0, 16.0])
    assert TwoRoom.hard(here, np.array([150.0, 60.0])) and not TwoRoom.hard(here, np.array([60.0, 200.0]))
    assert not TASK.in_view(np.array([112.0, 49.0])) and TASK.in_view(here)


def test_picture() -> None:
    image = TwoRoom(image_size=224).draw(np.array([60.5, 150.5]))
    assert image[150, 60].tolist() == [255, 0, 0]
    assert image[150, 112].tolist() == image[12, 100].tolist() == [0, 0, 0]
    assert image[49, 112].tolist() == image[100, 180].tolist() == [255, 255, 255]
    for corner in ((21.0, 21.0), (203.0, 203.0), (-50.0, 400.0)):  # the blob is cut, not an error
        assert TwoRoom(image_size=64).draw(np.array(corner)).shape == (64, 64, 3)
