"""TwoRoom: a dot walks to a place that may lie behind a wall with one door.

Sizes, speed and success rule are those of stable-worldmodel's environment, whose ancestor is DINO-WM's "wall".
Deviation: there only the end of a move is looked at, so that a dot in the doorway which moves against the door's edge
may be thrown out at the other side of the wall; here it is stopped by the edge.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from worldmodel.envs.goal_task import Array, GoalTask

ARENA = 224.0  # px, side of the picture
BORDER, LINE = 14.0, 4.0  # px from the picture's edge to the room, width of the border line
RADIUS = 7.0  # of the agent; standard deviation of the blob it is drawn as
SPEED = 5.0  # px per step for an action of 1
WALL, HALF_WALL = 112.0, 5.0  # centre and half thickness of the wall between the rooms
DOOR, HALF_DOOR, DOOR_MARGIN = 49.0, 14.0, 1.75  # centre, half width, and what the door forgives
TOLERANCE = 16.0
ROOM = (BORDER + RADIUS, ARENA - BORDER - RADIUS)  # where the agent's centre can be
STOP = HALF_WALL + RADIUS + 0.5  # it stops this far from the wall's centre
PASSAGE = (DOOR - HALF_DOOR - DOOR_MARGIN, DOOR + HALF_DOOR + DOOR_MARGIN)  # y at which it gets through


class TwoRoom(GoalTask):
    """Walk to the goal. State: x, y of the agent, px; action: the move, 1 is 5 px."""

    state_names = ("agent_x", "agent_y")
    state_dim = 2
    hard_label = "goal behind the wall"

    def advance(self, state: Array, action: Array) -> Array:
        """Move along x, then along y; each leg ends at the first wall in its way."""
        x, y = state.tolist()
        dx, dy = (SPEED * action).tolist()
        low, high = ROOM
        if not PASSAGE[0] <= y <= PASSAGE[1]:  # the wall is in the way
            if x <= WALL - STOP:
                high = WALL - STOP
            elif x >= WALL + STOP:
                low = WALL + STOP
            else:
                low = high = x  # put into the wall by a state: only y is free
        x = min(max(x + dx, low), high)
        low, high = ROOM
        if abs(x - WALL) < STOP and PASSAGE[0] <= y <= PASSAGE[1]:  # in the doorway
            low, high = PASSAGE
        return np.array([x, min(max(y + dy, low), high)])

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw a place in either room."""
        while True:
            state = rng.uniform(*ROOM, 2)
            if self.in_view(state):
                return state

    def draw(self, state: Array) -> Array:
        """Draw walls and agent, never the goal."""
        return _blend(_background(self.image_size), state[:2], RADIUS * self.image_size / ARENA)

    @staticmethod
    def distance(state: Array, goal: Array) -> float:
        """Straight-line distance, px, through the wall if it must be."""
        return float(np.linalg.norm(goal - state))

    @staticmethod
    def success(state: Array, goal: Array) -> bool:
        """Within 16 px."""
        return float(np.linalg.norm(goal - state)) < TOLERANCE

    @staticmethod
    def hard(start: Array, goal: Array) -> bool:
        """Whether start and goal are in different rooms."""
        return bool((start[0] < WALL) != (goal[0] < WALL))

    @staticmethod
    def in_view(state: Array) -> bool:
        """Whether the agent is in one of the rooms; a doorway is neither start nor goal."""
        return bool(state.min() >= ROOM[0] and state.max() <= ROOM[1] and abs(state[0] - WALL) >= STOP)


@lru_cache(maxsize=8)
def _background(size: int) -> Array:
    """Walls on white, (size, size, 3) uint8."""
    picture = np.full((224, 224, 3), 255, np.uint8)
    edge, line, wall, half = int(BORDER), int(LINE), int(WALL), int(HALF_WALL)
    for start, stop in ((edge - line, edge), (224 - edge, 224 - edge + line)):
        picture[start:stop] = picture[:, start:stop] = 0
    picture[:, wall - half : wall + half + 1] = 0
    picture[int(DOOR - HALF_DOOR) : int(DOOR + HALF_DOOR) + 1, wall - half : wall + half + 1] = 255
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def _blend(background: Array, centre: Array, std: float) -> Array:
    """Return the background with a red gaussian dot; ``centre`` in px of the arena, ``std`` in px of the picture."""
    size = len(background)
    x, y = (centre * (size / ARENA) - 0.5).tolist()  # coordinates of pixel centres
    reach = int(np.ceil(4 * std))
    left, right = (min(max(int(x) + d, 0), size) for d in (-reach, reach + 1))
    top, bottom = (min(max(int(y) + d, 0), size) for d in (-reach, reach + 1))
    row = np.exp(-0.5 * ((np.arange(left, right) - x) / std) ** 2)
    column = np.exp(-0.5 * ((np.arange(top, bottom) - y) / std) ** 2)
    alpha = (column[:, None] * row)[..., None]
    picture = background.copy()
    window = picture[top:bottom, left:right]
    window[:] = np.rint(window * (1 - alpha) + np.array([255.0, 0.0, 0.0]) * alpha)
    return picture
