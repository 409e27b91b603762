"""The end of a training, in which the encoder stands still: its latents, the rate, what moves, and resuming it."""

from __future__ import annotations

import json
import os
import signal
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.worldmodel.test_training import CONFIG, assert_equal
from tests.worldmodel.tiny import LOSS, TRAIN, dot_batch, dot_groups, tiny_model
from worldmodel.config import TrainConfig
from worldmodel.model import WorldModel
from worldmodel.settling import Latents
from worldmodel.terms import Loss
from worldmodel.training import Sample, Settled, Windows, train

SETTLE = replace(TRAIN, settle=0.5)  # the last six of twelve steps


def latents_of(model: WorldModel) -> Sample:
    """What `dot_groups` shows, as latents."""
    standing = deepcopy(model).eval()

    def sample(step: int) -> Windows:
        with torch.no_grad():
            return [{"z": standing.encode(group), "action": group["action"]} for group in dot_groups(step)]

    return sample


def fit(
    folder: Path, config: TrainConfig = SETTLE, sample: Sample = dot_groups, settled: Settled | None = latents_of
) -> WorldModel:
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    train(model, Loss(LOSS, CONFIG.predictions), config, sample, folder, settled=settled)
    return model


def interrupting(at: int, sample: Sample) -> Sample:
    def draw(step: int) -> Windows:
        if step == at and torch.is_grad_enabled():  # not when batch statistics are measured
            os.kill(os.getpid(), signal.SIGINT)
        return sample(step)

    return draw


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> tuple[WorldModel, Path]:
    folder = tmp_path_factory.mktemp("settled")
    return fit(folder), folder


def test_the_encoder_stands_still_and_the_rest_goes_on(settled: tuple[WorldModel, Path], tmp_path: Path) -> None:
    """An encoder that learned for six steps is, to the bit, the one of a run with the same rates that stops there."""
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, sample=interrupting(5, dot_groups))
    before, after = torch.load(tmp_path / "state" / "state.pt", weights_only=True)["model"], settled[0].state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    encoding = {name for name in before if name.startswith(("encoder.", "projector."))}
    learned = {name for name, _ in settled[0].named_parameters()}
    assert encoding and encoding <= still
    assert still & learned <= encoding  # of the predictors every single tensor moved
    assert all(parameter.requires_grad for parameter in settled[0].parameters())


def test_the_rate_rises_and_falls_twice_and_sigreg_is_left_out(settled: tuple[WorldModel, Path]) -> None:
    lines = [json.loads(line) for line in (settled[1] / "metrics.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines]
    assert rates[:6] == pytest.approx(rates[6:]) and rates[0] < rates[1] > rates[2] > rates[5]
    assert ["sigreg" in line for line in lines] == 6 * [True] + 6 * [False]


@pytest.mark.parametrize("at", [3, 5, 9])
def test_resuming_is_the_same_run(at: int, settled: tuple[WorldModel, Path], tmp_path: Path) -> None:
    """Interrupted before, at the end of, and after the time in which the encoder learns."""
    with pytest.raises(KeyboardInterrupt):
        fit(
            tmp_path,
            sample=interrupting(at, dot_groups),
            settled=lambda model: interrupting(at, latents_of(model)),
        )
    assert_equal(fit(tmp_path), settled[0])
    assert (tmp_path / "metrics.jsonl").read_text() == (settled[1] / "metrics.jsonl").read_text()


def test_resuming_what_is_finished_gives_the_same_model(settled: tuple[WorldModel, Path], tmp_path: Path) -> None:
    assert_equal(fit(tmp_path), settled[0])
    assert_equal(fit(tmp_path), settled[0])


def test_without_samples_of_latents_the_encoder_learns_to_the_end(tmp_path: Path) -> None:
    fit(tmp_path, settled=None)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines]
    assert all("sigreg" in line for line in lines) and sorted(rates[1:], reverse=True) == rates[1:]  # one cosine


def test_whatever_ends_a_training_the_encoder_can_learn_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = WorldModel(CONFIG)

    def broken(step: int) -> Windows:
        assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
        raise OSError("a disk went away")

    with pytest.raises(OSError, match="went away"):
        train(model, Loss(LOSS, CONFIG.predictions), SETTLE, dot_groups, tmp_path, settled=lambda model: broken)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_step_on_latents_is_the_step_on_their_frames() -> None:
    model, groups = tiny_model(reflex=8), dot_groups(0)
    for group in groups:
        group["goal"], group["ahead"] = group["pixels"][:, -1], torch.full((len(group["action"]),), 2.0)
    shown = model.step(groups, torch.Generator().manual_seed(0))
    with torch.no_grad():
        latents = [
            {
                "z": model.encode(group),
                "goal": model.encode({"pixels": group["goal"][:, None]})[:, 0],
                "action": group["action"],
                "ahead": group["ahead"],
            }
            for group in groups
        ]
    known = model.step(latents, torch.Generator().manual_seed(0))
    for name in ("one_step", "prefix", "reflex"):
        torch.testing.assert_close(getattr(known, name).hat, getattr(shown, name).hat)
    assert not any(z.requires_grad for z in known.z)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_each_row_is_encoded_once_by_the_model_as_it_plans(precision: torch.dtype) -> None:
    """Whatever is asked for, whoever trains in bfloat16, to the last bit; the model goes on in the mode it was in."""
    model, frames = tiny_model(), dot_batch(0, windows=40)["pixels"].flatten(0, 1)
    whole = Latents(model, len(frames), lambda rows: frames[torch.from_numpy(rows)])
    expected, asked = whole.gather(np.arange(len(frames))), []

    def gather(rows: np.ndarray) -> torch.Tensor:
        asked.extend(rows.tolist())
        return frames[torch.from_numpy(rows)]

    latents = Latents(model.train(), len(frames), gather)
    for rows in ([[3, 3], [7, 0]], [[7, 8]], [], list(range(200)), [5]):
        index = np.asarray(rows, np.int64)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            found = latents.gather(index)
        assert torch.equal(found, expected[torch.from_numpy(index)])
        assert not found.requires_grad and model.training
    assert sorted(asked) == list(range(200))
    with torch.no_grad():
        plain = model.eval().encode({"pixels": frames[:, None]})[:, 0]
    torch.testing.assert_close(expected, plain, atol=1e-6, rtol=1e-5)
