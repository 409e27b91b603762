"""What was expected of a record's plans, against one prediction at a time; and whether errors explain failures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks import executed as module
from worldmodel.benchmarks.evaluate import evaluate, floors_and_ceiling
from worldmodel.benchmarks.executed import against_failure, examine
from worldmodel.benchmarks.failures import REASONS, Failures, accomplished, reason, separating, sort_out
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.retrace import Executed, follow, latents
from worldmodel.envs import registry
from worldmodel.interfaces import Context

OFFSET, BUDGET = 12, 20  # environment steps: 4 and 6 model steps of 3
NAN = float("nan")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def task():
    return registry.make("two-room", image_size=16).unwrapped


@pytest.fixture
def record(model, store, task) -> Record:
    pairs = sample_pairs(store, task, OFFSET, 12, 0)
    agent = model.agent(candidates=4, elites=2, iterations=1, horizon=4, execute_steps=2, goal_offset=OFFSET)
    outcome = evaluate(agent, "two-room", pairs, BUDGET, 16)
    floors = floors_and_ceiling("two-room", pairs, BUDGET, 0)
    values = {"predictor": "prefix", "execute_steps": 2, "horizon": 4, "manifest": {"sha256": pairs.sha256}}
    return Record(values=values, pairs=pairs, outcome=outcome, floors=floors)


def explain(record: Record, model, task) -> Failures:
    return sort_out(record, follow(model, task, record.pairs, record.outcome, 2, 4), model, task)


def test_expected_and_reached_are_one_prediction_and_one_picture_at_a_time(model, task, record) -> None:
    with torch.inference_mode():
        path = follow(model, task, record.pairs, record.outcome, 2, 4)
        assert path.starts == (0, 2, 4) and path.reached.shape == (12, 3, 4, 16)

        def encode(state: np.ndarray) -> torch.Tensor:
            return model.encode({"pixels": torch.from_numpy(task.draw(state))[None, None]})[0, 0]

        for pair in range(0, 12, 3):
            torch.testing.assert_close(path.goal[pair], encode(record.pairs.goals[pair]))
            for p, start in enumerate(path.starts):
                for h in range(1, 5):
                    there, before = 3 * (start + h), range(max(0, start - 1), start + 1)
                    got, told = path.reached[pair, p, h - 1], path.expected["prefix"][pair, p, h - 1]
                    if there > 18 or np.isnan(record.outcome.states[pair, there]).any():
                        assert got.isnan().all()
                        continue
                    torch.testing.assert_close(got, encode(record.outcome.states[pair, there]))
                    z = torch.stack([encode(record.outcome.states[pair, 3 * t]) for t in before])
                    done = torch.from_numpy(record.outcome.actions[pair]).reshape(-1)[: 6 * 6].reshape(6, 6)
                    done = model.normalise(done)
                    context = Context(z[None], done[None, before[0] : start])
                    plan = done[None, None, start : start + h]
                    z_hat = model.predictor("prefix").rollout(context, plan)[0, 0, -1]
                    torch.testing.assert_close(told, z_hat)
                    error = float((z_hat - got).square().mean())
                    assert float(path.errors("prefix")[pair, p, h - 1]) == pytest.approx(error, rel=1e-3)


def test_worlds_are_drawn_as_they_were(model, task, record) -> None:
    colours = [np.full(3, 20.0 * i) for i in range(12)]
    worlds = tuple({"variation": {**task.variation, "background.colour": colour}} for colour in colours)
    varied = replace(record.pairs, worlds=worlds)
    with torch.inference_mode():
        path = follow(model, task, varied, record.outcome, 2)
        task.vary(worlds[5]["variation"], np.random.default_rng(0))
        picture = torch.from_numpy(task.draw(record.pairs.goals[5]))
        torch.testing.assert_close(path.goal[5], model.encode({"pixels": picture[None, None]})[0, 0])


def planted(n: int, blame: str) -> tuple[Executed, np.ndarray]:
    """Pairs of which those fail that one of the predictors is wrong about."""
    generator = torch.Generator().manual_seed(0)
    reached = torch.randn(n, 2, 3, 8, generator=generator)
    wrong = {name: torch.rand(n, generator=generator) for name in ("one-step", "prefix")}
    expected = {
        name: reached + size[:, None, None, None] * torch.randn(8, generator=generator) for name, size in wrong.items()
    }
    z = torch.randn(n, 7, 8, generator=generator)
    failed = (wrong[blame] > 0.5).numpy()
    reached[~torch.from_numpy(failed), 1, 1:] = NAN  # successes end early
    return Executed(z, torch.zeros(n, 8), (0, 3), reached, expected), failed


@pytest.mark.parametrize("blame", ["one-step", "prefix"])
def test_the_predictor_that_failures_come_from_is_found(blame: str) -> None:
    path, failed = planted(60, blame)
    values = against_failure(path, failed, 3, np.arange(60) // 2, seed=0)
    other = {"one-step": "prefix", "prefix": "one-step"}[blame]
    for part in ("all", "first"):
        found = values[part]
        assert found[blame]["auc"] > 0.99 and found[blame]["p"] < 1e-6
        assert found[other]["low"] < 0.5 < found[other]["high"] and found["copy"]["low"] < 0.5 < found["copy"]["high"]
        assert found[blame]["failures"] > found[blame]["successes"]
        gap = found["prefix_minus_one_step"]
        assert (gap["low"] > 0) if blame == "prefix" else (gap["high"] < 0)
    assert values["n"] == 60 and values["n_failed"] == failed.sum()


def test_without_failures_nothing_is_claimed() -> None:
    path, failed = planted(20, "prefix")
    episode = np.arange(20)
    found = against_failure(path, np.zeros_like(failed), 3, episode, seed=0)["first"]["prefix"]
    assert found["auc"] is None and found["low"] is None and found["p"] is None and found["failures"] is None
    found = against_failure(path, failed, 3, episode // 5, seed=0)["first"]["prefix"]
    assert found["auc"] > 0.9 and found["low"] is None  # four episodes give no interval


@pytest.mark.parametrize(
    ("hoped", "came", "shown", "leads_there", "expected"),
    [
        ([1, 1], [9, 9], 1, True, "wrong model"),  # believed to arrive, did not
        ([50, 1], [50, 1.5], 60, False, "looks solved"),
        ([50, 40], [50, 40], 1, True, "search not converged"),
        ([50, 40], [80, 40], 45, False, "search not converged"),  # better by more than the scale, if not there
        ([50, 40], [50, 40], 48, True, "wrong model"),  # denies that the demonstration arrives
        ([50, 40], [50, 40], 48, False, "budget"),
        ([50, 40], [50, 45], 48, False, "wrong model"),  # farther than believed by more than the scale
        ([50, 40], [49, 41], NAN, False, "budget"),
        ([1, NAN], [1.5, NAN], 1, True, "looks solved"),
    ],
)
def test_the_first_thing_that_went_wrong(hoped, came, shown, leads_there, expected) -> None:
    assert reason(np.array(hoped, float), np.array(came, float), shown, leads_there, scale=2.0) == expected
    assert expected in REASONS


def test_the_scale_separates_best() -> None:
    rng = np.random.default_rng(0)
    solved, others = rng.gamma(2, 1, 50), rng.gamma(2, 4, 200)
    shares = [(np.mean(solved <= x) - np.mean(others <= x), x) for x in solved]
    assert separating(solved, others) == max(shares)[1]
    assert separating(np.array([1.0, 2, 3]), np.array([2.5, 9])) == 2


def test_every_failure_of_a_record_has_a_reason_and_no_success_has(model, task, record) -> None:
    with torch.inference_mode():
        why, values = explain(record, model, task), examine(record, model, task, seed=0)
    assert [x is None for x in why.reasons] == record.outcome.success.tolist()
    assert why.counts is not None and sum(why.counts.values()) == int((~record.outcome.success).sum()) > 0
    assert values["manifest"] == {"sha256": record.pairs.sha256} and "not corrected" in values["note"]
    assert values["failures"] == why.counts and values["reasons"] == list(why.reasons)
    assert set(values["demonstrated"]) == {"one-step", "prefix"}
    assert any("failures" in line[0] for line in module.rows({"lewm-25-prefix": values}))
    nobody = {name: replace(x, success=np.zeros(12, bool)) for name, x in record.floors.items()}
    failed = replace(record.outcome, success=np.zeros(12, bool))
    with torch.inference_mode():
        unknown = explain(replace(record, outcome=failed, floors=nobody), model, task)
    assert unknown.scale is None and unknown.counts is None and set(unknown.reasons) == {None}


def test_a_reflex_has_no_plan_that_failed(model, task, record) -> None:
    acted = replace(record, values={**record.values, "controller": "reflex"})
    with torch.inference_mode():
        values = examine(acted, model, task, seed=0)
    assert values["failures"] is None and set(values["reasons"]) == {None}
    assert ["  failures", "no plan to examine: the reflex acted alone"] in module.rows({"a": values})


def test_what_had_to_stay_and_did_not_is_named_and_is_no_other(model, task, record) -> None:
    """The goal was accomplished on the way, which is enough only where it need not stay."""
    states = record.outcome.states.copy()
    lost = np.flatnonzero(~record.outcome.success)
    states[lost, 6] = record.pairs.goals[lost]
    passing = replace(record.outcome, states=states)
    strict = replace(record, outcome=passing, pairs=replace(record.pairs, strict=True))
    there = accomplished(strict, task)
    assert there[lost, 6].all() and not accomplished(replace(record, outcome=passing), task)[lost].any()
    with torch.inference_mode():
        why = explain(strict, model, task)
    assert why.counts is not None and why.counts["did not stay"] == len(lost) > 0
    assert {why.reasons[i] for i in lost} == {"did not stay"}


def test_the_world_of_one_record_is_not_that_of_the_next(store, model, task) -> None:
    """A task that has just drawn a varied world draws a plain one as it was."""
    plain = sample_pairs(store, task, 10, 4, seed=0)
    varied = sample_pairs(store, task, 10, 4, seed=0, variation="background.colour")
    states = plain.starts[:, None]
    before = latents(model, task, plain, states)
    assert not torch.equal(latents(model, task, varied, states), before)
    assert torch.equal(latents(model, task, plain, states), before)
