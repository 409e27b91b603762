"""Two processes compute what one computes: loss, gradients and statistics, in double precision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.worldmodel.ranks import step
from worldmodel import distributed
from worldmodel.blocks import BatchNorm1d
from worldmodel.recipes import RECIPES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each of two processes found for every recipe."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.worldmodel.ranks"]
    both = [subprocess.Popen([*command, str(rank), "2", str(folder)], cwd=ROOT) for rank in range(2)]
    assert [one.wait(timeout=120) for one in both] == [0, 0]
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_equal_one(recipe: str, shared: Path) -> None:
    alone = step(recipe)
    for rank in range(2):
        found = torch.load(shared / f"{recipe}-{rank}.pt", weights_only=True)
        assert found.keys() == alone.keys()
        assert any("running_mean" in name for name in found) and any(name.startswith("grad.") for name in found)
        for name, expected in alone.items():
            torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_alone_nothing_is_exchanged() -> None:
    x = torch.ones(3)
    assert distributed.total(x) is x and distributed.maximum(1.0, 2.0) == (1.0, 2.0)
    assert (distributed.rank(), distributed.size(), distributed.gathered("a")) == (0, 1, ["a"])


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_over_processes_is_pytorchs_own(monkeypatch: pytest.MonkeyPatch, momentum: float | None) -> None:
    """The shared formula on one process's batch, in training mode, forward, backward and running statistics."""
    generator = torch.Generator().manual_seed(0)
    x = 3 + 2 * torch.randn(12, 5, generator=generator, dtype=torch.float64)
    gradient = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    results = []
    for shared in (False, True):
        norm, z = BatchNorm1d(5, momentum=momentum).double(), x.clone().requires_grad_()
        with torch.no_grad():
            norm.weight.copy_(torch.arange(1.0, 6.0))
        if shared:  # as if another process had the very same batch: the statistics do not change
            monkeypatch.setattr(distributed, "size", lambda: 2)
            monkeypatch.setattr(distributed, "total", lambda values: 2 * values)
        norm(2 * x)  # None: the mean over both passes
        y = norm(z)
        y.backward(gradient)
        assert z.grad is not None and norm.weight.grad is not None
        results.append((y, norm.weight.grad, norm.running_mean, norm.num_batches_tracked))
    for plain, shared_one in zip(*results):
        torch.testing.assert_close(plain, shared_one)
