"""TwoRoom: a dot walks to a place that may lie behind a wall with one door.

Sizes, speed and success rule are those of stable-worldmodel's environment, whose ancestor is DINO-WM's "wall".
Deviation: there only the end of a move is looked at, so that a dot in the doorway which moves against the door's edge
may be thrown out at the other side of the wall; here it is stopped by the edge.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from worldmodel.envs.factors import Factor, colour
from worldmodel.envs.goal_task import GoalTask
from worldmodel.envs.task import Array

ARENA = 224.0  # px, side of the picture
BORDER, LINE = 14.0, 4.0  # px from the picture's edge to the room, width of the border line
WALL = 112.0  # centre of the wall between the rooms
DOOR_MARGIN = 1.75  # what the door forgives
TOLERANCE = 16.0


class TwoRoom(GoalTask):
    """Walk to the goal. State: x, y of the agent, px; action: the move, 1 is 5 px.

    Of the factors, colours change the picture only. The widest agent still fits through the narrowest door.
    """

    state_names = ("agent_x", "agent_y")
    state_dim = 2
    hard_label = "goal behind the wall"
    colour_factor = "agent.colour"
    factors = {
        "background.colour": colour(255, 255, 255),
        "wall.colour": colour(0, 0, 0),
        "wall.thickness": Factor(10.0, 6.0, 20.0),  # px
        "door.position": Factor(49.0, 40.0, 184.0),  # of its centre along the wall, px
        "door.width": Factor(28.0, 24.0, 40.0),  # px
        "agent.colour": colour(255, 0, 0),
        "agent.radius": Factor(7.0, 5.0, 10.0),  # standard deviation of the blob it is drawn as, px
        "agent.speed": Factor(5.0, 3.5, 7.0),  # px per step for an action of 1
    }

    def build_world(self) -> None:
        """Look up what every step needs."""
        world = {name: value.tolist() for name, value in self.variation.items()}
        self.radius, self.speed, self.door = world["agent.radius"], world["agent.speed"], world["door.position"]
        half_wall, half_door = world["wall.thickness"] / 2, world["door.width"] / 2
        self.room = (BORDER + self.radius, ARENA - BORDER - self.radius)  # where the agent's centre can be
        self.stop = half_wall + self.radius + 0.5  # it stops this far from the wall's centre
        # y at which it gets through
        self.passage = (self.door - half_door - DOOR_MARGIN, self.door + half_door + DOOR_MARGIN)
        self._colour = np.array(world["agent.colour"])
        colours = tuple(world["background.colour"]), tuple(world["wall.colour"])
        self._background = _background(self.image_size, *colours, half_wall, self.door, half_door)

    def advance(self, state: Array, action: Array) -> Array:
        """Move along x, then along y; each leg ends at the first wall in its way."""
        x, y = state.tolist()
        dx, dy = (self.speed * action).tolist()
        (low, high), passage = self.room, self.passage
        if not passage[0] <= y <= passage[1]:  # the wall is in the way
            if x <= WALL - self.stop:
                high = WALL - self.stop
            elif x >= WALL + self.stop:
                low = WALL + self.stop
            else:
                low = high = x  # put into the wall by a state: only y is free
        x = min(max(x + dx, low), high)
        low, high = self.room
        if abs(x - WALL) < self.stop and passage[0] <= y <= passage[1]:  # in the doorway
            low, high = passage
        return np.array([x, min(max(y + dy, low), high)])

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw a place in either room."""
        while True:
            state = rng.uniform(*self.room, 2)
            if self.in_view(state):
                return state

    def draw(self, state: Array) -> Array:
        """Draw walls and agent, never the goal."""
        return _blend(self._background, state[:2], self.radius * self.image_size / ARENA, self._colour)

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

    def in_view(self, state: Array) -> bool:
        """Whether the agent is in one of the rooms; a doorway is neither start nor goal."""
        low, high = self.room
        return bool(state.min() >= low and state.max() <= high and abs(state[0] - WALL) >= self.stop)


@lru_cache(maxsize=8)
def _background(
    size: int, floor: tuple[float, ...], walls: tuple[float, ...], half_wall: float, door: float, half_door: float
) -> Array:
    """The rooms, (size, size, 3) uint8."""
    picture = np.full((224, 224, 3), floor, np.uint8)
    edge, line, wall, half = int(BORDER), int(LINE), int(WALL), round(half_wall)
    for start, stop in ((edge - line, edge), (224 - edge, 224 - edge + line)):
        picture[start:stop] = picture[:, start:stop] = walls
    picture[:, wall - half : wall + half + 1] = walls
    picture[round(door - half_door) : round(door + half_door) + 1, wall - half : wall + half + 1] = floor
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def _blend(background: Array, centre: Array, std: float, colour: Array) -> Array:
    """Return the background with a gaussian dot; ``centre`` in px of the arena, ``std`` in px of the picture."""
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
    window[:] = np.rint(window * (1 - alpha) + colour * alpha)
    return picture
