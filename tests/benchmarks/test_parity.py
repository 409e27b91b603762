"""The parity check: inputs that are the same everywhere, differences as defined, a peer that fails in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from worldmodel.benchmarks import parity
from worldmodel.errors import BadFile


def test_numbers_by_formula_are_the_same_everywhere_and_look_random() -> None:
    expected = torch.tensor(
        [1.73116393797383, -1.69518059517974, 1.26833700921455, -1.17303278531152], dtype=torch.float64
    )
    torch.testing.assert_close(parity.noise(4, seed=7), expected, rtol=0, atol=1e-12)
    x = parity.noise(300, 400, seed=1)
    assert abs(float(x.mean())) < 0.01 and float(x.std()) == pytest.approx(1, abs=0.01)
    assert abs(float((x[:, 1:] * x[:, :-1]).mean())) < 0.01 and abs(float((x[1:] * x[:-1]).mean())) < 0.01
    values = torch.linalg.svdvals(x)
    assert float(values.min()) > 1  # no few directions hold it all, as they would of a sine


def test_differences_are_the_largest_and_those_of_gradients_relative() -> None:
    ours = {name: torch.zeros(2) for name in parity.QUANTITIES} | {"gradient a": torch.tensor([1.0, 4.0])}
    theirs = ours | {"latents": torch.tensor([0.0, -0.5]), "gradient a": torch.tensor([2.0, 4.0])}
    found = parity.differences(ours, theirs)
    assert found == dict.fromkeys(parity.QUANTITIES, 0.0) | {"latents": 0.5, "gradients": 0.25}


def test_a_peer_that_does_not_work_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="--peer: cannot run pythn"):
        parity.call("pythn", tmp_path, "lewm", None)
    with pytest.raises(BadFile, match="--peer: .*Error"):
        parity.call(sys.executable, tmp_path, "lewm", None)
