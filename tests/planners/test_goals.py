"""Goals of every kind: what each stands for, and the one line that answers a mistake."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

from tests.planners.toys import FakeModel
from tests.worldmodel.tiny import tiny_model
from worldmodel.envs import registry
from worldmodel.errors import BadValue, UnknownName, WorldModelError
from worldmodel.planners.objectives import GoalDistance
from worldmodel.planners.options import make_agent

SEARCH = dict(candidates=16, elites=4, iterations=2, horizon=2, execute_steps=1)


def agent(env=None, model=None, **options):
    return make_agent(model or FakeModel(context=1), env, **{**SEARCH, **options})


def shows(*values):
    """Images whose latents are these pairs of numbers."""
    images = np.zeros((len(values), 4, 4, 3), np.uint8)
    images[:, 0, 0, :2] = values
    return images


class Store:
    """Two episodes of three rows; row t shows t."""

    offsets, lengths = np.array([0, 3]), np.array([3, 3])

    def read(self, column, start, stop):
        assert column == "pixels"
        if not 0 <= start <= stop <= 6:
            raise BadValue(f"rows 0 to 6, asked for {start}")
        return shows(*[(t, 0) for t in range(start, stop)])


@pytest.mark.parametrize(
    ("goal", "latent"),
    [
        (shows((40, 60))[0], [40, 60]),
        (shows((40, 60))[0].transpose(2, 0, 1), [40, 60]),
        (shows((40, 60), (7, 8)), [[40, 60], [7, 8]]),
        ({"latent": [40, 60]}, [40, 60]),
        ({"latent": np.array([[40.0, 60.0], [7.0, 8.0]])}, [[40, 60], [7, 8]]),
        ({"latent": torch.tensor([40.0, 60.0])}, [40, 60]),
        ({"frame": (Store(), 4)}, [4, 0]),
        ({"frame": (Store(), 1, 2)}, [5, 0]),
        ({"state": [3, 4]}, [3, 4]),
        ({"state": [[3, 4], [5, 6]]}, [[3, 4], [5, 6]]),
    ],
)
def test_every_kind_is_a_latent(goal, latent):
    env = SimpleNamespace(action_space=gymnasium.spaces.Box(-1, 1, (2,)), draw=lambda state: shows(state)[0])
    a = agent(env, goal=goal)
    assert a.goal.tolist() == latent
    now = shows((1, 2), (3, 4))
    fixed, _ = a.predict(now)
    goals = shows(*np.broadcast_to(np.array(latent), (2, 2)))
    shown, _ = agent(env).predict({"pixels": now, "goal": goals})
    np.testing.assert_array_equal(fixed, shown)
    anything = {"pixels": now, "goal": np.zeros(3)}  # the agent's own goes before what is shown, which is not read
    np.testing.assert_array_equal(a.predict(anything)[0], fixed)
    assert len(a.model.encoded[-1]) == 2  # the goal was encoded when it was set


def test_a_goal_can_be_changed_and_taken_back():
    a, shown = agent(goal={"latent": [90, 90]}, candidates=100, iterations=6), shows((50, 50))
    there, _ = a.predict(shown)
    a.set_goal({"latent": [10, 10]})
    back, state = a.predict(shown)
    assert (there > 0.3).all() and (back < -0.3).all()
    a.set_goal({"latent": [90, 90]})
    queued, state = a.predict(shown, state)
    assert (queued == state.rows[0].queue[1]).all()  # the plan is carried on; a row that begins plans at once
    np.testing.assert_array_equal(agent(candidates=100, iterations=6, goal=shows((90, 90))[0]).predict(shown)[0], there)
    a.set_goal(None)
    with pytest.raises(BadValue, match="goal: there is none"):
        a.predict(shown)


def test_the_task_draws_states():
    env = registry.make("two-room", image_size=16)
    observation, info = env.reset(seed=3)
    model = tiny_model()
    a = model.agent(env, goal={"state": info["goal_state"]}, **SEARCH)
    shown, _ = model.agent(env, **SEARCH).predict(observation)
    np.testing.assert_array_equal(a.predict(observation["pixels"])[0], shown)
    vector = gymnasium.vector.SyncVectorEnv([lambda: registry.make("two-room", image_size=16)] * 2)
    assert torch.equal(model.agent(vector, goal={"state": info["goal_state"]}, **SEARCH).goal, a.goal)
    for bad in ([1, 2, 3], [np.nan, 1], 5, [], [[[1, 2]]]):
        with pytest.raises(BadValue, match="goal 'state': expected 2 finite numbers"):
            a.set_goal({"state": bad})
    for bad in ("ab", [[1, 2], [3]], {}):
        with pytest.raises(BadValue, match="goal 'state': expected numbers"):
            a.set_goal({"state": bad})
    larger = model.agent(registry.make("two-room", image_size=32), **SEARCH)
    with pytest.raises(BadValue, match=r"goal 'state': .* \(16, 16, 3\).* got \(32, 32, 3\)"):
        larger.set_goal({"state": info["goal_state"]})


def test_a_recorded_frame_is_a_goal(tmp_path):
    from worldmodel.datasets.store import EpisodeStore, write_store

    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    episode = {"pixels": pixels, "action": np.zeros((3, 2), np.float32)}
    model = tiny_model()
    with EpisodeStore(
        write_store(tmp_path / "x.h5", [episode, episode], {"env": "two-room", "image_size": 16})
    ) as store:
        image = model.agent(goal=pixels[2], **SEARCH).goal
        assert torch.equal(model.agent(goal={"frame": (store, 5)}, **SEARCH).goal, image)
        assert torch.equal(model.agent(goal={"frame": (store, 0, 2)}, **SEARCH).goal, image)
        for bad in (6, -1):
            with pytest.raises(BadValue, match="rows 0 to 6"):
                model.agent(goal={"frame": (store, bad)}, **SEARCH)
        for bad in ((2, 0), (0, 3), (0, -1)):
            with pytest.raises(BadValue, match="no step"):
                model.agent(goal={"frame": (store, *bad)}, **SEARCH)


def test_who_needs_no_goal_plans_without_and_refuses_one():
    def right(latents, actions):
        return -latents[:, :, -1, 0]

    a = agent(objective=right, candidates=100, iterations=6)
    action, _ = a.predict(shows((50, 50))[0])
    assert action[0] > 0.3 and a.objective.reads_goal is False
    np.testing.assert_array_equal(a.predict({"pixels": shows((50, 50))[0], "goal": "whatever"})[0], action)
    with pytest.raises(BadValue, match="goal: it has no effect"):
        a.set_goal({"latent": [1, 2]})


def test_a_deadline_is_tried_with_whatever_goal_there_is():
    for goal in ({"latent": [1, 2]}, {"latent": [[1, 2], [3, 4]]}, None):
        assert agent(goal=goal, deadline_ms=60_000).stats.plans == 0
    assert agent(objective=GoalDistance(), deadline_ms=60_000).wants_goal
    agent(objective=lambda latents, actions: latents[:, :, 0, 0], deadline_ms=60_000).predict(shows((1, 2)))


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (np.zeros((8, 8, 3), np.uint8), r"goal: expected uint8 \(4, 4, 3\)"),
        (shows((1, 2)) / 255, "goal: expected a picture of uint8 0..255"),
        (np.zeros(3), "goal: expected a picture, .*{'latent': z}"),
        ("goal.png", "goal: expected a picture, got str"),
        ({"latent": [1, 2, 3]}, r"goal 'latent': expected \(2,\) or \(B, 2\) finite numbers, got shape \(3,\)"),
        ({"latent": [1, np.nan]}, "finite"),
        ({"latent": "x"}, "goal 'latent': expected numbers .* got 'x'"),
        ({"latnt": [1, 2]}, "did you mean 'latent'"),
        ({}, "one of latent, state, frame, got"),
        ({"latent": [1, 2], "state": [1]}, "one of latent, state, frame, got"),
        ({"state": [1, 2]}, "no environment was given to the agent; give an image"),
        ({"frame": 3}, r"expected \(store, row\)"),
        ({"frame": (Store(),)}, r"expected \(store, row\)"),
        ({"frame": (Store(), "a")}, r"expected \(store, row\)"),
    ],
)
def test_mistakes_are_one_line(goal, words):
    with pytest.raises((BadValue, UnknownName), match=words) as error:
        agent(goal=goal)
    assert "\n" not in str(error.value)


def test_goals_that_do_not_fit_the_environments_are_named():
    with pytest.raises(BadValue, match="goal: given for 2 environments, the observation has 3"):
        agent(goal={"latent": [[1, 2], [3, 4]]}).predict(shows((1, 2), (3, 4), (5, 6)))
    with pytest.raises(WorldModelError, match="CartPoleEnv has no draw"):
        space = gymnasium.spaces.Box(-1, 1, (2,))
        agent(
            SimpleNamespace(action_space=space, unwrapped=gymnasium.make("CartPole-v1").unwrapped), goal={"state": [1]}
        )
