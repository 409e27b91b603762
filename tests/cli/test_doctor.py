"""``wm-doctor`` reports aligned lines and survives a package that does not load."""

from __future__ import annotations

import sys

import pytest

import worldmodel
from worldmodel.cli import doctor


def test_reports_every_package_in_aligned_lines(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.doctor(doctor.Options())
    lines = capsys.readouterr().out.splitlines()
    names = [name for name, _ in doctor.facts()]
    assert {"python", "worldmodel", *doctor.PACKAGES, "device", "threads", "disk free here"} <= set(names)
    width = max(len(name) for name in names) + 2
    for name, line in zip(names, lines, strict=True):
        assert line[:width].rstrip() == name
        assert line[width] != " "


def test_versions_are_the_loaded_ones() -> None:
    import numpy
    import torch

    said = dict(doctor.facts())
    assert said["torch"] == torch.__version__
    assert said["numpy"] == numpy.__version__
    assert said["worldmodel"].startswith(worldmodel.__version__)
    assert said["threads"] == str(torch.get_num_threads())
    assert said["bf16 in the processor"] in ("native", "emulated, so not used")


@pytest.mark.parametrize("module", ["cv2", "torch"])
def test_a_package_that_does_not_load_is_one_line(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # importing it raises ModuleNotFoundError
    said = dict(doctor.facts())
    assert said[module].startswith("does not load: ModuleNotFoundError")
    assert "\n" not in said[module]
    assert "disk free here" in said


def test_command_exits_with_zero(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wm-doctor"])
    doctor.main()
    assert capsys.readouterr().out.startswith("python")


def test_unknown_option_exits_with_two(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wm-doctor", "--nonsense"])
    with pytest.raises(SystemExit) as stop:
        doctor.main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
