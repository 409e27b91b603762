"""Agents in folders act as they did, in another process too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

import worldmodel
from tests.worldmodel.tiny import tiny_model
from worldmodel.checkpoint import load_model, read_about, save_model
from worldmodel.errors import BadFile, BadValue, UnknownName
from worldmodel.planners.agent import Agent

OPTIONS = dict(horizon=3, execute_steps=1, candidates=12, elites=3, iterations=2)
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 2, 16, 16, 3), dtype=np.uint8)
NARROW = SimpleNamespace(action_space=gymnasium.spaces.Box(np.float32([-0.3, -1]), np.float32([1, 0.123456789]).T))


def acts(agent):
    state, actions = None, []
    for pixels in IMAGES:
        action, state = agent.predict(pixels, state)
        actions.append(action)
    return np.stack(actions)


@pytest.mark.parametrize("planner", ["cem", "mppi", "gradient"])
@pytest.mark.parametrize("path", [str, Path])
def test_what_is_loaded_acts_as_what_was_saved(tmp_path, planner, path):
    options = OPTIONS if planner == "cem" else {"horizon": 3, "execute_steps": 1, "candidates": 12, "iterations": 2}
    agent = tiny_model().agent(NARROW, planner=planner, goal=IMAGES[0, 0], seed=5, effort=0.1, **options)
    agent.save(path(tmp_path / "agent"))
    before = acts(agent)
    with torch.no_grad():
        for parameter in agent.model.parameters():
            parameter += 0.3
    assert (acts(agent) != before).any()
    loaded = Agent.load(path(tmp_path / "agent"))
    np.testing.assert_array_equal(acts(loaded), before)
    loaded.save(tmp_path / "agent")  # over itself
    np.testing.assert_array_equal(acts(Agent.load(tmp_path / "agent")), before)
    assert [file.name for file in tmp_path.iterdir()] == ["agent"]


def test_another_process_acts_the_same(tmp_path):
    agent = tiny_model().agent(goal={"latent": torch.linspace(-1, 1, 32).view(2, 16)}, **OPTIONS)
    agent.set_random_seed(11)
    agent.save(tmp_path / "agent")
    np.save(tmp_path / "images.npy", IMAGES)
    code = (
        "import sys, numpy as np\n"
        "from worldmodel.planners.agent import Agent\n"
        "agent, state, actions = Agent.load(sys.argv[1] + '/agent'), None, []\n"
        "for pixels in np.load(sys.argv[1] + '/images.npy'):\n"
        "    action, state = agent.predict(pixels, state)\n"
        "    actions.append(action)\n"
        "np.save(sys.argv[1] + '/actions.npy', actions)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "actions.npy"), acts(agent))


def test_the_folder_is_a_model_folder_too(tmp_path):
    save_model(tmp_path / "model", tiny_model(), env="two-room", render_preset="fast", dataset={"fingerprint": "x"})
    load_model(tmp_path / "model").agent(**OPTIONS).save(tmp_path / "agent")
    assert read_about(tmp_path / "agent") == read_about(tmp_path / "model")
    assert worldmodel.load(tmp_path / "agent").predictors == tiny_model().predictors


def test_an_environment_is_looked_at_again(tmp_path):
    tiny_model().agent(**OPTIONS).save(tmp_path / "agent")
    loaded = Agent.load(tmp_path / "agent", NARROW)
    assert loaded.env is NARROW and loaded.actions.high[1] == np.float32(0.123456789)
    with pytest.raises(BadValue, match="env: expected a Box"):
        Agent.load(tmp_path / "agent", SimpleNamespace(action_space=gymnasium.spaces.Discrete(2)))


def test_options_take_the_place_of_those_saved(tmp_path):
    tiny_model().agent(deadline_ms=60_000, seed=3, **OPTIONS).save(tmp_path / "agent")
    loaded = Agent.load(tmp_path / "agent", deadline_ms=None, horizon=4)
    assert (loaded.config.deadline_ms, loaded.config.horizon, loaded.config.seed) == (None, 4, 3)
    with pytest.raises(UnknownName, match="did you mean 'horizon'"):
        Agent.load(tmp_path / "agent", horizn=4)


def test_another_way_to_plan_has_its_own_defaults(tmp_path):
    """What was settled for the saved agent, such as a search near the reflex's plan, is not asked of another."""
    model = tiny_model(reflex=8)
    model.agent(horizon=4, seed=3).save(tmp_path / "agent")
    for options in (
        {"planner": "icem"},
        {"controller": "search"},
        {"objective": lambda latents, actions: latents.sum()},
    ):
        loaded, made = Agent.load(tmp_path / "agent", **options), model.agent(horizon=4, seed=3, **options)
        assert loaded.planner.config == made.planner.config and loaded.controller == made.controller
        assert (loaded.config.horizon, loaded.config.seed) == (4, 3)
    Agent.load(tmp_path / "agent").save(tmp_path / "again")
    again = Agent.load(tmp_path / "again", controller="search")
    assert again.planner.config.candidates == 300 and again.config.horizon == 4


def test_another_goal_takes_the_place_of_the_saved_one(tmp_path):
    model = tiny_model()
    model.agent(goal=IMAGES[0, 0], **OPTIONS).save(tmp_path / "agent")
    loaded = Agent.load(tmp_path / "agent", goal=IMAGES[1, 0])
    torch.testing.assert_close(loaded.goal, model.agent(goal=IMAGES[1, 0], **OPTIONS).goal)
    with pytest.raises(BadValue, match="goal: expected"):
        Agent.load(tmp_path / "agent", goal=3)


def test_weights_are_kept_exactly(tmp_path):
    """Also of a model that was read from rounded ones, as those that ship are, and changed since."""
    save_model(tmp_path / "model", tiny_model(), precision="bf16", env="two-room")
    model = load_model(tmp_path / "model")
    with torch.no_grad():
        for x in model.parameters():
            x.mul_(1.0001)
    model.agent(**OPTIONS).save(tmp_path / "agent")
    loaded = Agent.load(tmp_path / "agent").model.state_dict()
    assert all(torch.equal(x, loaded[name]) for name, x in model.state_dict().items())


def test_numbered_actions_stay_numbered(tmp_path):
    model = tiny_model()
    model.set_actions([0.5, 0.5], [0.5, 0.5], [0, 0], [1, 1])
    agent = model.agent(
        SimpleNamespace(action_space=gymnasium.spaces.Discrete(2, start=7)), goal=IMAGES[0, 0], **OPTIONS
    )
    agent.save(tmp_path / "agent")
    actions = acts(Agent.load(tmp_path / "agent"))
    assert actions.dtype == np.int64 and set(actions.flat) <= {7, 8}
    np.testing.assert_array_equal(actions, acts(agent))


def test_an_agent_that_plans_for_reward_needs_no_goal(tmp_path):
    agent = tiny_model(reward=16).agent(objective="reward", **OPTIONS)
    with pytest.raises(BadValue, match="goal: it has no effect"):
        agent.set_goal(IMAGES[0, 0])
    agent.save(tmp_path / "agent")
    np.testing.assert_array_equal(acts(Agent.load(tmp_path / "agent")), acts(agent))


def test_what_cannot_be_saved_says_so_and_leaves_nothing(tmp_path):
    agent = tiny_model().agent(objective=lambda latents, actions: latents[:, :, -1, 0], **OPTIONS)
    with pytest.raises(BadValue, match="objective: one of your own cannot be saved") as error:
        agent.save(tmp_path / "agent")
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    agent = tiny_model().agent(**OPTIONS)
    agent.save(tmp_path / "run")  # empty
    (tmp_path / "run" / "agent.json").unlink()
    monkeypatch.chdir(tmp_path / "run")
    for path in (tmp_path / "run", "."):
        with pytest.raises(BadFile, match="holds something else than an agent; choose a new folder"):
            agent.save(path)
    assert read_about(".")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.unlink(), r"holds no agent \(agent.json\); a model alone"),
        (lambda file: file.write_text("{"), "not readable JSON"),
        (lambda file: file.write_text("[]"), "does not describe an agent"),
        (lambda file: file.write_text('{"format": 99}'), "newer version"),
        (lambda file: file.write_text('{"format": 1}'), "is damaged"),
        (lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), "options": 3})), "is damaged"),
        (lambda file: file.write_text(file.read_text().replace('"low": [', '"low": [-1.0,')), "is damaged"),
        (lambda file: (file.parent / "model.safetensors").unlink(), "lacks model.safetensors"),
    ],
)
def test_spoiled_folders_are_one_line(tmp_path, spoil, words):
    tiny_model().agent(**OPTIONS).save(tmp_path / "agent")
    spoil(tmp_path / "agent" / "agent.json")
    with pytest.raises(BadFile, match=words) as error:
        Agent.load(tmp_path / "agent")
    assert "\n" not in str(error.value)
