"""Stable-Baselines3's policies as proposals and as values."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tests.worldmodel.tiny import tiny_config
from worldmodel.errors import BadValue
from worldmodel.interfaces import Forecast
from worldmodel.model import WorldModel
from worldmodel.planners import sb3
from worldmodel.planners.objectives import GoalDistance, Sum
from worldmodel.planners.proposals import Proposal
from worldmodel.planners.terminal import TerminalValue

sb3_package = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is in the extra sb3")
D = 16
LOW, HIGH = np.array([-0.5, 0.0], np.float32), np.array([1.0, 0.25], np.float32)


class Latents(gymnasium.Env):
    """Only its spaces matter."""

    def __init__(self, observed, actions=None):
        self.observation_space, self.action_space = observed, actions or spaces.Box(LOW, HIGH)


def box(width):
    return spaces.Box(-np.inf, np.inf, (width,), np.float32)


def learner(name, observed=None, actions=None):
    observed = box(2 * D) if observed is None else observed
    policy = "MultiInputPolicy" if isinstance(observed, spaces.Dict) else "MlpPolicy"
    few = {} if name == "PPO" else {"buffer_size": 10}
    kind = getattr(sb3_package, name)
    return kind(policy, Latents(observed, actions), seed=0, device="cpu", policy_kwargs={"net_arch": [32]}, **few)


def rows(count=7, seed=0):
    return torch.randn(2, count, D, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["PPO", "SAC", "TD3"])
def algorithm(request):
    return learner(request.param)


def test_acts_as_its_own_predict(algorithm):
    z, goal = rows()
    algorithm.policy.set_training_mode(True)
    with torch.no_grad():
        found = sb3.act(sb3.policy_of(algorithm), z, goal)
    own, _ = algorithm.predict(torch.cat([z, goal], 1).numpy(), deterministic=True)
    np.testing.assert_allclose(found.numpy().clip(LOW, HIGH), own, atol=1e-6)
    assert sb3.policy_of(algorithm.policy) is algorithm.policy and sb3.policy_of(lambda z: z) is None


def test_acts_on_latents_alone_and_on_dictionaries():
    z, goal = rows()
    alone = learner("SAC", box(D)).policy
    with torch.no_grad():
        assert torch.equal(sb3.act(alone, z, goal), sb3.act(alone, z, None))
        names = ("achieved_goal", "desired_goal", "observation")
        hindsight = learner("SAC", spaces.Dict({name: box(D) for name in names}))
        found = sb3.act(hindsight.policy, z, goal)
    seen = {"achieved_goal": z.numpy(), "desired_goal": goal.numpy(), "observation": z.numpy()}
    np.testing.assert_allclose(found.numpy(), hindsight.predict(seen, deterministic=True)[0], atol=1e-6)


def test_values_are_the_networks_or_the_least_critics():
    z, goal = rows()
    both = torch.cat([z, goal], 1)
    with torch.no_grad():
        ppo, sac = learner("PPO").policy, learner("SAC").policy
        torch.testing.assert_close(sb3.value(ppo, z, goal), ppo.predict_values(both)[:, 0])
        for b in range(len(z)):
            action = sac.actor(both[b : b + 1], deterministic=True)
            least = min(float(q) for q in sac.critic(both[b : b + 1], action))
            assert float(sb3.value(sac, z, goal)[b]) == pytest.approx(least, abs=1e-5)


def forecast(B=3, N=5, H=4):
    z, goal = torch.randn(B, N, 2, D), torch.randn(B, D)
    return Forecast(z, (2, H), torch.zeros(B, N, H, 6), goal, SimpleNamespace(), SimpleNamespace())


def test_terminal_value_is_minus_the_value_at_the_last_step():
    seen = forecast()
    one = TerminalValue(lambda z: z.sum(-1))
    assert one.steps(4) == (4,) and not one.reads_goal
    torch.testing.assert_close(one(seen), -seen.z[:, :, 1].sum(-1))
    two = TerminalValue(lambda z, goal: (z * goal).sum(-1), reads_goal=True)
    torch.testing.assert_close(two(seen), -(seen.z[:, :, 1] * seen.goal[:, None]).sum(-1))
    both = Sum([(1.0, GoalDistance((2,))), (0.1, one)])
    assert both.steps(4) == (2, 4)
    torch.testing.assert_close(
        both(seen), GoalDistance((2,))(seen._replace(z=seen.z[:, :, :1], steps=(2,))) + 0.1 * one(seen)
    )
    assert hash(one) == hash(TerminalValue(one.value))
    half = seen._replace(z=seen.z.bfloat16())
    assert one(half).dtype == torch.float32


@pytest.mark.parametrize("name", ["PPO", "SAC"])
@pytest.mark.parametrize("planner", ["cem", "icem", "gradient"])
def test_plans_by_policy_and_value_are_a_rows_own(name, planner):
    torch.manual_seed(0)
    model, ours = WorldModel(tiny_config()), learner(name)
    objective = Sum([(1.0, GoalDistance()), (0.1, TerminalValue(ours, reads_goal=True))])
    own = {} if planner == "gradient" else {"elites": 4}
    agent = model.agent(
        objective=objective, proposal=ours, planner=planner, candidates=16, iterations=2, horizon=3, **own
    )
    shown = np.random.default_rng(0).integers(0, 255, (2, 4, 16, 16, 3), np.uint8)
    together, state = agent.predict({"pixels": shown[0], "goal": shown[1]}, agent.begin(range(4)))
    assert np.isfinite(together).all()
    for row in range(4):
        one = slice(row, row + 1)
        alone, _ = agent.predict({"pixels": shown[0][one], "goal": shown[1][one]}, agent.begin([row]))
        if planner == "gradient":  # slopes are so but for rounding, see Cost
            np.testing.assert_allclose(alone, together[one], atol=1e-3)
        else:
            np.testing.assert_array_equal(alone, together[one])


@pytest.mark.parametrize("changes", [True, False])
def test_policies_of_changed_latents_are_refused(changes):
    envs = sb3_package.common.vec_env.DummyVecEnv([lambda: Latents(box(D))])
    normalised = sb3_package.common.vec_env.VecNormalize(envs, norm_obs=changes)
    algorithm = sb3_package.PPO("MlpPolicy", normalised, device="cpu", policy_kwargs={"net_arch": [32]})
    for use in (lambda: Proposal(policy=algorithm), lambda: TerminalValue(algorithm)):
        if changes:
            with pytest.raises(BadValue, match="PPO: it learnt from latents that VecNormalize had changed"):
                use()
        else:
            use()


def test_mistakes_are_one_line():
    model = WorldModel(tiny_config())
    with pytest.raises(
        BadValue, match=r"SACPolicy: expected one that observes latents \(16,\) or \(32,\), it observes"
    ):
        model.agent(proposal=learner("SAC", box(5)))
    with pytest.raises(BadValue, match=r"proposal: expected a policy with actions \(2,\), it has Box"):
        model.agent(proposal=learner("SAC", actions=spaces.Box(-1, 1, (3,))))
    with pytest.raises(BadValue, match="proposal: expected a policy with actions"):
        model.agent(proposal=learner("PPO", actions=spaces.Discrete(4)))
    with pytest.raises(BadValue, match=r"SACPolicy: expected one that observes latents \(16,\), it observes"):
        TerminalValue(learner("SAC"))(forecast())
    with pytest.raises(BadValue, match=r"expected one that observes latents \(32,\)"):
        TerminalValue(learner("SAC", box(D)), reads_goal=True)(forecast())
    hindsight = learner("SAC", spaces.Dict({name: box(D) for name in ("achieved_goal", "desired_goal", "observation")}))
    for algorithm in (learner("SAC"), hindsight):
        with pytest.raises(BadValue, match="observes goals too, and the objective looks at none"):
            sb3.act(algorithm.policy, rows()[0], None)
    with pytest.raises(BadValue, match=r"expected one that observes latents \(16,\), it observes Dict"):
        TerminalValue(hindsight)(forecast())
    with pytest.raises(BadValue, match="value: expected a function of latents or a policy with critics"):
        TerminalValue(3)
    with pytest.raises(BadValue, match=r"value: expected a function of \(latents, goals\), too many positional"):
        TerminalValue(lambda z: z.sum(-1), reads_goal=True)
    for wrong, got in ((lambda z: z, r"\(5, 16\)"), (lambda z: 0.0, "float")):
        with pytest.raises(BadValue, match=rf"value: expected \(5,\) of latents \(5, 16\), got .*{got}"):
            TerminalValue(wrong)(forecast())
    assert Proposal(policy=learner("TD3")).count == 8
