from __future__ import annotations

import os

import pytest

from tests.datasets.episodes import episode
from worldmodel.benchmarks.kill_collect import Options, _main, differences
from worldmodel.datasets.store import write_store


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX process groups")
def test_killed_at_random_moments(capsys: pytest.CaptureFixture[str]) -> None:
    """Parent and group in turn; the command itself does it 20 times."""
    _main(Options(kills=4, episodes=100, steps=60))
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("kill") for line in lines) == 4
    assert lines[-1] == "finished: sound, and equal to the undisturbed one"


def test_differences_are_named(tmp_path) -> None:
    one = write_store(tmp_path / "a.h5", [episode(0, 30), episode(1, 30)], {"seed": 1})
    two = write_store(tmp_path / "b.h5", [episode(0, 30), episode(1, 30)], {"seed": 1})
    assert differences(one, two) == []
    changed = episode(1, 30)
    changed["pixels"][7, 3, 3] = 9
    other = write_store(tmp_path / "c.h5", [episode(0, 30), changed], {"seed": 1})
    assert differences(one, other)[0] == "pixels"
    other = write_store(tmp_path / "d.h5", [episode(0, 30), episode(1, 30)], {"seed": 2})
    assert differences(one, other) == ["fingerprint"]
