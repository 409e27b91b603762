"""PushT: an agent, a disc, pushes a T-shaped block to a pose and ends at a place itself.

Sizes and physics are those of gym-pusht, with the relative actions and the success rule of DINO-WM (2411.04983) and
stable-worldmodel: 512 px arena, PD-controlled kinematic agent, quasi-static block. Deviations:

- The agent cannot leave the arena; there it could be pushed out of the picture. Walls have the same inner faces, but
  are thick, so that the block cannot be squeezed through.
- Every step starts from a fresh physics space: no contact cache is carried from one 0.1 s step to the next, so the
  10-d state tells everything. Pushed in the open, the block ends within about 0.04 px (median) of where it would
  after 25 steps; squeezed against a wall it slips away differently.
- The angle is assigned before the position. The other way round, the block turns about its centre of gravity, which is
  45 px from its origin, and ends elsewhere.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pymunk

from worldmodel.envs.factors import Factor, colour
from worldmodel.envs.goal_task import GoalTask
from worldmodel.envs.pusht_block import SHAPES, Block
from worldmodel.envs.task import Array

ARENA = 512.0  # px, side of the picture
WALLS = (7.0, 504.0)  # px, inner faces
REACH = 100.0  # px from the agent to its target for an action of 1
STIFFNESS, DAMPING = 100.0, 20.0  # of the agent's PD control, 1/s^2 and 1/s
DT, SUBSTEPS = 0.01, 10  # s; one step is 0.1 s
POSITION_TOLERANCE, ANGLE_TOLERANCE = 20.0, np.pi / 9  # px, rad
_SHAPES = tuple(SHAPES)
_SHIFT = 8  # sub-pixel bits in the drawings


class PushT(GoalTask):
    """Push the T to a pose. State, px, rad and seconds: see ``state_names``; action: target relative to the agent.

    Of the factors, colours change the picture only. ``block.shape`` is a number in `SHAPES`, ``block.friction`` that
    between agent and block, ``block.glide`` the share of its speed that the block keeps for a step when it is let go.
    """

    state_names = (
        "agent_x", "agent_y", "block_x", "block_y", "block_angle",
        "agent_vx", "agent_vy", "block_vx", "block_vy", "block_omega",
    )  # fmt: skip
    state_dim = 10
    hard_label = "block moves > 20 px"
    colour_factor = "block.colour"
    factors = {
        "background.colour": colour(255, 255, 255),
        "wall.colour": colour(211, 211, 211),
        "block.colour": colour(119, 136, 153),
        "block.shape": Factor(0, 0, len(SHAPES) - 1, whole=True),
        "block.scale": Factor(1.0, 0.75, 1.25),
        "block.friction": Factor(0.0, 0.0, 1.0),
        "block.glide": Factor(0.0, 0.0, 0.5),
        "agent.colour": colour(65, 105, 225),
        "agent.radius": Factor(15.0, 10.0, 20.0),  # px
    }

    def build_world(self) -> None:
        """Make the block and look up what every step needs."""
        world = {name: value.tolist() for name, value in self.variation.items()}
        self.block = Block(_SHAPES[int(world["block.shape"])], world["block.scale"])
        self.agent_radius = world["agent.radius"]
        self.room = (WALLS[0] + self.agent_radius, WALLS[1] - self.agent_radius)  # where the agent's centre can be
        self._friction = world["block.friction"]
        self._glide = world["block.glide"] ** (1 / (DT * SUBSTEPS))  # per second
        self._block_colour, self._agent_colour = world["block.colour"], world["agent.colour"]
        self._background = _background(
            2 * self.image_size, tuple(world["background.colour"]), tuple(world["wall.colour"])
        )

    def advance(self, state: Array, action: Array) -> Array:
        """Let the agent go towards ``agent + 100 px * action`` for 0.1 s."""
        space, agent, block = self.build_space(state)
        low, high = self.room
        x, y, *_, vx, vy, _, _, _ = state.tolist()
        target_x = _inside(x + REACH * float(action[0]), low, high)
        target_y = _inside(y + REACH * float(action[1]), low, high)
        for _ in range(SUBSTEPS):
            vx, vy = _servo(x, vx, target_x, low, high), _servo(y, vy, target_y, low, high)
            agent.velocity = vx, vy
            space.step(DT)
            x, y = _inside(x + vx * DT, low, high), _inside(y + vy * DT, low, high)  # as the agent did
        angle = block.angle % (2 * np.pi)
        return np.array([x, y, *block.position, angle, vx, vy, *block.velocity, block.angular_velocity])

    def build_space(self, state: Array) -> tuple[pymunk.Space, pymunk.Body, pymunk.Body]:
        """Build the physics of a state from nothing; shapes are always added in the same order."""
        x, y, block_x, block_y, angle, vx, vy, block_vx, block_vy, omega = state.tolist()
        space = pymunk.Space()
        space.damping = self._glide  # 0: the block stops when it is not pushed
        thick = 500.0
        near, far = WALLS[0] - thick, WALLS[1] + thick
        corners = ((near, near), (far, near), (far, far), (near, far))
        walls = [pymunk.Segment(space.static_body, corners[i - 1], corners[i], thick) for i in range(4)]

        agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        agent.position = x, y
        agent.velocity = vx, vy

        block = pymunk.Body(1.0, self.block.moment)
        block.center_of_gravity = self.block.centre_of_gravity
        block.angle = angle
        block.position = block_x, block_y
        block.velocity = block_vx, block_vy
        block.angular_velocity = omega

        disc = pymunk.Circle(agent, self.agent_radius)
        parts = [pymunk.Poly(block, part) for part in self.block.parts]
        if self._friction:
            for shape in (disc, *parts):
                shape.friction = self._friction**0.5  # of two shapes, the product counts
        space.add(*walls, agent, disc, block, *parts)
        return space, agent, block

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw agent and block where the published environment starts them, in view and apart."""
        while True:
            state = np.zeros(10)
            state[:2] = rng.uniform(50, 450, 2)
            state[2:4] = rng.uniform(100, 400, 2)
            state[4] = rng.uniform(0, 2 * np.pi)
            if self.in_view(state) and self.block.clearance(state, state[:2]) > self.agent_radius + 2.0:
                return state

    def draw(self, state: Array) -> Array:
        """Draw block and agent, never the goal."""
        size = 2 * self.image_size  # drawn twice as large: OpenCV's own smoothing makes a star of a disc of 4 px
        scale, half = size / ARENA * (1 << _SHIFT), 0.5 * (1 << _SHIFT)  # its integer coordinates are centres of pixels
        picture = self._background.copy()
        corners = np.rint(self.block.outline(state) * scale - half).astype(np.int32)
        cv2.fillPoly(picture, [corners], self._block_colour, cv2.LINE_AA, _SHIFT)
        x, y = np.rint(state[:2] * scale - half).astype(int).tolist()
        radius = round(self.agent_radius * scale)
        cv2.circle(picture, (x, y), radius, self._agent_colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        return cv2.resize(picture, (self.image_size, self.image_size), interpolation=cv2.INTER_AREA)

    @staticmethod
    def distance(state: Array, goal: Array) -> float:
        """Pixels (4-norm over agent and block) plus degrees of the block, of which 20 are tolerated of each."""
        return _position_gap(state, goal) + float(np.degrees(_angle_gap(state, goal)))

    @staticmethod
    def success(state: Array, goal: Array) -> bool:
        """Agent and block within 20 px together, as one vector of four numbers, and the angle within 20 degrees."""
        return _position_gap(state, goal) < POSITION_TOLERANCE and _angle_gap(state, goal) < ANGLE_TOLERANCE

    def accomplished(self, state: Array, goal: Array) -> bool:
        """The block alone within 20 px and 20 degrees, wherever the agent is."""
        return _block_gap(state, goal) < POSITION_TOLERANCE and _angle_gap(state, goal) < ANGLE_TOLERANCE

    def shortfall(self, state: Array, goal: Array) -> float:
        """Pixels plus degrees of the block alone."""
        return _block_gap(state, goal) + float(np.degrees(_angle_gap(state, goal)))

    @staticmethod
    def hard(start: Array, goal: Array) -> bool:
        """Whether the block must move more than the position tolerance."""
        return _block_gap(start, goal) > POSITION_TOLERANCE

    def in_view(self, state: Array) -> bool:
        """Whether the block lies wholly in the picture and the agent in the arena, not in the block."""
        corners, agent = self.block.outline(state), state[:2]
        low, high = self.room
        inside = corners.min() >= 0 and corners.max() <= ARENA and agent.min() >= low and agent.max() <= high
        return bool(inside and self.block.clearance(state, agent) > 0.0)  # when pushing they overlap by some px


def _inside(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def _servo(x: float, v: float, target: float, low: float, high: float) -> float:
    """Return the agent's next velocity along an axis. Walls do not stop a kinematic body, so this does."""
    v += (STIFFNESS * (target - x) - DAMPING * v) * DT
    return min(max(v, (low - x) / DT), (high - x) / DT)


def _position_gap(state: Array, goal: Array) -> float:
    return float(np.linalg.norm(goal[:4] - state[:4]))


def _block_gap(state: Array, goal: Array) -> float:
    return float(np.linalg.norm(goal[2:4] - state[2:4]))


def _angle_gap(state: Array, goal: Array) -> float:
    return abs(float((goal[4] - state[4] + np.pi) % (2 * np.pi) - np.pi))


@lru_cache(maxsize=8)
def _background(size: int, floor: tuple[float, ...], wall: tuple[float, ...]) -> Array:
    picture = np.full((512, 512, 3), floor, np.uint8)
    cv2.rectangle(picture, (5, 5), (506, 506), wall, 4)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
