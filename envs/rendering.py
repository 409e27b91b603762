"""Drawing MuJoCo scenes: one renderer kept open, in the published look or a many times cheaper one."""

from __future__ import annotations

import atexit
import importlib
from contextlib import nullcontext, suppress
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import cv2
import numpy as np

from worldmodel.envs import gl
from worldmodel.envs.meshes import coarsened
from worldmodel.errors import WorldModelError

if TYPE_CHECKING:
    from worldmodel.envs.mujoco_factors import World

mujoco = gl.load()
PRESETS = ("fast", "official")
CELLS = 3 / 8  # of a mesh's longest side, for each pixel of the picture's: of a robot arm it hardly changes any pixel


class Renderer:
    """Draws one model, again and again, into pictures (S, S, 3) uint8.

    ``official`` is what the benchmark publishes. ``fast`` leaves out shadows, reflections and multisampling, which cost
    some ten times as much as everything else on a processor, and draws at twice the size instead, so that what is
    smaller than a pixel is seen to move; and large meshes are as coarse as the picture (`envs/meshes.py`). It looks
    different: data and models record the preset. Pictures of before meshes were coarse differ by 0.3 of 255.

    Args:
        model: the compiled model.
        size: S, pixels.
        preset: ``"fast"`` or ``"official"``.

    Raises:
        WorldModelError: there is no OpenGL to draw with; the message says what to install.
    """

    def __init__(self, model: Any, size: int, preset: str) -> None:
        self.model, self._size = model, size
        self._renderer: Any = None
        side = 2 * size if preset == "fast" else size
        quality, screen = model.vis.quality, model.vis.global_
        before = quality.offsamples, quality.shadowsize, screen.offwidth, screen.offheight
        screen.offwidth, screen.offheight = max(before[2], side), max(before[3], side)
        if preset == "fast":  # read while the renderer is made, and put back for whoever else draws this model
            quality.offsamples = quality.shadowsize = 0
            screen.offwidth = screen.offheight = side
        try:
            with coarsened(model, int(CELLS * size)) if preset == "fast" else nullcontext():
                self._renderer = mujoco.Renderer(model, side, side)
        except Exception as error:  # whatever the OpenGL in use raises
            raise WorldModelError(f"MuJoCo cannot draw here ({error}); {gl.hint()}".replace("\n", " ")) from error
        finally:
            quality.offsamples, quality.shadowsize, screen.offwidth, screen.offheight = before
        if preset == "fast":
            flags = self._renderer.scene.flags
            flags[mujoco.mjtRndFlag.mjRND_SHADOW] = flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._look = mujoco.MjvOption()
        self._look.flags[mujoco.mjtVisFlag.mjVIS_RANGEFINDER] = 0  # their rays are no part of the scene
        _open.add(self)
        _close_at_exit()

    def draw(self, data: Any, camera: Any, world: World | None = None) -> np.ndarray:
        """Return the picture of the data as a camera (name, number or ``mujoco.MjvCamera``) sees it in a world."""
        drawer = self._renderer
        drawer.update_scene(data, camera, self._look)
        if world:
            world.restage(drawer.scene, self.model, camera)
        picture: np.ndarray = drawer.render()
        if len(picture) != self._size:
            picture = cv2.resize(picture, (self._size, self._size), interpolation=cv2.INTER_AREA)
        return world.develop(picture) if world else picture

    def close(self) -> None:
        """Free the OpenGL context; a second time is nothing."""
        if self._renderer is not None:
            context = getattr(self._renderer, "_gl_context", None)
            if context is not None:
                context.make_current()  # or MuJoCo frees the like-named objects of whichever renderer drew last
            self._renderer.close()
            self._renderer = None

    def __del__(self) -> None:
        self.close()


_open: WeakSet[Renderer] = WeakSet()


def _close_all() -> None:
    for renderer in list(_open):
        renderer.close()


@cache
def _close_at_exit() -> None:
    """Close what is open before the interpreter ends: once, and before those who end EGL."""
    with suppress(Exception):  # dm_control is one; it is an extra, and this is a courtesy
        importlib.import_module("dm_control._render")
    atexit.register(_close_all)
