"""What the MuJoCo tasks share: the state is all that MuJoCo integrates, so it can be set exactly at any step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from worldmodel.envs.goal_task import GoalTask
from worldmodel.envs.mujoco_factors import FACTORS, World
from worldmodel.envs.rendering import PRESETS, Renderer, mujoco
from worldmodel.envs.task import Array
from worldmodel.errors import BadValue

INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION


class MuJoCoTask(GoalTask):
    """A task simulated by MuJoCo.

    State: the integration state of MuJoCo (time, positions, velocities, activations, warm start, controls, mocap bodies
    ...), then what the task keeps besides, its `scene`: what an episode changes in the model, such as where a target
    is. The simulator is left where the last call put it; `load` does nothing when it is already there, unless the world
    is varied: then the task may have put numbers of its own into the model since.

    A subclass builds its simulator before it calls ``super().__init__``.
    """

    factors = FACTORS
    colour_factor = "body.tint"
    presets: ClassVar[tuple[str, ...]] = PRESETS
    camera: Any = 0  # name, number or mujoco.MjvCamera

    def __init__(self, **options: Any) -> None:
        self._renderer: Renderer | None = None
        self._loaded: Array | None = None
        self._world = World()
        self._physics_dim = mujoco.mj_stateSize(self.model, INTEGRATION)
        self.state_dim = self._physics_dim + len(self.scene())
        named = ["time", *(f"qpos_{i}" for i in range(self.model.nq)), *(f"qvel_{i}" for i in range(self.model.nv))]
        self.state_names = (*named, *(f"state_{i}" for i in range(len(named), self.state_dim)))
        super().__init__(**options)

    # What a MuJoCo task is.

    @property
    @abstractmethod
    def model(self) -> Any:
        """The compiled ``mujoco.MjModel``."""

    @property
    @abstractmethod
    def data(self) -> Any:
        """The ``mujoco.MjData``."""

    @abstractmethod
    def simulate(self, action: Array) -> None:
        """Apply an action (a,) for one environment step, from wherever the simulator is."""

    @abstractmethod
    def refresh(self) -> None:
        """Compute what follows from a physics state that was just set, as it would be after a step."""

    def scene(self) -> Array:
        """Return what the task keeps besides the physics, (k,) float64."""
        return np.empty(0)

    def set_scene(self, scene: Array) -> None:
        """Put back what `scene` returned; called before the physics is set."""

    # What follows from it.

    def build_world(self) -> None:
        """Change the physics to those of `variation`."""
        self._world.values = self.variation
        self._world.apply(self.model)
        self._loaded = None

    def load(self, state: Array) -> None:
        """Put the simulator into a state."""
        if self._loaded is not None and np.array_equal(state, self._loaded) and not self.varied:
            return
        self.set_scene(state[self._physics_dim :])
        if self.varied:
            self._world.apply(self.model)
        mujoco.mj_setState(self.model, self.data, state[: self._physics_dim], INTEGRATION)
        self.refresh()
        self._loaded = state.copy()

    def save(self) -> Array:
        """Return the state the simulator is in, (state_dim,) float64."""
        physics = np.empty(self._physics_dim)
        mujoco.mj_getState(self.model, self.data, physics, INTEGRATION)
        self._loaded = np.concatenate([physics, self.scene()])
        return self._loaded.copy()

    def advance(self, state: Array, action: Array) -> Array:
        """Return the state one environment step later."""
        self.load(state)
        self._loaded = None  # until it is known again: a simulation can fail midway
        self.simulate(action)
        return self.save()

    def draw(self, state: Array) -> Array:
        """Return the picture of any state, (S, S, 3) uint8."""
        self.load(state)
        if self._renderer is None or self._renderer.model is not self.model:
            self.close()
            self._renderer = Renderer(self.model, self.image_size, self.render_preset)
        return self._renderer.draw(self.data, self.camera, self._world if self.varied else None)

    def state_of(self, qpos: Array, qvel: Array) -> Array:
        """Return the state of positions (nq,) and velocities (nv,), which is what other programs record of a state.

        The rest of it is that of the present state.

        Raises:
            BadValue: numbers of another model.
        """
        for name, values, size in (("qpos", qpos, self.model.nq), ("qvel", qvel, self.model.nv)):
            if values.shape != (size,):
                raise BadValue(f"{name} must be {size} numbers, not {values.shape}")
        self.load(self.get_state())
        self._loaded = None
        self.data.qpos[:], self.data.qvel[:] = qpos, qvel
        return self.settled()

    def settled(self) -> Array:
        """Return the state after positions or velocities were written into the simulator."""
        self.refresh()
        return self.save()

    def qpos(self, state: Array) -> Array:
        """Return the positions (nq,) in a state; they follow the time."""
        return state[1 : 1 + self.model.nq]

    def columns(self, states: Array) -> dict[str, Array]:
        """Return positions ``qpos`` (T, nq) and velocities ``qvel`` (T, nv)."""
        first, last = 1 + self.model.nq, 1 + self.model.nq + self.model.nv
        return {"qpos": states[:, 1:first], "qvel": states[:, first:last]}

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
