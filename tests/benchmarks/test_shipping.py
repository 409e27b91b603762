"""From a run to a folder of the zoo, and planning with that: the numbers of the card are those of the weights in it."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace

import pytest

from tests.benchmarks.tiny import tiny
from worldmodel import shipped
from worldmodel.benchmarks import card
from worldmodel.benchmarks.provenance import file_fingerprint
from worldmodel.benchmarks.record import Record
from worldmodel.checkpoint import load_model, read_about, save_model
from worldmodel.cli import common, model, plan, shipping
from worldmodel.cli.facts import learned_from
from worldmodel.config import TrainConfig
from worldmodel.datasets.store import EpisodeStore
from worldmodel.files import read_json, write_json
from worldmodel.run import RunConfig, read_config, write_config

QUICK = ("--candidates", 8, "--elites", 2, "--iterations", 1, "--no-video")


@pytest.fixture
def slim(command, workplace, tmp_path, monkeypatch):
    """A folder with a slim run that was judged, where commands run; and how to run them."""
    shutil.copytree(workplace / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    with EpisodeStore("data/two-room.h5") as store:
        facts = dict(env="two-room", recipe="wm", preset="nano", steps=7, seed=0, render_preset="fast")
        config = RunConfig(
            env="two-room", recipe="wm", preset="nano", dataset="data/two-room.h5", train=TrainConfig(), begin=3
        )
        write_config(tmp_path / "run" / "config.yaml", config)
        training = {"command": "wm-train --out /srv/run --continue; wm-train --resume --out /srv/run", "minutes": 2.0}
        training["before"] = [{"command": "wm-train --out run --steps 3", "minutes": 1.0}]
        save_model("run/model", tiny(), **facts, dataset=learned_from(store), training=training)
    assert command(model.main, "slim", "run", "--out", "slim")[0] == 0
    kept = ("--record", "slim/evaluation/lewm-25-prefix")
    assert command(plan.main, "--model", "slim", "--episodes", 54, *kept, *QUICK)[0] == 0
    monkeypatch.setattr(shipping, "FEWEST_PAIRS", 20)
    return tmp_path / "slim"


def pretend_unchanged(run) -> None:
    """The few episodes here do not hold all the pairs of the protocol, which is noted."""
    file = run / "evaluation" / "lewm-25-prefix" / "result.json"
    values = read_json(file)
    assert values["protocol"]["changed"] == ["pairs"]
    write_json(file, values | {"protocol": values["protocol"] | {"changed": [], "shown": "lewm-25 v1"}})


def test_what_ships_is_what_was_judged(command, slim, tmp_path):
    pretend_unchanged(slim)
    shutil.copytree(slim / "evaluation" / "lewm-25-prefix", slim / "evaluation" / "older")
    older = read_json(slim / "evaluation" / "older" / "result.json")
    write_json(slim / "evaluation" / "older" / "result.json", older | {"model": {"fingerprint": "0" * 64}})
    for name in ("look", "other-look"):
        shutil.copytree(slim / "evaluation" / "lewm-25-prefix", slim / "evaluation" / name)
        write_json(slim / "evaluation" / name / "result.json", older | {"n": 19})
    code, out, err = command(model.main, "ship", slim, "--zoo", "zoo")
    assert (code, err) == (0, "") and "left out: " in out and "zoo/two-room: 0.0 MB, 1 results" in out
    assert "left out, as they are of fewer than 20 pairs: look, other-look\n" in out
    folder = tmp_path / "zoo" / "two-room"
    names = ["README.md", "config.json", "config.yaml", "model.safetensors", "pairs.npz", "results"]
    assert sorted(p.name for p in folder.iterdir()) == names
    result = read_json(folder / "results" / "lewm-25-prefix.json")
    assert result["model"]["fingerprint"] == file_fingerprint(folder / "model.safetensors")
    assert load_model(folder).about["precision"] == "bf16"
    text = (folder / "README.md").read_text()
    rate = f"{100 * result['success']:.1f} % [{100 * result['low']:.1f}, {100 * result['high']:.1f}], n = {result['n']}"
    assert f"| `lewm-25-prefix` | lewm-25 v1, goal 25, budget 50 | {rate} |" in text
    data = read_about(folder)["dataset"]
    assert (data["episodes"], data["rows"]) == (6, 366) and "6 with 366 rows" in text and data["fingerprint"] in text
    assert (
        result["manifest"]["sha256"][:12] in text
        and "| steps | 7 of batch 144, continued from step 3; seed 0 |" in text
    )
    assert (
        "| trained before by | `wm-train --out run --steps 3`, 1.0 minutes |\n| command | "
        "`wm-train --out run --continue; wm-train --resume --out run` |" in text
    )
    assert "| settings | `config.yaml` has those of the last training |\n" in text and "| minutes | 3.0 |" in text
    assert str(tmp_path) not in "".join(p.read_text() for p in folder.rglob("*.json"))

    (folder / "README.md").write_text("")
    assert command(model.main, "card", folder)[0] == 0 and (folder / "README.md").read_text() == text
    assert card.render(folder) == text
    write_config(folder / "config.yaml", replace(read_config(folder / "config.yaml"), begin=0))
    again = "wm-train --config worldmodel/zoo/two-room/config.yaml --dataset data/two-room.h5 --steps 7"
    assert f"`{again}` trains again with the same settings" in card.render(folder)


def test_what_may_not_ship(command, slim, tmp_path, monkeypatch):
    def says(path):
        code, out, err = command(model.main, "ship", path, "--zoo", "zoo")
        assert code == 2 and err.count("\n") == 1 and not (tmp_path / "zoo").exists()
        return err

    assert "is as it was trained: make it small by wm-model slim run" in says("run")
    assert "lacks evaluation/lewm-25-prefix of these weights on 20 pairs" in says(slim)  # the protocol was changed
    pretend_unchanged(slim)
    monkeypatch.setattr(shipping, "MOST_BYTES", 10)
    assert "may ship" in says(slim)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "on 200 pairs" in says(slim)
    code, _, err = command(model.main, "slim", "run", "--out", "slim")
    assert code == 2 and "--out: slim is already there" in err
    (tmp_path / "run" / "config.yaml").unlink()
    code, _, err = command(model.main, "slim", "run", "--out", "other")
    assert code == 2 and err.count("\n") == 1 and "run holds no config.yaml" in err


@pytest.mark.parametrize(
    "path",
    [
        *("/home/jane/data/x.h5", "/Users/jane/my data/x.h5", "/tmp/j@ne's/x.h5", "~/data/x.h5", "~jane/x.h5"),
        *("../../home/x.h5", "runs/../../jane/x.h5", "../my data/jane/x.h5", "/srv/x.h5"),
    ],
)
def test_no_folder_of_this_machine_ships(path):
    value = {
        "dataset": {"path": path},
        "command": shlex.join(["wm-plan", "--dataset", path, f"--record={path}", "--model", "runs/a b/model"]),
        "notes": [f"the test episodes of {path} hold 54 / 60, see https://a.org/home/b and runs/slim/model"],
    }
    found = shipping._anywhere(value)
    assert not re.search(r"/root|/srv|/tmp|/Users|~|\.\./|jane|j@ne|my data", str(found))
    assert found == {
        "dataset": {"path": "x.h5"},
        "command": "wm-plan --dataset x.h5 --record=x.h5 --model 'runs/a b/model'",
        "notes": ["the test episodes of x.h5 hold 54 / 60, see https://a.org/home/b and runs/slim/model"],
    }


def test_a_shipped_model_is_slimmed_with_its_settings(command, slim, tmp_path, monkeypatch):
    pretend_unchanged(slim)
    command(model.main, "ship", slim, "--zoo", "zoo")
    monkeypatch.setattr(shipped, "ZOO", tmp_path / "zoo")
    assert command(model.main, "slim", "two-room", "--out", "again")[0] == 0
    assert (tmp_path / "again" / "config.yaml").read_text() == (tmp_path / "run" / "config.yaml").read_text()


def test_without_a_run_the_shipped_model_plans(command, slim, tmp_path, monkeypatch):
    pretend_unchanged(slim)
    command(model.main, "ship", slim, "--zoo", "zoo")
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(shipped, "ZOO", tmp_path / "zoo")
    monkeypatch.chdir(tmp_path / "home")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "zoo").rglob("*")}
    code, out, err = command(plan.main, "--env", "two-room", "--json", "a.json", *QUICK)
    assert (code, err) == (0, "")
    result = read_json(tmp_path / "zoo" / "two-room" / "results" / "lewm-25-prefix.json")
    said = out.splitlines()[0]
    assert said.startswith("model: the one that ships for two-room, with success on ")
    assert f"of n = {result['n']} pairs by lewm-25 v1; train your own with wm-train --env two-room" in said
    values = read_json("a.json")
    assert values["n"] == 50 and values["protocol"]["changed"] == ["pairs"] and "but pairs 50" in out
    assert values["notes"] == [
        f"50 of the {result['n']} pairs that the model brought along: --episodes {result['n']} takes all"
    ]
    assert values["model"]["path"] == "runs/two-room-shipped/model"
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "zoo").rglob("*")}

    code, out, err = command(plan.main, "--model", "two-room", "--episodes", result["n"], "--json", "b.json", *QUICK)
    values = read_json("b.json")
    assert (code, err) == (0, "") and "the one that ships" not in out
    assert values["manifest"] == result["manifest"] and values["success"] == result["success"]
    name = f"lewm-25-pairs-{result['n']}-candidates-8-elites-2-iterations-1-prefix"
    kept = f"runs/two-room-shipped/evaluation/{name}"
    assert Record.load(kept).values["manifest"] == result["manifest"]
    for asked in (["--protocol", "offset-50"], ["--offset", "10"], ["--episodes", "300"], ["--seed", "1"]):
        code, _, err = command(plan.main, "--env", "two-room", *asked, *QUICK)
        assert code == 2 and "--dataset: no such file: data/two-room.h5; make it with wm-data collect" in err
        assert f"(the model brings along {result['n']} pairs of lewm-25 only)" in err
    for pairs in ("", "pairs.npz"):
        asked = ("--model", "two-room", "--pairs", f"../zoo/two-room/{pairs}", "--json", "c.json")
        assert command(plan.main, *asked, *QUICK)[0] == 0
        assert read_json("c.json")["manifest"] == result["manifest"]
    code, out, _ = command(plan.main, "--env", "two-room", "--dataset", "../data/two-room.h5", "--offset", 10, *QUICK)
    assert code == 0 and "goal 10 steps away" in out
    code, out, _ = command(plan.main, "--env", "two-room", "--report", "page.html", *QUICK)
    assert code == 0 and (tmp_path / "home" / "page.html").stat().st_size > 10_000

    save_model("runs/mine/model", tiny(), env="two-room")  # from now on
    found, *_ = plan.choose_model(plan.Options(env="two-room"))
    assert str(found) == "runs/mine/model"
    assert common.run_folder(plan.choose_model(plan.Options(model="two-room"))[0]).name == "two-room-shipped"
