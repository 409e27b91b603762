"""Training: learns, resumes bit for bit, warns of collapse, names what broke."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.worldmodel.tiny import LOSS, TRAIN, dot_batch, dot_groups, tiny_config
from worldmodel import training
from worldmodel.checkpoint import save_model
from worldmodel.checks import check
from worldmodel.config import EncoderConfig, LossConfig, TrainConfig
from worldmodel.diagnostics import collapse_warning, mean_std
from worldmodel.errors import BadFile, BadValue, UnknownName, WorldModelError
from worldmodel.health import Health
from worldmodel.model import WorldModel
from worldmodel.precision import native_bf16
from worldmodel.terms import Loss
from worldmodel.training import save_state, train

_PREFIX = tiny_config().prefix
assert _PREFIX is not None
CONFIG = tiny_config(prefix=replace(_PREFIX, shapes_encoder=False, imagines=True))  # as in the recipe wm


def fit(folder: Path, config: TrainConfig, sigreg: float = 0.09) -> WorldModel:
    torch.manual_seed(config.seed)
    model = WorldModel(CONFIG)
    train(model, Loss(replace(LOSS, sigreg=sigreg), CONFIG.predictions), config, dot_groups, folder)
    return model


def assert_equal(a: WorldModel, b: WorldModel) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values()):
        assert torch.equal(x, y), name


def test_resuming_is_the_same_run(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", TRAIN)
    interrupted = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        fit_and_interrupt(interrupted, at=7)
    resumed = fit(interrupted, TRAIN)
    assert_equal(whole, resumed)
    assert (interrupted / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_looking_on_more_often_changes_no_weight(tmp_path: Path) -> None:
    """Nor the state: the teacher of imagined plans uses running statistics, which a validation measures anew."""
    folders = [tmp_path / "never", tmp_path / "often"]
    models = [fit(folder, replace(TRAIN, validate_every=n)) for folder, n in zip(folders, (1000, 3))]
    assert_equal(*models)
    never, often = (torch.load(folder / "state" / "state.pt", weights_only=True)["model"] for folder in folders)
    assert all(torch.equal(x, often[name]) for name, x in never.items())


def fit_and_interrupt(folder: Path, at: int) -> None:
    torch.manual_seed(TRAIN.seed)
    model = WorldModel(CONFIG)

    def sample(step: int) -> list[dict[str, torch.Tensor]]:
        if step == at:
            os.kill(os.getpid(), signal.SIGINT)
        return dot_groups(step)

    train(model, Loss(LOSS, CONFIG.predictions), TRAIN, sample, folder)


def test_a_second_interruption_does_not_wait(tmp_path: Path) -> None:
    """The step is left in its middle; what was saved before it stands."""
    fit(tmp_path, replace(TRAIN, steps=4))
    before, asked = (tmp_path / "state" / "state.pt").read_bytes(), []

    def sample(step: int) -> list[dict[str, torch.Tensor]]:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            asked.append(step)
        return dot_groups(step)

    with pytest.raises(KeyboardInterrupt):
        train(WorldModel(CONFIG), Loss(LOSS, CONFIG.predictions), TRAIN, sample, tmp_path)
    assert asked == [4] and (tmp_path / "state" / "state.pt").read_bytes() == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


_VICTIM = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from tests.worldmodel.test_training import fit
from tests.worldmodel.tiny import TRAIN
torch.set_num_threads(1)
fit(Path(sys.argv[1]), replace(TRAIN, steps=60))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[WorldModel, str]:
    """What the victim would have been, and its metrics."""
    torch.set_num_threads(1)  # as the victim
    folder = tmp_path_factory.mktemp("whole")
    return fit(folder, replace(TRAIN, steps=60)), (folder / "metrics.jsonl").read_text()


@pytest.mark.parametrize("lines", [6, 11, 15])
def test_resuming_after_sigkill_is_the_same_run(lines: int, whole: tuple[WorldModel, str], tmp_path: Path) -> None:
    """Killed at any step, on or after the state of every fourth: the steps since then are done again."""
    folder, metrics = tmp_path / "killed", tmp_path / "killed" / "metrics.jsonl"
    victim = subprocess.Popen([sys.executable, "-c", _VICTIM, str(folder)])
    deadline = time.monotonic() + 60
    while victim.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= lines:
            break
        time.sleep(0.001)
    victim.kill()
    victim.wait()
    state = torch.load(folder / "state" / "state.pt", weights_only=True)
    assert 4 <= state["step"] < 60 and len(metrics.read_text().splitlines()) >= lines
    with open(metrics, "a") as file:
        file.write('{"step": 9, "lo')  # a line cut in half
    model, written = whole
    assert_equal(model, fit(folder, replace(TRAIN, steps=60)))
    assert metrics.read_text() == written


def test_it_learns(tmp_path: Path) -> None:
    fit(tmp_path, replace(TRAIN, steps=150, lr=3e-3, log_every=10))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.75 * lines[0]["loss"]


def test_the_collapse_detector_fires_without_sigreg(tmp_path: Path) -> None:
    config = replace(TRAIN, steps=200, lr=3e-3, log_every=50)
    pixels = torch.cat([dot_batch(10_000 + i)["pixels"] for i in range(8)])
    healthy, collapsed = fit(tmp_path / "with", config, sigreg=1.0), fit(tmp_path / "without", config, sigreg=0.0)
    with torch.no_grad():
        healthy, collapsed = (model.encode({"pixels": pixels}).flatten(0, 1) for model in (healthy, collapsed))
    assert collapse_warning(healthy) is None and mean_std(healthy) > 0.4
    assert "collapsed" in str(collapse_warning(collapsed))


def test_a_diverging_term_is_named_and_the_state_kept(tmp_path: Path) -> None:
    fit(tmp_path, replace(TRAIN, steps=4))
    before = (tmp_path / "state" / "state.pt").read_bytes()
    torch.manual_seed(0)
    model = WorldModel(CONFIG)

    def sample(step: int) -> list[dict[str, torch.Tensor]]:
        groups = dot_groups(step)
        groups[0]["action"][0, 0, 0] = float("nan")
        return groups

    with pytest.raises(WorldModelError, match=r"step 4: loss term one_step, prefix, imagined is not finite"):
        train(model, Loss(LOSS, CONFIG.predictions), TRAIN, sample, tmp_path)
    assert (tmp_path / "state" / "state.pt").read_bytes() == before


def test_an_exploding_loss_is_stopped_and_not_saved(tmp_path: Path) -> None:
    """A teacher that goes mad: targets grow a thousandfold, which stays finite."""
    config = replace(TRAIN, steps=200, save_every=1)
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    good: dict[str, bytes] = {}

    def sample(step: int) -> list[dict[str, torch.Tensor]]:
        if step == 15 and torch.is_grad_enabled():  # not when batch statistics are measured
            good["state"] = (tmp_path / "state" / "state.pt").read_bytes()
            with torch.no_grad():
                model.projector[-1].weight.mul_(1000)
        return dot_groups(step)

    with pytest.raises(WorldModelError, match=r"exploded at step 1\d: the loss rose .* loss term .*; the last good"):
        train(model, Loss(LOSS, CONFIG.predictions), config, sample, tmp_path)
    assert (tmp_path / "state" / "state.pt").read_bytes() == good["state"]


def test_a_higher_loss_that_stays_is_saved_again_and_tiny_ones_do_not_count(tmp_path: Path) -> None:
    health, parts = Health({"one_step": 1.0}, tmp_path), {"one_step": torch.tensor(0.0)}
    for step, total in enumerate([1e-6] * 50 + [0.09] * 200):
        health.check(step, total, parts, 1.0)
        assert health.good
    saved = []
    for step in range(3000):
        health.check(step, 0.5, parts, 1.0)
        saved.append(health.good)
    assert not any(saved[:100]) and all(saved[2000:])


def test_a_training_that_ends_far_above_its_best_says_so_and_saves_nothing(tmp_path: Path) -> None:
    """One jump is not saved either, though the smoothed loss has hardly moved."""
    health, parts = Health({"one_step": 1.0}, tmp_path), {"one_step": torch.tensor(0.0)}
    for step in range(100):
        health.check(step, 0.5, parts, 1.0)
    health.require(100)
    health.check(100, 6.0, parts, 1.0)
    assert not health.good and health.smooth < 1
    with pytest.raises(WorldModelError, match="with a loss of 6, far above the 0.5.* no state was saved before"):
        health.require(101)


def test_a_run_whose_last_step_jumps_ends_with_an_error_and_the_state_before(tmp_path: Path) -> None:
    model, last = WorldModel(CONFIG), TRAIN.steps - 1

    def sample(step: int) -> list[dict[str, torch.Tensor]]:
        if step == last and torch.is_grad_enabled():
            with torch.no_grad():
                model.projector[-1].weight.mul_(10)
        return dot_groups(step)

    with pytest.raises(WorldModelError, match="stopped at step 12 with a loss of .* the last good state is kept"):
        train(model, Loss(LOSS, CONFIG.predictions), replace(TRAIN, save_every=5), sample, tmp_path)
    assert torch.load(tmp_path / "state" / "state.pt", weights_only=True)["step"] == 10


def test_a_schedule_longer_than_the_run_is_left_before_its_end(tmp_path: Path) -> None:
    """LeWM's hundred epochs, stopped after ten: the warm-up takes the first tenth, the rate hardly falls."""
    fit(tmp_path, replace(TRAIN, steps=40, schedule=10.0))
    rates = [json.loads(line)["lr"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rates[:4] == pytest.approx([0.01 * TRAIN.lr, 0.25 * TRAIN.lr, 0.5 * TRAIN.lr, 0.75 * TRAIN.lr])
    assert rates[4] == pytest.approx(TRAIN.lr) and rates[-1] == pytest.approx(0.981 * TRAIN.lr, rel=1e-3)
    assert sorted(rates[4:], reverse=True) == rates[4:]


def test_a_batch_in_parts_has_the_gradient_of_the_whole() -> None:
    """With the batch statistics and SIGReg of the whole batch, in double precision."""
    vit = EncoderConfig(kind="vit", width=16, depth=2, heads=2, patch=8, projector=32)
    gradients = []
    for accumulate in (1, 3):
        torch.manual_seed(0)
        model = WorldModel(replace(CONFIG, encoder=vit)).double()
        loss = Loss(LOSS, CONFIG.predictions).double()
        torch.manual_seed(1)
        total, _ = loss(model.step(dot_groups(0), torch.Generator().manual_seed(2), accumulate))
        total.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-9, atol=1e-12)
    with pytest.raises(BadValue, match="train.accumulate: the encoder cnn normalises over the batch"):
        check(CONFIG, LOSS, replace(TRAIN, accumulate=2))


def test_compiled_parts_train_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as torch.compile does, run without its code generator, which takes minutes on a processor."""
    compiled: list[str] = []

    def compile(module: torch.nn.Module) -> None:
        compiled.append(type(module).__name__)
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile)
    traced = fit(tmp_path / "traced", replace(TRAIN, steps=3, compile=True))
    assert compiled == ["CNN", "ProjectionHead", "OneStep", "Prefix"]
    assert_equal(traced, fit(tmp_path / "plain", replace(TRAIN, steps=3)))


def test_minutes_stop_it_and_anneal_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = map(float, itertools.count())  # one passes whenever somebody looks
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    fit(tmp_path, replace(TRAIN, steps=10**7, minutes=0.5, log_every=1, save_every=10**7))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 29 and lines[-1]["lr"] < 0.1 * max(line["lr"] for line in lines)


def test_a_foreign_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.pt").write_bytes(b"not a state")
    with pytest.raises(BadFile, match="cannot be resumed"):
        fit(tmp_path, TRAIN)


def test_bad_settings_are_named() -> None:
    with pytest.raises(BadValue, match="train.batch: expected at least 2, got 1"):
        replace(TRAIN, batch=1)
    with pytest.raises(BadValue, match="train.long_share: expected a share .* in a batch of 8, got 0.05"):
        replace(TRAIN, long_share=0.05)
    with pytest.raises(BadValue, match="train.seed: expected 0 to 4294967295, got -1"):
        replace(TRAIN, seed=-1)
    with pytest.raises(BadValue, match="loss.knots: expected at least 2"):
        LossConfig(knots=1)
    with pytest.raises(BadValue, match="model.context: expected at least 1"):
        tiny_config(context=0)
    with pytest.raises(UnknownName, match="unknown precision 'bf8': did you mean 'bf16'"):
        native_bf16("bf8", torch.device("cpu"))


@pytest.mark.parametrize("instruction", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"])
def test_auto_takes_bf16_on_a_processor_with_either_instruction(
    instruction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not native_bf16("auto", cpu)
    monkeypatch.setattr(torch.cpu, instruction, lambda: True)
    assert native_bf16("auto", cpu)


def test_nothing_is_saved_that_was_not_trained() -> None:
    check(CONFIG, LOSS, TRAIN)
    with pytest.raises(
        BadValue, match="train.window: 4 frames cannot train prefixes of .* = 4 steps; expected at least 5"
    ):
        check(CONFIG, LOSS, replace(TRAIN, window=4))
    with pytest.raises(BadValue, match="train.window: expected more frames than model.context = 5, got 5"):
        check(replace(CONFIG, context=5), LOSS, TRAIN)
    with pytest.raises(BadValue, match="loss.prefix: 0 would leave a predictor untrained"):
        check(CONFIG, replace(LOSS, prefix=0.0), TRAIN)
    with pytest.raises(BadValue, match="loss.imagined: a weight of 0.0 does not fit model.prefix.imagines = True"):
        check(CONFIG, replace(LOSS, imagined=0.0), TRAIN)


@pytest.mark.parametrize("what", ["state", "model"])
def test_a_full_disk_is_one_line_and_keeps_what_was_there(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fit(tmp_path, replace(TRAIN, steps=4))
    save_model(tmp_path / "model", model)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(path: Path, data: bytes) -> int:
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BadFile, match="disk full"):
        if what == "state":
            save_state(tmp_path, model, torch.optim.AdamW(model.parameters()), 5, 1.0)
        else:
            save_model(tmp_path / "model", model)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
