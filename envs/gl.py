"""Which OpenGL MuJoCo draws with where there is no display; chosen before mujoco is imported, which looks only then."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import sys
from typing import Any

from worldmodel.errors import WorldModelError

APT = "apt-get install --no-install-recommends libegl1 libgl1-mesa-dri libopengl0"


def choose() -> None:
    """Set ``MUJOCO_GL`` to what `found` says; what the user set stays, and after mujoco is imported it is too late."""
    if "MUJOCO_GL" not in os.environ and "mujoco" not in sys.modules and found():
        os.environ["MUJOCO_GL"] = found()


def found() -> str:
    """Return ``egl`` or ``osmesa``, whichever this Linux machine has; empty where neither is, and on other systems.

    Without one states work, and drawing says what to install.
    """
    if not sys.platform.startswith("linux"):
        return ""
    if _loads("libEGL.so.1") and (_loads("libOpenGL.so.0") or _loads("libGL.so.1")):
        return "egl"
    return "osmesa" if _loads("libOSMesa.so.8") or _loads("libOSMesa.so.6") else ""


def load() -> Any:
    """Import mujoco with an OpenGL chosen, and return it.

    Raises:
        ModuleNotFoundError: it is not installed.
        WorldModelError: the ``MUJOCO_GL`` that the user set does not work here.
    """
    choose()
    try:
        mujoco = importlib.import_module("mujoco")
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever the bindings of an OpenGL that is not there stumble over
        raise WorldModelError(f"MUJOCO_GL={os.environ.get('MUJOCO_GL')} does not work here; {hint()}") from error
    if mujoco.get_mju_user_warning() is None:  # else MuJoCo writes its warnings into a file in the working directory
        mujoco.set_mju_user_warning(logging.getLogger(__name__).info)
    return mujoco


def hint() -> str:
    """Return in one line what to do when MuJoCo cannot draw."""
    setting, here = os.environ.get("MUJOCO_GL"), found()
    if here and setting is None:
        return f"mujoco was imported before worldmodel could choose its OpenGL: start with MUJOCO_GL={here}"
    if here and setting != here:
        return f"unset MUJOCO_GL: this machine has {here}"
    return f"on Debian or Ubuntu: {APT}; wm-doctor says more, and observation='state' needs no pictures"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
