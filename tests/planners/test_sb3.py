"""The agent as users of Stable-Baselines3, Gymnasium and CleanRL meet it; their own checks, applied to it."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import AddRenderObservation, ResizeObservation

from tests.worldmodel.tiny import tiny_model
from worldmodel.envs.registry import make
from worldmodel.errors import BadValue
from worldmodel.planners.episode_starts import EpisodeStarts

WHY = "Stable-Baselines3 is in the extra sb3"
OPTIONS = dict(horizon=2, execute_steps=1, candidates=8, elites=2, iterations=2)
GOAL = np.random.default_rng(7).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def dict_env():
    return make("two-room", image_size=16, max_episode_steps=14)


def box_env():
    """Pictures only, of another size until they are resized."""
    env = make("two-room", image_size=24, max_episode_steps=14, render_mode="rgb_array")
    return ResizeObservation(AddRenderObservation(env), (16, 16))


def goal_env():
    """The names of goal environments."""

    class Named(gymnasium.ObservationWrapper):
        def __init__(self, env):
            super().__init__(env)
            image = env.observation_space["pixels"]
            names = ("observation", "achieved_goal", "desired_goal")
            self.observation_space = gymnasium.spaces.Dict(dict.fromkeys(names, image))

        def observation(self, seen):
            return {name: seen["goal" if name == "desired_goal" else "pixels"] for name in self.observation_space}

    return Named(dict_env())


@pytest.mark.parametrize(("env", "goal"), [(dict_env, None), (goal_env, None), (box_env, GOAL)])
@pytest.mark.parametrize("turned", [False, True])
def test_evaluate_policy_takes_the_agent_as_it_is(env, goal, turned):
    evaluate_policy = pytest.importorskip("stable_baselines3.common.evaluation", reason=WHY).evaluate_policy
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env", reason=WHY)
    envs = vec_env.DummyVecEnv([env] * 2)
    envs.seed(0)
    agent = tiny_model().agent(envs, goal=goal, **OPTIONS)
    if turned:
        envs = vec_env.VecTransposeImage(envs)
    returns, lengths = evaluate_policy(agent, envs, n_eval_episodes=4, return_episode_rewards=True, warn=False)
    assert len(returns) == 4 and np.isfinite(returns).all() and all(1 <= length <= 14 for length in lengths)
    assert agent.stats.plans >= 4 * 2  # three actions a plan

    envs = vec_env.DummyVecEnv([env] * 2)
    envs.seed(0)
    again = tiny_model().agent(envs, goal=goal, **OPTIONS)
    assert evaluate_policy(again, envs, n_eval_episodes=4, return_episode_rewards=True, warn=False)[0] == returns


def test_videos_are_recorded_of_the_agent(tmp_path, monkeypatch):
    """The recorder is Stable-Baselines3's; where moviepy, which writes its file, is missing, ours does."""
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env", reason=WHY)
    try:
        import moviepy  # noqa: F401
    except ModuleNotFoundError:
        from worldmodel.benchmarks.video import write_video

        class ImageSequenceClip:
            def __init__(self, frames, fps):
                self.frames = np.stack(frames)

            def write_videofile(self, path):
                write_video(path, self.frames)

        clip = ModuleType("moviepy.video.io.ImageSequenceClip")
        clip.ImageSequenceClip = ImageSequenceClip
        for name in ("moviepy", "moviepy.video", "moviepy.video.io"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, clip.__name__, clip)
    envs = vec_env.DummyVecEnv([lambda: make("two-room", image_size=16, render_mode="rgb_array")])
    envs = vec_env.VecVideoRecorder(envs, str(tmp_path), lambda step: step == 0, video_length=5)
    agent, state = tiny_model().agent(envs, **OPTIONS), None
    observation, starts = envs.reset(), EpisodeStarts(envs)
    for _ in range(6):
        action, state = agent.predict(observation, state, starts.mask)
        observation, _, dones, _ = envs.step(action)
        starts.update(dones)
    envs.close()
    (film,) = tmp_path.glob("*.mp4")
    assert film.stat().st_size > 0


def test_a_loop_as_in_cleanrl():
    envs = SyncVectorEnv([dict_env] * 3)
    agent, state = tiny_model().agent(envs, **OPTIONS), None
    observation, _ = envs.reset(seed=1)
    starts = EpisodeStarts(envs)
    for _ in range(20):
        actions, state = agent.predict(observation, state, starts.mask)
        assert envs.action_space.contains(actions)
        observation, _, terminated, truncated, _ = envs.step(actions)
        starts.update(terminated, truncated)
    assert [row.number for row in state.rows] == [3, 4, 5]  # all were truncated once
    envs.close()


def run(agent, steps=8, rows=2, state=None):
    rng, actions = np.random.default_rng(3), []
    for pixels in rng.integers(0, 256, (steps, rows, 16, 16, 3), dtype=np.uint8):
        action, state = agent.predict(pixels, state)
        actions.append(action)
    return np.stack(actions), state


def test_the_same_seed_acts_the_same_and_another_otherwise():
    first, second = (run(tiny_model().agent(goal=GOAL, **OPTIONS))[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    agent = tiny_model().agent(goal=GOAL, **OPTIONS)
    agent.set_random_seed(0)
    agent.set_random_seed(None)
    np.testing.assert_array_equal(run(agent)[0], first)
    agent.set_random_seed(1)
    assert (run(agent)[0] != first).any()
    np.testing.assert_array_equal(run(agent)[0], run(tiny_model().agent(goal=GOAL, seed=1, **OPTIONS))[0])
    for bad in (-1, "x", 1.5):
        with pytest.raises(BadValue, match="seed: expected"):
            agent.set_random_seed(bad)


def test_determinism_does_not_depend_on_the_argument():
    agent, image = tiny_model().agent(goal=GOAL, **OPTIONS), GOAL[None]
    yes, no = (agent.predict(image, None, None, deterministic)[0] for deterministic in (True, False))
    np.testing.assert_array_equal(yes, no)


def test_one_environment_several_and_dictionaries_agree():
    agent, shown = tiny_model().agent(goal=GOAL, **OPTIONS), tiny_model().agent(**OPTIONS)
    one, state = agent.predict(GOAL)
    many, _ = agent.predict(np.stack([GOAL] * 3), agent.begin([0, 0, 0]))
    named, _ = shown.predict({"pixels": GOAL, "goal": GOAL})
    assert one.shape == (2,) and many.shape == (3, 2) and one.dtype == many.dtype == np.float32
    for action in (*many, named):
        np.testing.assert_array_equal(action, one)
    assert agent.predict(GOAL, pickle.loads(pickle.dumps(state)))[0].tolist() == agent.predict(GOAL, state)[0].tolist()


def test_rows_that_begin_again_are_numbered_in_turn():
    agent, images = tiny_model().agent(goal=GOAL, **OPTIONS), np.stack([GOAL] * 3)
    _, state = agent.predict(images, agent.begin([0, 1, 2]), [True] * 3)  # begins what has not planned: the same
    assert [row.number for row in state.rows] == [0, 1, 2]
    _, state = agent.predict(images, state, [False, True, False])
    _, state = agent.predict(images, state, [False, True, True])
    assert [row.number for row in state.rows] == [0, 7, 5]
    action, _ = agent.predict(images, state, [False, True, False])
    np.testing.assert_array_equal(action[1], agent.predict(GOAL[None], agent.begin([10]))[0][0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((GOAL, {}),), "observation, info = env.reset()"),
        ((GOAL, (np.zeros(3),)), "state: expected what predict or begin returned, or None, got tuple"),
        ((GOAL, "other"), "made for 2 environments, the observation has 1"),
        ((np.stack([GOAL] * 2), "other", [True]), "episode_start: expected 2 booleans"),
        ((GOAL[:8],), "size the model was trained on"),
        ((np.zeros(2, np.float32),), "expected a picture"),
    ],
)
def test_a_mixed_up_interface_is_one_line(arguments, words):
    agent = tiny_model().agent(goal=GOAL, **OPTIONS)
    other = agent.predict(np.stack([GOAL] * 2))[1]
    with pytest.raises(BadValue) as error:
        agent.predict(*(other if isinstance(x, str) else x for x in arguments))
    assert words in str(error.value) and "\n" not in str(error.value)
