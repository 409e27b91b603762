"""What is said of evaluations, and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.numbers import evaluation, examined, geometry, openloop, predictor, probe
from worldmodel.benchmarks.findings import Finding
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.verdict import verdict

SOUND = {"openloop": openloop(), "geometry": geometry(), "probe": probe()}
LOST = {"openloop": openloop(prefix=predictor((0.4, 0.8)))}


def judged(diagnostics: dict[str, Any], *records: Record) -> list[Finding]:
    """All findings, the model's first."""
    told = verdict(diagnostics, {f"evaluation-{i}": record for i, record in enumerate(records)})
    return [*told.model, *(finding for found in told.evaluations.values() for finding in found)]


def names(diagnostics: dict[str, Any], *records: Record) -> list[str]:
    return [finding.name for finding in judged(diagnostics, *records)]


def looked_at(record: Record, **found: Any) -> dict[str, Any]:
    """What is measured of a sound model, with an examination of the evaluation."""
    return SOUND | {"geometry": geometry(executed={"evaluation-0": examined(record, **found)})}


def simulator(success: float, low: float, high: float, n: int = 50) -> dict[str, Any]:
    return {"candidates": 64, "iterations": 5, "success": success, "n": n, "low": low, "high": high}


@pytest.mark.parametrize(
    ("said", "diagnostics", "values"),
    [
        ("works in part", {}, {"success": 0.6}),
        ("works in part", {}, {"success": 0.9}),  # surely less than replay
        ("works in part", {}, {"success": 0.09}),  # 8 pairs more than random, none less: p = 0.008
        ("solved", {}, {"success": 0.98}),
        ("solved", {}, {"success": 0.8, "replay": 0.8}),
        ("at the floor", {}, {"success": 0.07}),  # 4 pairs more: p = 0.12
        ("at the floor", {}, {"success": 0.0}),
        ("at the floor", LOST, {"success": 0.06}),
        ("search fails", SOUND, {"success": 0.06}),
        ("at the floor", SOUND, {"success": 0.06, "variation": "all"}),  # demonstrations were in other worlds
        ("at the floor", SOUND, {"success": 0.06, "replay": None}),  # and nobody demonstrated official goals
        ("search fails", {}, {"success": 0.06, "simulator": simulator(0.1, 0.04, 0.21)}),
        ("at the floor", {}, {"success": 0.06, "simulator": simulator(0.0, 0.0, 0.79, n=1)}),  # which says nothing
        ("at the floor", SOUND, {"success": 0.06, "simulator": simulator(0.9, 0.79, 0.96)}),
        ("at the floor", SOUND, {"success": 0.06, "predictor": "one-step"}),  # of which nothing is known
        ("solved", {}, {"success": 0.99, "variation": "all", "replay": 0.5}),
        ("too few pairs", SOUND, {"success": 1.0, "n": 12}),
    ],
)
def test_planning(said: str, diagnostics: dict[str, Any], values: dict[str, Any]) -> None:
    assert said in names(diagnostics, evaluation(**values))


def test_pairs_are_compared_one_by_one() -> None:
    """A rate is surely above another where the same pairs were solved and some more, and not where others were."""
    record = evaluation(success=0.09)
    random: Any = record.floors["random"]
    random.success = random.success[::-1]  # none of those that the model solved
    assert names({}, record) == ["at the floor"]
    assert "exact McNemar p = 0.18" in judged({}, record)[0].sentence


@pytest.mark.parametrize(
    ("said", "severity", "values"),
    [
        ("too few pairs", "warning", {"n": 40}),
        ("not held out", "bad", {"protocol": {"name": "lewm-25", "split": "train"}}),
        ("not held out", "warning", {"protocol": {"name": "lewm-25", "split": "validation"}}),
        ("not held out", "warning", {"manifest": {"dataset": "another", "sha256": "def"}}),
        ("easy pairs", "warning", {"random": 0.31}),
        ("low ceiling", "warning", {"replay": 0.9}),
    ],
)
def test_what_limits_trust(said: str, severity: str, values: dict[str, Any]) -> None:
    assert [(x.name, x.severity) for x in judged({}, evaluation(**values))] == [
        ("works in part", "good"), (said, severity),
    ]  # fmt: skip


def test_a_few_pairs_claim_nothing() -> None:
    assert names({}, evaluation(success=1.0, n=12)) == ["too few pairs"]


def test_replay_in_another_world_is_no_ceiling() -> None:
    assert names({}, evaluation(replay=0.5, variation="all")) == ["works in part"]
    (solved,) = judged({}, evaluation(success=0.99, replay=0.5, variation="all"))
    assert "demonstrator" not in solved.sentence and "replay" not in solved.sentence


def test_the_model_comes_first_and_every_evaluation_is_judged() -> None:
    records = {"a": evaluation(success=0.98), "b": evaluation(n=40)}
    found = verdict(SOUND, records)
    assert [x.name for x in found.model] == ["predicts"]
    assert {name: [x.name for x in told] for name, told in found.evaluations.items()} == {
        "a": ["solved"], "b": ["works in part", "too few pairs"],
    }  # fmt: skip
    assert names(SOUND, *records.values()) == ["predicts", "solved", "works in part", "too few pairs"]
    assert names({}) == []
    assert names(SOUND, replace(evaluation(), floors={})) == ["predicts"]  # one for reward


def test_a_distance_that_misleads_does_not_matter_where_planning_works() -> None:
    diagnostics = SOUND | {"geometry": geometry(ranks=(0.3, 0.25, 0.35))}
    assert names(diagnostics) == ["predicts", "distance misleads"]
    assert names(diagnostics, evaluation(success=0.5)) == ["predicts", "distance misleads", "works in part"]
    assert names(diagnostics, evaluation(success=0.98)) == ["predicts", "solved"]


def test_a_broken_model_explains_the_floor_and_hides_details() -> None:
    broken = SOUND | {"openloop": openloop(prefix=predictor(sensitivity=0.5)), "probe": probe(latent=(0.99, 0.1))}
    first, second = judged(broken, evaluation(success=0.02))
    assert (first.name, second.name) == ("ignores the actions", "at the floor")
    assert second.advice == "See to the model first: ignores the actions."


def test_what_an_evaluation_was_examined_for_counts_more_than_demonstrations() -> None:
    lost = evaluation(success=0.05, variation="all")
    found = judged(looked_at(lost, most="wrong model", error=0.9), lost)[-1]
    assert found.name == "at the floor" and found.advice == (
        "Along the first plans that failed the predictor's squared error was 0.90 of copying's. "
        "Most failures (189 of 190): wrong model."
    )
    found = judged(looked_at(lost), lost)[-1]
    assert found.name == "search fails" and "Most failures (189 of 190): search not converged." in found.sentence


def test_reasons_are_of_just_this_evaluation() -> None:
    record = evaluation()
    diagnostics = looked_at(record)
    assert judged(diagnostics, record)[-1].advice == "Most failures (79 of 80): search not converged."
    other = replace(record, values={**record.values, "manifest": {"dataset": "abc", "sha256": "other"}})
    assert judged(diagnostics, other)[-1].advice == ""  # other pairs
    others: Any = type(record.outcome)(success=np.roll(record.outcome.success, 1))
    assert judged(diagnostics, replace(record, outcome=others))[-1].advice == ""  # done again since
    assert [x.advice for x in judged(diagnostics, other, record)[-2:]] == ["", ""]  # under another name


def test_a_reflex_has_not_searched() -> None:
    record = evaluation(success=0.06, controller="reflex")
    (found,) = (x for x in judged(looked_at(record), record) if "no plan to examine" in x.sentence)
    assert (found.name, found.advice) == ("at the floor", "")


def test_sentences_are_read_without_a_manual() -> None:
    (found,) = judged({}, evaluation(simulator=simulator(0.9, 0.79, 0.96)))
    assert found.sentence == (
        "lewm-25, prefix: 60.0 % of 200 pairs (53.1 % to 66.5 %); a random policy reaches 5.0 %, action replay "
        "100.0 %, CEM 64 x 5 on the true simulator 90.0 % (n = 50)."
    )
