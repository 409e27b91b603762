"""``wm-model``: aligned facts, files for other programs, and one line for every mistake."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import worldmodel
from tests.datasets.episodes import episode
from tests.worldmodel.tiny import dot_batch, tiny_model
from worldmodel.checkpoint import read_about, save_model
from worldmodel.cli import model as command
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.errors import BadFile
from worldmodel.export import FORMATS
from worldmodel.files import read_json
from worldmodel.model import WorldModel
from worldmodel.recipes import settings


def wm_model(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["wm-model", *map(str, arguments)])
    try:
        command.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished run, relative to the current one."""
    monkeypatch.chdir(tmp_path)
    model = tiny_model()
    model.set_actions([0.1, 0.2], [0.3, 0.4], [-1, -2], [1, 2])
    learned_from = {"path": "data/two-room.h5", "fingerprint": "0123456789abcdef01"}
    facts = dict(env="two-room", recipe="wm", preset="nano", steps=3, seed=0, render_preset="fast")
    save_model("run/model", model, **facts, dataset=learned_from)
    return Path("run")


def published(monkeypatch: pytest.MonkeyPatch, model: WorldModel) -> None:
    """Let a stand-in read and write published weights, of which the command knows nothing but these two functions."""

    def read(path: str) -> WorldModel:
        if not Path(path).exists():
            raise BadFile(f"no such file: {path}")
        return model

    def write(path: str, model: WorldModel, transformers: int = 4) -> None:
        Path(path).write_text(f"{model.config.env} {transformers}")

    module = SimpleNamespace(read_published=read, write_published=write)
    monkeypatch.setitem(sys.modules, "worldmodel.published", module)


def test_info_says_what_a_model_is(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wm_model(monkeypatch, "info", run) == 0
    shown = capsys.readouterr()
    facts = dict(line.strip().split(maxsplit=1) for line in shown.out.splitlines())
    model = worldmodel.load(str(run))
    total = sum(parameter.numel() for parameter in model.parameters())
    assert facts["parameters"].startswith(f"{total:,}: encoder ") and ", one-step " in facts["parameters"]
    assert facts["task"] == "two-room" and facts["recipe"] == "wm, preset nano, seed 0, steps 3"
    assert facts["context"] == "2 frames, 3 environment steps apart"
    assert (facts["low"], facts["std"]) == ("-1 -2", "0.3 0.4")
    assert facts["one-step"] == "1 model step in one pass" and facts["prefix"] == "4 model steps in one pass"
    assert facts["pictures"] == "fast"
    assert facts["dataset"] == "data/two-room.h5, fingerprint 0123456789abcdef"
    assert shown.err == ""


def test_info_of_a_model_that_says_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "m", tiny_model(env="", prefix=None), dataset="a name")
    assert wm_model(monkeypatch, "info", tmp_path / "m") == 0
    shown = capsys.readouterr().out
    assert "task        not recorded\n" in shown and "prefix" not in shown and "a name" not in shown


@pytest.mark.slow
def test_export_is_quiet_but_for_its_table(run: Path) -> None:
    """In a process of its own, as a user would see it: the exporters log, warn and print."""
    line = [sys.executable, "-m", "worldmodel.cli.model", "export", "run", "--out", "graphs"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows, last = done.stdout.splitlines()
    assert header.split() == ["graph", "size", "inputs", "output", "differs", "by"]
    assert [row.split()[0] for row in rows] == [f"graphs/{name}.onnx" for name in ("encoder", "one-step", "prefix")]
    assert "pixels (batch, 16, 16, 3)" in rows[0] and "actions (batch, horizon, 6), steps (chosen)" in rows[2]
    assert last == "sizes, bounds and statistics of actions: graphs/config.json"


def test_export_as_torch_and_as_published(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wm_model(monkeypatch, "export", run, "--format", "torch", "--out", "graphs") == 0
    assert "graphs/prefix.pt2" in capsys.readouterr().out
    about = read_json("graphs/config.json")
    assert (about["env"], about["dataset"]["path"], about["format"]) == ("two-room", "data/two-room.h5", 1)
    published(monkeypatch, tiny_model())
    options = ("--format", "published", "--transformers", 5, "--out", "weights.pt")
    assert wm_model(monkeypatch, "export", run, *options) == 0
    assert Path("weights.pt").read_text() == "two-room 5"
    assert "mean 0.1 0.2; std 0.3 0.4" in capsys.readouterr().out
    assert set(command.FORMATS) == {*FORMATS, "published"}


def test_import_takes_from_the_dataset_what_weights_do_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    attrs = {"env": "two-room", "render_preset": "fast", "action_low": [-1.0, -2.0], "action_high": [3.0, 40.0]}
    write_store("a.h5", [episode(i, 20, 16, split=i % 3) for i in range(4)], attrs)
    Path("weights.pt").touch()
    published(monkeypatch, tiny_model(env="", one_step=None))
    assert wm_model(monkeypatch, "import", "weights.pt", "--dataset", "a.h5", "--out", "m") == 0
    shown = capsys.readouterr()
    assert "recipe      fast-lewm, preset published, from weights.pt\n" in shown.out and shown.err == ""
    made = worldmodel.load("m")
    with EpisodeStore("a.h5") as store:
        actions = store.read("action", 0, store.rows)
        assert read_about("m")["dataset"] == {"path": "a.h5", "fingerprint": store.fingerprint}
    np.testing.assert_allclose(made.action_mean, np.nanmean(actions, axis=0), rtol=1e-6)  # of every split
    np.testing.assert_allclose(made.action_std, np.nanstd(actions, axis=0), rtol=1e-6)
    assert made.action_low.tolist() == [-1, -2] and made.action_high.tolist() == [3, 40]
    assert made.config.env == read_about("m")["env"] == "two-room"
    frames = dot_batch(0)
    with torch.no_grad():
        torch.testing.assert_close(made.encode(frames), tiny_model(one_step=None).encode(frames))


def test_published_weights_there_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = settings("lewm", "paper")[0]
    assert config.one_step is not None
    config = replace(config, image_size=28, encoder=replace(config.encoder, depth=1))
    config = replace(config, one_step=replace(config.one_step, depth=1))
    model = WorldModel(config).eval()
    save_model("m", model, env="two-room")
    write_store("a.h5", [episode(i, 20, 28) for i in range(2)], {"env": "two-room"})
    write_store("small.h5", [episode(i, 20) for i in range(2)], {"env": "two-room"})
    assert wm_model(monkeypatch, "export", "m", "--format", "published", "--transformers", 6, "--out", "w.pt") == 2
    assert "--transformers: expected 4 or 5, got 6" in capsys.readouterr().err
    assert wm_model(monkeypatch, "export", "m", "--transformers", 5, "--out", "w") == 2
    assert "--transformers: has no effect on --format onnx, but on published" in capsys.readouterr().err
    assert wm_model(monkeypatch, "export", "m", "--format", "published", "--out", "w.pt") == 0
    assert wm_model(monkeypatch, "import", "w.pt", "--dataset", "small.h5", "--out", "again") == 2
    assert "small.h5 has 8 px images, w.pt was trained on 28 px" in capsys.readouterr().err
    assert wm_model(monkeypatch, "import", "w.pt", "--dataset", "a.h5", "--out", "again") == 0
    assert "recipe      lewm, preset published, from w.pt\n" in capsys.readouterr().out
    again, pixels = worldmodel.load("again"), torch.randint(0, 256, (2, 3, 28, 28, 3), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(again.encode({"pixels": pixels}), model.encode({"pixels": pixels}), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("info nowhere", "no such model or run folder: nowhere"),
        ("info .", ". holds no model"),
        ("info damaged", "damaged is damaged"),
        ("export nowhere --out x", "no such model or run folder: nowhere"),
        ("export run", "--out"),
        ("export run --out run", "--out: run is already there"),
        ("export run --out x --format onxx", "--format: unknown format 'onxx': did you mean 'onnx'?"),
        ("export run --out x --format onnx", "exporting to ONNX needs an optional dependency: pip install"),
        ("import weights.pt --out x", "--dataset: published weights hold neither statistics nor bounds"),
        ("import weights.pt --out run --dataset a.h5", "--out: run is already there"),
        ("import missing.pt --out x --dataset a.h5", "no such file: missing.pt"),
        ("import weights.pt --out x --dataset missing.h5", "--dataset: no such dataset: missing.h5"),
        ("import weights.pt --out x --dataset a.h5", "actions of shape (2,), weights.pt was trained on 3 x 7"),
        ("import weights.pt --out x --dataset still.h5", "--dataset: still.h5 has no column 'action'"),
        ("imprt weights.pt", "imprt"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: str, says: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_store("a.h5", [episode(0, 5)], {"env": "two-room"})
    write_store("still.h5", [{k: v for k, v in episode(0, 5).items() if k != "action"}], {"env": "two-room"})
    save_model("damaged", tiny_model())
    Path("damaged/model.safetensors").write_bytes(b"x" * 99)
    Path("weights.pt").touch()
    published(monkeypatch, tiny_model(action_dim=7))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    before = sorted(path.name for path in Path().iterdir())
    assert wm_model(monkeypatch, *arguments.split()) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1 and printed.err.startswith("wm-model: ") and says in printed.err
    assert printed.out == "" and sorted(path.name for path in Path().iterdir()) == before
