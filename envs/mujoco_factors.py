"""Factors of variation of any MuJoCo model: tints, light and camera, and multipliers of its physics.

What is seen is changed in the scene that is about to be drawn; neither the model nor what the graphics card holds of it
is touched. What is felt is changed in the model, whose own numbers are kept and come back exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldmodel.envs.factors import Array, Factor
from worldmodel.envs.rendering import mujoco

# Tints multiply red, green and blue; angles are degrees; everything else is a multiplier.
FACTORS = {
    "body.tint": Factor((1.0, 1.0, 1.0), 0.5, 1.6),  # of whatever can move
    "scenery.tint": Factor((1.0, 1.0, 1.0), 0.4, 1.6),  # of floor, walls and whatever else stands still
    "light.strength": Factor(1.0, 0.7, 1.4),
    "light.direction": Factor((0.0, 0.0), -40.0, 40.0),  # about the x and y axes; the camera's own light stays
    "camera.tint": Factor((1.0, 1.0, 1.0), 0.6, 1.4),  # of the whole picture, the sky too
    "camera.azimuth": Factor(0.0, -12.0, 12.0),  # around what it looks at
    "camera.elevation": Factor(0.0, -4.0, 12.0),
    "camera.distance": Factor(1.0, 0.9, 1.15),
    "physics.gravity": Factor(1.0, 0.8, 1.25),
    "physics.mass": Factor(1.0, 0.75, 1.33),
    "physics.damping": Factor(1.0, 0.5, 2.0),  # of joints
    "physics.friction": Factor(1.0, 0.6, 1.6),  # of surfaces
    "physics.strength": Factor(1.0, 0.75, 1.33),  # of actuators, muscles excepted
}
# Factor -> arrays of the model and the power of it that multiplies them.
_PHYSICS = {
    "physics.gravity": {"opt.gravity": 1},
    "physics.mass": {
        "body_mass": 1, "body_inertia": 1, "body_subtreemass": 1, "body_invweight0": -1, "dof_invweight0": -1,
    },
    "physics.damping": {"dof_damping": 1},
    "physics.friction": {"geom_friction": 1, "pair_friction": 1},
    "physics.strength": {"actuator_gainprm": 1, "actuator_biasprm": 1, "actuator_forcerange": 1},
}  # fmt: skip


class World:
    """What a variation makes of a model. It is the model's own world until `values` are given.

    Attributes:
        values: value of every factor.
    """

    def __init__(self) -> None:
        self.values: Mapping[str, Array] = {name: np.array(factor.default) for name, factor in FACTORS.items()}
        self._model: Any = None
        self._own: dict[str, Array] = {}  # what the model had
        self._left: dict[str, Array] = {}  # what `apply` left there

    def apply(self, model: Any) -> None:
        """Multiply the physics of a model by `values`, whatever they were before.

        A number that is not as it was left here has been set by the task since, and is what is multiplied from now on.
        """
        if model is not self._model:
            self._model, self._own, self._left = model, {}, {}
        for factor, arrays in _PHYSICS.items():
            for name, power in arrays.items():
                array = model.opt.gravity if name == "opt.gravity" else getattr(model, name)
                if name not in self._own:
                    self._own[name] = self._left[name] = array.copy()
                own = self._own[name] = np.where(array == self._left[name], self._own[name], array)
                scale = np.full(len(array), self.values[factor] ** power)
                if name.startswith("actuator"):
                    scale[model.actuator_gaintype == mujoco.mjtGain.mjGAIN_MUSCLE] = 1.0
                array[:] = (own.T * scale).T
                self._left[name] = array.copy()

    def restage(self, scene: Any, model: Any, camera: Any) -> None:
        """Change bodies, lights and camera of a ``mujoco.MjvScene`` that is about to be drawn."""
        values = self.values
        moves = model.body_weldid[model.geom_bodyid] != 0
        for geom in scene.geoms[: scene.ngeom]:
            still = geom.objtype == mujoco.mjtObj.mjOBJ_GEOM and not moves[geom.objid]
            geom.rgba[:3] *= values["scenery.tint" if still else "body.tint"]

        eyes = scene.camera
        aim = eyes[0].pos + _distance(model, camera) * eyes[0].forward
        x, y = values["light.direction"]
        turn = _turn([1.0, 0.0, 0.0], x) @ _turn([0.0, 1.0, 0.0], y)
        for light in scene.lights[: scene.nlight]:
            for part in (light.ambient, light.diffuse, light.specular):
                part *= values["light.strength"]
            if not light.headlight:
                light.pos[:] = aim + turn @ (light.pos - aim)
                light.dir[:] = turn @ light.dir

        right = np.cross(eyes[0].forward, eyes[0].up)
        turn = _turn([0.0, 0.0, 1.0], values["camera.azimuth"]) @ _turn(right, -values["camera.elevation"])
        for eye in eyes:
            eye.pos[:] = aim + values["camera.distance"] * (turn @ (eye.pos - aim))
            eye.forward[:] = turn @ eye.forward
            eye.up[:] = turn @ eye.up

    def develop(self, picture: Array) -> Array:
        """Return a picture (H, W, 3) uint8 that was taken of the scene as the camera shows it."""
        return np.minimum(picture * self.values["camera.tint"], 255.0).astype(np.uint8)


def _distance(model: Any, camera: Any) -> float:
    """How far from the camera is what it looks at, m: the middle of the model, or the body it is carried by."""
    if isinstance(camera, mujoco.MjvCamera):
        return float(camera.distance)
    number = model.camera(camera).id
    middle = model.stat.center if model.cam_bodyid[number] == 0 else 0.0
    return float(np.linalg.norm(model.cam_pos0[number] - middle))


def _turn(axis: Any, degrees: Any) -> Array:
    """Matrix (3, 3) of a turn about an axis."""
    angle, across = np.radians(degrees), np.cross(np.asarray(axis) / np.linalg.norm(axis), np.eye(3)).T
    matrix: Array = np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across
    return matrix
