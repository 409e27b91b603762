"""Which OpenGL MuJoCo draws with where there is no display; chosen before mujoco is imported, which looks only then."""

from __future__ import annotations

import ctypes
import os
import sys

APT = "apt-get install --no-install-recommends libegl1 libgl1-mesa-dri libopengl0"
HINT = f"on Debian or Ubuntu: {APT}; wm-doctor says more, and observation='state' needs no pictures"


def choose() -> None:
    """Set ``MUJOCO_GL`` to ``egl`` or ``osmesa``, whichever this Linux machine has; what the user set stays.

    Does nothing on other systems, and nothing where neither is found: states work without, and drawing says what to
    install.
    """
    if "MUJOCO_GL" in os.environ or not sys.platform.startswith("linux"):
        return
    if _loads("libEGL.so.1") and (_loads("libOpenGL.so.0") or _loads("libGL.so.1")):
        os.environ["MUJOCO_GL"] = "egl"
    elif _loads("libOSMesa.so.8") or _loads("libOSMesa.so.6"):
        os.environ["MUJOCO_GL"] = "osmesa"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
