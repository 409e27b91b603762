"""``wm-train --online N``: what it leaves, that interruptions change nothing, and one line for every mistake."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.test_train import SMALL, wm_train
from worldmodel.checkpoint import read_about
from worldmodel.cli import online
from worldmodel.cli.data import collect_with_bar
from worldmodel.datasets import acting, append
from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.verify import verify
from worldmodel.run import read_config

LINE = SMALL + " --steps 3 --round.pairs 3 --round.offset 10 --round.horizon 2 --train.validate-every 100"
FEW = "--env two-room --dataset {whole}/episodes.h5 --online 1 --out never "


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect_with_bar("two-room", path, 6, steps=60, workers=1)
    return path


@pytest.fixture(autouse=True)
def few_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "TOGETHER", 2)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one round, then of another, undisturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(online, "TOGETHER", 2)
        assert wm_train(monkeypatch, LINE + f" --online 1 --round.episodes 3 --out {out}", data) == 0
    return out


def test_every_round_adds_episodes_trains_further_and_is_judged(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    config = out / "config.yaml"
    config.write_text(config.read_text().replace(str(whole), str(out)))
    assert wm_train(monkeypatch, f"--resume --online 2 --out {out}") == 0  # a further round
    rounds = json.loads((out / "online.json").read_text())["rounds"]
    assert [(x["round"], x["episodes"], x["step"], x["n"]) for x in rounds] == [
        (0, 6, 3, 3),
        (1, 9, 6, 3),
        (2, 12, 9, 3),
    ]
    assert len({x["random"] for x in rounds}) == 1  # on the same pairs
    starts = [json.loads((out / "rounds" / f"00{i}.json").read_text()) for i in range(3)]
    assert {x["command"].split()[0] for x in starts} == {"wm-train"}  # what was typed
    assert (
        len({json.dumps([x[name] for name in ("replay", "noop", "solved_at_start", "from_episodes")]) for x in starts})
        == 1
    )
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "round" in line] == [3, 6, 9]
    with EpisodeStore(data) as initial, verify(out / "episodes.h5") as store:
        np.testing.assert_array_equal(store.split[:6], initial.split)
        assert 2 not in store.split[6:]  # tested is on the initial episodes only
        assert store.attrs["policies"] == {"agent": 6, "door": 6}
        sources = [(x["file"], x["episodes"], x.get("round"), x.get("model_steps")) for x in store.attrs["sources"]]
        assert sources == [
            ("episodes.h5", 6, None, None), ("round-1.h5", 2, 1, 3), ("round-1.h5", 1, 1, 3),
            ("round-2.h5", 2, 2, 6), ("round-2.h5", 1, 2, 6),
        ]  # fmt: skip
        assert read_about(out)["dataset"]["fingerprint"] == store.fingerprint
        assert (store.lengths == 61).all()
    config = read_config(out / "config.yaml")
    assert (config.begin, config.train.steps, config.online, len(config.learned)) == (6, 3, 2, 2)
    assert [file.name for file in out.glob("*.h5")] == ["episodes.h5"]


def stop_at(call: int, function: Callable[..., Any], after: bool) -> Callable[..., Any]:
    """Do what the function does, and at the given call be interrupted before or after it."""
    calls = []

    def stopping(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == call and not after:
            raise KeyboardInterrupt
        result = function(*args, **options)
        if len(calls) == call:
            raise KeyboardInterrupt
        return result

    return stopping


@pytest.mark.parametrize(
    ("module", "name", "call", "after"),
    [
        (acting, "act", 2, False),
        (append, "append", 2, True),
        (online, "learn", 2, False),
        (online, "learn", 2, True),
        (online, "_judge", 1, True),
    ],
)
def test_an_interrupted_run_goes_on_where_it_stopped_and_comes_to_the_same(
    module: Any, name: str, call: int, after: bool, data: Path, whole: Path, tmp_path: Path
) -> None:
    """Interrupted in the first round, or before the initial model was judged."""
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(online, "TOGETHER", 2)
        monkeypatch.setattr(module, name, stop_at(call, getattr(module, name), after))
        assert wm_train(monkeypatch, LINE + f" --online 1 --round.episodes 3 --out {out}", data) == 130
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(online, "TOGETHER", 2)
        assert wm_train(monkeypatch, f"--resume --out {out}") == 0
    assert (out / "online.json").read_text() == (whole / "online.json").read_text()
    for file in ("model/model.safetensors", "metrics.jsonl"):
        assert (out / file).read_bytes() == (whole / file).read_bytes()
    with EpisodeStore(out / "episodes.h5") as one, EpisodeStore(whole / "episodes.h5") as other:
        for column in one.columns:
            np.testing.assert_array_equal(one.read(column, 0, one.rows), other.read(column, 0, other.rows))
    assert [file.name for file in out.glob("*.h5")] == ["episodes.h5"]


def test_a_finished_run_learns_online_from_then_on_even_from_another_ones_episodes(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = LINE.replace("--dataset {data}", f"--dataset {whole / 'episodes.h5'}")
    assert wm_train(monkeypatch, line + " --out plain") == 0
    more = "--resume --online 1 --round.episodes 1 --out plain --steps 3 --round.pairs 2 --round.offset 10"
    shutil.copytree("plain", "half", ignore=shutil.ignore_patterns("model"))  # as if training had been interrupted
    assert wm_train(monkeypatch, more.replace("plain", "half")) == 2
    assert "--online: half holds a run that is not finished: finish it with --resume first" in capsys.readouterr().err
    assert not list(Path("half").glob("*.h5")) and not Path("half/online.json").exists()
    with pytest.MonkeyPatch.context() as interrupted:
        interrupted.setattr(acting, "act", stop_at(1, acting.act, after=False))
        assert wm_train(interrupted, more) == 130
    assert wm_train(monkeypatch, "--resume --out plain") == 0  # the round was asked for
    rounds = json.loads(Path("plain/online.json").read_text())["rounds"]
    assert [(x["episodes"], x["step"]) for x in rounds] == [(9, 3), (10, 6)]
    assert wm_train(monkeypatch, "--continue --out plain --steps 1") == 0  # and goes on as a plain one, on its episodes
    config = read_config(Path("plain/config.yaml"))
    assert (config.online, config.begin, config.dataset) == (0, 6, "plain/episodes.h5")


def test_without_goals_it_acts_for_reward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    env = "gym/tests.envs.test_gym_task:tests/Line-box-v0"  # whose episodes end by themselves, too
    collect_with_bar(env, Path("line.h5"), 12, steps=30, workers=1, image_size=16)
    line = SMALL.replace("--env two-room --dataset {data}", "--dataset line.h5 --model.image-size 16")
    line += " --model.encoder.patch 4 --model.action-block 2 --heads reward,value --steps 2"
    assert wm_train(monkeypatch, line + " --online 1 --round.episodes 2 --round.pairs 2 --out run") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split()[3] == "return" and len(out) == 4
    assert [x["episodes"] for x in json.loads(Path("run/online.json").read_text())["rounds"]] == [12, 14]
    files = [json.loads(Path(f"run/rounds/00{i}.json").read_text()) for i in range(2)]
    assert ["data" in file for file in files] == [True, False]  # what behaviour earns, which is not the agent's


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--online -1", "--online: expected 0 rounds or more, got -1"),
        ("--online 1 --round.noise -1", "--round.noise: expected 0 or more, finite, got -1.0"),
        ("--online 1 --round.episodes 0", "--round.episodes: expected at least 1, got 0"),
        ("--online 1 --continue --out {whole}", "--continue: --online continues after every round by itself"),
        ("--online 1 --env gym/Pendulum-v1", "gym/Pendulum-v1 draws no goals to act towards; add --heads reward,value"),
        (FEW + "--round.pairs 9999", "--round.pairs: 9999 pairs are more than the"),
        (FEW + "--round.offset 99", "--round.offset: 99 steps do not fit into the 1 test episodes of"),
        ("--online 1 --out {whole}", "already holds a run; add --resume"),
        ("--resume --out {whole} --round.noise 0.1", "--resume: round.noise differ from those of"),
    ],
)
def test_mistakes_are_one_line(
    line: str,
    says: str,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert wm_train(monkeypatch, line.replace("{whole}", str(whole))) == 2
    out, err = capsys.readouterr()
    assert says in err and len(err.splitlines()) == 1, err
    assert not list(tmp_path.iterdir())
