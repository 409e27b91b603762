"""Tests that draw with MuJoCo say why they are skipped where it cannot."""

from __future__ import annotations

from functools import cache

import pytest

from worldmodel.envs import registry
from worldmodel.errors import MissingExtra, WorldModelError


def skip_unless_it_draws(name: str) -> None:
    """Skip a test where the extra or OpenGL is missing."""
    reason = "" if name in registry.TASKS else _why_not()
    if reason:
        pytest.skip(reason)


@cache
def _why_not() -> str:
    try:
        registry.make("dmc/reacher-qpos").unwrapped.render()
    except (MissingExtra, WorldModelError) as error:
        return str(error)
    return ""
