"""Plans without torch are the plans with torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.worldmodel.tiny import tiny_model
from worldmodel import noise as torch_noise
from worldmodel.errors import BadFile, BadValue, UnknownName, WorldModelError
from worldmodel.export import export_model
from worldmodel.graphs import graphs
from worldmodel.planners import numpy_cem
from worldmodel.planners.config import CEMConfig
from worldmodel.planners.numpy_cem import cem
from worldmodel.planners.onnx_agent import OnnxAgent
from worldmodel.planners.sampling import white_noise

ROOT = Path(__file__).parent.parent.parent
SEARCH = dict(candidates=40, elites=8, iterations=4)
SCALE = np.array([1, 100], np.float32)  # of the actions


@pytest.fixture(scope="module")
def model():
    model = tiny_model(context=3)
    model.set_actions([0.1, -20.0], [0.3, 40.0], [-1, -100], [1, 100])
    return model


@pytest.fixture
def folder(model, tmp_path):
    """An exported model without its graphs."""
    c = model.config
    about = {name: getattr(c, name) for name in ("image_size", "latent_dim", "context", "action_dim", "action_block")}
    about |= {f"action_{n}": getattr(model, f"action_{n}").tolist() for n in ("mean", "std", "low", "high")}
    (tmp_path / "config.json").write_text(json.dumps({**about, "max_prefix": c.prefix.max_prefix, "graphs": {}}))
    return tmp_path


def as_functions(model):
    """The graphs as they are before they are written."""

    def function(module):
        def run(**inputs):
            with torch.no_grad():
                tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in inputs.items()}
                return module(**tensors).numpy()

        return run

    return {name: function(graph.module) for name, graph in graphs(model).items()}


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)


def with_noise_of(twin, agent):
    """Let an agent without torch draw what its twin draws."""

    def noise(number):
        row = replace(twin.begin([0]).rows[0], plans=number)
        generator = row.noise(twin.config.seed, torch.device("cpu"))
        return lambda shape: white_noise([generator], shape, torch.empty(0))[0].numpy()

    agent.noise = noise
    return agent


@pytest.mark.parametrize(
    "options",
    [
        dict(horizon=5, execute_steps=5),
        dict(horizon=10, execute_steps=2),  # jumps beyond max_prefix, several arrivals, a warm start
        dict(horizon=4, execute_steps=1, predictor="one-step", arrivals=(2, 4), elites=1, min_std=0.1),
        dict(horizon=9, predictor="one-step", decay=1.4, correlation=0.0, tolerance=0.5, warm_start=False),
    ],
)
def test_with_the_same_noise_it_acts_as_the_agent_with_torch(model, folder, options):
    options = SEARCH | options
    twin = model.agent(**options)
    ours = with_noise_of(twin, OnnxAgent(folder, as_functions(model), **options))
    seen, goal = pictures(40), pictures(1, seed=1)[0]
    state = memory = None
    for picture in seen:
        expected, state = twin.predict({"pixels": picture, "goal": goal}, state)
        found, memory = ours.predict(picture, goal, memory)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found / SCALE, expected / SCALE, rtol=0, atol=1e-4)
    assert memory.plans == state.rows[0].plans > 2


def test_a_goal_may_be_a_latent(model, folder):
    ours = OnnxAgent(folder, as_functions(model), **SEARCH)
    seen, goal = pictures(2)
    z = ours.graphs["encoder"](pixels=goal[None])[0]
    np.testing.assert_allclose(ours.predict(seen, z)[0], ours.predict(seen, goal)[0], atol=1e-3)


def test_predict_changes_no_state(model, folder):
    ours = OnnxAgent(folder, as_functions(model), **SEARCH)
    seen, goal = pictures(2)
    _, memory = ours.predict(seen, goal)
    (first, one), (second, two) = ours.predict(seen, goal, memory), ours.predict(seen, goal, memory)
    np.testing.assert_array_equal(first, second)
    assert one.pending == two.pending == memory.pending - 1


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.95])
def test_noise_is_correlated_as_with_torch(correlation):
    white = np.random.default_rng(0).standard_normal((5, 4, 6), np.float32)
    expected = torch_noise.correlate(torch.from_numpy(white), correlation, 3).numpy()
    np.testing.assert_allclose(numpy_cem.correlate(white, correlation, 3), expected, atol=1e-6)


def search(cost, until=None, **options):
    config, random = CEMConfig(**options), np.random.default_rng(0)
    bound = np.full(4, 3.0, np.float32)
    start = np.zeros((3, 4), np.float32)
    return cem(cost, start, -bound, bound, 2, lambda shape: random.standard_normal(shape, np.float32), config, until)


def test_the_search_finds_the_optimum_and_stays_within_the_bounds():
    target = np.linspace(-2, 2, 12).reshape(3, 4)
    found = search(lambda plans: np.square(plans - target).sum((1, 2)), iterations=20, elites=30)
    np.testing.assert_allclose(found, target, atol=0.05)
    assert np.abs(search(lambda plans: plans.sum((1, 2)), init_std=9.0)).max() <= 3.0


def test_a_search_without_time_gives_the_cheapest_plan_of_one_iteration(monkeypatch):
    calls = []

    def cost(plans):
        calls.append(plans)
        return np.square(plans - 1).sum((1, 2))

    found = search(cost, until=0.0)
    assert len(calls) == 1
    np.testing.assert_array_equal(found, min(calls[0], key=lambda plan: np.square(plan - 1).sum()))


def test_latents_that_are_no_numbers_are_an_error():
    with pytest.raises(WorldModelError, match="no candidate plan has a finite cost"):
        search(lambda plans: np.full(len(plans), np.nan))
    found = search(lambda plans: np.where(np.arange(len(plans)) == 3, 0.0, np.nan), iterations=1, elites=1)
    assert np.isfinite(found).all()


def test_mistakes_are_one_line(model, folder, tmp_path):
    functions = as_functions(model)
    with pytest.raises(BadValue, match="effort: plans without torch have no such option"):
        OnnxAgent(folder, functions, effort=1.0)
    with pytest.raises(UnknownName, match="unknown option of CEM 'candidate': did you mean 'candidates'"):
        OnnxAgent(folder, functions, candidate=3)
    with pytest.raises(UnknownName, match="unknown predictor 'suffix'"):
        OnnxAgent(folder, functions, predictor="suffix")
    with pytest.raises(BadFile, match="no such file"):
        OnnxAgent(tmp_path / "none")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(BadFile, match="is no exported model: make one with wm-model export"):
        OnnxAgent(tmp_path / "other")
    agent = OnnxAgent(folder, functions, **SEARCH)
    with pytest.raises(BadValue, match=r"pixels: expected uint8 \(16, 16, 3\), got float64"):
        agent.predict(np.zeros((16, 16, 3)), pictures(1)[0])
    with pytest.raises(BadValue, match=r"goal: expected uint8 \(16, 16, 3\), got uint8 \(8, 8, 3\)"):
        agent.predict(pictures(1)[0], np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(BadValue, match=r"goal: expected a latent of 16 finite numbers, got shape \(3,\)"):
        agent.predict(pictures(1)[0], np.zeros(3))


def test_graphs_of_another_kind_are_refused(folder):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    about = json.loads((folder / "config.json").read_text())
    about["graphs"] = {"encoder": {"file": "encoder.pt2"}}
    (folder / "config.json").write_text(json.dumps(about))
    (folder / "encoder.pt2").touch()
    with pytest.raises(BadFile, match="encoder.pt2: expected an ONNX graph, as wm-model export --format onnx writes"):
        OnnxAgent(folder)


@pytest.mark.slow
def test_it_plans_and_serves_where_there_is_no_torch_and_no_gymnasium(model, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    export_model(tmp_path / "out", model, "onnx")
    np.savez(tmp_path / "seen.npz", pictures=pictures(4))
    code = """
import sys
sys.modules.update(dict.fromkeys(("torch", "gymnasium", "h5py"), None))
import numpy as np
from worldmodel.planners.onnx_agent import OnnxAgent
from worldmodel.planners.serving import Controller

agent = OnnxAgent("out", threads=1, candidates=40, elites=8, iterations=4)
seen, state, actions = np.load("seen.npz")["pictures"], None, []
for _ in range(16):
    action, state = agent.predict(seen[0], seen[1], state)
    actions.append(action)
served = []
report = Controller(agent, hz=1000, goal=seen[1]).run(lambda: seen[0], served.append, seconds=0.02)
assert len(served) == report.ticks > 0, report
np.testing.assert_array_equal(served[0], actions[0])
np.save("actions.npy", actions)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    twin = OnnxAgent(tmp_path / "out", as_functions(model), **SEARCH)
    seen, state, expected = pictures(4), None, []
    for _ in range(16):
        action, state = twin.predict(seen[0], seen[1], state)
        expected.append(action)
    np.testing.assert_allclose(np.load(tmp_path / "actions.npy") / SCALE, expected / SCALE, rtol=0, atol=1e-4)
