"""Validation: the numbers are what they say, always the same, and watching changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.datasets.collecting import collect_here
from tests.datasets.episodes import episode
from tests.worldmodel.tiny import LOSS, TRAIN, dot_groups, tiny_config, tiny_model
from worldmodel.cli import validation as module
from worldmodel.cli.validation import SHOWN, TILE, Validation
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.terms import Loss
from worldmodel.training import train

CONFIG = tiny_config()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EpisodeStore]:
    path = collect_here(tmp_path_factory.mktemp("data") / "two-room.h5", 5, image_size=16, steps=60)
    with EpisodeStore(path) as store:
        yield store


@pytest.fixture(scope="module")
def validation(store: EpisodeStore) -> Validation:
    return Validation(store, CONFIG)


def judge(validation: Validation, model: WorldModel) -> dict[str, float]:
    with torch.inference_mode():
        return validation(model)


def test_the_names_are_stable_and_the_numbers_finite(validation: Validation) -> None:
    values = judge(validation, tiny_model())
    predictors = [
        f"{p}_{what}_{h}" for p in ("one-step", "prefix") for what in ("error", "sensitivity") for h in (1, 5, 10)
    ]
    kinds = [f"probe_{control}{kind}" for control in ("", "pixels_", "random_") for kind in ("linear", "mlp")]
    each = [f"probe_{kind}_{name}" for kind in ("linear", "mlp") for name in ("agent_x", "agent_y")]
    assert sorted(values) == sorted(["std", "rank", *predictors, *kinds, *each])
    json.loads(json.dumps(values, allow_nan=False))
    assert values["probe_linear"] == pytest.approx(
        (values["probe_linear_agent_x"] + values["probe_linear_agent_y"]) / 2
    )


def test_building_and_judging_draw_from_no_global_generator_and_repeat(store: EpisodeStore) -> None:
    model = tiny_model()
    np.random.seed(0)  # noqa: NPY002
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002
    first, second = Validation(store, CONFIG), Validation(store, CONFIG)
    values = judge(first, model)
    assert values == judge(first, model) == judge(second, model)
    first.rollouts()
    assert torch.equal(torch_before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


def test_a_training_that_is_watched_is_the_same_training(validation: Validation, tmp_path: Path) -> None:
    def weights(folder: str, watch: Validation | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = WorldModel(CONFIG)
        loss = Loss(replace(LOSS, imagined=0.0), CONFIG.predictions)
        train(model, loss, replace(TRAIN, steps=6, validate_every=2), dot_groups, tmp_path / folder, watch)
        return model.state_dict()

    watched, alone = weights("watched", validation), weights("alone", None)
    assert all(torch.equal(watched[name], alone[name]) for name in alone)


def test_sensitivity_is_of_the_same_starts_under_the_next_windows_actions(validation: Validation) -> None:
    model, h = tiny_model(), 5
    values = judge(validation, model)
    wrong, right = 0.0, 0.0
    with torch.inference_mode():
        z = model.encode({"pixels": torch.from_numpy(validation.frames)})
        actions = model.normalise(validation.actions)
        for b in range(len(z)):
            past = Context(z[b, None, :2], actions[b, None, :1])
            for other in (b, b - 1):
                path = model.predictor("prefix").rollout(past, actions[other, None, None, 1:])[0, 0]
                error = float((path[h - 1] - z[b, 1 + h]).square().sum())
                right, wrong = (right + error, wrong) if other == b else (right, wrong + error)
    assert values[f"prefix_sensitivity_{h}"] == pytest.approx(wrong / right, rel=1e-3)
    assert wrong / right != pytest.approx(1, abs=1e-3)


def test_a_model_that_does_not_hear_the_actions_has_sensitivity_one_and_is_told(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, validation = tiny_model(), Validation(store, CONFIG)
    monkeypatch.setattr(WorldModel, "normalise", lambda self, actions: 0 * actions)
    monkeypatch.setattr(module, "open_loop_error", lambda path, z: torch.full((path.shape[1],), 0.9))  # it has learned
    monkeypatch.setattr(module, "collapse_warning", lambda z: None)
    with caplog.at_level(logging.WARNING):
        values = [judge(validation, model), judge(validation, model)][0]
    assert [values[f"one-step_sensitivity_{h}"] for h in (1, 5, 10)] == pytest.approx([1, 1, 1], abs=1e-5)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "one-step predictor ignores" in said[0] and "prefix predictor ignores" in said[1]


def test_a_collapse_is_said_once_and_alone(store: EpisodeStore, caplog: pytest.LogCaptureFixture) -> None:
    model, validation = tiny_model(), Validation(store, CONFIG)
    with torch.no_grad():
        model.projector[-1].weight.zero_()
    with caplog.at_level(logging.WARNING):
        values = [judge(validation, model), judge(validation, model)][0]
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == ["the latents collapsed"]
    json.loads(json.dumps(values, allow_nan=False))


def test_the_picture_of_a_perfect_prediction_repeats_what_was_recorded(validation: Validation) -> None:
    model = tiny_model()
    judge(validation, model)
    with torch.inference_mode():
        z = model.encode({"pixels": torch.from_numpy(validation.frames)})
    validation._seen = z, {"one-step": z[:SHOWN, 2:], "prefix": z[SHOWN : 2 * SHOWN, 2:]}
    picture = validation.rollouts()
    side = TILE + 2
    assert picture.dtype == np.uint8 and picture.shape[1] == module._MARGIN + 11 * side
    rows = [picture[16 + i * side : 16 + (i + 1) * side, module._MARGIN :] for i in range(3)]
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])
    assert np.array_equal(rows[0][:, :side], rows[2][:, :side])  # all start from now


def test_probes_are_of_other_episodes_than_they_were_fitted_on(store: EpisodeStore, validation: Validation) -> None:
    (train, held) = (store.episodes(split) for split in ("train", "validation"))
    states = {i: store.read_episode("state", i)[:, 0] for i in range(len(store))}
    assert np.isin(validation.read.known[:, 0].numpy(), np.concatenate([states[i] for i in train])).all()
    assert np.isin(validation.read.unknown[:, 0].numpy(), np.concatenate([states[i] for i in held])).all()


def test_without_readable_numbers_or_far_rows_less_is_said(tmp_path: Path) -> None:
    made = [episode(i, 16, 16, split) | {"state": np.zeros((16, 3))} for i, split in enumerate((0, 0, 1))]
    path = write_store(tmp_path / "made.h5", made, {"env": "robot"})
    with EpisodeStore(path) as store:
        values = judge(Validation(store, replace(CONFIG, env="robot")), tiny_model())
    assert not any("probe" in name or name.endswith("_5") for name in values)  # one window at a distance of one
    assert {"std", "rank", "prefix_error_1"} <= set(values)
