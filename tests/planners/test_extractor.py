"""The encoder inside Stable-Baselines3's policies: the same latents, the weights one asks for, saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tests.planners.test_latents import pictures_only
from tests.worldmodel.tiny import tiny_model
from worldmodel.checkpoint import save_model
from worldmodel.envs.registry import make
from worldmodel.errors import BadFile, BadValue

sb3 = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is in the extra sb3")
from worldmodel.planners.extractor import LatentExtractor  # noqa: E402


def two_room(image_size: int = 16) -> Any:
    return make("two-room", image_size=image_size, max_episode_steps=10)


def ppo(env: Any, policy: str = "MultiInputPolicy", scaled: bool = True, **options: Any) -> Any:
    kwargs: dict[str, Any] = {"features_extractor_class": LatentExtractor, "features_extractor_kwargs": options}
    kwargs["normalize_images"] = scaled
    return sb3.PPO(policy, env, n_steps=8, batch_size=8, n_epochs=2, policy_kwargs=kwargs, device="cpu", seed=0)


def observed(env: Any, count: int = 5) -> dict[str, np.ndarray]:
    frames = [env.reset(seed=seed)[0] for seed in range(count)]
    return {name: np.stack([frame[name] for frame in frames]) for name in ("pixels", "goal")}


def features(learner: Any, batch: Any) -> torch.Tensor:
    learner.policy.set_training_mode(True)
    with torch.no_grad():
        return learner.policy.extract_features(learner.policy.obs_to_tensor(batch)[0])


def latents(model: Any, pictures: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return model.encode({"pixels": torch.from_numpy(pictures)[:, None]})[:, 0]


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("finetune", [True, False])
def test_features_are_the_models_latents(scaled: bool, finetune: bool) -> None:
    model, env = tiny_model(), two_room()
    learner = ppo(env, scaled=scaled, model=model, finetune=finetune, normalize_images=scaled)
    batch = observed(env)
    expected = [latents(model, batch[name]) for name in env.observation_space.spaces]  # in the order of the space
    assert torch.equal(features(learner, batch), torch.cat(expected, dim=1))


def test_features_of_a_box_and_of_numbers_beside_pictures() -> None:
    model, batch = tiny_model(), observed(two_room())
    learner = ppo(pictures_only(), policy="CnnPolicy", model=model)
    assert torch.equal(features(learner, batch["pixels"]), latents(model, batch["pixels"]))

    arm = spaces.Box(-1, 1, (2, 3), np.float64)
    extractor = LatentExtractor(spaces.Dict(arm=arm, pixels=spaces.Box(0, 255, (3, 16, 16), np.uint8)), model)
    numbers = torch.arange(30.0).view(5, 2, 3)
    frames = torch.from_numpy(batch["pixels"]).permute(0, 3, 1, 2) / 255.0
    found = extractor({"arm": numbers, "pixels": frames})
    assert found.shape == (5, extractor.features_dim)
    assert torch.equal(found, torch.cat([latents(model, batch["pixels"]), numbers.flatten(1)], dim=1))


def test_training_changes_only_what_is_to_learn() -> None:
    model = tiny_model()
    before = weights(model)
    for finetune in (False, True):
        learner = ppo(two_room(), model=model, finetune=finetune)
        encoder = learner.policy.features_extractor.model
        assert not any(module.training for module in encoder.modules())
        learner.learn(16)
        assert not any(module.training for module in encoder.modules())
        after = weights(encoder)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        learns = {name for name, _ in model.named_parameters() if name.startswith(("encoder.", "projector."))}
        assert changed == (learns if finetune else set())
    assert all(torch.equal(before[name], now) for name, now in weights(model).items())  # the one handed in


def test_a_policy_is_saved_and_loaded(tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny_model())
    env, batch = two_room(), observed(two_room())
    for given in (tmp_path / "model", str(tmp_path / "model"), tiny_model()):
        learner = ppo(env, model=given, finetune=True)
        learner.learn(8)
        learner.save(tmp_path / "policy")
        loaded = sb3.PPO.load(tmp_path / "policy", env, device="cpu")
        assert torch.equal(features(loaded, batch), features(learner, batch))
        assert np.array_equal(
            loaded.predict(batch, deterministic=True)[0], learner.predict(batch, deterministic=True)[0]
        )


def test_sac_learns_with_it() -> None:
    kwargs = {"features_extractor_class": LatentExtractor, "features_extractor_kwargs": {"model": tiny_model()}}
    options: dict[str, Any] = {"learning_starts": 8, "batch_size": 8, "buffer_size": 100, "seed": 0, "device": "cpu"}
    learner = sb3.SAC("MultiInputPolicy", two_room(), policy_kwargs=kwargs, **options)
    before = weights(learner.actor.features_extractor)
    learner.learn(20)
    assert all(torch.equal(before[name], now) for name, now in weights(learner.actor.features_extractor).items())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(0, 255, (3, 8, 8), np.uint8), r"'pixels': expected pictures uint8 \(3, 16, 16\), got uint8 \(3, 8"),
        (spaces.Box(0, 255, (16, 16, 3), np.uint8), r"expected pictures uint8 \(3, 16, 16\), got uint8 \(16, 16, 3\)"),
        (spaces.Box(0, 1, (3, 16, 16), np.float32), "got float32"),
        (spaces.Dict(state=spaces.Box(0, 1, (4,))), "'pixels': expected pictures .*, got none"),
        (spaces.Dict(wrist=spaces.Box(0, 255, (3, 8, 8), np.uint8)), "'wrist': expected pictures"),
    ],
)
def test_other_spaces_are_refused(space: spaces.Space[Any], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        LatentExtractor(space, tiny_model())


def test_scales_that_do_not_agree_are_refused() -> None:
    batch = observed(two_room())
    with pytest.raises(BadValue, match="pictures are not divided by 255"):
        features(ppo(two_room(), model=tiny_model(), scaled=False), batch)
    with pytest.raises(BadValue, match="pictures are divided by 255"):
        features(ppo(two_room(), model=tiny_model(), normalize_images=False), batch)
    with pytest.raises(BadFile, match="no such model or run folder"):
        ppo(two_room(), model="nowhere")
