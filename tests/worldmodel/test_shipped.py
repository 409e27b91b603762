"""Shipped models are found by the name of their task, and copied where a user may write."""

from __future__ import annotations

from pathlib import Path

import pytest

import worldmodel
from tests.worldmodel.tiny import tiny_model
from worldmodel import shipped
from worldmodel.checkpoint import load_model, save_model
from worldmodel.errors import BadFile


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one model, and nothing else."""
    save_model(tmp_path / "zoo" / "dmc-fish-swim", tiny_model(), env="dmc/fish-swim")
    (tmp_path / "zoo" / "dmc-fish-swim" / "results").mkdir()
    (tmp_path / "zoo" / "dmc-fish-swim" / "results" / "lewm-25-prefix.json").write_text('{"success": 0.5}')
    monkeypatch.setattr(shipped, "ZOO", tmp_path / "zoo")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "zoo"


def test_a_task_names_the_model_that_ships_for_it_where_there_is_no_such_folder(zoo: Path) -> None:
    assert shipped.models() == {"dmc/fish-swim": zoo / "dmc-fish-swim"}
    assert worldmodel.load("dmc/fish-swim").about["env"] == "dmc/fish-swim"
    with pytest.raises(BadFile, match=r"no such model or run folder: pusht \(models ship for dmc/fish-swim\)"):
        worldmodel.load("pusht")
    Path("dmc/fish-swim").mkdir(parents=True)
    with pytest.raises(BadFile, match=r"\(this folder hides the model that ships for dmc/fish-swim\)$"):
        worldmodel.load("dmc/fish-swim")
    save_model("dmc/fish-swim/model", tiny_model(), env="mine")
    assert load_model("dmc/fish-swim").about["env"] == "mine"


def test_what_it_reaches(zoo: Path) -> None:
    assert shipped.result(zoo / "dmc-fish-swim") == {"success": 0.5}
    (zoo / "dmc-fish-swim" / "results" / "lewm-25-prefix.json").unlink()
    with pytest.raises(BadFile, match="no shipped model: it lacks results/lewm-25-prefix.json"):
        shipped.result(zoo / "dmc-fish-swim")
    with pytest.raises(BadFile, match="config.json"):
        shipped.result(zoo)


def test_a_copy_is_made_once_and_again_when_another_ships(zoo: Path) -> None:
    ships = zoo / "dmc-fish-swim"
    copy = shipped.copied(ships, Path("runs"))
    assert copy == Path("runs/dmc-fish-swim-shipped/model")
    assert sorted(p.name for p in copy.iterdir()) == ["config.json", "model.safetensors", "results"]
    (copy / "decoder.safetensors").touch()  # of the user's
    assert shipped.copied(ships, Path("runs")) == copy and (copy / "decoder.safetensors").exists()
    save_model(ships, tiny_model(seed=1), env="dmc/fish-swim")
    assert shipped.copied(ships, Path("runs")) == copy
    assert sorted(p.name for p in copy.iterdir()) == ["config.json", "model.safetensors"]
    assert (copy / "model.safetensors").read_bytes() == (ships / "model.safetensors").read_bytes()


def test_a_copy_may_be_changed_where_the_package_may_not(zoo: Path) -> None:
    ships = zoo / "dmc-fish-swim"
    paths = [ships, *ships.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    copy = shipped.copied(ships, Path("runs"))
    assert all(path.stat().st_mode & 0o200 for path in (copy, *copy.rglob("*")))
    for path in paths:
        path.chmod(0o755)
