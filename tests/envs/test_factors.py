"""Factors of variation: what a varied world changes, and that it is gone without a trace at the next plain reset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.envs.drawing import skip_unless_it_draws
from worldmodel.envs import registry
from worldmodel.envs.factors import CONTRAST, Factor, changed, chosen, resolve
from worldmodel.errors import BadValue

# finger-spin sets its joint's damping in every episode
NAMES = ("pusht", "two-room", "dmc/walker-walk", "dmc/finger-spin")
PUSH = np.array([262.0, 234, 256, 256, 0.3, 0, 0, 0, 0, 0])  # the agent touches the bar of the T


def make(name: str, **options: Any) -> Any:
    skip_unless_it_draws(name)
    return registry.make(name, image_size=48, terminate_on_success=False, **options).unwrapped


def play(task: Any, steps: int = 30, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Take random actions; return states and pictures."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        seen.append(task.step(rng.uniform(task.action_space.low, task.action_space.high)))
    return [step[4]["state"] for step in seen], [step[0]["pixels"] for step in seen]


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for one, two in zip(a, b) for x, y in zip(one, two))


@pytest.mark.parametrize(
    ("name", "start", "end", "shade"),
    [
        ("pusht", PUSH, [391.891825, 146.071222, 254.941787, 264.948592, 0.338775], [248.4504, 249.1313, 250.1251]),
        ("two-room", np.array([90.0, 60.0]), [105.224308, 47.965955], [226.6668, 225.1044, 225.1044]),
    ],
)
def test_the_unvaried_world_is_as_it_was(name: str, start: np.ndarray, end: list[float], shade: list[float]) -> None:
    """As before there were factors: where 30 actions lead, and the mean colour of their pictures."""
    task = make(name)
    task.reset(options={"state": start})
    states, pictures = play(task)
    assert states[-1][: len(end)] == pytest.approx(end, abs=1e-5)
    assert np.mean(pictures, axis=(0, 1, 2)) == pytest.approx(shade, abs=0.001)


@pytest.mark.parametrize("name", NAMES)
def test_given_defaults_change_nothing(name: str) -> None:
    plain, given = make(name), make(name)
    plain.reset(seed=3)
    defaults = {factor: value.default for factor, value in given.factors.items()}
    given.reset(seed=3, options={"variation": defaults})
    (states, pictures), (others, shown) = play(plain), play(given)
    assert same([states], [others])
    assert np.abs(np.array(pictures, int) - np.array(shown)).max() <= (0 if name in registry.TASKS else 1)


@pytest.mark.parametrize("name", NAMES[:3])
def test_every_factor_shows_in_picture_or_physics(name: str) -> None:
    task = make(name)
    options = {"state": PUSH} if name == "pusht" else {}
    for factor, what in task.factors.items():
        ends = []
        for value in (what.low, what.high):
            variation = {factor: np.full(np.shape(what.default), value)}
            _, info = task.reset(seed=1, options={**options, "variation": variation})
            assert np.array_equal(info["variation"][factor], variation[factor])
            ends.append((info["state"], *play(task)))
        moved = not same([ends[0][1]], [ends[1][1]])
        first = [task.draw(state) for state in (ends[0][0], ends[1][0])]
        assert moved or not same([ends[0][2]], [ends[1][2]]), factor
        if factor.endswith(("colour", "tint")) or factor.startswith(("light", "camera")):
            assert not moved and np.array_equal(*first), factor


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_values_are_in_range(name: str) -> None:
    task, other = make(name), make(name)
    drawn = []
    for seed in range(10):
        a, b = (t.reset(seed=seed, options={"variation": "all"}) for t in (task, other))
        assert all(np.array_equal(a[1]["variation"][factor], b[1]["variation"][factor]) for factor in task.factors)
        assert same([a[0].values()], [b[0].values()]) and np.array_equal(a[1]["state"], b[1]["state"])
        drawn.append(a[1]["variation"])
        for factor, what in task.factors.items():
            value = drawn[-1][factor]
            assert value.shape == np.shape(what.default) and (what.low <= value).all() and (value <= what.high).all()
        assert task.in_view(a[1]["state"]) and task.in_view(a[1]["goal_state"])
    for factor in task.factors:
        assert len({tuple(np.ravel(world[factor])) for world in drawn}) > (2 if task.factors[factor].whole else 8)
    task.reset(seed=0, options={"variation": "all"})
    worlds = [task.reset(options={"variation": "all"})[1]["variation"] for _ in range(2)]  # a new one every time
    assert any(not np.array_equal(worlds[0][factor], worlds[1][factor]) for factor in task.factors)


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_reset_undoes_it(name: str) -> None:
    task, fresh = make(name), make(name)
    for variation in ("all", {}):
        task.reset(seed=1, options={"variation": variation})
        play(task, 5)
        a, b = task.reset(seed=2), fresh.reset(seed=2)
        assert not task.varied and same([a[0].values()], [b[0].values()])
        assert all(np.array_equal(a[1]["variation"][k], factor.default) for k, factor in task.factors.items())
        assert same(play(task), play(fresh))
    if hasattr(task, "model"):
        for array in ("body_mass", "body_invweight0", "dof_damping", "geom_friction", "actuator_gainprm"):
            assert np.array_equal(getattr(task.model, array), getattr(fresh.model, array))
        assert np.array_equal(task.model.opt.gravity, fresh.model.opt.gravity)


@pytest.mark.parametrize("name", NAMES)
def test_the_future_depends_on_state_and_world_only(name: str) -> None:
    """A state from the middle of a varied episode replays to the last bit in another task put into that world."""
    task, other = make(name), make(name)
    other.reset(seed=99, options={"variation": "all"})
    play(other, 3)
    for seed in range(3):
        world = task.reset(seed=seed, options={"variation": "all"})[1]["variation"]
        goal = play(task, 20, seed)[0][-1]
        middle = task.get_state()
        other.reset(options={"state": middle, "goal_state": goal, "variation": world})
        assert np.array_equal(other.goal_image, task.draw(goal))
        task.draw(task.sample(np.random.default_rng(0)))
        task.set_state(middle)
        assert same(play(task, 20), play(other, 20))


@pytest.mark.parametrize("name", NAMES)
def test_two_worlds_at_once_do_not_disturb_each_other(name: str) -> None:
    requests = (None, "all", "all")
    together = [make(name) for _ in requests]
    for seed, (task, request) in enumerate(zip(together, requests)):
        task.reset(seed=seed, options={"variation": request})
    mixed = [[play(task, 1, step) for task in together] for step in range(10)]
    for seed, (task, request) in enumerate(zip(together, requests)):
        task.reset(seed=seed, options={"variation": request})
        assert all(same(play(task, 1, step), both[seed]) for step, both in enumerate(mixed))


def test_damping_that_an_episode_sets_is_multiplied() -> None:
    task = make("dmc/finger-spin")
    for factor, damping in ((2.0, 0.06), (1.0, 0.03)):
        task.reset(seed=0, options={"variation": {"physics.damping": factor}})
        play(task, 2)
        assert task.model.joint("hinge").damping[0] == pytest.approx(damping)


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_seed_draws_the_same_start_in_every_look(name: str) -> None:
    task = make(name)
    plain, varied = task.reset(seed=6), task.reset(seed=6, options={"variation": "colour"})
    assert np.array_equal(plain[1]["state"], varied[1]["state"])
    assert np.array_equal(plain[1]["goal_state"], varied[1]["goal_state"])
    assert not np.array_equal(plain[0]["pixels"], varied[0]["pixels"])
    assert not np.array_equal(plain[0]["goal"], varied[0]["goal"])


def test_what_a_request_stands_for() -> None:
    factors = make("two-room").factors
    assert chosen(factors, "all") == list(factors)
    assert chosen(factors, "door.width, agent") == ["door.width", "agent.colour", "agent.radius", "agent.speed"]
    assert chosen(factors, ["colour"]) == [name for name in factors if name.endswith(".colour")]
    rng = np.random.default_rng(0)
    world = resolve(factors, "door", rng)
    assert list(world) == list(factors) and world["agent.radius"] == 7 and world["door.position"] != 49
    world = resolve(factors, {"door.position": 100}, rng)
    assert world["door.position"] == 100 and world["door.width"] == 28
    with pytest.raises(ValueError, match="read-only"):
        world["wall.colour"][0] = 1


def test_colours_can_be_told_apart() -> None:
    factors = make("pusht").factors
    for seed in range(50):
        world = resolve(factors, ["all", "agent.colour"][seed % 2], np.random.default_rng(seed))
        for name in ("background.colour", "block.colour", "wall.colour"):
            assert np.linalg.norm(world["agent.colour"] - world[name]) >= CONTRAST


@pytest.mark.parametrize(
    ("variation", "says"),
    [
        ("agent.color", "variation: unknown factor 'agent.color': did you mean 'agent.colour'"),
        (["door.widht"], "variation: unknown factor 'door.widht': did you mean 'door.width'"),
        ({"doorwidth": 3}, "variation: unknown factor 'doorwidth': did you mean 'door.width'"),
        ({"door": 30.0}, "variation: unknown factor 'door'"),
        ({"door.width": 99}, "variation: door.width must be a number from 24 to 40, not 99"),
        ({"door.width": float("nan")}, "variation: door.width must be a number from 24 to 40, not nan"),
        ({"door.width": [30.0]}, "variation: door.width must be a number from 24 to 40"),
        ({"agent.colour": 3}, "variation: agent.colour must be 3 numbers from 0 to 255, not 3"),
        ({"agent.colour": "red"}, "variation: agent.colour must be 3 numbers from 0 to 255, not 'red'"),
        (3, "variation: expected 'all', names of factors or a mapping of names to values, not 3"),
        ([3], "variation: expected 'all', names of factors"),
        ([], "variation: expected 'all', names of factors"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(variation: Any, says: str) -> None:
    task = make("two-room")
    task.reset(seed=0)
    before = task.render()
    with pytest.raises(BadValue) as error:
        task.reset(options={"variation": variation})
    assert str(error.value).startswith(says) and "\n" not in str(error.value)
    assert np.array_equal(task.render(), before) and not task.varied


def test_another_value_can_be_told_from_the_present_one() -> None:
    for name in ("pusht", "dmc/reacher-qpos"):
        task = make(name)
        factor, now = task.factors[task.colour_factor], task.variation
        colours = [now[task.colour_factor], *(now[x] for x in now if x.endswith("colour"))]
        for seed in range(50):
            value = changed(task.factors, now, task.colour_factor, np.random.default_rng(seed))
            apart = min(np.linalg.norm(value - other) for other in colours) / (factor.high - factor.low)
            assert apart >= CONTRAST / 255 and factor.check("it", value) is not None


def test_whole_numbers_and_no_factors() -> None:
    shape = {"shape": Factor(0, 0, 3, whole=True)}
    drawn = [float(resolve(shape, "all", np.random.default_rng(seed))["shape"]) for seed in range(40)]
    assert set(drawn) == {0.0, 1.0, 2.0, 3.0}
    with pytest.raises(BadValue, match="shape must be a whole number from 0 to 3, not 1.5"):
        resolve(shape, {"shape": 1.5}, np.random.default_rng(0))
    assert resolve({}, None, np.random.default_rng(0)) == {}
    with pytest.raises(BadValue, match="variation: this environment has no factors of variation"):
        resolve({}, "all", np.random.default_rng(0))
