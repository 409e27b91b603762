"""What was expected of an episode is drawn for the moments at which it happened."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.oracles import foreseen_one_by_one
from tests.worldmodel.tiny import tiny_model
from worldmodel.benchmarks.evaluate import at_start, evaluate, floors_and_ceiling
from worldmodel.benchmarks.imagined import DECODED, NEAREST, foreseen, imagine
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.benchmarks.policies import RandomPolicy
from worldmodel.benchmarks.record import Record
from worldmodel.checkpoint import save_decoder, save_model
from worldmodel.config import DecoderConfig
from worldmodel.datasets.store import EpisodeStore
from worldmodel.decoder import Decoder
from worldmodel.diagnostics import encoded
from worldmodel.envs import registry

BUDGET, R, F = 20, 2, 3


@pytest.fixture(scope="module")
def record(dataset, tmp_path_factory):
    task = registry.make("two-room", observation="state").unwrapped
    with EpisodeStore(dataset) as store:
        pairs = sample_pairs(store, task, 15, 6, seed=0, variation="colour,door")
    outcome = evaluate(RandomPolicy(task.action_space), "two-room", pairs, BUDGET, 16, watch=6)
    folder = tmp_path_factory.mktemp("run") / "model"
    save_model(folder, tiny_model())
    values = {"env": "two-room", "render_preset": "fast", "predictor": "prefix", "execute_steps": R}
    values["model"] = {"path": str(folder)}
    return Record(values=values, pairs=pairs, outcome=outcome, floors=floors_and_ceiling("two-room", pairs, 20, seed=0))


def test_every_moment_of_an_episode_has_a_picture(record):
    for one, real in zip(imagine(record, tiny_model(), range(6)), record.outcome.rollouts, strict=True):
        assert one.imagined.shape == real.frames.shape and one.by == NEAREST


def test_what_is_seen_is_imagined_best(record):
    """The first picture is that of what was seen there; its nearest demonstrated frame is itself: all begin alike."""
    for one in imagine(record, tiny_model(), [4, 1]):
        np.testing.assert_array_equal(one.imagined[0], record.outcome.rollouts[one.row].frames[0])
        for t in range(len(one.imagined)):  # between two blocks nothing is expected anew
            np.testing.assert_array_equal(one.imagined[t], one.imagined[t // F * F])
    assert [one.row for one in imagine(record, tiny_model(), [4, 1])] == [4, 1]


@pytest.mark.parametrize("name", ["one-step", "prefix"])
@pytest.mark.parametrize(("context", "execute_steps"), [(1, 1), (2, 3), (3, 2)])
def test_expected_block_by_block(name, context, execute_steps):
    model = tiny_model(context)
    generator = torch.Generator().manual_seed(0)
    z, actions = torch.randn(8, 16, generator=generator), torch.randn(7, 6, generator=generator)
    predictor = model.predictor(name)
    found = foreseen(predictor, z, actions, execute_steps, context)
    torch.testing.assert_close(found, foreseen_one_by_one(predictor, z, actions, execute_steps, context))
    later = foreseen(predictor, z, actions + (torch.arange(7) >= 4)[:, None], execute_steps, context)
    assert torch.equal(found[:5], later[:5]) and not torch.equal(found[5:], later[5:])


def test_it_is_what_the_agent_expected(record):
    """Of the agent's own memory, its predictor expects what is drawn of the recorded states and actions."""
    model, pairs = tiny_model(), record.pairs
    agent = model.agent(horizon=R, execute_steps=R, candidates=8, elites=2, iterations=1, predictor="one-step")
    env = registry.make("two-room", image_size=16, terminate_on_success=False)
    seen, state, frames, blocks, expected = at_start(env, pairs, 0)[0], agent.begin([0]), [], [], []
    for step in range(3 * R * F):
        frames.append(seen["pixels"])
        action, state = agent.predict({name: image[None] for name, image in seen.items()}, state)
        row = state.rows[0]
        if step % (R * F) == 0:
            plan = torch.from_numpy(row.queue).reshape(1, 1, R, -1)
            with torch.no_grad():
                context = SimpleNamespace(z=row.z[None], actions=row.actions[None])
                expected.append(agent.predictor.rollout(context, model.normalise(plan))[0, 0])
        blocks.append(action[0])
        seen = env.step(action[0])[0]
    z = encoded(model, np.stack([*frames, seen["pixels"]])[::F])
    actions = model.normalise(torch.from_numpy(np.stack(blocks)).reshape(3 * R, -1))
    found = foreseen(agent.predictor, z, actions, R, model.config.context)
    torch.testing.assert_close(found[1:], torch.cat(expected))


def test_a_decoder_draws_where_there_is_one(record, tmp_path):
    model = tiny_model()
    save_model(tmp_path, model)
    decoder = Decoder(DecoderConfig(width=4, hidden=8), 16, 16)
    torch.nn.init.normal_(decoder.paint[-2].weight)
    save_decoder(tmp_path, decoder)
    decoded = replace(record, values={**record.values, "model": {"path": str(tmp_path)}})
    (one,) = imagine(decoded, model, [2])
    drawn = decoder.eval().pictures(encoded(model, record.outcome.rollouts[2].frames[:1]))
    assert one.by == DECODED
    np.testing.assert_array_equal(one.imagined[0], drawn[0])


def test_what_is_missing_is_done_without(record, monkeypatch):
    moved = replace(record, values={**record.values, "model": {"path": "nowhere"}}, floors={})
    assert imagine(moved, tiny_model(), [0])[0].by == NEAREST
    states = record.outcome.states.copy()
    states[0, 2:] = np.nan  # over before a block was
    short = replace(record, outcome=replace(record.outcome, states=states))
    (one,) = imagine(short, tiny_model(), [0])
    assert len(one.imagined) == 2
    gone = SimpleNamespace(unwrapped=SimpleNamespace(restorable=False), close=lambda: None)
    monkeypatch.setattr(registry, "make", lambda *_, **__: gone)
    assert imagine(record, tiny_model(), [0]) == ()
