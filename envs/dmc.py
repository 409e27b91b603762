"""The DM-Control suite (arXiv 1801.00690): all of its tasks, with goals that are poses.

Names are ``<domain>-<task>``, such as ``cartpole-swingup``. ``reacher-qpos`` is LeWM's: Reacher without its target. The
physics, initial states, observations and rewards are the suite's own; only what counts as a goal is ours:

A goal is reached when every joint is within a tolerance. Hinges count the shorter way around, free bodies by the angle
of their rotation, slides and free bodies by their position. Where the camera follows a body, pictures do not show how
far it has travelled: the first body's horizontal position is left out, and others count relative to it.

================================  ======  ======
tolerance                         rad     m
================================  ======  ======
reacher                           0.05    0.05
point_mass                        0.1     0.01
ball_in_cup, manipulator, stacker 0.1     0.02
quadruped, dog, humanoid(_CMU)    0.3     0.1
all others                        0.1     0.05
================================  ======  ======
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from worldmodel.envs.mujoco_task import MuJoCoTask
from worldmodel.envs.rendering import mujoco
from worldmodel.envs.task import Array
from worldmodel.errors import BadValue, UnknownName

from dm_control import suite  # isort: skip  # after rendering, which chooses the OpenGL

# Beginning of the name -> what a goal forgives, rad and m; the longest beginning counts.
TOLERANCES = {
    "": (0.1, 0.05),
    "reacher": (0.05, 0.05),
    "ball_in_cup": (0.1, 0.02),
    "point_mass": (0.1, 0.01),
    "manipulator": (0.1, 0.02),
    "stacker": (0.1, 0.02),
    "quadruped": (0.3, 0.1),
    "dog": (0.3, 0.1),
    "humanoid": (0.3, 0.1),
}
# Where camera 0 shows too little: the quadruped from afar, 8 of 64 pixels high, and the dog's ball instead of the dog.
CAMERAS = {"": 0, "quadruped": 2, "quadruped-fetch": 0, "dog-fetch": 2}
FAR = 5  # tolerances


class DMC(MuJoCoTask):
    """A task of the suite.

    State: what `MuJoCoTask` says, the seed that the episode was made with, on which targets, terrain and the like
    depend, and the readings of the sensors that the last step's forces left.

    Args:
        name: ``<domain>-<task>``.
        options: as for `GoalTask`.

    Raises:
        UnknownName: the suite has no such task.
    """

    hard_label = f"a joint > {FAR} tolerances away"

    def __init__(self, name: str, **options: Any) -> None:
        known = {"-".join(pair): pair for pair in suite.ALL_TASKS} | {"reacher-qpos": ("reacher", "easy")}
        if name not in known:
            raise UnknownName("task of the DM-Control suite", name, known)
        env = suite.load(*known[name], task_kwargs={"random": 0})
        self._physics, self._task = env.physics, env.task
        self._substeps = round(env.control_timestep() / env.physics.timestep())
        self._to_goal = name == "reacher-qpos"
        self.takes_turns = self._to_goal  # others may have other targets, bodies or terrain in each episode
        if self._to_goal:
            self.model.geom("target").rgba[3] = 0
        self.metadata = {**self.metadata, "render_fps": round(1 / env.control_timestep())}
        self.camera = CAMERAS[_longest(CAMERAS, name)]
        self.angle_tolerance, self.place_tolerance = TOLERANCES[_longest(TOLERANCES, name)]
        self._hinges, self._turns, self._places = _compared(self.model, self.camera)
        spec = env.action_spec()
        bounded = spec.maximum < mujoco.mjMAXVAL  # lqr is not; a force of 10 holds its springs about half a metre out
        low, high = np.where(bounded, spec.minimum, -10.0), np.where(bounded, spec.maximum, 10.0)
        self.action_space = spaces.Box(low.astype(np.float32), high.astype(np.float32))
        self._sensed = _sensed(self.model)
        self._seed = -1.0
        super().__init__(**options)

    @property
    def model(self) -> Any:
        """The ``mujoco.MjModel``."""
        return self._physics.model.ptr

    @property
    def data(self) -> Any:
        """The ``mujoco.MjData``."""
        return self._physics.data.ptr

    def simulate(self, action: Array) -> None:
        """Apply an action for one control step of the suite."""
        self._task.before_step(action, self._physics)
        self._physics.step(self._substeps)

    def refresh(self) -> None:
        """Compute positions and velocities of everything, as the suite does at the end of a step."""
        mujoco.mj_step1(self.model, self.data)

    def scene(self) -> Array:
        """Return the episode's seed and the sensors' readings that come with forces."""
        return np.concatenate([[self._seed], self.data.sensordata[self._sensed]])

    def set_scene(self, scene: Array) -> None:
        """Make the episode of a seed again, unless it is the present one, and put the readings back."""
        if scene[0] != self._seed:
            self._begin(scene[0])
        self.data.sensordata[self._sensed] = scene[1:]

    def _begin(self, seed: float) -> None:
        """Begin the episode of a seed."""
        if not (0 <= seed < 2**32 and seed == int(seed)):
            raise BadValue(f"state: the episode's seed must be a whole number from 0 to 2^32 - 1, not {seed}")
        self._seed, terrain = seed, self.model.hfield_data.copy()
        self._task._random = np.random.RandomState(int(seed))
        with self._physics.reset_context():
            self._task.initialize_episode(self._physics)
        if not np.array_equal(terrain, self.model.hfield_data):
            self.close()  # the renderer has a copy of the old terrain

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw an initial state of the suite."""
        self._begin(float(rng.integers(2**32)))
        return self.save()

    def sample_goal(self, state: Array, rng: np.random.Generator) -> Array:
        """Draw a goal in the scene of a state: the pose of another initial state.

        Where these are all alike (cartpole-swingup hangs down), its pose after some steps under an action that is held.
        """
        return self._elsewhere(state, rng, lambda goal: not self.success(state, goal))

    def teleport(self, state: Array, rng: np.random.Generator) -> Array:
        """Draw a goal that is `hard` to reach; see `sample_goal`."""
        return self._elsewhere(state, rng, lambda goal: self.hard(state, goal))

    def _elsewhere(self, state: Array, rng: np.random.Generator, wanted: Callable[[Array], bool]) -> Array:
        steps = 0
        while True:
            goal = self.sample(rng)
            goal[self._physics_dim] = state[self._physics_dim]
            action = rng.uniform(self.action_space.low, self.action_space.high)
            for _ in range(steps):
                goal = self.advance(goal, action)
            if wanted(goal):
                return goal
            steps = 2 * steps + 1

    def distance(self, state: Array, goal: Array) -> float:
        """Return the largest difference of a joint, rad; metres count as many rad as their tolerances compare."""
        here, there = self.qpos(state), self.qpos(goal)
        turns = np.abs((here[self._hinges] - there[self._hinges] + np.pi) % (2 * np.pi) - np.pi)
        spins = _rotation(here[self._turns], there[self._turns])
        shifts = np.abs(self._places @ (here - there)) * (self.angle_tolerance / self.place_tolerance)
        return float(np.concatenate([turns, spins, shifts]).max())

    def success(self, state: Array, goal: Array) -> bool:
        """Whether every joint is within its tolerance."""
        return self.distance(state, goal) < self.angle_tolerance

    def hard(self, start: Array, goal: Array) -> bool:
        """Whether a joint is more than 5 tolerances away."""
        return self.distance(start, goal) > FAR * self.angle_tolerance

    def in_view(self, state: Array) -> bool:
        """Whether the state is usable as a start or a goal: always."""
        return True

    def features(self, state: Array) -> Array:
        """Return the suite's observation, flattened."""
        self.load(state)
        seen = self._task.get_observation(self._physics)
        return np.concatenate([np.ravel(value) for value in seen.values()]).astype(np.float64)

    def reward(self, state: Array) -> float:
        """Return the suite's reward; of reacher-qpos, minus the distance to the goal."""
        if self._to_goal:
            return super().reward(state)
        self.load(state)
        return float(self._task.get_reward(self._physics))


def _longest(table: dict[str, Any], name: str) -> str:
    return max((beginning for beginning in table if name.startswith(beginning)), key=len)


def _sensed(model: Any) -> Array:
    """Which numbers of ``sensordata`` come with forces: the last step left them, positions and velocities do not."""
    needs = np.repeat(model.sensor_needstage, model.sensor_dim)
    return np.flatnonzero(needs == mujoco.mjtStage.mjSTAGE_ACC)


def _rotation(a: Array, b: Array) -> Array:
    """Angles between unit quaternions (k, 4), rad; exactly 0 between equal ones."""
    b = np.where((a * b).sum(axis=1, keepdims=True) < 0, -b, b)
    return 4 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))


def _compared(model: Any, camera: int) -> tuple[Array, Array, Array]:
    """What of ``qpos`` a goal fixes: indices (h,) of hinges, (q, 4) of rotations, and a matrix (p, nq) to positions."""
    free, slide, hinge = (int(getattr(mujoco.mjtJoint, f"mjJNT_{kind}")) for kind in ("FREE", "SLIDE", "HINGE"))
    follows = mujoco.mjtCamLight(model.cam_mode[camera]).name in ("mjCAMLIGHT_TRACK", "mjCAMLIGHT_TRACKCOM")
    hinges, turns, places = [], [], []
    followed: dict[int, int] = {}  # horizontal axis -> where the first body's position along it is
    for j, (at, kind) in enumerate(zip(model.jnt_qposadr.tolist(), model.jnt_type.tolist())):
        if not model.joint(j).name.startswith("ball"):  # a ball looks the same however it is turned
            hinges += [at] if kind == hinge else []
            turns += [at + np.arange(3, 7)] if kind == free else []
        axes = [int(np.abs(model.jnt_axis[j]).argmax())] if kind == slide else range(3) if kind == free else ()
        for i, axis in enumerate(axes, at):
            row = np.zeros(model.nq)
            row[i] = 1
            if follows and axis < 2 and model.body_parentid[model.jnt_bodyid[j]] == 0:
                if followed.setdefault(axis, i) == i:
                    continue
                row[followed[axis]] = -1
            places.append(row)
    return np.array(hinges, int), np.array(turns, int).reshape(-1, 4), np.array(places).reshape(-1, model.nq)
