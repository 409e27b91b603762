from __future__ import annotations

import pytest

from worldmodel.envs import registry
from worldmodel.errors import BadValue, MissingExtra, UnknownName


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("push-t", "pusht"), ("tworoom", "two-room"), ("two_room", "two-room"), ("dmc/reacher-esy", "dmc/reacher-easy")],
)
def test_an_unknown_name_suggests_the_nearest(wrong: str, near: str) -> None:
    for look_up in (registry.make, registry.short_name):
        with pytest.raises(UnknownName, match=f"unknown environment '{wrong}': did you mean '{near}'") as caught:
            look_up(wrong)
        assert len(str(caught.value)) < 250  # a line, not the whole table


def test_ids_and_files() -> None:
    assert [registry.gym_id(name) for name in registry.TASKS] == ["worldmodel/PushT-v0", "worldmodel/TwoRoom-v0"]
    assert registry.gym_id("dmc/reacher-qpos") == "dmc/reacher-qpos-v0"
    assert registry.short_name("dmc/reacher-qpos-v0") == "dmc/reacher-qpos"
    assert registry.short_name("gym/Pendulum-v1") == "gym/Pendulum-v1"
    assert registry.file_name("gym/reach:mine/Reach-v0") == "gym-reach-mine-Reach-v0"
    names = registry.names()
    assert len(set(names)) == len(names) and {"pusht", "dmc/cheetah-run", "ogbench/scene"} <= set(names)
    assert len({registry.file_name(name) for name in names}) == len(names)


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(registry, "import_module", without)
    missing = "dm_control.suite"
    with pytest.raises(MissingExtra, match=r"dmc/reacher-easy needs .* pip install 'worldmodel\[mujoco\]'"):
        registry.make("dmc/reacher-easy")
    missing = "worldmodel.envs.dmc"  # a bug of ours is not a missing extra
    with pytest.raises(ModuleNotFoundError):
        registry.make("dmc/reacher-easy")


def test_a_bad_time_limit() -> None:
    with pytest.raises(BadValue, match="max_episode_steps"):
        registry.make("pusht", max_episode_steps=0)
