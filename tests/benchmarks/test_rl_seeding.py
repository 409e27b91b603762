"""SAC that the planner seeded against plain SAC, on a small scale."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from tests.worldmodel.tiny import tiny_config
from worldmodel.benchmarks import rl_runs, rl_seeding
from worldmodel.checkpoint import save_model
from worldmodel.errors import BadFile, BadValue, UnknownName
from worldmodel.files import read_json
from worldmodel.model import WorldModel

pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is in the extra sb3")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, WorldModel(tiny_config()), env="two-room")
    return folder


def options(model, folder, **given):
    small = dict(
        steps=160, seeded=110, episode_steps=20, episodes=2, horizon=2, candidates=16, iterations=1, seeds=(0,)
    )
    paths = dict(runs_dir=str(folder / "runs"), json=str(folder / "found.json"), plot=str(folder / "found.png"))
    return rl_seeding.Options(model=str(model), **{**small, **paths, **given})


@pytest.mark.parametrize("observation", rl_seeding.OBSERVATIONS)
def test_both_arms_take_as_many_steps_and_updates(model, tmp_path, capsys, observation):
    rl_seeding.compare(options(model, tmp_path, observation=observation))
    runs = {path.stem: read_json(path) for path in (tmp_path / "runs").glob("*.json")}
    assert sorted(runs) == [f"two-room-{arm}-0" for arm in sorted(rl_seeding.ARMS)]
    plain, seeded = runs["two-room-plain-0"], runs["two-room-seeded-0"]
    assert plain["steps"] == seeded["steps"] == 160 and plain["updates"] == seeded["updates"] == 60
    assert plain["settings"] == seeded["settings"] and seeded["settings"]["observation"] == observation
    for run in (plain, seeded):
        episodes = run["episodes"]
        assert np.array(episodes["step"])[0] == episodes["length"][0] and max(episodes["step"]) <= 160
        assert (np.array(episodes["return"]) < -20).all()  # of the task itself, pixels of distance
    for run in runs.values():
        assert all(len(values) == 2 for values in run["evaluation"].values())
    found, said = read_json(tmp_path / "found.json"), capsys.readouterr().out
    assert set(found["tasks"]["two-room"]) == set(rl_seeding.ARMS) and (tmp_path / "found.png").stat().st_size > 0
    assert re.search(r"two-room +seeded +-\d", said)


def test_planning_for_reward_needs_no_goal(tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path / "model", WorldModel(tiny_config(reward=8, value=8)), env="two-room")
    rl_seeding.compare(options(tmp_path / "model", tmp_path, objective="reward", arms=("seeded", "planner")))
    run = read_json(tmp_path / "runs" / "two-room-seeded-0.json")
    assert set(run["evaluation"]) == {"return", "length"} and run["evaluation"]["length"] == [20, 20]


def test_what_is_there_is_left_alone_and_other_settings_are_refused(model, tmp_path, capsys):
    rl_seeding.compare(options(model, tmp_path, arms=("plain",)))
    path = tmp_path / "runs" / "two-room-plain-0.json"
    before = path.read_text()
    rl_seeding.compare(options(model, tmp_path, arms=("plain", "random")))
    assert path.read_text() == before and f"{path}: already there" in capsys.readouterr().out
    with pytest.raises(BadFile, match="two-room-plain-0.json was made with steps 160, now 170: remove it"):
        rl_seeding.compare(options(model, tmp_path, arms=("plain",), steps=170))


def test_the_learner_sees_standard_deviations_and_the_planner_the_same_moment(model):
    from worldmodel.checkpoint import load_model

    bench = rl_seeding.Bench(options(model, model), "two-room", load_model(model))
    assert bench.mean.shape == (4,) and 80 < bench.mean.mean() < 150 and (bench.std > 30).all()
    envs = bench.vectorised("state", bench.view)
    envs.seed(5)
    seen = envs.reset()[0]
    pixels = bench.vectorised("pixels")
    pixels.seed(5)
    shown = pixels.reset()
    own = bench.view({name: x[0] for name, x in shown.items()}, pixels.reset_infos[0])
    np.testing.assert_array_equal(seen, own)
    _, reward, _, (info,) = pixels.step(np.zeros((1, 2), np.float32))
    assert reward[0] * 150 / bench.largest >= -1 and bench.largest > 100
    assert reward[0] == pytest.approx(-info["distance"] / bench.largest, rel=1e-5)


def test_evaluations_begin_alike(model):
    class Still:
        def __init__(self):
            self.told = []

        def predict(self, observation, state, starts, deterministic):
            self.told.append(bool(starts[0]))
            return np.zeros((1, 2), np.float32), state

    from worldmodel.checkpoint import load_model

    bench = rl_seeding.Bench(options(model, model), "two-room", load_model(model))
    still, envs = Still(), bench.vectorised("state")
    first, second = (rl_runs.evaluate(envs, still, 3) for _ in range(2))
    assert first == second and first["length"] == [20, 20, 20] and still.told == ([True] + [False] * 19) * 6
    one = rl_runs.Uniform(envs.action_space, 0).predict(None)[0]
    assert one.shape == (1, 2) and one.dtype == np.float32 and envs.action_space.contains(one[0])


def test_mistakes_are_one_line(model, tmp_path):
    for given, kind, message in [
        (dict(arms=("plein",)), UnknownName, "unknown --arms 'plein': did you mean 'plain'"),
        (dict(observation="latents"), UnknownName, "did you mean 'latent'"),
        (dict(objective="rewards"), UnknownName, "did you mean 'reward'"),
        (dict(episodes=0), BadValue, "--steps, --episodes, --episode-steps: expected 1 or more"),
        (dict(seeded=160), BadValue, "--seeded: expected more than 100 and fewer than --steps, got 160"),
        (dict(env="pusht"), BadValue, "--model: trained on two-room, --env says pusht"),
        (dict(env="pusth"), BadValue, "--env: .*did you mean 'pusht'"),
        (dict(model="nowhere"), BadValue, "--model: no such model or run folder"),
    ]:
        with pytest.raises(kind, match=message):
            rl_seeding.compare(
                options(model, tmp_path, **given) if "model" not in given else options("nowhere", tmp_path)
            )
    assert not (tmp_path / "runs").exists()
