"""OGBench's mazes: a point, an ant or a humanoid goes somewhere, or an ant brings a ball there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from worldmodel.envs.ogbench import SimulatedTask, chance, make_inner, next_chance
from worldmodel.envs.rendering import mujoco
from worldmodel.envs.task import Array

SETTLE = {"pointmaze": 0, "antmaze": 5, "antsoccer": 10, "humanoidmaze": 40}  # random steps before a start or a goal
HIDDEN = 5  # a group of geoms that is not drawn
GREY, RED = (0.3, 0.3, 0.3, 1.0), (0.96, 0.26, 0.33, 1.0)


class Maze(SimulatedTask):
    """Go to a place in a maze. Distances in metres; a cell is 4 m wide.

    Success is OGBench's: within 1 m for the point, 0.5 m for ant and humanoid. Ant and humanoid are seen from behind,
    on a floor whose colour tells where they are, as in OGBench's visual mazes; the point, which has none, from above.

    In the teleport mazes the exit is chance: the state holds the seed of the next step.
    """

    hard_label = "> 4 m to go"
    seen = "pointbody"  # geom in red where the picture is from above

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.inner = make_inner(name)
        Path(self.inner.fullpath).unlink()  # OGBench leaves the maze it made in the folder for temporary files
        self.action_space = spaces.Box(-1.0, 1.0, self.inner.action_space.shape, np.float32)
        self._settle = SETTLE[name.partition("-")[0]]
        self._teleports = self.inner._teleport_info
        self._chance = 0.0
        self.metadata = self.metadata | {"render_fps": self.inner.metadata["render_fps"]}
        self._cells = _cells(self.inner.maze_map, self._teleports["teleport_in_ijs"] if self._teleports else [])
        self.model.geom_group[self.model.geom("target").id] = HIDDEN
        if name.startswith(("antmaze", "humanoidmaze")):
            self.camera = "back"
            _paint(self.model)
        else:
            self.camera = self.inner.custom_camera  # from above, where the point is a pixel or two
            self.model.mat("wall").rgba = GREY  # white in this light
            self.model.geom_matid[self.model.geom(self.seen).id] = -1
            self.model.geom_rgba[self.model.geom(self.seen).id] = RED
        super().__init__(**options)

    def simulate(self, action: Array) -> None:
        """Step OGBench's environment."""
        if self._teleports is None:
            self.inner.step(action)
        else:
            with chance(int(self._chance)):
                self.inner.step(action)
                self._chance = next_chance()
        self.refresh()

    def refresh(self) -> None:
        """Compute positions and velocities of everything, which the humanoid's next step begins with."""
        mujoco.mj_step1(self.model, self.data)

    def scene(self) -> Array:
        """Return the seed of the next step where there is chance, (1,), else nothing."""
        return np.empty(0) if self._teleports is None else np.array([self._chance])

    def set_scene(self, scene: Array) -> None:
        """Put back what `scene` returned."""
        if self._teleports is not None:
            self._chance = float(scene[0])

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw a place in a free cell."""
        return self._place(rng, self._near(self._cell(rng), rng))

    def official(self, task: dict[str, Any], rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw start and goal in the two cells of the task."""
        start = self._place(rng, self._near(task["init_ij"], rng))
        return start, self._place(rng, self._near(task["goal_ij"], rng))

    def where(self, state: Array) -> Array:
        """Return what has to get to the goal, (2,) m."""
        return self.qpos(state)[:2]

    def distance(self, state: Array, goal: Array) -> float:
        """Straight-line distance, m, through the walls if it must be."""
        return float(np.linalg.norm(self.where(goal) - self.where(state)))

    def success(self, state: Array, goal: Array) -> bool:
        """Within OGBench's tolerance."""
        return self.distance(state, goal) <= self.inner._goal_tol

    def hard(self, start: Array, goal: Array) -> bool:
        """Whether it is more than a cell away."""
        return self.distance(start, goal) > self.inner._maze_unit

    def in_view(self, state: Array) -> bool:
        """Whether it is in the maze, and not in a wall."""
        return self._free(self.where(state))

    def features(self, state: Array) -> Array:
        """Return OGBench's own observation: positions and velocities, for the humanoid its body's posture as well."""
        self.load(state)
        return np.array(self.inner.get_ob("states"), np.float64)

    def _cell(self, rng: np.random.Generator) -> list[int]:
        return self._cells[rng.integers(len(self._cells))]

    def _near(self, cell: Any, rng: np.random.Generator) -> Array:
        """Return a place around the middle of a cell, (2,) m."""
        reach = self.inner._noise * self.inner._maze_unit / 4
        return np.array(self.inner.ij_to_xy(cell)) + rng.uniform(-reach, reach, 2)

    def _place(self, rng: np.random.Generator, *places: Array) -> Array:
        """Return a state with the agent in a random posture at the place; with a ball, that is at the second."""
        self._loaded, self.inner.np_random = None, rng
        mujoco.mj_resetData(self.model, self.data)
        self.inner.reset_model()
        for action in rng.uniform(-1.0, 1.0, (self._settle, *self.action_space.shape)):
            self.inner.step(action)
        self._put(*places)
        self._chance = float(rng.integers(2**31))
        self.refresh()
        return self.save()

    def _put(self, xy: Array) -> None:
        self.inner.set_xy(xy)

    def _free(self, place: Array) -> bool:
        """Whether a place (2,) is in a free cell."""
        (i, j), (rows, columns) = self.inner.xy_to_ij(place), self.inner.maze_map.shape
        return bool(0 <= i < rows and 0 <= j < columns and self.inner.maze_map[i, j] == 0)


class Soccer(Maze):
    """Bring the ball to a place, as an ant; seen from above, since OGBench has no pictures of it. Distances in metres.

    Deviation: in a goal OGBench puts the ant where the ball is, here it stands beside it, so that the ball is seen.
    """

    seen = "ball"
    beside = 1.5  # m

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw a place in a free cell for each, in different cells."""
        ant, ball = self._cell(rng), self._cell(rng)
        while ball == ant:
            ball = self._cell(rng)
        return self._place(rng, self._near(ant, rng), self._near(ball, rng))

    def official(self, task: dict[str, Any], rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw places in the cells of the task."""
        ant, ball = self._near(task["agent_init_ij"], rng), self._near(task["ball_init_ij"], rng)
        start, goal = self._place(rng, ant, ball), self._near(task["goal_ij"], rng)
        inwards = np.array(task["goal_xy"]) - goal
        inwards *= self.beside / np.linalg.norm(inwards)
        return start, self._place(rng, goal + inwards, goal)

    def where(self, state: Array) -> Array:
        """Return where the ball is, (2,) m."""
        return self.qpos(state)[-7:-5]

    def in_view(self, state: Array) -> bool:
        """Whether ant and ball are in the maze, and not in a wall."""
        return super().in_view(state) and self._free(self.qpos(state)[:2])

    def _put(self, xy: Array, ball: Array) -> None:  # type: ignore[override]
        self.inner.set_agent_ball_xy(xy, ball)


def _cells(maze: Array, closed: list[tuple[int, int]]) -> list[list[int]]:
    """Return the cells for starts and goals: free ones from which and to which one can walk, without a teleport."""
    free = maze == 0
    neighbours = sum(np.roll(free, step, axis) for step in (-1, 1) for axis in (0, 1))
    return [cell for cell in np.argwhere(free & (neighbours > 0)).tolist() if tuple(cell) not in closed]


def _paint(model: Any) -> None:
    """Give a maze the look of OGBench's visual ones, whose own class would draw a picture in every step."""
    model.mat("wall").rgba = (0.6, 0.6, 0.6, 1.0)
    model.light("global").ambient = 0.0
    model.light_active[model.light("torso_light").id] = 0
    model.mat_texuniform[model.mat("grid").id] = 0
    floor = model.tex("grid")
    height, width, start = int(floor.height[0]), int(floor.width[0]), int(floor.adr[0])
    colours = np.full((height, width, 3), 128, np.uint8)
    colours[..., 0] = (np.arange(height) / height * 192).astype(int)[:, None]
    colours[..., 1] = (np.arange(width) / width * 192).astype(int)
    model.tex_data[start : start + colours.size] = colours.reshape(-1)
    for name in ("aux_1_geom", "left_leg_geom", "left_ankle_geom"):  # one leg of the ant tells its front from its back
        geom = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, name)
        if geom >= 0:
            model.geom_matid[geom] = model.mat("self_white").id
