"""Does SAC learn faster when our planner acts first? Equal environment steps, equal learning updates.

Run it as ``python -m worldmodel.benchmarks.rl_seeding --env two-room --model runs/two-room``. ``plain`` is
Stable-Baselines3's SAC for 20,000 steps; ``seeded`` the same SAC, of whose steps the planner acts the first 5,000, from
pixels, into its replay buffer; ``planner`` and ``random`` are what those reach by themselves. The learner observes the
state (and the goal's, where there is one) in standard deviations, or the model's latents. Every (task, arm, seed) is
one file in ``--runs-dir`` and is left alone once it is there; then all of them are joined.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.benchmarks.rl_runs import Uniform, columns, evaluate, measure_missing, noting, trained_on
from worldmodel.cli import common
from worldmodel.errors import BadValue, MissingExtra, UnknownName

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.planners.replay import View

ARMS = ("plain", "seeded", "planner", "random")
OBSERVATIONS = ("state", "latent")
LEARNING_STARTS = 100  # steps before the first update, at random unless the planner acts
BATCH = 256
SAC = {"batch_size": BATCH, "learning_rate": 3e-4, "gamma": 0.99, "train_freq": 1, "gradient_steps": 1}
WIDTHS = [128, 128]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure SAC seeded by the planner against plain SAC."""

    model: str
    """Run or model folder, trained on the task."""
    env: str | None = None
    """Task [the model's]."""
    arms: tuple[str, ...] = ARMS
    """plain, seeded, planner, random."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the trainings, and of the noise of what does not train."""
    steps: int = 20_000
    """Environment steps of a training."""
    seeded: int = 5_000
    """How many of them the planner acts."""
    observation: str = "state"
    """What the learner observes: state or latent."""
    objective: str = "goal"
    """goal, or reward: then there is no goal, and success ends no episode."""
    episode_steps: int = 200
    """At most, in an episode."""
    episodes: int = 50
    """Evaluated."""
    horizon: int = 16
    """Model steps planned ahead."""
    execute_steps: int = 2
    """Model steps executed of a plan."""
    candidates: int = 100
    """Plans scored in an iteration."""
    iterations: int = 6
    """Of the planner."""
    runs_dir: str = "runs/rl-seeding"
    """Folder with one file for each run."""
    json: str | None = None
    """Where the joined results go [benchmarks/results/rl-seeding.json]."""
    plot: str | None = None
    """Where the learning curves go [beside the JSON]."""


class Bench:
    """The task as planner and learner meet it.

    Args:
        options: what to measure.
        env: short name of the task.
        model: trained on it.
    """

    def __init__(self, options: Options, env: str, model: WorldModel) -> None:
        self.options, self.env, self.model = options, env, model
        self.goals = options.objective == "goal"
        from worldmodel.planners.latents import LatentEncoder

        self.features = getattr(self._make("state").unwrapped, "features", np.asarray)
        self.latents = LatentEncoder(model, self._make("pixels").observation_space, goal=self.goals)
        self.mean, self.std, self.largest = self._scales()

    def vectorised(self, observation: str, view: View | None = None) -> Any:
        """The task as a VecEnv of one, with rewards of at most about 1; its Monitor notes the task's own.

        Args:
            observation: ``pixels`` or ``state``.
            view: what is seen instead.
        """
        from gymnasium.wrappers import TransformReward
        from stable_baselines3.common.monitor import Monitor
        from stable_baselines3.common.vec_env import DummyVecEnv

        env = Monitor(self._make(observation), info_keywords=("success",) if self.goals else ())
        scaled = TransformReward(env, lambda reward: float(reward) / self.largest)
        return DummyVecEnv([lambda: scaled if view is None else viewed(scaled, view)])

    def view(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """What the learner observes, float32: state or latent, and the goal's if there are goals."""
        if self.options.observation == "latent":
            return self.latents.view(observation)
        return ((self._numbers(info) - self.mean) / self.std).astype(np.float32)

    def agent(self, seed: int) -> Any:
        """Our planner."""
        names = ("horizon", "execute_steps", "candidates", "iterations")
        told: dict[str, Any] = {name: getattr(self.options, name) for name in names}
        if not self.goals:
            told["objective"] = "reward"
        return self.model.agent(self._make("state"), seed=seed, **told)

    def measure(self, arm: str, seed: int) -> dict[str, Any]:
        """Train if there is something to train, and evaluate, for JSON."""
        import torch

        from worldmodel.benchmarks.provenance import provenance

        found: dict[str, Any] = {}
        if arm in ("plain", "seeded"):
            wall, cpu = time.perf_counter(), time.process_time()
            policy, ended = self.train(seed, self.options.seeded if arm == "seeded" else 0)
            found |= {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
            found |= {"updates": policy._n_updates, "steps": policy.num_timesteps, "episodes": columns(ended)}
            envs = policy.env
        else:
            envs = self.vectorised("pixels" if arm == "planner" else "state")
            policy = self.agent(seed) if arm == "planner" else Uniform(envs.action_space, seed)
        begun = time.perf_counter()
        found["evaluation"] = evaluate(envs, policy, self.options.episodes)
        found["evaluation_wall_s"] = time.perf_counter() - begun
        envs.close()
        return found | provenance(torch.device("cpu"))

    def train(self, seed: int, seeded: int) -> tuple[Any, list[dict[str, Any]]]:
        """SAC, of whose steps the planner acts the first ``seeded``; with it, what every episode brought."""
        from stable_baselines3 import SAC as Algorithm
        from stable_baselines3.common.logger import configure

        from worldmodel.planners.replay import fill

        envs = self.vectorised("pixels" if self.options.observation == "latent" else "state", self.view)
        told: dict[str, Any] = SAC | {"learning_starts": LEARNING_STARTS, "policy_kwargs": {"net_arch": WIDTHS}}
        learner = Algorithm("MlpPolicy", envs, buffer_size=self.options.steps, seed=seed, device="cpu", **told)
        learner.set_logger(configure(None, []))
        ended: list[dict[str, Any]] = []
        if seeded:
            pixels = self.vectorised("pixels")
            filled = fill(learner, pixels, self.agent(seed), seeded, self.view, seed=1000 + seed)
            ended += [{"step": step, **info["episode"]} for step, info in filled]
            pixels.close()
            learner.train(seeded - LEARNING_STARTS, BATCH)  # as often as if it had acted itself
        learner.learn(self.options.steps - seeded, callback=noting(ended), reset_num_timesteps=False)
        return learner, ended

    def _make(self, observation: str) -> Any:
        from worldmodel.envs import registry

        return registry.make(
            self.env,
            max_episode_steps=self.options.episode_steps,
            terminate_on_success=self.goals,
            observation=observation,
            image_size=self.model.config.image_size,
        )

    def _numbers(self, info: Mapping[str, Any]) -> np.ndarray:
        names = ("state", "goal_state")[: 1 + self.goals]
        return np.concatenate([self.features(info[name]) for name in names])

    def _scales(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Mean and standard deviation of states, and the largest reward, in the first ten steps of 100 episodes."""
        env, rng, states, largest = self._make("state"), np.random.default_rng(0), [], 0.0
        for seed in range(100):
            _, info = env.reset(seed=seed)
            states.append(self._numbers(info))
            for _ in range(10):
                _, reward, *_, info = env.step(rng.uniform(env.action_space.low, env.action_space.high))
                states.append(self._numbers(info))
                largest = max(largest, abs(float(reward)))
        env.close()
        return np.mean(states, axis=0), np.std(states, axis=0) + 1e-6, largest or 1.0


def viewed(env: Any, view: View) -> Any:
    """An environment that shows ``view`` of (observation, info), a vector."""
    import gymnasium

    class Viewed(gymnasium.Wrapper[Any, Any, Any, Any]):
        def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
            observation, info = self.env.reset(**options)
            return view(observation, info), info

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            observation, reward, terminated, truncated, info = self.env.step(action)
            return view(observation, info), reward, terminated, truncated, info

    wrapped = Viewed(env)
    shape = wrapped.reset()[0].shape
    wrapped.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)
    return wrapped


def compare(options: Options) -> None:
    """Measure what is missing, join, print and write."""
    _require(options)
    try:
        import stable_baselines3  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("rl_seeding", "sb3") from error
    import torch

    from worldmodel.benchmarks import plots, rl_curves
    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.files import write_json

    torch.set_num_threads(1)
    with common.option("--env"):
        named = options.env and common.short_name(options.env)
    model, env, fingerprint = trained_on(options.model, named, "--env")
    bench, runs = Bench(options, env, model), Path(options.runs_dir)
    which = ("model", "arms", "seeds", "env", "runs_dir", "json", "plot")
    settings = {name: value for name, value in asdict(options).items() if name not in which}
    settings |= {"sac": SAC | {"net_arch": WIDTHS}, "model": fingerprint}
    cases = ((env, arm, seed) for seed in options.seeds for arm in options.arms)
    measure = lambda _, arm, seed: bench.measure(arm, seed)  # noqa: E731
    measure_missing(runs, cases, settings, measure, partial(print, flush=True))
    tasks = rl_curves.join(runs)
    print(rl_curves.table(tasks))
    path = Path(options.json or "benchmarks/results/rl-seeding.json")
    write_json(path, {"tasks": tasks, **provenance(model.device)})
    plot = plots.curves(tasks, Path(options.plot or path.with_suffix(".png")))
    print(f"numbers: {path}, curves: {plot}")


def _require(options: Options) -> None:
    for option, names, known in (
        ("--arms", options.arms, ARMS),
        ("--observation", [options.observation], OBSERVATIONS),
        ("--objective", [options.objective], ("goal", "reward")),
    ):
        for name in names:
            if name not in known:
                raise UnknownName(option, name, known)
    if min(options.steps, options.episodes, options.episode_steps) < 1:
        raise BadValue("--steps, --episodes, --episode-steps: expected 1 or more")
    if not LEARNING_STARTS < options.seeded < options.steps:
        raise BadValue(f"--seeded: expected more than {LEARNING_STARTS} and fewer than --steps, got {options.seeded}")


def main() -> None:
    """Entry point."""
    common.run(lambda: compare(common.parse(Options)))


if __name__ == "__main__":
    main()
