from __future__ import annotations

import pickle

import gymnasium
import numpy as np
import pytest
import torch

from tests.planners.toys import FakeModel
from worldmodel.errors import BadValue, UnknownName
from worldmodel.planners.options import make_agent
from worldmodel.planners.state import AgentState

SEARCH = dict(candidates=16, elites=4, iterations=2)


def agent(model=None, env=None, **options):
    return make_agent(model or FakeModel(), env, **{**SEARCH, **options})


def observe(values, goal=(40, 60)):
    """Observations of B rows whose latents are ``values`` (B, 2)."""
    pixels = np.zeros((len(values), 4, 4, 3), np.uint8)
    pixels[:, 0, 0, :2] = values
    goals = np.zeros_like(pixels)
    goals[:, 0, 0, :2] = goal
    return {"pixels": pixels, "goal": goals}


def frame(t, rows=1):
    return observe([(t, 10 * b) for b in range(rows)])


def run(agent, steps, rows=1, state=None, starts=None):
    """Act for some steps; frame t shows the number t. ``starts``: step -> rows reset there."""
    actions = []
    for t in range(steps):
        begin = np.isin(np.arange(rows), (starts or {}).get(t, [])) if t else np.ones(rows, bool)
        action, state = agent.predict(frame(t, rows), state, begin)
        actions.append(action)
    return np.stack(actions), state


def test_executes_r_blocks_of_f_actions_for_each_plan_and_encodes_once():
    model = FakeModel(context=1)
    a = agent(model, horizon=4, execute_steps=2)  # F = 3: six actions a plan
    run(a, 13, rows=2)
    assert list(a.stats.rows) == [2, 2, 2] and a.stats.plans == 6 and len(a.stats.milliseconds) == 3
    assert a.stats.ms_per_plan > 0
    assert [len(pixels) for pixels in model.encoded] == [4, 4, 4]  # two frames and two goals in one call
    assert [int(pixels[0, 0, 0, 0, 0]) for pixels in model.encoded] == [0, 6, 12]


def test_actions_are_the_denormalised_plan_within_the_bounds():
    a = agent(horizon=2, execute_steps=5)  # R is capped to the horizon
    actions, state = run(a, 6)
    assert actions.shape == (6, 1, 2) and actions.dtype == np.float32
    plan = a.model.denormalise(state.rows[0].plan).reshape(6, 2).numpy()
    np.testing.assert_array_equal(actions[:, 0], plan.clip(-1, 1))
    assert np.abs(actions).max() <= 1
    env = type("Env", (), {"action_space": gymnasium.spaces.Box(-0.1, np.array([0.2, 0.3], np.float32))})
    clipped, _ = run(agent(env=env), 6)
    assert all(action in env.action_space for action in clipped[:, 0])


def test_plans_are_searched_within_the_environments_bounds():
    env = type("Env", (), {"action_space": gymnasium.spaces.Box(-0.1, np.array([2.0, 0.3]), dtype=np.float64)})
    a = agent(env=env, horizon=2)
    actions, state = run(a, 6)
    assert all(action in env.action_space for action in actions[:, 0])  # 0.3 is more in float32, -0.1 less
    assert a.actions.low.dtype == a.actions.high.dtype == np.float32
    plan = a.model.denormalise(state.rows[0].plan).reshape(-1, 2)
    assert (plan >= -0.1 - 1e-6).all() and (plan <= torch.tensor([1.0, 0.3]) + 1e-6).all()  # the model's end at 1
    assert (plan[:, 1] > 0.2).any()  # the goal lies beyond the bound
    elsewhere = type("Env", (), {"action_space": gymnasium.spaces.Box(2.0, 3.0, (2,))})
    with pytest.raises(BadValue, match="no action of Box"):
        agent(env=elsewhere)


def test_planning_moves_towards_the_goal():
    actions, _ = run(agent(candidates=200, elites=20, iterations=10, horizon=2), 6)
    assert actions.mean() > 0.7  # the goal is far up both axes


def test_only_rows_without_pending_actions_plan_again():
    a = agent(horizon=2, execute_steps=2)
    run(a, 12, rows=3, starts={4: [1]})
    # all at 0; row 1 at 4; rows 0 and 2 at 6; row 1 at 10
    assert list(a.stats.rows) == [3, 1, 2, 1]


def test_resetting_a_row_leaves_the_others_alone():
    quiet, _ = run(agent(), 40, rows=3)
    reset, _ = run(agent(), 40, rows=3, starts={7: [1], 20: [1]})
    np.testing.assert_array_equal(quiet[:, [0, 2]], reset[:, [0, 2]])
    assert (quiet[7:10, 1] != reset[7:10, 1]).any()


def test_each_episode_has_its_own_noise_and_repeats_with_the_seed():
    first, _ = run(agent(), 12, starts={6: [0]})
    again, _ = run(agent(), 12, starts={6: [0]})
    other, _ = run(agent(seed=1), 12)
    np.testing.assert_array_equal(first, again)
    assert (first[:6] != other[:6]).any()
    frozen = agent()
    _, state = frozen.predict(frame(0), None, [True])
    one, _ = frozen.predict(frame(0), state, [True])
    two, _ = frozen.predict(frame(0))
    assert (one != two).any()  # the same frame, another episode


def test_single_and_batched_observations_agree():
    batch, single = frame(5), {name: image[0] for name, image in frame(5).items()}
    many, _ = agent().predict(batch)
    one, state = agent().predict(single)
    assert many.shape == (1, 2) and one.shape == (2,)
    np.testing.assert_array_equal(many[0], one)
    assert agent().predict(single, state, True)[0].shape == (2,)


def test_a_row_acts_the_same_whichever_rows_accompany_it():
    rows = run(agent(), 20, rows=4)[0]
    a = agent()
    state, alone = a.begin([2]), []
    for t in range(20):
        action, state = a.predict({name: image[2:] for name, image in frame(t, 3).items()}, state)
        alone.append(action)
    np.testing.assert_array_equal(rows[:, 2], np.concatenate(alone))


def test_a_state_can_be_kept_pickled_and_replayed():
    a = agent(horizon=2, execute_steps=1)
    _, state = run(a, 5, rows=2)
    stored = pickle.dumps(state)
    once = run(a, 9, rows=2, state=state, starts={0: []})[0]
    twice = run(a, 9, rows=2, state=pickle.loads(stored))[0]
    fresh = [a.predict(frame(t, 2), state)[0] for t in range(2)]
    np.testing.assert_array_equal(fresh[0], fresh[1])  # acting did not change the state
    assert once.shape == twice.shape


@pytest.mark.parametrize(("context", "R"), [(1, 2), (2, 1), (2, 3), (3, 1), (3, 2), (4, 2), (3, 4)])
def test_history_frames_are_one_model_step_apart(context, R):
    model = FakeModel(context=context)
    F = 3
    a = agent(model, horizon=4, execute_steps=R)
    actions, _ = run(a, 4 * R * F + 1)
    for k, seen in enumerate(model.contexts):
        now = k * R * F
        age = min(context, k * R + 1)  # frames there are since the start
        times = [now - F * back for back in reversed(range(age))]
        assert seen.z.shape == (1, age, 2) and seen.actions.shape == (1, age - 1, 6)
        assert seen.z[0, :, 0].tolist() == times
        executed = model.denormalise(seen.actions[0]).reshape(-1, F, 2)
        for i, block in enumerate(executed):
            start = now - F * (age - 1 - i)
            np.testing.assert_allclose(block, actions[start : start + F, 0], atol=1e-6)
    assert len(model.contexts) == 5
    assert all(len(pixels) <= context + 1 for pixels in model.encoded)


def test_rows_of_different_age_see_what_each_of_them_has():
    model = FakeModel(context=3)
    a = agent(model, horizon=2, execute_steps=1)
    run(a, 7, rows=2, starts={3: [1]})  # F = 3, so both plan at 3 and at 6
    assert list(a.stats.rows) == [2, 2, 2]
    seen = [context.z[:, :, 0].tolist() for context in model.contexts]
    assert seen == [[[0], [0]], [[0, 3]], [[3]], [[0, 3, 6]], [[3, 6]]]


def test_another_goal_in_an_episode_is_planned_for_after_the_block_with_history_and_noise_of_its_own():
    model = FakeModel(context=3)
    a = agent(model, horizon=4, execute_steps=3)  # F = 3: without another goal it plans at 0 and at 9
    state = None
    for t in range(8):
        _, state = a.predict(frame(t), state)
        if t == 4:
            state = AgentState(tuple(row.aimed().aimed() for row in state.rows))
    assert [context.z[0, :, 0].tolist() for context in model.contexts] == [[0], [0, 3, 6]]
    (row,) = state.rows
    assert (row.number, row.plans, row.steps) == (0, 2, 3)
    (restarted,) = a.predict(frame(0), AgentState((row.aimed(),)), True)[1].rows
    assert restarted.number == 1


def test_the_way_to_the_goal_becomes_shorter():
    a = agent(horizon=6, execute_steps=2, goal_offset=18)  # F = 3: six model steps
    assert a.objective.steps(6) == (6,)
    assert a._objective(5).steps(6) == (5, 6)  # 13 steps are left, which is five model steps
    assert agent(horizon=6, execute_steps=2, arrivals=(3,))._objective(5).steps(6) == (3,)


@pytest.mark.parametrize("warm", [True, False])
def test_a_warm_start_shifts_what_the_last_plan_left_over(warm):
    starts = []
    a = agent(horizon=3, execute_steps=2, warm_start=warm)
    solve = a.planner.solve
    a.planner.solve = lambda cost, start, *rest: starts.append(start) or solve(cost, start, *rest)
    _, first = a.predict(frame(0))
    run(a, 7)
    assert not starts[1].any()
    plan = first.rows[0].plan
    expected = torch.stack([plan[2], 0 * plan[0], 0 * plan[0]]) if warm else torch.zeros_like(plan)
    assert torch.equal(starts[2][0], expected)


def test_noise_does_not_depend_on_how_much_earlier_plans_used():
    long, short = agent(iterations=9, warm_start=False), agent(iterations=2, warm_start=False)
    seen = []
    for a in (long, short):
        _, state = run(a, 15)
        a.planner.solve = lambda cost, start, generators, *rest: seen.append(generators[0].initial_seed()) or 1 / 0
        with pytest.raises(ZeroDivisionError):
            a.predict(frame(15), state)
    assert seen[0] == seen[1]


def test_too_long_a_horizon_and_endless_actions_are_refused():
    with pytest.raises(BadValue, match="horizon: 257 model steps .* more than 256 jumps, expected at most 256"):
        agent(horizon=257)
    endless = FakeModel()
    endless.action_high = torch.tensor([1.0, float("inf")])
    with pytest.raises(BadValue, match="actions have no bounds.*RescaleAction"):
        agent(endless)


def test_buffers_that_are_reused_by_the_environment_do_no_harm():
    model = FakeModel(context=2)
    a, state, buffer = agent(model, horizon=2, execute_steps=2), None, frame(0)
    for t in range(7):
        buffer["pixels"][:] = frame(t)["pixels"]
        _, state = a.predict(buffer, state)
    assert model.contexts[1].z[0, :, 0].tolist() == [3, 6]


def test_a_longer_horizon_than_the_way_reads_arrivals():
    assert agent(horizon=32, goal_offset=15).objective.steps(32) == (5, 8)  # F = 3: five model steps
    assert agent(horizon=5, goal_offset=15).objective.steps(5) == (5,)
    assert agent(horizon=6, arrivals=(2, 6)).objective.steps(6) == (2, 6)


def test_other_mistakes_are_named():
    a = agent()
    _, state = a.predict(frame(0, 2))
    with pytest.raises(BadValue, match="made for 2 environments, the observation has 1"):
        a.predict(frame(0), state)
    with pytest.raises(BadValue, match="goal: there is none: .*the picture of this one is black"):
        a.predict(observe([(1, 2), (3, 4)], goal=[(40, 60), (0, 0)]))
    with pytest.raises(BadValue, match="episode_start"):
        a.predict(frame(0, 2), state, [True])
    with pytest.raises(BadValue, match="tail: 0.9 is not read by score='best', but by weighted"):
        agent(tail=0.9, score="best")
    with pytest.raises(UnknownName, match="did you mean 'horizon'"):
        agent(horizn=3)
    with pytest.raises(UnknownName, match="planner"):
        agent(planner="cma")
    with pytest.raises(BadValue, match=r"shape \(2,\)"):
        agent(env=type("Env", (), {"action_space": gymnasium.spaces.Discrete(3)}))


@pytest.mark.parametrize("predictor", ["one-step", "prefix"])
def test_a_real_model_plans_a_batch_as_it_plans_each_row(predictor):
    from worldmodel.config import ModelConfig
    from worldmodel.model import WorldModel

    torch.manual_seed(0)
    model = WorldModel(ModelConfig(latent_dim=16, image_size=32))
    options = dict(predictor=predictor, horizon=9, execute_steps=1, **SEARCH)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (7, 2, 4, 32, 32, 3), dtype=np.uint8)  # (time, pixels and goal, B, ...)

    def act(rows, chunk):
        a = model.agent(chunk=chunk, **options)
        state, actions = a.begin(rows), []
        for pixels, goal in frames[:, :, rows]:
            action, state = a.predict({"pixels": pixels, "goal": goal}, state)
            actions.append(action)
        return np.stack(actions, axis=1)

    together = act([0, 1, 2, 3], 0)
    for b in range(4):
        np.testing.assert_array_equal(act([b], 0)[0], together[b])
    for chunk in (1, 5):
        np.testing.assert_array_equal(act([0, 1, 2, 3], chunk), together)
