from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from worldmodel.benchmarks import loading, training_throughput, training_throughput_peer
from worldmodel.cli.data import collect_with_bar

TINY = (
    "--frames",
    200,
    200,
    "--seconds",
    0.01,
    "--rounds",
    1,
    "--least",
    2,
    "--batch",
    2,
    "--device",
    "cpu",
    "--json",
    "t.json",
)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["training_throughput", *map(str, (*TINY, *arguments))])
    try:
        training_throughput.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "--sizes", "nano") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("size  side") and lines[1].startswith("nano  ours")
    result = json.loads(Path("t.json").read_text())
    nano = result["sizes"]["nano"]
    assert nano["frames_in_a_step"] == 8 and "peer" not in nano and "times_peer" not in nano
    ours = nano["ours"]
    assert ours["parameters"] == 791_502 and ours["flops"] > 1e8 and 0 < ours["loading_share"] < 1
    assert all(ours[part][key] > 0 for part in ("step", "end_to_end") for key in ("wall_s", "cpu_s", "frames_per_s"))
    assert result["versions"] and result["settings"]["threads"] == 1
    assert str(tmp_path) not in Path("t.json").read_text()


def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, said in (
        (("--sizes", "papr"), "did you mean 'paper'"),
        (("--seconds", 0), "--seconds: expected more than 0"),
        (("--batch", 1), "--batch: expected at least 2"),
        (("--peer", tmp_path / "nowhere"), "--peer: cannot run"),
    ):
        assert run(monkeypatch, *arguments) == 2
        assert said in capsys.readouterr().err


def side(step: float, end_to_end: float, parameters: int = 9) -> dict[str, Any]:
    times = {name: {"wall_s": 3 * cpu, "cpu_s": cpu} for name, cpu in (("step", step), ("end_to_end", end_to_end))}
    more = {"parameters": parameters, "flops": 10, "peak_mb": 1.0, "loading_share": 0.1, "versions": {}}
    return {**times, **more, "ceiling": {"cpu": 20.0, "wall": 5.0}}


def test_ratios_are_taken_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    options = training_throughput.Options(peer="python", rounds=3, batch=4)
    given = training_throughput.task("small", options, "cpu", False)
    assert training_throughput.frames(given["run"]) == 16 and given["run"]["model"]["one_step"]["action_hidden"] == 768
    ours, peers = iter([side(1, 2), side(2, 4), side(4, 8)]), iter([side(3, 2), side(4, 8), side(4, 40)])
    monkeypatch.setattr(training_throughput, "alone", lambda told: next(ours))
    monkeypatch.setattr(loading, "feed", lambda *told: next(peers))
    found = training_throughput.measure(given, options)
    assert found["times_peer"] == {"step": 2.0, "end_to_end": 2.0}  # of 3, 2, 1 and of 1, 2, 5
    assert found["ours"]["flops_per_s"] == 10 / 2 and found["ours"]["ceiling_flops_per_s"] == 20
    assert found["ours"]["step"]["frames_per_cpu_s"] == 16 / 2
    assert [row[4] for row in training_throughput.rows({"small": found})] == ["times", "2.00", "-"]


def test_another_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    options = training_throughput.Options(peer="python", rounds=1)
    monkeypatch.setattr(training_throughput, "alone", lambda told: side(1, 2))
    monkeypatch.setattr(loading, "feed", lambda *told: side(1, 2, parameters=8))
    with pytest.raises(training_throughput.BadValue, match="another model: 8 parameters"):
        training_throughput.measure(training_throughput.task("nano", options, "cpu", False), options)


def test_our_default_recipe_has_two_groups(tmp_path: Path) -> None:
    path = tmp_path / "pusht.h5"
    collect_with_bar("pusht", path, 2, steps=99, image_size=64)
    given = training_throughput.task("wm/nano", training_throughput.Options(seconds=0.01), "cpu", False)
    assert training_throughput.frames(given["run"]) == 24 * 9 + 120 * 3 + 144
    given["run"]["dataset"], given["run"]["train"]["batch"] = str(path), 6
    assert training_throughput.frames(given["run"]) == 1 * 9 + 5 * 3 + 6
    assert training_throughput_peer.ours({**given, "count": False})["parameters"] > 10**6
