"""What is said of evaluations, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.numbers import geometry, openloop, predictor, probe, result
from worldmodel.benchmarks.verdict import verdict

SOUND = {"openloop": openloop(), "geometry": geometry(), "probe": probe()}
LOST = {"openloop": openloop(prefix=predictor((0.4, 0.8)))}
SIMULATED, STUCK = ({"success": x, "low": x - 0.05} for x in (0.9, 0.1))  # the same search on the true simulator


def names(diagnostics: dict[str, Any], *results: dict[str, Any]) -> list[str]:
    return [finding.name for finding in verdict(diagnostics, results)]


@pytest.mark.parametrize(
    ("said", "diagnostics", "values"),
    [
        ("works in part", {}, {"success": 0.6}),
        ("works in part", {}, {"success": 0.9}),  # surely less than replay
        ("solved", {}, {"success": 0.98}),
        ("solved", {}, {"success": 0.8, "replay": 0.8}),
        ("at the floor", {}, {"success": 0.08}),  # 5.0 to 12.6 %, random 2.7 to 9.0 %
        ("at the floor", LOST, {"success": 0.08}),
        ("search fails", SOUND, {"success": 0.08}),
        ("search fails", {}, {"success": 0.08, "simulator": STUCK}),
        ("at the floor", SOUND, {"success": 0.08, "simulator": SIMULATED}),
        ("at the floor", SOUND, {"success": 0.08, "predictor": "one-step"}),  # of which nothing is known
    ],
)
def test_planning(said: str, diagnostics: dict[str, Any], values: dict[str, Any]) -> None:
    assert said in names(diagnostics, result(**values))


@pytest.mark.parametrize(
    ("said", "values"),
    [
        ("too few pairs", {"n": 20}),
        ("not held out", {"protocol": {"name": "lewm-25", "split": "train"}}),
        ("not held out", {"manifest": {"dataset": "another"}}),
        ("easy pairs", {"random": 0.31}),
        ("low ceiling", {"replay": 0.9}),
    ],
)
def test_what_limits_trust(said: str, values: dict[str, Any]) -> None:
    assert names({}, result(**values)) == ["works in part", said]


def test_few_pairs_solve_nothing() -> None:
    assert names({}, result(success=1.0, n=12)) == ["works in part", "too few pairs"]


def test_replay_in_another_world_is_no_ceiling() -> None:
    assert names({}, result(replay=0.5, variation="all")) == ["works in part"]


def test_the_model_comes_first_and_every_evaluation_is_judged() -> None:
    assert names(SOUND, result(success=0.98), result(n=20)) == ["predicts", "solved", "works in part", "too few pairs"]
    assert names({}) == []
    assert names(SOUND, {"objective": "reward", "return": -3.0}) == ["predicts"]


def test_a_distance_that_misleads_does_not_matter_where_planning_works() -> None:
    diagnostics = SOUND | {"geometry": geometry(ranks=(0.3, 0.25, 0.35))}
    assert names(diagnostics) == ["predicts", "distance misleads"]
    assert names(diagnostics, result(success=0.5)) == ["predicts", "distance misleads", "works in part"]
    assert names(diagnostics, result(success=0.98)) == ["predicts", "solved"]


def test_a_broken_model_explains_the_floor_and_hides_details() -> None:
    broken = SOUND | {"openloop": openloop(prefix=predictor(sensitivity=0.5)), "probe": probe(latent=(0.99, 0.1))}
    first, second = verdict(broken, [result(success=0.02)])
    assert (first.name, second.name) == ("ignores the actions", "at the floor")
    assert second.advice == "See to the model first: ignores the actions."


def test_sentences_are_read_without_a_manual() -> None:
    (found,) = verdict({}, [result()])
    assert found.sentence == (
        "lewm-25, prefix: 60.0 % of 200 pairs (53.1 % to 66.5 %); a random policy reaches 5.0 %, action replay 100.0 %."
    )
    _, found = verdict(SOUND, [result()])
    assert found.advice == "Most failures (70 of 80): search not converged."
    *_, found = verdict(SOUND, [result(success=0.61)])  # another evaluation than was examined
    assert found.advice == ""
