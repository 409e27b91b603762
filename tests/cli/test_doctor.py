"""``wm-doctor`` reports aligned lines and survives a package that does not load."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

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


def test_optional_packages_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(distribution: str) -> str:
        if distribution in missing:
            raise doctor.PackageNotFoundError
        return "1.2"

    monkeypatch.setattr(doctor, "version", version)
    missing: tuple[str, ...] = ()
    assert doctor.extra("mujoco") == "mujoco 1.2, dm-control 1.2, ogbench 1.2"
    missing = ("ogbench",)
    assert doctor.extra("mujoco") == "mujoco 1.2, dm-control 1.2: pip install 'worldmodel[mujoco]'"
    missing = ("pygame",)
    assert doctor.extra("gym") == "not installed: pip install 'worldmodel[gym]'"


def test_the_extras_are_those_of_the_package() -> None:
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if not project.exists():
        pytest.skip("pyproject.toml is in the checkout only, and this run has the tests alone")
    with open(project, "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    declared = {name: tuple(re.split("[<>=]", one)[0] for one in extras[name]) for name in extras}
    assert {name: declared[name] for name in declared if name not in ("dev", "all")} == doctor.EXTRAS


@pytest.mark.skipif(find_spec("mujoco") is None, reason="needs mujoco")
def test_opengl_is_tried_in_a_process_of_its_own() -> None:
    code = "import sys; from worldmodel.cli import doctor; print(list(doctor.opengl()), 'mujoco' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True).stdout
    assert said.endswith("False\n") and said.startswith("[('opengl', '")


@pytest.mark.parametrize(
    ("probe", "says", "then"),
    [
        ("print('egl, 0.5 ms')", "egl, 0.5 ms", []),
        ("print('failed: so; unset MUJOCO_GL')", "failed: so", ["  remedy"]),
        ("import sys; sys.exit('No such library')", "failed: No such library", ["  as root, once", "  without root"]),
        ("import os; os.abort()", "failed: exit -6", ["  as root, once", "  without root"]),
        ("import time; time.sleep(60)", "failed: no picture within 0.5 s", ["  as root, once", "  without root"]),
    ],
)
def test_every_way_in_which_opengl_fails(
    probe: str, says: str, then: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PROBE", probe)
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.5 if "sleep" in probe else 60.0)
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    rows = list(doctor.opengl())
    assert [name for name, _ in rows] == ["opengl", *then] and rows[0][1] == says
    assert all(text and "\n" not in text for _, text in rows)


def test_without_mujoco_there_is_nothing_to_say_of_opengl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert not list(doctor.opengl())
