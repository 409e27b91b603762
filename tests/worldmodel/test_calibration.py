"""After training batch norms use the statistics of many batches, in the precision in which agents encode."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.worldmodel.tiny import LOSS, TRAIN, dot_batch, tiny_model
from worldmodel.blocks import BatchNorm1d
from worldmodel.calibration import BATCHES, calibrate, calibrated
from worldmodel.terms import Loss
from worldmodel.training import train


@pytest.fixture(autouse=True)
def as_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldmodel.calibration.BATCHES", BATCHES)


def test_statistics_are_the_means_over_the_batches() -> None:
    torch.manual_seed(0)
    batches, norm = 3 + 2 * torch.randn(BATCHES, 20, 5), BatchNorm1d(5)
    model = torch.nn.Sequential(norm).eval()
    calibrate(model, lambda i: model(batches[i]))
    torch.testing.assert_close(norm.running_mean, batches.mean(dim=(0, 1)))
    torch.testing.assert_close(norm.running_var, batches.var(dim=1).mean(dim=0))
    assert norm.momentum == 0.1 and not norm.training


def test_passes_of_one_batch_count_alike() -> None:
    """A predictor's head is passed once for each group of windows."""
    passes, norm = 3 + 2 * torch.randn(2 * BATCHES, 20, 5), BatchNorm1d(5)
    calibrate(norm, lambda i: [norm(x) for x in passes[2 * i : 2 * i + 2]])
    torch.testing.assert_close(norm.running_mean, passes.mean(dim=(0, 1)))
    torch.testing.assert_close(norm.running_var, passes.var(dim=1).mean(dim=0))


def test_looking_on_leaves_the_statistics_of_the_training() -> None:
    norm, other = BatchNorm1d(5), BatchNorm1d(5)
    model, batches = torch.nn.Sequential(norm, other), 3 + torch.randn(BATCHES, 20, 5)
    model(batches[0])
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with calibrated(model, lambda i: model(batches[i])):
        torch.testing.assert_close(norm.running_mean, batches.mean(dim=(0, 1)))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    calibrate(model, lambda i: model(batches[i]), other)
    assert torch.equal(norm.running_mean, before["0.running_mean"])
    assert not torch.equal(other.running_mean, before["1.running_mean"])


def test_a_model_trained_in_half_precision_encodes_in_full_as_it_did_in_training(tmp_path: Path) -> None:
    """Where pictures hardly differ, what bfloat16 rounds away is as large as what they differ by."""
    torch.manual_seed(0)
    model = tiny_model()
    S = model.config.image_size
    still = torch.randint(90, 160, (S, S, 3))

    def sample(step: int) -> list[dict[str, torch.Tensor]]:
        (group,) = [dot_batch(step, windows=24)]
        return [group | {"pixels": (still + group["pixels"].long() // 64).to(torch.uint8)}]

    config = replace(TRAIN, steps=40, precision="bf16", settle=0.0)
    train(model, Loss(replace(LOSS, imagined=0.0), model.config.predictions), config, sample, tmp_path)
    frames = torch.cat([sample(1000 + i)[0]["pixels"][:, :1] for i in range(10)])
    with torch.no_grad():
        planned = model.eval().encode({"pixels": frames})
        learned = deepcopy(model).train().encode({"pixels": frames})
    assert (planned - learned).abs().mean() < 0.1 * learned.std()
