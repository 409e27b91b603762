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

from worldmodel.envs.goal_task import Array, GoalTask

ARENA = 512.0  # px, side of the picture
WALLS = (7.0, 504.0)  # px, inner faces
AGENT_RADIUS = 15.0
REACH = 100.0  # px from the agent to its target for an action of 1
STIFFNESS, DAMPING = 100.0, 20.0  # of the agent's PD control, 1/s^2 and 1/s
DT, SUBSTEPS = 0.01, 10  # s; one step is 0.1 s
BAR = ((-60.0, 0.0), (60.0, 0.0), (60.0, 30.0), (-60.0, 30.0))  # px, in the block's frame
STEM = ((-15.0, 30.0), (15.0, 30.0), (15.0, 120.0), (-15.0, 120.0))
CENTRE_OF_GRAVITY = (0.0, 45.0)  # mean of the two boxes' centres
MOMENT = 2 * pymunk.moment_for_poly(1.0, BAR)  # of mass 1; the bar is counted twice, as in the published environment
OUTLINE = np.array([*BAR[:3], *STEM[1:], STEM[0], BAR[3]])  # (8, 2), once around
POSITION_TOLERANCE, ANGLE_TOLERANCE = 20.0, np.pi / 9  # px, rad
_AGENT_BOX = (WALLS[0] + AGENT_RADIUS, WALLS[1] - AGENT_RADIUS)  # where its centre can be
_WHITE, _LIGHT_GREY, _SLATE, _BLUE = (255, 255, 255), (211, 211, 211), (119, 136, 153), (65, 105, 225)
_SHIFT = 8  # sub-pixel bits in the drawings


class PushT(GoalTask):
    """Push the T to a pose. State, px, rad and seconds: see ``state_names``; action: target relative to the agent."""

    state_names = (
        "agent_x", "agent_y", "block_x", "block_y", "block_angle",
        "agent_vx", "agent_vy", "block_vx", "block_vy", "block_omega",
    )  # fmt: skip
    state_dim = 10
    hard_label = "block moves > 20 px"

    def advance(self, state: Array, action: Array) -> Array:
        """Let the agent go towards ``agent + 100 px * action`` for 0.1 s."""
        space, agent, block = _build(state)
        x, y, *_, vx, vy, _, _, _ = state.tolist()
        target_x, target_y = _inside(x + REACH * float(action[0])), _inside(y + REACH * float(action[1]))
        for _ in range(SUBSTEPS):
            vx, vy = _servo(x, vx, target_x), _servo(y, vy, target_y)
            agent.velocity = vx, vy
            space.step(DT)
            x, y = _inside(x + vx * DT), _inside(y + vy * DT)  # as the agent did
        angle = block.angle % (2 * np.pi)
        return np.array([x, y, *block.position, angle, vx, vy, *block.velocity, block.angular_velocity])

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw agent and block where the published environment starts them, in view and apart."""
        while True:
            state = np.zeros(10)
            state[:2] = rng.uniform(50, 450, 2)
            state[2:4] = rng.uniform(100, 400, 2)
            state[4] = rng.uniform(0, 2 * np.pi)
            if self.in_view(state) and clearance(state, state[:2]) > AGENT_RADIUS + 2.0:
                return state

    def draw(self, state: Array) -> Array:
        """Draw block and agent, never the goal."""
        size = 2 * self.image_size  # drawn twice as large: OpenCV's own smoothing makes a star of a disc of 4 px
        scale, half = size / ARENA * (1 << _SHIFT), 0.5 * (1 << _SHIFT)  # its integer coordinates are centres of pixels
        picture = _background(size).copy()
        corners = np.rint(outline(state) * scale - half).astype(np.int32)
        cv2.fillPoly(picture, [corners], _SLATE, cv2.LINE_AA, _SHIFT)
        x, y = np.rint(state[:2] * scale - half).astype(int).tolist()
        cv2.circle(picture, (x, y), round(AGENT_RADIUS * scale), _BLUE, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        return cv2.resize(picture, (self.image_size, self.image_size), interpolation=cv2.INTER_AREA)

    @staticmethod
    def distance(state: Array, goal: Array) -> float:
        """Pixels (4-norm over agent and block) plus degrees of the block, of which 20 are tolerated of each."""
        return _position_gap(state, goal) + float(np.degrees(_angle_gap(state, goal)))

    @staticmethod
    def success(state: Array, goal: Array) -> bool:
        """Agent and block within 20 px together, as one vector of four numbers, and the angle within 20 degrees."""
        return _position_gap(state, goal) < POSITION_TOLERANCE and _angle_gap(state, goal) < ANGLE_TOLERANCE

    @staticmethod
    def hard(start: Array, goal: Array) -> bool:
        """Whether the block must move more than the position tolerance."""
        return float(np.linalg.norm(goal[2:4] - start[2:4])) > POSITION_TOLERANCE

    @staticmethod
    def in_view(state: Array) -> bool:
        """Whether the block lies wholly in the picture and the agent in the arena."""
        corners = outline(state)
        low, high = _AGENT_BOX
        return bool(
            corners.min() >= 0 and corners.max() <= ARENA and state[:2].min() >= low and state[:2].max() <= high
        )


def outline(state: Array) -> Array:
    """Return the corners of the block, once around: (8, 2) px."""
    c, s = np.cos(state[4]), np.sin(state[4])
    return OUTLINE @ np.array([[c, s], [-s, c]]) + state[2:4]


def clearance(state: Array, points: Array) -> Array:
    """Return how far points (..., 2) px are from the block, (...); negative inside."""
    c, s = np.cos(state[4]), np.sin(state[4])
    local = (points - state[2:4]) @ np.array([[c, -s], [s, c]])
    return np.minimum(_box_distance(local, BAR), _box_distance(local, STEM))


def _box_distance(points: Array, box: tuple[tuple[float, float], ...]) -> Array:
    outside = np.maximum(np.array(box[0]) - points, points - np.array(box[2]))  # (..., 2), per axis
    return np.linalg.norm(np.maximum(outside, 0.0), axis=-1) + np.minimum(outside.max(-1), 0.0)


def _inside(x: float) -> float:
    return min(max(x, _AGENT_BOX[0]), _AGENT_BOX[1])


def _servo(x: float, v: float, target: float) -> float:
    """Return the agent's next velocity along an axis. Walls do not stop a kinematic body, so this does."""
    v += (STIFFNESS * (target - x) - DAMPING * v) * DT
    return min(max(v, (_AGENT_BOX[0] - x) / DT), (_AGENT_BOX[1] - x) / DT)


def _position_gap(state: Array, goal: Array) -> float:
    return float(np.linalg.norm(goal[:4] - state[:4]))


def _angle_gap(state: Array, goal: Array) -> float:
    return abs(float((goal[4] - state[4] + np.pi) % (2 * np.pi) - np.pi))


def _build(state: Array) -> tuple[pymunk.Space, pymunk.Body, pymunk.Body]:
    """Build the physics of a state from nothing; shapes are always added in the same order."""
    x, y, block_x, block_y, angle, vx, vy, block_vx, block_vy, omega = state.tolist()
    space = pymunk.Space()
    space.damping = 0.0  # the block stops when it is not pushed
    thick = 500.0
    near, far = WALLS[0] - thick, WALLS[1] + thick
    corners = ((near, near), (far, near), (far, far), (near, far))
    walls = [pymunk.Segment(space.static_body, corners[i - 1], corners[i], thick) for i in range(4)]

    agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
    agent.position = x, y
    agent.velocity = vx, vy

    block = pymunk.Body(1.0, MOMENT)
    block.center_of_gravity = CENTRE_OF_GRAVITY
    block.angle = angle
    block.position = block_x, block_y
    block.velocity = block_vx, block_vy
    block.angular_velocity = omega

    bodies = (agent, pymunk.Circle(agent, AGENT_RADIUS), block, pymunk.Poly(block, BAR), pymunk.Poly(block, STEM))
    space.add(*walls, *bodies)
    return space, agent, block


@lru_cache(maxsize=8)
def _background(size: int) -> Array:
    picture = np.full((512, 512, 3), _WHITE, np.uint8)
    cv2.rectangle(picture, (5, 5), (506, 506), _LIGHT_GREY, 4)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
