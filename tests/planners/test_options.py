"""Plain options and texts: their types, their ranges, and the one line that answers a mistake."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest

from tests.worldmodel.tiny import tiny_model
from worldmodel.errors import BadValue, UnknownName, WorldModelError
from worldmodel.planners.config import MOST, AgentConfig
from worldmodel.planners.registry import PLANNERS, config_class, planner_class
from worldmodel.planners.settings import KINDS, configured, kinds, parsed, typed


@pytest.mark.parametrize("name", sorted(PLANNERS))
def test_settings_are_those_of_the_planner(name):
    assert config_class(name) is planner_class(name).Config
    assert kinds(name).keys() == {f.name for cls in (AgentConfig, planner_class(name).Config) for f in fields(cls)}
    assert all(KINDS.issuperset(kind.split(" | ")) for kind in kinds(name).values())


def test_a_planner_of_ones_own_is_asked_for_its_settings(monkeypatch):
    monkeypatch.setitem(PLANNERS, "mine", "tests.planners.test_options:CEM")
    assert config_class("mine") is Mine and configured({"planner": "mine"})[1] == Mine()


class Mine:
    """Not a config of ours, though the planner is called like one."""

    __dataclass_fields__: dict = {}

    def __eq__(self, other):
        return type(other) is Mine


class CEM:
    Config = Mine


def test_typing_errors_are_answered_without_torch():
    code = (
        "import sys, worldmodel.cli.plan_options as plan, worldmodel.cli.bench\n"
        "for options in (dict(planner='nope'), dict(search=('horizon=7',)), dict(planner='icem', horizon=0)):\n"
        "    try: plan.check(plan.Options(**options)); raise SystemExit('no error')\n"
        "    except plan.BadValue: pass\n"
        "plan.check(plan.Options(search=('correlation=0',)))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizon": "5"}, "horizon: expected int, got '5'"),
        ({"horizon": 5.5}, "horizon: expected int, got 5.5"),
        ({"horizon": True}, "horizon: expected int, got True"),
        ({"candidates": 20.0}, "candidates: expected int, got 20.0"),
        ({"init_std": "1"}, "init_std: expected float, got '1'"),
        ({"init_std": False}, "init_std: expected float, got False"),
        ({"init_std": 10**400}, "init_std: expected float"),
        ({"deadline_ms": "50"}, "deadline_ms: expected float | None, got '50'"),
        ({"arrivals": 5}, "arrivals: expected tuple[int, ...], got 5"),
        ({"arrivals": (1, 2.5)}, "arrivals: expected tuple[int, ...]"),
        ({"planner": None}, "planner: expected str, got None"),
        ({"metric": 2}, "metric: expected str, got 2"),
        ({"graphs": "no"}, "graphs: expected bool, got 'no'"),
        ({"goal_offset": 1.0}, "goal_offset: expected int | None"),
        ({"candidates": 10**13}, f"candidates: expected {MOST['candidates']} or fewer"),
        ({"iterations": 10**9}, f"iterations: expected {MOST['iterations']} or fewer"),
        ({"init_std": 1e300}, "init_std: expected a finite number"),
        ({"env": "two-room"}, "env: expected an environment"),
    ],
)
def test_other_types_and_absurd_sizes_are_one_line(options, words):
    with pytest.raises(BadValue) as error:
        tiny_model().agent(**options)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("planner", "name"),
    [
        ("cem", "init_std"),
        ("cem", "min_std"),
        ("cem", "tolerance"),
        ("cem", "decay"),
        ("cem", "correlation"),
        ("cem", "effort"),
        ("cem", "tail"),
        ("cem", "deadline_ms"),
        ("icem", "colour"),
        ("icem", "momentum"),
        ("icem", "reuse"),
        ("mppi", "temperature"),
        ("gradient", "rate"),
        ("categorical-cem", "smoothing"),
    ],
)
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0])
def test_numbers_are_finite(planner, name, value):
    with pytest.raises(BadValue, match=f"^{name}: "):
        configured({"planner": planner, name: value})


def test_a_steep_decay_leaves_the_elites():
    search = configured({"decay": 1e308, "elites": 4})[1]
    assert [search.population(i) for i in (0, 1, 9)] == [300, 8, 8]


def test_an_int_is_a_float_and_numpys_numbers_are_numbers():
    agent, search = configured({"init_std": 2, "horizon": np.int64(7), "decay": np.float32(1.5), "arrivals": [2, 5]})
    assert (search.init_std, agent.horizon, search.decay, agent.arrivals) == (2.0, 7, 1.5, (2, 5))
    assert hash(AgentConfig(arrivals=[2, 5])) == hash(AgentConfig(arrivals=(2, 5)))
    assert type(agent.horizon) is int and type(search.decay) is float
    assert typed("noise", "Literal['a']", 3) == 3  # no type of ours


def test_texts_become_values():
    texts = (
        "iterations=3 init_std=2 warm_start=False graphs=yes deadline_ms=None arrivals=2,4 metric=none goal_offset=7"
    )
    assert parsed(texts.split(), "cem") == {
        "iterations": 3,
        "init_std": 2.0,
        "warm_start": False,
        "graphs": True,
        "deadline_ms": None,
        "arrivals": (2, 4),
        "metric": "none",
        "goal_offset": 7,
    }


@pytest.mark.parametrize(
    "text",
    [
        "candidates=[",
        "candidates=3.5",
        "candidates=",
        "candidates=true",
        "candidates=none",
        "init_std=@",
        "init_std=yes",
        "init_std=",
        "warm_start=1",
        "warm_start=none",
        "arrivals=1,b",
        "goal_offset={",
    ],  # fmt: skip
)
def test_texts_of_another_type_are_one_line(text):
    name, _, value = text.partition("=")
    with pytest.raises(BadValue, match=f"^{name}: expected .*, got ") as error:
        parsed([text], "cem")
    assert "\n" not in str(error.value)


def test_what_has_a_flag_is_given_there():
    with pytest.raises(BadValue, match="^horizon has an option of its own, use --horizon$"):
        parsed(["horizon=7"], "cem", {"horizon": "--horizon"})
    with pytest.raises(UnknownName, match="option of the planner mppi 'elites'"):
        parsed(["elites=7"], "mppi")


@pytest.mark.parametrize("chunk", [0, 3])
@pytest.mark.parametrize("planner", ["gradient", "cem-gradient"])
@pytest.mark.parametrize("objective", ["detached", "elsewhere", "numpy"])
def test_a_cost_without_a_slope_is_named_by_planners_that_descend(objective, planner, chunk):
    def detached(latents, actions):
        return latents[:, :, -1, 0].detach()

    def elsewhere(latents, actions):
        return latents.new_zeros(latents.shape[:2]).requires_grad_() * 1

    def numpy(latents, actions):
        return latents.new_tensor(latents[:, :, -1, 0].numpy())

    own = {"detached": detached, "elsewhere": elsewhere, "numpy": numpy}[objective]
    images = np.zeros((16, 16, 3), np.uint8)
    agent = tiny_model().agent(planner=planner, objective=own, candidates=12, iterations=1, chunk=chunk, horizon=2)
    with pytest.raises(WorldModelError, match="^objective: this planner descends slopes") as error:
        agent.predict({"pixels": images, "goal": images})
    assert "\n" not in str(error.value)
