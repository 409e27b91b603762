"""Geometry of held-out episodes: what is said of latents whose layout is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks.geometry import measure, ranking, rows, semigroup
from worldmodel.benchmarks.heldout import episodes
from worldmodel.diagnostics import encoded, mean_std, untrained
from worldmodel.errors import BadFile


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def seen(model, store):
    with torch.inference_mode():
        return episodes(model, store, "test", seed=0)


def test_latents_on_a_line_are_straight_and_rank_as_the_steps(model, store, task, seen) -> None:
    line = torch.arange(21.0)[:, None] * torch.ones(16)
    values = measure(model, [replace(e, z=line) for e in 2 * seen], store, task, seed=0)
    assert values["straightness"]["mean"] == pytest.approx(1) and values["rank_correlation"]["mean"] == pytest.approx(1)
    assert values["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert values["rank_correlation"]["span_env_steps"] == 51  # 17 model steps, the first whole ones to pass 50
    own = values["rank_correlation"]["task_distance"]
    assert 0 < own["low"] <= own["mean"] <= own["high"] < 1
    told = dict(rows(values))
    assert told["straightness"].startswith("1.00 [1.00, 1.00]") and told["episodes"] == "6 held out, 126 frames"


def test_the_task_distance_is_that_of_the_recorded_states(store, task, seen) -> None:
    states = [torch.from_numpy(store.read_episode("state", e.number)[::3]).float() for e in seen]
    found = ranking([replace(e, z=z) for e, z in zip(seen, states)], store, task, block=3, seed=0)
    assert found["mean"] == pytest.approx(
        found["task_distance"]["mean"], abs=1e-3
    )  # two-room measures in a straight line


def test_random_weights_stand_beside_and_few_episodes_have_no_interval(model, store, task, seen) -> None:
    values = measure(model, seen, store, task, seed=0)
    frames = np.concatenate([store.read_episode("pixels", e.number)[::3] for e in seen])
    with torch.inference_mode():
        assert values["random_std"] == pytest.approx(mean_std(encoded(untrained(model), frames)))
    assert values["straightness"]["low"] is None and values["rank_correlation"]["high"] is None
    assert "no interval of fewer than 5 episodes" in dict(rows(values))["straightness"]


def test_latents_that_are_no_numbers_are_one_line(model, store) -> None:
    broken = tiny_model()
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(BadFile, match="--model: its latents of held-out frames are not finite"):
        episodes(broken, store, "test", seed=0)


def test_latents_that_never_move_rank_nothing(model, store, task, seen) -> None:
    still = [replace(e, z=torch.ones(21, 16)) for e in seen]
    values = measure(model, still, store, task, seed=0)
    assert values["straightness"]["mean"] is None and values["rank_correlation"]["mean"] is None
    assert "nothing moves" in dict(rows(values))["straightness"]


def test_only_the_prefix_predictor_can_contradict_itself(model, seen) -> None:
    with torch.inference_mode():
        found, few = semigroup(model, 2 * seen, seed=0), semigroup(model, seen, seed=0)
    assert {x["low"] for x in few["prefix"]} == {None}
    assert [x["split"] for x in found["prefix"]] == [[1, 3], [2, 2], [3, 1]]
    assert all(x["gap_over_error"] < 1e-9 for x in found["one-step"])
    assert all(x["gap_over_error"] > 1e-4 and x["low"] <= x["gap_over_error"] <= x["high"] for x in found["prefix"])
    assert all(x["direct_over_copy"] == pytest.approx(x["hopped_over_copy"]) for x in found["one-step"])
