"""Open-loop errors equal those of one start at a time, on the frames that were recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.oracles import open_loop_slow
from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks.heldout import episodes
from worldmodel.benchmarks.openloop import _lenders, measure, rows
from worldmodel.errors import BadValue


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def seen(model, store):
    with torch.inference_mode():
        return episodes(model, store, "test", seed=0)


def test_episodes_are_every_third_frame_and_all_actions_between(model, store, seen) -> None:
    assert [e.number for e in seen] == store.episodes("test").tolist()
    for e in seen:
        assert e.z.shape == (21, 16) and e.actions.shape == (20, 6)
        frame = store.read("pixels", int(e.rows[7]), int(e.rows[7]) + 1)
        with torch.inference_mode():
            z = model.encode({"pixels": torch.from_numpy(frame[None])})[0, 0]
        torch.testing.assert_close(z, e.z[7])
        block = store.read("action", int(e.rows[7]), int(e.rows[8])).reshape(-1)
        torch.testing.assert_close(model.normalise(torch.from_numpy(block)), e.actions[7])
    with pytest.raises(BadValue, match="--split: .* has 1 validation episodes of 3 steps or more, expected 2"):
        episodes(model, store, "validation", seed=0)


def test_errors_are_those_of_one_start_at_a_time(model, seen) -> None:
    with torch.inference_mode():
        values, few = (measure(model, e, (1, 4, 6, 50), seed=0) for e in (2 * seen, seen))
        assert values["horizons"] == [1, 4, 6] and values["env_steps"] == [3, 12, 18]
        for name in ("one-step", "prefix"):
            found = values["predictors"][name]
            for i, h in enumerate(values["horizons"]):
                assert few["predictors"][name]["low"][i] is None  # three episodes
                error, copy = open_loop_slow(model.predictor(name), seen, 2, h)
                assert found["error"][i] == pytest.approx(error, rel=1e-4)
                assert values["copy"][i] == pytest.approx(copy, rel=1e-4)
                assert found["over_copy"][i] == pytest.approx(error / copy, rel=1e-4)
                assert found["low"][i] <= found["over_copy"][i] <= found["high"][i]
    assert values["n_starts"] == [6 * 19, 6 * 16, 6 * 14] and values["n_episodes"] == 6
    assert values["predictors"]["prefix"]["jumps"] == [1, 1, 2]
    assert [row[0] for row in rows(values)] == ["model steps", "1", "4", "6"]
    assert "(no interval)" in rows(few)[1][2]


def test_a_model_that_does_not_hear_its_actions_has_a_sensitivity_of_one(model, seen) -> None:
    deaf = [type(e)(e.number, e.rows, e.z, 0 * e.actions) for e in seen]
    with torch.inference_mode():
        found = measure(model, deaf, (2,), seed=0)["predictors"]
        heard = measure(model, seen, (2,), seed=0)["predictors"]
    for name in found:
        assert found[name]["sensitivity"] == pytest.approx([1], abs=1e-5)
        assert heard[name]["sensitivity"] != pytest.approx([1], abs=1e-5)


def test_actions_are_borrowed_from_another_episode_that_goes_on_as_long() -> None:
    owner = np.repeat(np.arange(4), [5, 3, 7, 6])
    left = np.minimum(np.concatenate([np.arange(n, 0, -1) for n in (5, 3, 7, 6)]), 3)
    for seed in range(30):
        lenders = _lenders(owner, left, seed)
        assert (owner != owner[lenders]).all() and (left <= left[lenders]).all()


def test_horizons_that_nothing_reaches_are_said(model, seen) -> None:
    with pytest.raises(BadValue, match="--horizons: the episodes, of 20 model steps at most, reach none of"):
        measure(model, seen, (30, 40), seed=0)
