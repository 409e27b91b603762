"""Each finding about a model appears for its cause and for no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.numbers import geometry, openloop, predictor, probe, surprise
from worldmodel.benchmarks.findings import details, kind, right, unread_share

NOTHING_READ = probe(latent=(0.55, 0.55))
DEAF = predictor(sensitivity=0.5)
SOUND = {"openloop": openloop(), "geometry": geometry(), "probe": probe(), "surprise": surprise()}
BLANK = {"openloop": openloop(prefix=predictor((1, 1))), "probe": NOTHING_READ}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("predicts", {}),
    ("untrained", {"openloop": openloop(prefix=predictor((30.0, 20.0))), "probe": NOTHING_READ}),
    ("untrained", BLANK | {"geometry": geometry(0.004, random_std=0.005)}),  # random weights spread no wider
    ("collapsed", BLANK | {"geometry": geometry(0.0, random_std=0.005)}),  # a constant encoder
    ("collapsed", BLANK | {"geometry": geometry(0.004, random_std=0.5)}),
    ("collapsed", {"geometry": geometry(std=0.01), "probe": NOTHING_READ}),
    ("collapsed", {"openloop": openloop(prefix=DEAF), "geometry": geometry(rank=2.0), "probe": NOTHING_READ}),
    ("predicts", {"geometry": geometry(rank=2.0)}),  # a task with two numbers needs no more
    ("no better than copying", {"openloop": openloop(prefix=predictor((1.0, 0.95)))}),  # 0.95 is not surely below 1
    ("predicts too short a time", {"openloop": openloop(prefix=predictor((0.1, 0.95)))}),
    ("ignores the actions", {"openloop": openloop(prefix=DEAF)}),
    ("one predictor ignores the actions", {"openloop": openloop(prefix=DEAF, one_step=predictor())}),
    ("near-perfect", {"openloop": openloop(prefix=predictor((1e-5, 9e-4)))}),
    ("near-perfect", {"openloop": openloop(prefix=predictor((1e-5, 9e-4))), "geometry": geometry(rank=2.0)}),
    ("near-perfect", {"openloop": openloop(prefix=predictor((1e-5, 0.02)))}),  # near a corner errors are large or none
    ("predicts", {"openloop": openloop(prefix=predictor((1e-5, 0.1)))}),
    ("predicts", {"openloop": openloop(prefix=predictor((2e-3, 2e-3)))}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changed"), CASES)
def test_kind(name: str, changed: dict[str, Any]) -> None:
    found = kind(SOUND | changed)
    assert found is not None and found.name == name
    assert (found.severity == "good") == right(found) and found.sentence.endswith(".")
    assert found.advice or name == "predicts"


def test_what_was_not_measured_is_not_spoken_of() -> None:
    assert kind({}) is None and list(details({})) == []
    assert kind({"probe": NOTHING_READ}) is None
    for only, name in (
        ({"openloop": openloop(prefix=predictor((30.0, 20.0)))}, "no better than copying"),
        ({"geometry": geometry(std=0.01)}, "collapsed"),
        ({"openloop": openloop()}, "predicts"),
    ):
        found = kind(only)
        assert found is not None and found.name == name


def test_sentences_have_their_numbers() -> None:
    said = kind(SOUND)
    assert (
        said is not None
        and "The prefix predictor's squared error is 0.20 of copying's at 5 model steps (25 env" in said.sentence
    )
    said = kind(SOUND, horizon=1)
    assert (
        said is not None
        and "0.10 of copying's at 1 model step (5 environment steps) and 0.20 at 5 model steps" in said.sentence
    )
    said = kind(SOUND | {"geometry": geometry(std=0.01), "probe": NOTHING_READ})
    assert (
        said is not None
        and "mean std 0.010" in said.sentence
        and said.advice == "Raise --loss.sigreg or --train.batch."
    )


def test_unread_share_is_a_geometric_mean_over_numbers() -> None:
    assert unread_share(probe(latent=(0.6, 0.5))) == pytest.approx(1)
    assert unread_share(probe(latent=(0.96, 0.5))) == pytest.approx(0.1**0.5)
    assert unread_share(probe(latent=(1.0, 1.0))) < 1e-3  # finite
    assert unread_share(probe(latent=(-50.0, 0.5))) == pytest.approx((2 / 0.4) ** 0.5)


def test_predictions_are_judged_as_far_ahead_as_plans_look() -> None:
    near = {"openloop": openloop(prefix=predictor((0.1, 0.95)))}
    found = [kind(near, horizon) for horizon in (1, 5)]
    assert [x and x.name for x in found] == ["predicts", "predicts too short a time"]
    assert found[1] is not None and "0.95 of copying's at 5 model steps" in found[1].sentence
    assert found[1].advice.startswith("Plan less far (--horizon 1)")
    near["openloop"]["predictors"]["prefix"]["jumps"] = [1, 2]  # trained on one step
    alone = kind(near)
    assert alone is not None and alone.name == "predicts"


def test_without_intervals_means_count() -> None:
    told = openloop()
    told["predictors"]["prefix"] |= {"low": [None, None], "high": [None, None]}
    found = kind({"openloop": told})
    assert found is not None and found.name == "predicts"


def test_a_task_in_which_nothing_moves_crashes_nothing() -> None:
    still = geometry()
    still["rank_correlation"]["task_distance"] = {"mean": None, "low": None, "high": None}
    assert list(details({"geometry": still})) == []


def test_what_a_model_that_predicts_may_be_missing() -> None:
    assert list(details(SOUND)) == []
    (lost,) = details(SOUND | {"probe": probe(latent=(0.99, 0.1))})
    assert lost.name == "leaves out" and "of block_angle (0.10; 0.80)" in lost.sentence
    (lost,) = details(SOUND | {"probe": probe(latent=(0.99, 0.02), random=(0.6, 0.0), pixels=(0.9, 0.01))})
    assert "of block_angle (0.02; 0.01)" in lost.sentence
    for ranks in ((0.1, -0.1, 0.3), (0.3, 0.25, 0.35)):
        (misled,) = details(SOUND | {"geometry": geometry(ranks=ranks)})
        assert misled.name == "distance misleads" and "own distance is 0.80" in misled.sentence
    (overlooked,) = details(SOUND | {"surprise": surprise(low=-0.1)})
    assert overlooked.name == "overlooks jumps" and "+0.300 (-0.100 to +0.500)" in overlooked.sentence
