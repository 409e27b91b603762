from __future__ import annotations

import numpy as np
import pymunk
import pytest

from worldmodel.envs import pusht, pusht_block
from worldmodel.envs.pusht import PushT

TASK = PushT()


def state(agent=(100, 100), block=(256, 256), angle=0.0) -> np.ndarray:
    return np.array([*agent, *block, angle, 0, 0, 0, 0, 0], float)


def run(task: PushT, start: np.ndarray, moves: np.ndarray) -> np.ndarray:
    states = [start]
    for move in moves:
        states.append(task.advance(states[-1], move))
    return np.array(states)


def test_the_block_lies_where_the_state_says() -> None:
    """Position before angle would put the block elsewhere, as the centre of gravity is not its origin."""
    placed = state(block=(200, 300), angle=2.0)
    space, _, block = TASK.build_space(placed)  # without its space the body is gone
    assert tuple(block.position) == pytest.approx((200, 300), abs=1e-9) and block.angle == 2.0
    after = PushT().advance(placed, np.zeros(2))
    np.testing.assert_allclose(after[2:5], placed[2:5], rtol=0, atol=1e-9)


def test_outline_is_the_physical_one() -> None:
    placed = state(block=(220, 310), angle=0.7)
    space, _, block = TASK.build_space(placed)  # without its space the body is gone
    corners = TASK.block.outline(placed)
    shapes = [shape for shape in block.shapes if isinstance(shape, pymunk.Poly)]
    physical = np.array([block.local_to_world(corner) for shape in shapes for corner in shape.get_vertices()])
    assert len(physical) == len(corners) == 8
    assert all(np.linalg.norm(physical - corner, axis=1).min() < 1e-9 for corner in corners)


@pytest.mark.parametrize("shape", pusht_block.SHAPES)
def test_clearance_agrees_with_the_physics(shape: str) -> None:
    rng, task = np.random.default_rng(0), PushT()
    task.vary({"block.shape": list(pusht_block.SHAPES).index(shape), "block.scale": 0.9}, rng)
    for angle in rng.uniform(0, 2 * np.pi, 20):
        placed = state(angle=angle)
        corners = task.block.outline(placed)
        middles = (corners + np.roll(corners, 1, axis=0)) / 2
        np.testing.assert_allclose(task.block.clearance(placed, np.concatenate([corners, middles])), 0, atol=1e-9)
        space, _, block = task.build_space(placed)  # without its space the body is gone
        for shape in block.shapes:
            shape.cache_bb()
        points = rng.uniform(100, 400, (20, 2))
        expected = [min(shape.point_query(tuple(point)).distance for shape in block.shapes) for point in points]
        outside = np.array(expected) > 0  # inside, the nearest edge may be one between the two boxes
        gaps = task.block.clearance(placed, points)
        np.testing.assert_allclose(gaps[outside], np.array(expected)[outside], atol=1e-6)
        assert (gaps[~outside] <= 0).all()


def test_published_physics() -> None:
    """PD control by hand: 10 semi-implicit Euler steps of 0.01 s with gains 100 and 20, target 100 px ahead."""
    x, v = 100.0, 0.0
    for _ in range(10):
        v += (100 * (200.0 - x) - 20 * v) * 0.01
        x += v * 0.01
    after = PushT().advance(state(), np.array([1.0, 0.0]))
    assert after[[0, 5]] == pytest.approx([x, v]) and after[1] == 100.0
    assert 2 * pymunk.moment_for_poly(1.0, pusht_block.BAR) == pusht_block.MOMENT == pytest.approx(3000.0)


def test_pushing_moves_the_block_and_it_stops_by_itself() -> None:
    task = PushT()
    start = state(agent=(256, 235))  # just above the bar, pushing down through the centre of gravity
    pushed = run(task, start, np.array([[0.0, 0.3]] * 10))
    assert pushed[-1, 3] > 300 and abs(pushed[-1, 2] - 256) < 1 and abs(pushed[-1, 4]) % (2 * np.pi) < 0.05
    away = run(task, pushed[-1], np.array([[0.0, -0.5]] * 5))
    assert away[1:, 7:10] == pytest.approx(0.0) or np.abs(away[-1, 7:10]).max() < 1e-6
    np.testing.assert_array_equal(away[-1, 2:5], away[-2, 2:5])


@pytest.mark.parametrize("seed", range(5))
def test_the_agent_never_leaves_the_arena(seed: int) -> None:
    rng = np.random.default_rng(seed)
    task = PushT()
    corner = rng.choice([-1.0, 1.0], 2)
    moves = np.clip(rng.uniform(-1, 1, (60, 2)) + corner, -1, 1)  # into a corner at full speed, with noise
    states = run(task, task.sample(rng), moves)
    low, high = pusht.WALLS[0] + 15, pusht.WALLS[1] - 15
    assert states[:, :2].min() >= low and states[:, :2].max() <= high
    assert np.abs(states[-1, :2] - np.where(corner < 0, low, high)).max() < 1e-9
    assert states[1:, 4].min() >= 0 and states[1:, 4].max() <= 2 * np.pi


def test_walls_stop_the_block() -> None:
    """Pushed broadside into a wall and let go, the block lies inside, whatever the squeeze did to it."""
    task = PushT()
    states = run(task, state(agent=(256, 470), block=(256, 300)), np.array([[0.0, -0.4]] * 40))
    assert 0 < states[-1, 3] < 120
    assert TASK.block.outline(states[-1]).min() > -100  # through the wall it would be gone
    settled = run(task, states[-1], np.array([[0.0, 1.0]] * 3 + [[0.0, 0.0]] * 60))
    assert TASK.block.outline(settled[-1]).min() > pusht.WALLS[0] - 1


def test_success_counts_agent_and_block_together_and_wraps_the_angle() -> None:
    goal = state(agent=(100, 100), block=(200, 200), angle=0.1)
    near = goal + np.array([10, 0, 0, 10, 0, 0, 0, 0, 0, 0])
    assert PushT.success(near, goal)
    assert not PushT.success(goal + np.array([15, 0, 0, 15, 0, 0, 0, 0, 0, 0]), goal)  # 21.2 px as one vector
    assert not PushT.success(goal + np.array([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]), goal)
    turned = goal.copy()
    for angle, expected in ((2 * np.pi - 0.2, True), (2 * np.pi - 0.3, False), (0.1 + np.pi / 9, False), (0.4, True)):
        turned[4] = angle
        assert PushT.success(turned, goal) is expected
    turned[4] = 0.1 + np.radians(5) - 2 * np.pi
    assert PushT.distance(turned, goal) == pytest.approx(5.0)
    fast = goal.copy()
    fast[5:] = 50.0
    assert PushT.success(fast, goal) and PushT.distance(fast, goal) == 0


def test_hard_means_that_the_block_moves() -> None:
    start = state()
    assert PushT.hard(start, state(block=(256, 277))) and not PushT.hard(start, state(block=(256, 275)))
    assert not PushT.hard(start, state(agent=(400, 400), angle=3.0))


def test_in_view() -> None:
    assert TASK.in_view(state())
    assert not TASK.in_view(state(agent=(10, 100)))
    assert not TASK.in_view(state(block=(40, 256)))
    assert not TASK.in_view(state(block=(256, 400)))
    assert not TASK.in_view(state(agent=(256, 300)))  # in the block


def test_picture_shows_every_degree_and_pixel() -> None:
    """At 64 px: a turn by 5 degrees or a move by 2 px, a quarter of a pixel of the picture, can be seen."""
    task = PushT()
    here = task.draw(state()).astype(float)
    for other in (state(angle=np.radians(5)), state(block=(258, 256)), state(agent=(102, 100))):
        assert np.abs(task.draw(other) - here).max() > 10
    blue = (here[..., 2] - here[..., 0]).clip(60) - 60  # the block has 34, the agent 160
    rows, columns = np.indices(blue.shape) + 0.5
    assert [float((axis * blue).sum() / blue.sum()) * 8 for axis in (columns, rows)] == pytest.approx([100, 100], abs=1)
