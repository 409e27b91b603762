"""``wm-train`` from end to end on a small scale, and one line for every mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.datasets.episodes import episode
from worldmodel import distributed
from worldmodel.checkpoint import load_model, read_about
from worldmodel.cli import train
from worldmodel.cli.data import collect_with_bar
from worldmodel.datasets.append import append
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.run import read_config

SMALL = (
    "--env two-room --dataset {data} --train.batch 4 --train.window 5 --train.log-every 1 --train.precision fp32 "
    "--train.save-every 2 --train.validate-every 4 --model.encoder.width 8 --model.encoder.projector 32 "
    "--model.latent-dim 16 --model.one-step.mlp 16 --model.prefix.mlp 16 --model.prefix.max-prefix 4"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect_with_bar("two-room", path, 4, steps=70, workers=1)
    return path


def wm_train(monkeypatch: pytest.MonkeyPatch, line: str, data: Path | None = None) -> int:
    """Run the command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["wm-train", *line.format(data=data).split()])
    try:
        train.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_train_then_resume_longer_is_the_run_itself(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wm_train(monkeypatch, SMALL + " --steps 4 --out whole", data) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "next: wm-plan --env two-room --model whole"
    assert all(text in out for text in ("open-loop error", "with shuffled actions", "linear probe", "mlp probe"))
    told = [line.split(" (")[0] for line in err.splitlines()]
    assert told == ["the one-step predictor ignores the actions"]  # four steps are too few
    assert sorted(p.name for p in Path("whole/model").iterdir()) == ["config.json", "model.safetensors"]
    steps = [json.loads(line)["step"] for line in Path("whole/metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 4]  # the last is the validation
    # The configuration alone reruns it, and a finished run resumes as itself.
    assert wm_train(monkeypatch, "--config whole/config.yaml --out again") == 0
    assert wm_train(monkeypatch, "--resume --out again") == 0
    assert wm_train(monkeypatch, SMALL + " --steps 4 --resume auto --out again", data) == 0  # there is a run: go on
    assert Path("again/metrics.jsonl").read_text() == Path("whole/metrics.jsonl").read_text()
    assert Path("again/model/model.safetensors").read_bytes() == Path("whole/model/model.safetensors").read_bytes()
    assert read_config(Path("again/config.yaml")) == read_config(Path("whole/config.yaml"))
    # Longer and optimised otherwise it is still that run, with other losses or batches not.
    assert wm_train(monkeypatch, "--resume --out again --steps 5 --train.lr 1e-4 --train.weight-decay 0") == 0
    capsys.readouterr()
    assert wm_train(monkeypatch, "--resume --out again --train.batch 8 --loss.sigreg 1") == 2
    assert "--resume: loss.sigreg, train.batch differ from those of again" in capsys.readouterr().err


def test_heads_are_learned_and_saved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wm_train(monkeypatch, SMALL + " --steps 2 --out run --heads reward,value", data) == 0
    out = capsys.readouterr().out
    assert "reward        read from two latents" in out and out.splitlines()[-1].endswith("--objective reward")
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert all(line["reward"] > 0 and line["value"] > 0 for line in lines if "loss" in line)
    model = load_model("run")
    assert (model.config.reward, model.config.value) == (64, 64) and float(model.reward_scale) > 1  # pixels from goal
    assert wm_train(monkeypatch, "--resume --out run --steps 3 --heads reward value") == 0  # said again, and so
    capsys.readouterr()
    assert wm_train(monkeypatch, SMALL + " --steps 2 --out other --heads reward,valeu", data) == 2
    assert "--heads: unknown head 'valeu'" in capsys.readouterr().err


def test_a_reflex_is_learned_resumed_and_continued(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wm_train(monkeypatch, SMALL + " --steps 3 --out whole --train.final-lr 1 --train.settle 0.4", data) == 0
    assert wm_train(monkeypatch, SMALL + " --steps 2 --out part --train.final-lr 1 --train.settle 0.4", data) == 0
    assert wm_train(monkeypatch, "--resume --out part --steps 3") == 0
    weights = [Path(f"{name}/model/model.safetensors").read_bytes() for name in ("whole", "part")]
    assert weights[0] == weights[1]
    lines = [json.loads(line) for line in Path("whole/metrics.jsonl").read_text().splitlines()]
    assert "reflex_r2" in lines[-1] and "reflex        actions towards near goals" in capsys.readouterr().out
    assert all(line["reflex"] > 0 for line in lines if "loss" in line)
    assert wm_train(monkeypatch, "--continue --out part --steps 1 --train.ahead 30") == 0
    assert load_model("part").config.reflex == 256 and read_config(Path("part/config.yaml")).train.ahead == 30
    capsys.readouterr()
    assert wm_train(monkeypatch, "--resume --out whole --steps 4 --train.ahead 30") == 2
    assert "--resume: train.ahead differ from those of whole" in capsys.readouterr().err
    assert wm_train(monkeypatch, "--dataset {data} --recipe lewm --out other --train.ahead 30", data) == 2
    error = capsys.readouterr().err
    assert "--train.ahead: goals up to 30 environment steps" in error and "(--heads reflex)" in error


def test_ctrl_c_saves_and_resume_goes_on(data: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = (SMALL + " --steps 100000 --out run").format(data=data).split()
    command = [sys.executable, "-m", "worldmodel.cli.train", *line]
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while run.poll() is None and not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert len(said.splitlines()) == 1 and "nothing is lost" in said
    state = torch.load(tmp_path / "run" / "state" / "state.pt", weights_only=True)
    assert state["step"] == json.loads(metrics.read_text().splitlines()[-1])["step"]


def test_a_run_is_not_resumed_on_other_data(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    other = Path("data/two-room.h5")
    other.write_bytes(data.read_bytes())
    assert wm_train(monkeypatch, SMALL + " --steps 2 --out run", other) == 0
    other.unlink()
    collect_with_bar("two-room", other, 4, steps=70, seed=1, workers=1)
    capsys.readouterr()
    assert wm_train(monkeypatch, "--resume --out run --steps 3") == 2
    assert (
        "--resume: fingerprint differ from those of run; --continue learns from other data" in capsys.readouterr().err
    )


def test_a_finished_model_is_trained_further_on_data_that_have_grown_and_on_others(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("own.h5")
    own.write_bytes(data.read_bytes())
    collect_with_bar("two-room", Path("more.h5"), 4, steps=70, seed=1, workers=1)
    assert wm_train(monkeypatch, SMALL + " --steps 4 --out run", own) == 0
    before, first = read_config(Path("run/config.yaml")), load_model("run")
    append(own, "more.h5")
    assert wm_train(monkeypatch, "--continue --out run --steps 3 --train.log-every 1") == 0
    after, second = read_config(Path("run/config.yaml")), load_model("run")
    assert (after.begin, after.train.steps, after.learned) == (4, 3, (before.fingerprint,))
    with EpisodeStore(own) as store:
        assert after.fingerprint == store.fingerprint != before.fingerprint
    about = read_about("run")
    assert about["steps"] == 7 and about["dataset"]["before"] == [before.fingerprint]
    # Weights go on, and so does what the model takes for the mean action: its predictors know no other.
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    assert torch.equal(first.action_mean, second.action_mean)
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["lr"] for line in lines if "lr" in line}
    assert list(rates) == [1, 2, 3, 4, 5, 6, 7]
    assert rates[5] == rates[1] and rates[7] > rates[4]  # the schedule of three steps begins anew
    # Finished it resumes as itself, interrupted it goes on; then on other data.
    assert wm_train(monkeypatch, "--resume --out run") == 0
    assert read_about("run")["steps"] == 7
    assert wm_train(monkeypatch, "--resume --out run --steps 4") == 0
    assert read_about("run")["steps"] == 8
    assert wm_train(monkeypatch, "--continue --out run --steps 2 --dataset more.h5 --loss.sigreg 0.05") == 0
    third = read_config(Path("run/config.yaml"))
    assert (third.begin, third.dataset, third.learned) == (8, "more.h5", (before.fingerprint, after.fingerprint))
    earlier = read_about("run")["training"]["before"]
    assert [each["command"].removeprefix("wm-train ") for each in earlier] == [
        SMALL.format(data="own.h5") + " --steps 4 --out run",
        "--continue --out run --steps 3 --train.log-every 1; wm-train --resume --out run --steps 4",
    ]
    assert all(each["minutes"] > 0 for each in earlier)
    capsys.readouterr()
    for line, says in (
        ("--continue --out run --resume", "--continue: begins a new training of the run's model, leave out --resume"),
        ("--continue --out run --config run/config.yaml", "leave out --config"),
        ("--continue --out run --preset small", "--preset: run/config.yaml already says what is trained"),
        ("--continue --out run --heads reward", "--continue: model.reward differ from those of run"),
        ("--continue --out run --env pusht", "more.h5 holds episodes of two-room, not of pusht"),
        ("--continue --out none", "--continue: no such configuration: none/config.yaml"),
        ("--out run --env two-room", "add --resume to finish it, --continue to train its model further, or give"),
    ):
        assert wm_train(monkeypatch, line) == 2
        err = capsys.readouterr().err
        assert says in err and len(err.splitlines()) == 1, err
    Path("run/state/state.pt").write_bytes(b"half")
    assert wm_train(monkeypatch, "--continue --out run") == 2
    assert "--continue: run/state/state.pt is damaged: give another --out" in capsys.readouterr().err
    Path("run/state/state.pt").unlink()
    assert wm_train(monkeypatch, "--continue --out run") == 2
    assert "--continue: run has no state to go on from" in capsys.readouterr().err


def test_processes_that_opened_other_data_do_not_train_together(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(distributed, "gathered", lambda value: [value, "what it was before"])
    assert wm_train(monkeypatch, SMALL + " --steps 4 --out run", data) == 2
    assert "has grown while the processes opened it, start them again" in capsys.readouterr().err
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--env push", "--env: unknown environment 'push': did you mean 'pusht'?"),
        ("--recipe wmm", "unknown recipe 'wmm': did you mean 'wm'?"),
        ("--preset nan", "unknown preset 'nan': did you mean 'nano'?"),
        ("--preset tiny", "unknown preset 'tiny': choose from auto, nano, paper, small"),
        ("--steps abc", "--steps: expected INT, got 'abc'"),
        ("--device gpu", "--device: PyTorch calls a GPU by its maker's interface, expected cuda, xpu or auto"),
        ("--env two-room --dataset {data} --preset paper", "the model takes 224 px; collect at that size\n"),
        ("--env two-room --dataset {data} --loss.reflex -1", "--loss.reflex: expected 0 or more, finite, got -1.0"),
        ("--env two-room --dataset {data} --train.precision bf17", "train.precision 'bf17': did you mean 'bf16'"),
        ("--env two-room --recipe fast-lewm --heads inverse", "without an inverse head"),
        ("--steps 0", "--steps: expected more than 0, got 0"),
        ("--minutes -1", "--minutes: expected more than 0, got -1.0"),
        ("--stepz 3", "--steps"),
        ("--device tpu", "unknown --device 'tpu': did you mean 'xpu'?"),
        ("--dataset missing.h5", "--dataset: no such file: missing.h5"),
        ("--dataset cut.h5", "--dataset: cut.h5 is not a whole HDF5 file"),
        ("--env pusht --dataset {data}", "two-room, not of pusht"),
        ("--env two-room --dataset {data} --model.image-size 32", "has 64 px images, the model takes 32 px"),
        ("--env two-room --dataset {data} --train.window 60", "no train episode has the 296 rows"),
        ("--env two-room --dataset {data} --loss.prefix 1 --recipe lewm", "loss terms ['prefix'] have a weight"),
        ("--env two-room --dataset {data} --loss.prefix 0", "--loss.prefix: 0 would leave a predictor untrained"),
        ("--env two-room --dataset {data} --train.window 5", "--train.window: 5 frames cannot train prefixes"),
        ("--seed -1", "--train.seed: expected 0 to 4294967295, got -1"),
        ("--train.weight-decay -1", "--train.weight-decay: expected 0 or more, got -1.0"),
        ("--train.schedule 0.5", "--train.schedule: expected 1 or more, got 0.5"),
        ("--train.settle 1", "--train.settle: expected 0 to below 1, got 1.0"),
        ("--train.final-lr nan", "--train.final-lr: expected 0 to 1, got nan"),
        ("--model.encoder.depth 0", "--model.encoder.depth: expected at least 1, got 0"),
        ("--model.prefix.dropout 3", "--model.prefix.dropout: expected 0 to below 1, got 3.0"),
        ("--model.one-step.head 0", "--model.one-step.head: expected at least 1, got 0"),
        ("--loss.inverse 0", "--loss.inverse: a weight of 0.0 does not fit model.inverse = 256; change both"),
        ("--train.ragged", "--train.ragged: expected False; only a prefix predictor without an inverse head"),
        ("--config taken/config.yaml --recipe lewm", "--recipe: taken/config.yaml already says what is trained"),
        ("--resume", "--resume: no such configuration: runs/pusht/config.yaml"),
        ("--resume maybe", "unknown --resume 'maybe'"),
        ("--resume auto --out taken", "--resume: taken/config.yaml is not the configuration of a training run"),
        ("--config missing.yaml", "--config: no such configuration: missing.yaml"),
        ("--config list.yaml", "--config: list.yaml is not the configuration of a training run"),
        ("--out taken", "--out: taken already holds a run"),
        ("--wandb", "--wandb needs an optional dependency: pip install 'worldmodel[wandb]'"),
        (
            "--model.encoder.kind vitt --env two-room --dataset {data}",
            "unknown model.encoder.kind 'vitt': did you mean 'vit'",
        ),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    line: str,
    says: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    Path("cut.h5").write_bytes(data.read_bytes()[:2000])
    Path("list.yaml").write_text("[1]")
    Path("taken").mkdir()
    Path("taken/config.yaml").write_text("")
    assert wm_train(monkeypatch, line, data) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert says in err
    assert not Path("runs").exists() and not Path("data").exists()


def test_a_dataset_names_its_environment_and_short_episodes_are_judged_as_far_as_they_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an environment that nothing here simulates; resumed by the same words and no folder."""
    monkeypatch.chdir(tmp_path)
    write_store("robot.h5", [episode(i, 40, 64, split) for i, split in enumerate((0, 0, 0, 1, 2))], {"env": "robot"})
    line = SMALL.replace("--env two-room --dataset {data}", "--dataset robot.h5")
    assert wm_train(monkeypatch, line + " --steps 2") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "next: worldmodel.load('runs/robot').agent() plans from pictures of robot"
    assert "copy-last at 1, 5 model steps" in out  # 10 are more than 40 rows hold
    assert wm_train(monkeypatch, "--dataset robot.h5 --resume --steps 3") == 0
    assert wm_train(monkeypatch, "--env pusht --dataset robot.h5 --resume --steps 3") == 2
