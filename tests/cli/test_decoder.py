"""``wm-model decoder``: a decoder beside the model, or one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.test_model import wm_model
from tests.datasets.episodes import episode
from tests.worldmodel.tiny import dot_batch, tiny_model
from worldmodel.checkpoint import load_decoder, save_model
from worldmodel.datasets.store import write_store


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished run and its dataset, in the current folder; ``noise.h5`` has nothing to learn."""
    monkeypatch.chdir(tmp_path)
    facts = {"env": "two-room", "render_preset": "fast"}
    save_model("run/model", tiny_model(), **facts, dataset={"path": "dots.h5"})
    noise = [episode(i, 20, 16, split=i % 3) for i in range(6)]
    write_store("noise.h5", noise, facts)
    dots = [{**e, "pixels": dot_batch(i, windows=4)["pixels"].flatten(0, 1).numpy()} for i, e in enumerate(noise)]
    write_store("dots.h5", dots, facts)
    write_store("pusht.h5", noise, {"env": "pusht"})
    write_store("untested.h5", [{**e, "split": 0} for e in noise], facts)


def test_a_decoder_is_trained_beside_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in Path("run/model").iterdir()}
    drawn = []
    for _ in range(2):  # the second replaces the first and is the same
        assert wm_model(monkeypatch, "decoder", "--model", "run", "--steps", 60) == 0
        shown = capsys.readouterr()
        assert shown.err == "" and shown.out.startswith("decoder   run/model/decoder.safetensors, ")
        decoder = load_decoder("run")
        assert decoder is not None and decoder.about["steps"] == 60
        assert f"held out  {decoder.about['psnr']:.1f} dB PSNR" in shown.out
        drawn.append(decoder.pictures(torch.zeros(1, 16)))
    assert np.array_equal(*drawn)
    assert {name: Path("run/model", name).read_bytes() for name in before} == before
    assert wm_model(monkeypatch, "info", "run") == 0
    assert "PSNR held out, the mean picture" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--model nowhere", "--model: no such model or run folder: nowhere"),
        ("--model run --minutes 0", "--minutes: expected a finite number above 0, got 0.0"),
        ("--model run --steps -1", "--steps: expected at least 0, got -1"),
        ("--model run --dataset pusht.h5", "--dataset: pusht.h5 holds episodes of pusht"),
        ("--model run --dataset missing.h5", "--dataset: no such file: missing.h5"),
        ("--model run --dataset untested.h5", "untested.h5: no test episode"),
        ("--model run --dataset noise.h5 --steps 1", "the decoder learned nothing in 1 steps"),
        ("--model run --device tpu", "unknown --device"),
    ],
)
def test_mistakes_are_one_line(
    arguments: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wm_model(monkeypatch, "decoder", *arguments.split()) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1 and says in printed.err and printed.out == ""
    assert not Path("run/model/decoder.safetensors").exists()
