from __future__ import annotations

import re

import pytest

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks.settings import parse
from worldmodel.errors import BadValue


def test_a_line_becomes_an_agent():
    setting = parse("cem iterations=3 elites=2 arrivals=2,4 warm_start=false deadline_ms=null", horizon=4, iterations=9)
    assert setting.options["planner"] == "cem" and setting.options["iterations"] == 3
    agent = setting.agent(tiny_model())
    config = agent.config
    assert (config.horizon, config.arrivals, config.warm_start, config.deadline_ms) == (4, (2, 4), False, None)
    assert (agent.planner.config.iterations, agent.planner.config.elites) == (3, 2)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "unknown planner ''"),
        ("cemm", "did you mean 'cem'"),
        ("cem itrations=3", "did you mean 'iterations'"),
        ("cem iterations", "expected NAME=VALUE"),
        ("cem iterations=few", "iterations: expected int, got 'few'"),
        ("cem elites=400", "elites: 400 cannot be kept"),
        ("cem planner=icem", "planner: it is the first word of a setting"),
        ("cem iterations=[", "iterations: expected int, got '['"),
        ("cem arrivals=1,b", "arrivals: expected int, got 'b'"),
    ],
)
def test_mistakes(line, says, capfd):
    with pytest.raises(BadValue, match=re.escape(f"setting '{line}'")) as error:
        parse(line)
    assert says in str(error.value) and capfd.readouterr() == ("", "")


def test_what_the_command_sets_is_not_in_a_setting():
    with pytest.raises(BadValue, match="setting 'cem horizon=7': horizon has an option of its own, use --horizons"):
        parse("cem horizon=7", {"horizon": "--horizons"})


def test_what_the_model_refuses_is_said_with_the_setting():
    with pytest.raises(BadValue, match="setting 'cem predictor=far': unknown predictor"):
        parse("cem predictor=far").agent(tiny_model())
