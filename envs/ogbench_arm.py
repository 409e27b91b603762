"""OGBench's robot arm at a table, whatever lies on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from worldmodel.envs.ogbench import SimulatedTask, make_inner
from worldmodel.envs.rendering import mujoco
from worldmodel.envs.task import Array

APART = 0.06  # m between the middles of cubes that are strewn; a cube is 0.04 m wide
PAD = "ur5e/robotiq/right_pad"


class Manipulation(SimulatedTask):
    """A robot arm at a table. Action: how far the gripper moves (x, y, z), turns and closes; 1 is 5 cm, 0.3 rad, shut.

    Pictures are those of OGBench's visual environments: a transparent arm, seen from the front.

    Besides the physics the state holds what OGBench reads of the step before, and the buttons. MuJoCo leaves positions
    as they were 2 ms before a step's end, and the arm's next target counts from the gripper's.
    """

    metadata = SimulatedTask.metadata | {"render_fps": 20}
    camera = "front_pixels"

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.inner = make_inner(name, ob_type="pixels", visualize_info=False, terminate_at_goal=False)
        self.inner._mjcf_model = self.inner.build_mjcf_model()  # it looks as in pictures ...
        self.inner._ob_type = "states"  # ... and draws none while stepping
        self.inner._mode = "data_collection"  # starts anywhere, and moves no cube by itself
        self.inner.np_random = np.random.default_rng(0)
        self.inner.reset()
        self.action_space = spaces.Box(-1.0, 1.0, (5,), np.float32)
        self._cubes = self._addresses("object_joint")
        self._buttons = getattr(self.inner, "_num_buttons", 0)
        self._sense()
        super().__init__(**options)

    def simulate(self, action: Array) -> None:
        """Step OGBench's environment."""
        self.inner.step(action)
        self._sense()
        self.refresh()

    def refresh(self) -> None:
        """Compute where everything is, and let the gripper feel what it felt."""
        mujoco.mj_step1(self.model, self.data)
        pinch = self.inner._pinch_site_id
        self.data.site_xpos[pinch], self.data.site_xmat[pinch], force = np.split(self._felt, [3, 12])
        self.data.body(PAD).cfrc_ext[:] = force

    def scene(self) -> Array:
        """Return the gripper's position (3,), orientation (9,) and force (6,) that OGBench reads, and the buttons."""
        return np.concatenate([self._felt, self.inner._cur_button_states if self._buttons else []])

    def set_scene(self, scene: Array) -> None:
        """Put back what `scene` returned."""
        self._felt = scene[:18].copy()
        self._set_buttons(scene[18:])

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw arm, cubes and everything else as OGBench's data collection does, with cubes that do not overlap."""
        self._loaded, self.inner.np_random = None, rng
        while True:
            self.inner.reset()
            places = self.data.qpos[self._cubes[:, None] + np.arange(3)]
            gaps = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(len(places))
            if gaps.min(initial=1.0) > APART:
                return self.settled()

    def features(self, state: Array) -> Array:
        """Return OGBench's own observation: arm and gripper, then cubes, buttons, drawer and window, scaled."""
        self.load(state)
        return np.asarray(self.inner.compute_observation(), np.float64)

    def buttons(self, state: Array) -> Array:
        """Return the buttons in a state, (n,) of 0 and 1."""
        return state[self.state_dim - self._buttons :]

    def in_view(self, state: Array) -> bool:
        """Whether every cube is in the picture and where the arm can reach it; nothing else can be lost."""
        return all(self._reachable(self.qpos(state)[address : address + 3]) for address in self._cubes)

    def cube_gaps(self, state: Array, goal: Array) -> Array:
        """Return how far each cube is from its place, (n,) m."""
        places = self._cubes[:, None] + np.arange(3)
        return np.linalg.norm(self.qpos(state)[places] - self.qpos(goal)[places], axis=-1)

    # For OGBench's oracles.

    def info(self) -> dict[str, Any]:
        """Return what OGBench's oracles read of the present state."""
        self.load(self._state)
        return dict(self.inner.compute_ob_info())

    def new_target(self, rng: np.random.Generator, stacking: float) -> dict[str, Any]:
        """Let OGBench draw what its oracles do next, and return it; the state stays as it is.

        Args:
            rng: the source of chance.
            stacking: share of cubes to be put onto others, where there are several.
        """
        self.load(self._state)
        self.inner.np_random = rng
        self.inner.set_new_target(return_info=False, p_stack=stacking)
        info = self.inner.compute_ob_info()
        self._loaded = None  # the target is a body, and drawing one moves it
        self.load(self._state)
        return {key: value for key, value in info.items() if key.startswith("privileged/target")}

    # How states are made.

    def _arrange(self, rng: np.random.Generator, cubes: Array, yaws: Array, **parts: Any) -> Array:
        """Return a state with the arm at random and everything else in its place.

        Args:
            rng: the source of chance.
            cubes: positions (n, 3), m.
            yaws: (n,) rad.
            parts: ``buttons`` (n,), and positions of joints by name.
        """
        self._loaded, self.inner.np_random = None, rng
        self.inner.reset()
        self._set_buttons(np.asarray(parts.pop("buttons", ())))
        for address, place, yaw in zip(self._cubes, cubes, yaws):
            turn = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
            self.data.qpos[address : address + 7] = [*place, *turn]
        for joint, position in parts.items():
            self.data.joint(joint).qpos[0] = position
        return self.settled()

    def _reachable(self, place: Array) -> bool:
        """Whether the middle of a cube is in the picture and in the arm's workspace, give or take half a cube."""
        low, high = self.inner._workspace_bounds
        eye, angle = self.data.camera(self.camera), self.model.camera(self.camera).fovy[0]
        *across, depth = eye.xmat.reshape(3, 3).T @ (eye.xpos - place)
        seen = np.abs(across).max() < depth * np.tan(np.radians(angle) / 2)
        return bool(seen and (place > low - 0.02).all() and (place < high + 0.02).all())

    def _strewn(self, rng: np.random.Generator, cubes: Array) -> tuple[Array, Array]:
        """Return places and yaws of cubes around where an official task starts, as OGBench draws them."""
        noise = np.pad(rng.uniform(-0.01, 0.01, (len(cubes), 2)), ((0, 0), (0, 1)))
        return cubes + noise, rng.uniform(0.0, 2 * np.pi, len(cubes))

    def columns(self, states: Array) -> dict[str, Array]:
        """Return positions, velocities and, where there are any, the buttons, as OGBench's data have them."""
        buttons = {"button_states": states[:, -self._buttons :]} if self._buttons else {}
        return super().columns(states) | buttons

    def state_of(self, qpos: Array, qvel: Array, button_states: Array | None = None) -> Array:
        """Return the state of positions, velocities and, where there are any, buttons (n,) of 0 and 1."""
        state = super().state_of(qpos, qvel)
        if self._buttons and button_states is not None:
            self.buttons(state)[:] = button_states
        return state

    def settled(self) -> Array:
        """Return the state after positions, velocities or buttons were written into the simulator."""
        mujoco.mj_forward(self.model, self.data)
        self._sense()
        self.refresh()
        return self.save()

    def _sense(self) -> None:
        pinch, data = self.inner._pinch_site_id, self.data
        self._felt = np.concatenate([data.site_xpos[pinch], data.site_xmat[pinch], data.body(PAD).cfrc_ext])

    def _set_buttons(self, buttons: Array) -> None:
        """Set the buttons, and what they lock and colour in the model."""
        if self._buttons and not np.array_equal(buttons, self.inner._cur_button_states):
            self.inner._cur_button_states = buttons.astype(int)
            self.inner._apply_button_states()

    def _addresses(self, joint: str) -> Array:
        """Return where the positions of the joints ``<joint>_0``, ``<joint>_1`` ... begin."""
        names = [self.model.joint(i).name for i in range(self.model.njnt)]
        count = sum(name.startswith(f"{joint}_") for name in names)
        return np.array([self.model.joint(f"{joint}_{i}").qposadr[0] for i in range(count)], int)
