"""The benchmark of environments measures every kind of them alike, and says what it could not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldmodel.benchmarks import environments
from worldmodel.benchmarks.environments import Options, compare, families
from worldmodel.envs import registry
from worldmodel.errors import BadValue, MissingExtra


def small(folder: Path, *envs: str, **options: object) -> Options:
    quick = {"seconds": 0.01, "episodes": 2, "steps": 3, "image_size": 16, "workers": (1,)}
    return Options(envs=envs, json=str(folder / "speed.json"), **{**quick, **options})  # type: ignore[arg-type]


def test_one_of_every_family() -> None:
    chosen = families()
    assert {"pusht", "two-room", "dmc/acrobot-swingup", "ogbench/scene", environments.GYM} <= set(chosen)
    assert len({name.partition("-")[0] for name in registry.names()}) + 1 == len(chosen)


def test_table_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make = registry.make

    def without_mujoco(name: str, **options: object) -> object:
        if name.startswith("dmc/"):
            raise MissingExtra(name, "mujoco")
        return make(name, **options)

    monkeypatch.setattr(registry, "make", without_mujoco)
    compare(small(tmp_path, "two-room", "dmc/reacher-qpos"))
    head, line, missing, said = capsys.readouterr().out.splitlines()
    assert head.startswith("environment") and len(line.split()) == 8 and line.startswith("two-room")
    assert missing.startswith("dmc/reacher-qpos not measured") and said == f"numbers: {tmp_path / 'speed.json'}"
    found = json.loads((tmp_path / "speed.json").read_text())
    values = found["environments"]["two-room"]
    assert values["steps"]["per_second"] > 0 and set(values["pictures"]) == {"fast"} and values["episodes"]["1"] > 0
    assert found["hardware"]["processor"] and found["seconds"] == 0.01 and "commit" in found


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="--envs: unknown environment 'push-t': did you mean 'pusht'"):
        compare(small(tmp_path, "push-t"))
    with pytest.raises(BadValue, match="--image-size: expected 8"):
        compare(small(tmp_path, "pusht", image_size=4))
    assert not list(tmp_path.iterdir())
