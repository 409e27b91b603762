"""The published models in numbers: what their own modules computed with weights by formula, and ours now.

benchmarks/parity.py wrote them (``--golden tests/golden``) where those modules were installed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from worldmodel.benchmarks import parity
from worldmodel.model import WorldModel
from worldmodel.published import published_state, read_published
from worldmodel.recipes import settings

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("kind", ["lewm", "fast-lewm"])
def test_our_models_compute_what_the_published_ones_do(kind: str, tmp_path: Path) -> None:
    expected = json.loads((GOLDEN / f"{kind}.json").read_text())
    with torch.device("meta"):
        state = published_state(WorldModel(settings(kind, "paper")[0]))
    assert parity.digest(state) == expected["names"]  # of every tensor, and its shape
    torch.save(parity.filled(state), tmp_path / "weights.pt")
    model = read_published(tmp_path / "weights.pt")
    frames, horizon, _ = parity.setting(kind)
    found = parity.golden(parity.outputs(model, kind, parity.inputs(frames, horizon, 10)))
    for name, numbers in found.items():
        torch.testing.assert_close(numbers["entries"], expected[name]["entries"], rtol=0, atol=1e-5)
        assert numbers["squares"] == pytest.approx(expected[name]["squares"], rel=1e-5)
        assert numbers["sum"] == pytest.approx(expected[name]["sum"], abs=1e-5 * expected[name]["count"])
