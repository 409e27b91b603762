"""Environments that show latents: the encoder's own, goals once an episode, in every kind of vector."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FilterObservation, TransformObservation

from tests.worldmodel.tiny import tiny_model
from worldmodel.checkpoint import save_model
from worldmodel.envs.registry import make
from worldmodel.errors import BadFile, BadValue, MissingExtra
from worldmodel.planners.goal_env import LatentGoalEnv
from worldmodel.planners.latents import LatentEncoder, LatentObservation, VectorLatentObservation
from worldmodel.planners.surprise import SurpriseReward

NEEDS = "Stable-Baselines3 is in the extra sb3"
STEPS = 4


def two_room() -> gymnasium.Env[Any, Any]:
    return make("two-room", image_size=16, max_episode_steps=STEPS)


def pictures_only() -> gymnasium.Env[Any, Any]:
    """A Box, not a Dict."""
    env = FilterObservation(two_room(), ["pixels"])
    return TransformObservation(env, lambda seen: seen["pixels"], env.observation_space["pixels"])


def latent(model: Any, seen: Any) -> np.ndarray:
    """The slow way: every picture by itself."""
    pictures = [seen["pixels"], seen["goal"]] if isinstance(seen, dict) else [seen]
    with torch.no_grad():
        return np.concatenate([model.encode({"pixels": torch.from_numpy(x)[None, None]})[0, 0] for x in pictures])


def actions(step: int, count: int) -> np.ndarray:
    return np.random.default_rng(step).uniform(-1, 1, (count, 2)).astype(np.float32)


@pytest.mark.parametrize("base", [two_room, pictures_only])
def test_one_environment_shows_what_the_encoder_makes_of_it(base: Any) -> None:
    model, env, plain = tiny_model(), LatentObservation(base(), tiny_model()), base()
    assert env.observation_space.shape == ((32,) if base is two_room else (16,))
    for episode in range(2):
        (z, _), (seen, _) = env.reset(seed=episode), plain.reset(seed=episode)
        assert z.dtype == np.float32 and np.array_equal(z, latent(model, seen))
        for step in range(STEPS):
            z, seen = env.step(actions(step, 1)[0])[0], plain.step(actions(step, 1)[0])[0]
            assert np.array_equal(z, latent(model, seen))


def test_checkers_of_gymnasium_and_stable_baselines3_pass() -> None:
    env = LatentObservation(two_room(), tiny_model())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "the bounds are infinite": latents have none
        check_env(env, skip_render_check=True)
        pytest.importorskip("stable_baselines3.common.env_checker", reason=NEEDS).check_env(env)


def test_a_goal_is_encoded_once_an_episode_and_may_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, counts = tiny_model(), []
    encode = type(model).encode
    monkeypatch.setattr(type(model), "encode", lambda self, obs: counts.append(len(obs["pixels"])) or encode(self, obs))
    env = LatentObservation(two_room(), model)
    for seed in (0, 1):
        env.reset(seed=seed)
        for step in range(2):
            env.step(actions(step, 1)[0])
    assert counts == [2, 1, 1, 2, 1, 1]
    bare = LatentObservation(two_room(), model, goal=False)
    assert np.array_equal(bare.reset(seed=0)[0], env.reset(seed=0)[0][:16])
    assert bare.observation_space.shape == (16,)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_gymnasium_vectors_in_every_autoreset_mode(mode: AutoresetMode) -> None:
    """Rows end at different times, so that some goals are new and others are not."""

    def vector() -> SyncVectorEnv:
        limits = (2, 3, 4)
        return SyncVectorEnv(
            [lambda n=n: make("two-room", image_size=16, max_episode_steps=n) for n in limits], autoreset_mode=mode
        )

    model, plain = tiny_model(), vector()
    env = VectorLatentObservation(vector(), tiny_model())
    (z, _), (seen, _) = env.reset(seed=3), plain.reset(seed=3)
    ends = 0
    for step in range(7):
        assert z in env.observation_space
        rows = [{name: value[i] for name, value in seen.items()} for i in range(3)]
        assert np.array_equal(z, np.stack([latent(model, row) for row in rows]))
        z, _, terminated, truncated, info = env.step(actions(step, 3))
        seen, _, _, _, plain_info = plain.step(actions(step, 3))
        ended = terminated | truncated
        ends += ended.sum()
        if mode is AutoresetMode.SAME_STEP and ended.any():
            for i in np.flatnonzero(ended):
                assert np.array_equal(info["final_obs"][i], latent(model, plain_info["final_obs"][i]))
        if mode is AutoresetMode.DISABLED and ended.any():
            (z, _), (seen, _) = (each.reset(options={"reset_mask": ended}) for each in (env, plain))
    assert ends >= 4


def test_stable_baselines3_vectors_with_terminal_observations() -> None:
    vectors = pytest.importorskip("stable_baselines3.common.vec_env", reason=NEEDS)
    from worldmodel.planners.latents_sb3 import VecLatentObservation

    def venv() -> Any:
        limits = (2, 3, 4)
        return vectors.DummyVecEnv([lambda n=n: make("two-room", image_size=16, max_episode_steps=n) for n in limits])

    model, plain = tiny_model(), venv()
    env = VecLatentObservation(venv(), tiny_model())
    env.seed(3)
    plain.seed(3)
    z, seen, ends = env.reset(), plain.reset(), 0
    for step in range(7):
        rows = [{name: value[i] for name, value in seen.items()} for i in range(3)]
        assert np.array_equal(z, np.stack([latent(model, row) for row in rows]))
        z, _, ended, infos = env.step(actions(step, 3))
        seen, _, _, plain_infos = plain.step(actions(step, 3))
        for i in np.flatnonzero(ended):
            ends += 1
            assert np.array_equal(
                infos[i]["terminal_observation"], latent(model, plain_infos[i]["terminal_observation"])
            )
    assert ends == 6


def test_ppo_learns_on_latents() -> None:
    sb3 = pytest.importorskip("stable_baselines3", reason=NEEDS)
    from worldmodel.planners.latents_sb3 import VecLatentObservation

    env = VecLatentObservation(sb3.common.vec_env.DummyVecEnv([two_room, two_room]), tiny_model())
    learner = sb3.PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, device="cpu").learn(16)
    assert learner.policy.features_extractor.features_dim == 32


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), r"'pixels': expected uint8 \(16, 16, 3\).* got uint8 \(8, 8, 3\)"),
        (spaces.Box(0, 255, (3, 16, 16), np.uint8), r"got uint8 \(3, 16, 16\)"),
        (spaces.Box(0, 1, (16, 16, 3), np.float32), "got float32"),
        (spaces.Dict(state=spaces.Box(0, 1, (4,))), "no 'pixels' picture, it has state"),
        (spaces.Discrete(3), r"'pixels': expected uint8 .* got int64 \(\)"),
    ],
)
def test_other_observations_are_refused(space: spaces.Space[Any], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        LatentEncoder(tiny_model(), space)


def test_a_folder_is_a_model_everywhere(tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny_model())
    for wrapper in (LatentObservation, LatentGoalEnv, SurpriseReward):
        for env in (wrapper(two_room(), str(tmp_path / "model")), wrapper(two_room(), tmp_path / "model")):
            seen, known = env.reset(seed=0)[0], wrapper(two_room(), tiny_model()).reset(seed=0)[0]
            assert isinstance(seen, np.ndarray | dict) and repr(seen) == repr(known)
    with pytest.raises(BadFile, match="no such model or run folder"):
        LatentObservation(two_room(), tmp_path / "nowhere")


def test_the_wrapper_for_another_kind_of_environment_is_named() -> None:
    vectors = pytest.importorskip("stable_baselines3.common.vec_env", reason=NEEDS)
    from worldmodel.planners.latents_sb3 import VecLatentObservation

    kinds = {
        LatentObservation: two_room(),
        VectorLatentObservation: SyncVectorEnv([two_room]),
        VecLatentObservation: vectors.DummyVecEnv([two_room]),
    }
    for wrapper in kinds:
        for right, env in kinds.items():
            if right is not wrapper:
                with pytest.raises(BadValue, match=f"env: expected a .*, got {type(env).__name__}: .*{right.__name__}"):
                    wrapper(env, tiny_model())


@pytest.mark.parametrize("name", ["latents_sb3", "extractor"])
def test_what_needs_stable_baselines3_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == "stable_baselines3"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.delitem(sys.modules, f"worldmodel.planners.{name}", raising=False)
    with pytest.raises(MissingExtra, match=rf"worldmodel.planners.{name} needs .* pip install 'worldmodel\[sb3\]'"):
        importlib.import_module(f"worldmodel.planners.{name}")
