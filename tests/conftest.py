"""Tests that import mujoco by themselves do it after our choice of an OpenGL, as `worldmodel.envs` does."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from worldmodel.envs import gl

gl.choose()

# A job in the background of a script ignores Ctrl-C, and whatever it starts would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def brief_calibration() -> Iterator[None]:
    """Batch statistics of four batches: after a test's training of few steps, all 32 would take most of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worldmodel.calibration.BATCHES", 4)
        yield
