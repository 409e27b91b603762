"""Both predictors: causality, agreement with slow twins, composition, windows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.oracles import one_step_rollout_slow, prefix_rollout_slow
from tests.worldmodel.tiny import tiny_config, tiny_model
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.terms import prediction_error


def context_and_plans(model: WorldModel, b: int = 2, n: int = 3, h: int = 7, frames: int | None = None) -> tuple:
    generator = torch.Generator().manual_seed(0)
    frames = model.config.context if frames is None else frames
    z = torch.randn(b, frames, model.config.latent_dim, generator=generator)
    actions = torch.randn(b, frames - 1, len(model.low), generator=generator)
    return Context(z, actions), torch.randn(b, n, h, len(model.low), generator=generator)


@pytest.mark.parametrize("context", [1, 2, 3])
@pytest.mark.parametrize("name", ["one-step", "prefix"])
def test_rollout_agrees_with_its_slow_twin(name: str, context: int) -> None:
    model = tiny_model(context)
    past, plans = context_and_plans(model)
    slow = one_step_rollout_slow if name == "one-step" else prefix_rollout_slow
    with torch.no_grad():
        fast = model.predictor(name).rollout(past, plans)
        torch.testing.assert_close(fast, slow(model.predictor(name), past, plans), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", [1, 2, 3])
@pytest.mark.parametrize("name", ["one-step", "prefix"])
@pytest.mark.parametrize("horizon", [1, 4, 5, 9])  # within one jump, exactly one, composed
def test_final_and_arrivals_read_the_rollout(name: str, context: int, horizon: int) -> None:
    model = tiny_model(context)
    past, plans = context_and_plans(model, h=horizon)
    predictor = model.predictor(name)
    with torch.no_grad():
        path = predictor.rollout(past, plans)
        assert path.shape == (2, 3, horizon, 16)
        torch.testing.assert_close(
            predictor.arrivals(past, plans, (horizon,))[:, :, 0], path[:, :, -1], rtol=1e-4, atol=1e-5
        )
        steps = tuple(sorted({1, (horizon + 1) // 2, horizon}))
        chosen = predictor.arrivals(past, plans, steps)
        torch.testing.assert_close(chosen, path[:, :, [s - 1 for s in steps]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["one-step", "prefix"])
def test_a_later_action_changes_nothing_before_it(name: str) -> None:
    model = tiny_model().double()
    past, plans = context_and_plans(model, h=4)
    past, plans = Context(past.z.double(), past.actions.double()), plans.double()
    with torch.no_grad():
        before = model.predictor(name).rollout(past, plans)
        for t in range(4):
            changed = plans.clone()
            changed[:, :, t] += 1.0
            after = model.predictor(name).rollout(past, changed)
            assert torch.equal(after[:, :, :t], before[:, :, :t])
            assert not torch.allclose(after[:, :, t:], before[:, :, t:], atol=1e-6)


@pytest.mark.parametrize(("threads", "slopes"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("name", ["one-step", "prefix"])
def test_rows_do_not_depend_on_their_company(name: str, threads: int, slopes: bool) -> None:
    model = tiny_model(context=3)
    past, plans = context_and_plans(model, b=3, n=107, h=9)  # composed by the prefix predictor
    predictor, before = model.predictor(name), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.set_grad_enabled(slopes):
            together = predictor.arrivals(past, plans, (2, 4, 9))
            for chunk in (1, 7, 16, 100):
                pieces = [predictor.arrivals(past, piece, (2, 4, 9)) for piece in plans.split(chunk, dim=1)]
                assert torch.equal(torch.cat(pieces, dim=1), together)
            for b in range(3):
                one = slice(b, b + 1)
                alone = predictor.arrivals(Context(past.z[one], past.actions[one]), plans[one], (2, 4, 9))
                assert torch.equal(alone, together[one])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])  # fewer than C, as many, and more
@pytest.mark.parametrize("name", ["one-step", "prefix"])
def test_any_history_will_do(name: str, frames: int) -> None:
    model = tiny_model(context=3).double()
    past, plans = context_and_plans(model, h=6, frames=frames)
    past, plans = Context(past.z.double(), past.actions.double()), plans.double()
    slow = one_step_rollout_slow if name == "one-step" else prefix_rollout_slow
    with torch.no_grad():
        fast = model.predictor(name).rollout(past, plans)
    torch.testing.assert_close(fast, slow(model.predictor(name), past, plans), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["one-step", "prefix"])
def test_a_predictor_is_differentiable_in_plans_and_weights(name: str) -> None:
    model = tiny_model().double()
    past, plans = context_and_plans(model, b=1, n=2, h=6)
    past, plans = Context(past.z.double(), past.actions.double()), plans.double().requires_grad_()
    predictor = model.predictor(name)
    z = predictor.arrivals(past, plans, (3, 6))
    z.sin().sum().backward()
    assert all(parameter.grad is not None for parameter in predictor.parameters())
    direction = torch.randn(plans.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        ends = [predictor.arrivals(past, plans + step * direction, (3, 6)).sin().sum() for step in (1e-5, -1e-5)]
    torch.testing.assert_close((plans.grad * direction).sum(), (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-8)
    predictor.requires_grad_(False)
    (slope,) = torch.autograd.grad(predictor.arrivals(past, plans, (3, 6)).sin().sum(), plans)
    torch.testing.assert_close(slope, plans.grad)


def test_predictions_follow_the_weights() -> None:
    model = tiny_model(context=1)
    past, plans = context_and_plans(model)
    prefix = model.predictor("prefix")
    with torch.no_grad():
        prefix.rollout(past, plans)
        for parameter in prefix.parameters():
            parameter.mul_(1.5)
        after = prefix.rollout(past, plans)
        fresh = tiny_model(context=1, seed=5).predictor("prefix")
        fresh.load_state_dict(prefix.state_dict())
        assert torch.equal(after, fresh.rollout(past, plans))


@pytest.mark.parametrize("name", ["one-step", "prefix"])
def test_in_bfloat16_predictions_are_nearly_the_same(name: str) -> None:
    model = tiny_model()
    past, plans = context_and_plans(model, n=20, h=6)
    with torch.no_grad():
        exact = model.predictor(name).rollout(past, plans)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model.predictor(name).rollout(past, plans)
            assert torch.equal(model.predictor(name).rollout(past, plans[:, :1]), rough[:, :1])
    assert 0 < (rough - exact).norm() < 0.02 * exact.norm()


def test_a_missing_history_is_the_first_frame_repeated() -> None:
    model = tiny_model(context=3)
    past, plans = context_and_plans(model, frames=1)
    repeated = Context(past.z.expand(-1, 3, -1), torch.zeros(2, 2, len(model.low)))
    with torch.no_grad():
        torch.testing.assert_close(
            model.predictor("prefix").rollout(past, plans), model.predictor("prefix").rollout(repeated, plans)
        )


def test_prefix_windows_hold_every_start_and_every_length() -> None:
    model = tiny_model(context=2)
    generator = torch.Generator().manual_seed(1)
    z, actions = torch.randn(2, 6, 16, generator=generator), torch.randn(2, 5, 6, generator=generator)
    prefix = model.predictor("prefix")
    with torch.no_grad():
        z_hat, target, weight = prefix.predict_windows(z, actions)
        z_hat, target = z_hat.unflatten(0, (2, -1)), target.unflatten(0, (2, -1))
        pairs = [(s, k) for s in range(5) for k in range(1, 5) if s + k <= 5]
        assert z_hat.shape[1] == len(pairs)
        by_length = [
            sum(float(w) for w, (_, k) in zip(weight[: len(pairs)], pairs) if k == length) for length in range(1, 5)
        ]
        assert by_length == pytest.approx([1.0] * 4)  # every length counts the same
        for i, (s, k) in enumerate(pairs):
            torch.testing.assert_close(target[:, i], z[:, s + k])
            past = Context(z[:, max(0, s - 1) : s + 1], actions[:, max(0, s - 1) : s])
            expected = prefix.rollout(past, actions[:, None, s : s + k])[:, 0, -1]
            torch.testing.assert_close(z_hat[:, i], expected, rtol=1e-4, atol=1e-5)


def test_one_step_windows_are_every_stretch_of_context_and_one() -> None:
    model = tiny_model(context=3)
    generator = torch.Generator().manual_seed(2)
    z, actions = torch.randn(2, 5, 16, generator=generator), torch.randn(2, 4, 6, generator=generator)
    one_step = model.predictor("one-step")
    with torch.no_grad():
        z_hat, target, _ = one_step.predict_windows(z, actions)
        assert z_hat.shape == target.shape == (2 * 2, 3, 16)
        for b in range(2):
            for s in range(2):
                row = 2 * b + s
                torch.testing.assert_close(target[row], z[b, s + 1 : s + 4])
                expected = one_step(z[b : b + 1, s : s + 3], actions[b : b + 1, s : s + 3])[0]
                torch.testing.assert_close(z_hat[row], expected, rtol=1e-4, atol=1e-5)


def test_at_the_start_the_prefix_prediction_ignores_the_actions() -> None:
    from tests.worldmodel.tiny import tiny_config

    torch.manual_seed(0)
    model = WorldModel(tiny_config(context=1)).eval()  # AdaLN-zero and a zero fusion, untouched
    past, plans = context_and_plans(model)
    with torch.no_grad():
        torch.testing.assert_close(
            model.predictor("prefix").rollout(past, plans), model.predictor("prefix").rollout(past, -plans)
        )


@pytest.mark.parametrize("frames", [2, 3, 6])  # fewer than K = 4 steps, as where an episode ends, and more
def test_prefix_windows_may_start_at_the_first_frame_only(frames: int) -> None:
    prefix = tiny_config().prefix
    assert prefix is not None
    model = tiny_model(context=1, prefix=replace(prefix, every_start=False))
    generator = torch.Generator().manual_seed(1)
    z, actions = (torch.randn(3, n, width, generator=generator) for n, width in ((frames, 16), (frames - 1, 6)))
    steps = min(4, frames - 1)
    part = model.predictor("prefix")
    assert frames > part.reach
    with torch.no_grad():
        prediction = part.predict_windows(z, actions)
        expected = part.rollout(Context(z[:, :1], actions[:, :0]), actions[:, None, :steps])[:, 0]
        loss = torch.stack([(expected[:, k] - z[:, k + 1]).square().mean() for k in range(steps)]).mean()
    torch.testing.assert_close(prediction.hat.unflatten(0, (3, -1)), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(prediction.target.unflatten(0, (3, -1)), z[:, 1 : steps + 1])
    torch.testing.assert_close(prediction_error(prediction), loss)  # Fast-LeWM's: the mean over prefixes
