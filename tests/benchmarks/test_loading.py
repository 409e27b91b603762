from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from worldmodel.benchmarks import loading


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    options = ("--frames", 800, 200, "--seconds", 0.05, "--rounds", 1, "--json", "loading.json")
    monkeypatch.setattr(sys, "argv", ["loading", *map(str, (*options, *arguments))])
    try:
        loading.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("64   ours, cached") and lines[4].startswith("224  ours, streamed")
    assert all("not measured" in line for line in lines[1:5])
    result = json.loads(Path("loading.json").read_text())
    assert result["sizes"]["64"]["frames"] == 800 and result["sizes"]["224"]["frames"] == 200
    assert result["versions"] and result["hardware"] and result["settings"]["batch"] == 64
    for size in result["sizes"].values():
        cached, streamed = (size["readers"][f"ours, {name}"]["windows_per_cpu_s"] for name in ("cached", "streamed"))
        assert cached > 0 and streamed > 0
    assert str(tmp_path) not in Path("loading.json").read_text()


def test_a_peer_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "--peer", tmp_path / "nowhere") == 2
    assert "--peer: cannot run" in capsys.readouterr().err
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho a traceback >&2; echo \"No module named 'stable_worldmodel'\" >&2; exit 1\n")
    fake.chmod(0o755)
    assert run(monkeypatch, "--peer", fake) == 2
    assert capsys.readouterr().err.splitlines() == ["wm-loading: --peer: No module named 'stable_worldmodel'"]
    assert run(monkeypatch, "--rounds", 0) == 2


def test_ratios_are_to_the_peers_plain_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rates = {"from the file": {"windows_per_s": 9.0, "windows_per_cpu_s": 10.0}}
    rates["all in memory"] = {"windows_per_s": 90.0, "windows_per_cpu_s": 100.0}
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\necho '{json.dumps({'rates': rates, 'versions': {'h5py': '1'}})}'\n")
    fake.chmod(0o755)
    assert run(monkeypatch, "--peer", fake) == 0
    result = json.loads(Path("loading.json").read_text())
    readers = result["sizes"]["64"]["readers"]
    assert readers["stable-worldmodel, all in memory"]["times_peer"] == 10.0
    assert readers["ours, cached"]["times_peer"] == readers["ours, cached"]["windows_per_cpu_s"] / 10
    assert result["peer_versions"] == {"h5py": "1"} and "10.0" in capsys.readouterr().out
