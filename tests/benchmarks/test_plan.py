"""``wm-plan`` from the command line to the files, on a tiny untrained model."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

from tests.benchmarks.tiny import tiny
from worldmodel import distributed
from worldmodel.benchmarks import evaluate as evaluation
from worldmodel.benchmarks.evaluate import evaluate
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.checkpoint import save_model
from worldmodel.cli import plan
from worldmodel.datasets.store import EpisodeStore, write_store

QUICK = ("--candidates", 8, "--elites", 2, "--iterations", 1)
KEYS = """success n low high random noop replay solved_at_start ms_per_plan horizon predictor env
    hard out_of_view offset budget episodes planner search deadline_ms iterations_done execute_steps jumps reads plans
    versions hardware commit model dataset seed protocol"""


def test_plan_prints_a_table_and_writes_numbers_and_video(command, workplace, tmp_path):
    before, threads = dict(os.environ), torch.get_num_threads()
    file = tmp_path / "numbers.json"
    code, out, err = command(plan.main, "--episodes", 6, "--offset", 10, "--horizon", 8, "--json", file, *QUICK)
    assert (code, err) == (0, "")
    assert (dict(os.environ), torch.get_num_threads()) == (before, threads)
    for text in ("success", "goal behind the wall", "random policy", "no-op policy", "action replay", "ms per plan"):
        assert text in out
    assert "8 model steps = 40 environment steps, one jump, judged at 2" in out
    assert "100.0 %" in out and "the ceiling" in out
    assert f"numbers: {file}" in out and "video: runs/two-room/plan.mp4" in out
    assert (workplace / "runs" / "two-room" / "plan.mp4").stat().st_size > 1000

    values = json.loads(file.read_text())
    assert set(KEYS.split()) <= set(values)
    assert (values["env"], values["predictor"], values["horizon"], values["jumps"]) == ("two-room", "prefix", 8, 1)
    assert (values["n"], values["offset"], values["budget"]) == (6, 10, 20)
    assert (values["replay"], values["noop"]) == (1.0, 0.0)
    assert values["low"] <= values["success"] <= values["high"]
    assert values["hard"]["label"] == "goal behind the wall" and {"success", "n", "low", "high"} <= set(values["hard"])
    assert values["ms_per_plan"] > 0 and values["plans"] >= 6
    assert len(values["model"]["fingerprint"]) == len(values["dataset"]["fingerprint"]) == 64
    assert {"torch", "numpy", "python"} <= set(values["versions"])


def test_plan_for_reward(command, tmp_path):
    file, film = tmp_path / "numbers.json", tmp_path / "film.mp4"
    line = f"--objective reward --model others/heads --episodes 3 --budget 20 --json {file} --video {film}"
    code, out, err = command(plan.main, *line.split(), *QUICK)
    assert (code, err) == (0, "") and film.stat().st_size > 1000
    for text in ("two-room, for reward, 20 steps at most", "random policy", "no-op policy", "in the dataset"):
        assert text in out
    values = json.loads(file.read_text())
    assert values["objective"] == values["agent"]["objective"] == "reward" and values["execute_steps"] == 1
    assert values["n"] == len(values["returns"]) == 3 and values["low"] <= values["return"] <= values["high"] < 0
    assert values["return"] == pytest.approx(np.mean(values["returns"])) and values["data"]["n"] == 6
    assert values["plans"] == 3 * 20 / 5 and values["noop"]["return"] < 0


def test_plan_says_what_made_a_plan_good(command, tmp_path):
    file, told = tmp_path / "numbers.json", ("metric=cosine", "effort=0.5")
    code, out, err = command(plan.main, "--episodes", 2, "--no-video", "--json", file, *QUICK, "--search", *told)
    assert (code, err) == (0, "") and "metric=cosine effort=0.5" in out
    values = json.loads(file.read_text())
    assert values["told"] == list(told)
    assert (values["agent"]["metric"], values["agent"]["effort"], values["agent"]["score"]) == ("cosine", 0.5, "auto")


def test_plan_in_varied_worlds(command, tmp_path):
    results = []
    for name in ("a.json", "b.json"):
        options = ("--episodes", 5, "--no-video", "--variation", "door,agent.radius", "--json", tmp_path / name)
        code, out, err = command(plan.main, *options, *QUICK)
        assert (code, err) == (0, "")
        results.append(json.loads((tmp_path / name).read_text()))
    assert "door,agent.radius, drawn for each pair" in out and "the ceiling" not in out
    assert results[0]["variation"] == "door,agent.radius"
    assert all(results[0][name] == results[1][name] for name in ("success", "random", "replay", "out_of_view"))


def test_plan_again_gives_the_same(command, tmp_path):
    results = []
    for name in ("a.json", "b.json"):
        code, *_ = command(plan.main, "--episodes", 5, "--no-video", "--json", tmp_path / name, *QUICK)
        assert code == 0
        results.append(json.loads((tmp_path / name).read_text()))
    for changing in ("ms_per_plan", "ms_one_plan", "cpu_ms_one_plan", "date", "command"):
        assert [result.pop(changing) for result in results]
    assert results[0] == results[1]
    assert not list(tmp_path.glob("*.mp4"))


def test_how_many_are_planned_together_changes_nothing(store, task):
    pairs = sample_pairs(store, task, 10, 7, seed=0)
    agent = tiny().agent(horizon=2, execute_steps=1, candidates=8, elites=2, iterations=2)
    whole, parts = (evaluate(agent, "two-room", pairs, 20, 16, 7, together) for together in (50, 2))
    assert np.array_equal(whole.steps, parts.steps)
    for one, two in zip(whole.rollouts, parts.rollouts):
        assert np.array_equal(one.frames, two.frames)


def test_model_folder_gymnasium_id_and_one_step(command, tmp_path):
    arguments = ["--env", "worldmodel/TwoRoom-v0", "--model", "others/one/model", "--video", tmp_path / "v.mp4"]
    code, out, _ = command(plan.main, *arguments, "--episodes", 2, *QUICK)
    assert code == 0
    assert "one-step" in out and "5 jumps composed" in out and (tmp_path / "v.mp4").exists()


def test_other_dataset_is_noted(command, tmp_path, workplace):
    with EpisodeStore(workplace / "data" / "two-room.h5") as store:
        columns = ("pixels", "action", "state")
        episode = {name: store.read_episode(name, 5) for name in columns}
        write_store(tmp_path / "other.h5", [{**episode, "split": 2}], {"env": "two-room"})
    code, out, _ = command(plan.main, "--dataset", tmp_path / "other.h5", "--episodes", 2, "--no-video", *QUICK)
    assert code == 0 and "may not be held out" in out


@pytest.mark.parametrize(("before", "grown", "noted"), [(False, True, False), (True, False, True), (True, True, False)])
def test_held_out_is_what_no_training_has_seen(command, tmp_path, workplace, before, grown, noted):
    """A dataset that grew kept its splits; what the model learned from earlier counts as well as the last."""
    with EpisodeStore(workplace / "data" / "two-room.h5") as store:
        episode = {name: store.read_episode(name, 5) for name in ("pixels", "action", "state")}
    old = [{"fingerprint": name, "rows": 1} for name in ("first", "second")] if grown else []
    write_store(tmp_path / "now.h5", [{**episode, "split": 2}], {"env": "two-room", "grown_from": old})
    with EpisodeStore(tmp_path / "now.h5") as store:
        last = "second" if grown else store.fingerprint
    about = {"fingerprint": last, "before": ["first"] if before else []}
    save_model(tmp_path / "model", tiny(), env="two-room", dataset=about)
    chosen = ("--model", tmp_path / "model", "--dataset", tmp_path / "now.h5", "--episodes", 1, "--no-video")
    code, out, _ = command(plan.main, *chosen, *QUICK)
    assert code == 0 and ("may not be held out" in out) == noted


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--env pushh", "--env: unknown environment 'pushh': did you mean 'pusht'"),
        ("--env dmc/fish-swim", "wm-train --env dmc/fish-swim"),
        ("--predictor prefx", "--predictor: unknown predictor 'prefx': did you mean 'prefix'"),
        ("--predictor prefix --model others/one", "--predictor: unknown predictor 'prefix'"),
        ("--horizon 0", "--horizon: expected 1 or more, got 0"),
        ("--horizon five", "--horizon"),
        ("--horizn 5", "did you mean --horizon?"),
        ("--elites 40 --candidates 30", "--elites: 40 cannot be kept of candidates: 30"),
        ("--candidates 0", "--candidates: expected 1 or more"),
        ("--planner cen", "--planner: unknown planner 'cen': did you mean 'cem'"),
        ("--planner mppi --elites 3", "--elites: the planner mppi has no such option"),
        ("--search planner=icem", "--search: planner has an option of its own, use --planner"),
        ("--search horizon=7", "--search: horizon has an option of its own, use --horizon"),
        ("--search predictor=one-step", "--search: predictor has an option of its own, use --predictor"),
        ("--search deadline_ms=50", "--search: deadline_ms has an option of its own, use --deadline-ms"),
        ("--search goal_offset=10", "--search: goal_offset has an option of its own, use --offset"),
        ("--search chunk=[", "--search: chunk: expected int, got '['"),
        ("--search effort=@", "--search: effort: expected float, got '@'"),
        ("--candidates 10000000000000", "--candidates: expected 1000000 or fewer"),
        ("--search correlation=1", "correlation: expected 0 <= correlation < 1"),
        (
            "--search corelation=0",
            "option of the planner cem 'corelation': did you mean 'correlation'",
        ),
        ("--search correlation=high", "--search: correlation: expected float, got 'high'"),
        ("--search correlation", "--search: 'correlation': expected NAME=VALUE"),
        ("--deadline-ms 0", "--deadline-ms: expected a finite number above 0"),
        ("--deadline-ms 0.001", "--deadline-ms: 0.001 is too short: encoding and one iteration of 300 candidates take"),
        (
            "--horizon 100000",
            "--horizon: 100000 model steps would be composed of more than 256 jumps, expected",
        ),
        ("--execute-steps 0", "--execute-steps: expected 1 or more"),
        ("--episodes 0", "--episodes: expected 1 or more"),
        ("--episodes 100000", "--episodes: 100000 pairs are more than"),
        ("--offset 0", "--offset: expected 1 or more"),
        ("--offset 300", "--offset: 300 steps do not fit"),
        ("--budget 0", "--budget: expected 1 or more"),
        ("--variation door.widht", "--variation: unknown factor 'door.widht': did you mean 'door.width'"),
        ("--seed -1", "--seed: expected 0 or more"),
        ("--split tset", "--split: unknown split 'tset': did you mean 'test'"),
        ("--device cudda", "unknown --device 'cudda': did you mean 'cuda'"),
        ("--model nowhere", "--model: no such model or run folder: nowhere"),
        ("--model others/unfinished", "--model: others/unfinished holds no model"),
        ("--env two-room --model others/pusht", "--model: others/pusht was trained on pusht, not on two-room"),
        ("--model others/large", "--dataset: data/two-room.h5 has 16 px images, the model was trained on 24 px"),
        ("--model others/pusht", "--dataset: no such file: data/pusht.h5; make it with wm-data collect --env pusht"),
        ("--dataset nowhere.h5", "--dataset: no such file: nowhere.h5; make it with wm-data collect --env two-room"),
        ("--dataset cut.h5", "--dataset: cut.h5 is not a whole HDF5 file"),
        ("--dataset text.h5", "--dataset: text.h5 is not a whole HDF5 file"),
        ("--dataset pusht.h5", "--dataset: pusht.h5 holds episodes of pusht, not of two-room"),
        ("--json data", "--json: data is a folder"),
        ("--video data", "--video: data is a folder"),
        ("--objective money", "--objective: unknown objective 'money': choose from goal, reward"),
        ("--objective reward", "--objective: 'reward' needs a model with a reward head"),
        ("--objective reward --model others/pusht", "--objective: 'reward' needs a model with a reward head"),
        ("--objective reward --offset 5", "--offset: has no effect"),
        ("--objective reward --split train", "--split: has no effect"),
        (
            "--objective reward --model others/heads --budget 90",
            "--dataset: data/two-room.h5: 6 of its episodes were cut",
        ),
        ("--json text.h5/numbers.json", "--json: text.h5/numbers.json cannot be written"),
    ],
)
def test_a_mistake_is_one_line(command, arguments, says):
    code, out, err = command(plan.main, *arguments.split())
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("wm-plan: ")
    assert says in err


def test_a_process_without_pairs_ends_quietly(command, monkeypatch):
    """As under torchrun, where there are fewer episodes than processes."""
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "gathered", lambda value: [[5] if value == [] else 1, value])
    monkeypatch.setattr(evaluation, "evaluate", lambda *given, **look: None)
    monkeypatch.setattr(evaluation, "floors_and_ceiling", lambda *given: None)
    assert command(plan.main, "--episodes", 1, *QUICK) == (0, "", "")


def test_no_run_yet(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = command(plan.main)
    assert code == 2 and "wm-train --env pusht" in err


def test_ctrl_c_while_planning(command, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("worldmodel.planners.agent.Agent.predict", interrupted)
    code, out, err = command(plan.main, "--episodes", 2, *QUICK)
    assert (code, out) == (130, "") and err.count("\n") == 1 and "interrupted" in err


@pytest.mark.parametrize("controller", ["reflex", "both"])
def test_a_reflex_is_named_in_table_numbers_and_folder(command, workplace, tmp_path, controller):
    told = ("--model", "others/heads", "--episodes", 4, "--offset", 10, "--no-video", "--controller", controller)
    searched = () if controller == "reflex" else QUICK
    code, out, err = command(plan.main, *told, "--json", tmp_path / "a.json", *searched, "--execute-steps", 2)
    assert (code, err) == (0, "")
    lines = {" ".join(line.split()) for line in out.splitlines()}
    values = json.loads((tmp_path / "a.json").read_text())
    assert values["controller"] == values["agent"]["controller"] == controller and values["execute_steps"] == 2
    if controller == "reflex":
        assert "controller reflex, no search; again after 10 environment steps" in lines
        assert values["reflexes"] == values["plans"] > 0 == values["iterations_done"] and "planner" not in out
    else:
        assert "controller both: a search from the reflex's plan; again after 10 environment steps" in lines
        assert values["reflexes"] == 0 and values["iterations_done"] == 1
    (folder,) = (workplace / "others" / "heads" / "evaluation").glob(f"*controller-{controller}*")
    assert folder.name.endswith("-prefix") and "controller-" in folder.name


def test_a_model_without_a_reflex_says_how_to_get_one(command):
    code, _, err = command(plan.main, "--controller", "reflex")
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("wm-plan: --controller: reflex takes a model with a reflex") and "--heads reflex" in err
    for option in (("--planner", "icem"), ("--iterations", 3)):
        code, _, err = command(plan.main, "--controller", "reflex", *option)
        assert code == 2 and f"{option[0]}: has no effect on --controller reflex, which searches nothing" in err
    code, _, err = command(plan.main, "--controller", "reflex", "--search", "warm_start=false", "init_std=0.2")
    assert code == 2 and "--search: init_std: has no effect on --controller reflex, which searches nothing" in err
    code, _, err = command(plan.main, "--video", "a.mp4", "--no-video")
    assert code == 2 and "--video: has no effect on --no-video" in err
    code, _, err = command(plan.main, "--controller", "reflxe")
    assert code == 2 and "--controller: unknown controller 'reflxe': did you mean 'reflex'" in err
