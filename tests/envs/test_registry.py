from __future__ import annotations

import pytest

from worldmodel.envs import registry
from worldmodel.errors import UnknownName


@pytest.mark.parametrize(("wrong", "near"), [("push-t", "pusht"), ("tworoom", "two-room"), ("two_room", "two-room")])
def test_an_unknown_name_suggests_the_nearest(wrong: str, near: str) -> None:
    for look_up in (registry.task_class, registry.make, registry.gym_id):
        with pytest.raises(UnknownName, match=f"unknown environment '{wrong}': did you mean '{near}'"):
            look_up(wrong)


def test_ids() -> None:
    assert [registry.gym_id(name) for name in registry.TASKS] == ["worldmodel/PushT-v0", "worldmodel/TwoRoom-v0"]
