"""Tests that import mujoco by themselves do it after our choice of an OpenGL, as `worldmodel.envs` does."""

from worldmodel.envs import gl

gl.choose()
