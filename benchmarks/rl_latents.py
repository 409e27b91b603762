"""Does PPO learn faster on the latents of a trained model than on raw pixels? Equal environment steps, equal settings.

Run it as ``python -m worldmodel.benchmarks.rl_latents --tasks two-room --arms pixels --seeds 0 1 2`` and, for the
latents, with ``--arms latents --model runs/two-room``. Every (task, arm, seed) is one file in ``--runs-dir`` and is
left alone once it is there, so several processes can share the work. ``--json`` and ``--plot`` join what is there.

``pixels`` is Stable-Baselines3's PPO with its own NatureCNN on each picture, ``latents`` the same PPO on the frozen
encoder's latents, ``random`` uniform actions. Both see single frames, of ``two-room`` also the goal's, and end in the
same two layers of 64. Every policy is evaluated without noise on the same 50 episodes, which no training has begun.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from worldmodel.benchmarks.rl_runs import Uniform, columns, evaluate, measure_missing, noting, trained_on
from worldmodel.cli import common
from worldmodel.errors import BadValue, MissingExtra, UnknownName

ARMS = ("pixels", "latents", "random")
PPO = {  # of both arms
    "n_steps": 256,
    "batch_size": 256,
    "n_epochs": 5,
    "learning_rate": 3e-4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
}
ENVIRONMENTS = 8  # a rollout is 8 x 256 steps


@dataclass(frozen=True)
class Task:
    """How a task is played."""

    keys: tuple[str, ...]  # what is seen
    steps: int  # at most, in an episode
    succeeds: bool  # success ends an episode


TASKS = {"two-room": Task(("pixels", "goal"), 200, True), "dmc/reacher-easy": Task(("pixels",), 250, False)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure PPO on latents against PPO on pixels."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks."""
    arms: tuple[str, ...] = ARMS
    """What is seen: pixels, latents; and random."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the trainings, or of the random actions."""
    steps: int = 100_000
    """Environment steps of a training; rounded up to whole rollouts of 2048."""
    episodes: int = 50
    """Evaluated."""
    model: str | None = None
    """Run or model folder for the latents, trained on the one task that is named."""
    image_size: int = 64
    """Side of the pictures, pixels, where no model says it."""
    runs_dir: str = "runs/rl-latents"
    """Folder with one file for each training."""
    join: bool = False
    """Train nothing: only join the files that are there."""
    json: str | None = None
    """Where the joined results go [nowhere]."""
    plot: str | None = None
    """Where the learning curves go [nowhere]."""


def make_envs(name: str, count: int, image_size: int, model: Any = None) -> Any:
    """Make a VecEnv of so many environments, monitored; its observations are latents if a model is given."""
    from gymnasium.wrappers import FilterObservation
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    from worldmodel.envs import registry

    task = TASKS[name]

    def make() -> Any:
        env = registry.make(
            name, max_episode_steps=task.steps, image_size=image_size, terminate_on_success=task.succeeds
        )
        return Monitor(FilterObservation(env, task.keys), info_keywords=("success",) if task.succeeds else ())

    envs = DummyVecEnv([make for _ in range(count)])
    if model is None:
        return envs
    from worldmodel.planners.latents_sb3 import VecLatentObservation

    return VecLatentObservation(envs, model)


def train(envs: Any, steps: int, seed: int, on_latents: bool) -> tuple[Any, dict[str, Any]]:
    """Train PPO; return it, and what every episode brought and what the training took, for JSON."""
    from stable_baselines3 import PPO as Algorithm
    from stable_baselines3.common.vec_env import VecNormalize

    envs = VecNormalize(envs, norm_obs=False, gamma=PPO["gamma"])
    policy = "MlpPolicy" if on_latents else "MultiInputPolicy"
    settings: dict[str, Any] = dict(PPO)
    learner = Algorithm(policy, envs, seed=seed, device="cpu", **settings)
    ended: list[dict[str, Any]] = []
    wall, cpu = time.perf_counter(), time.process_time()
    learner.learn(steps, callback=noting(ended))
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "steps": learner.num_timesteps}
    return learner, {**took, "episodes": columns(ended)}


def settings(name: str, arm: str, options: Options, model: Any, fingerprint: str) -> dict[str, Any]:
    """What a run depends on; two that are compared agree in what both have."""
    found: dict[str, Any] = {"play": asdict(TASKS[name]), "episodes": options.episodes}
    if arm == "random":
        return found
    size = options.image_size if model is None else model.config.image_size
    found |= PPO | {"environments": ENVIRONMENTS, "image_size": size, "steps": options.steps}
    return found if model is None else found | {"model": fingerprint}


def measure(name: str, arm: str, seed: int, options: Options, model: Any) -> dict[str, Any]:
    """Train and evaluate one arm with one seed, for JSON."""
    import torch

    from worldmodel.benchmarks.provenance import provenance

    size = options.image_size if model is None else model.config.image_size
    found: dict[str, Any] = {}
    single = make_envs(name, 1, size, model)
    policy: Any = Uniform(single.action_space, seed)
    if arm != "random":
        envs = make_envs(name, ENVIRONMENTS, size, model)
        policy, found = train(envs, options.steps, seed, on_latents=model is not None)
        envs.close()
    begun = time.perf_counter()
    found["evaluation"] = evaluate(single, policy, options.episodes)
    found["evaluation_wall_s"] = time.perf_counter() - begun
    single.close()
    return found | provenance(torch.device("cpu"))


def run(options: Options) -> None:
    """Train what is missing, then join."""
    for option, names, known in (("--tasks", options.tasks, TASKS), ("--arms", options.arms, ARMS)):
        for name in names:
            if name not in known:
                raise UnknownName(option, name, known)
    if min(options.steps, options.episodes) < 1:
        raise BadValue("--steps, --episodes: expected 1 or more")
    for option, target in (("--json", options.json), ("--plot", options.plot)):
        common.require_writable(option, target)
    folder = Path(options.runs_dir)
    if not options.join:
        train_missing(options, folder)
    if options.join or options.json or options.plot:
        show(options, folder)


def train_missing(options: Options, folder: Path) -> None:
    """Measure every task, arm and seed whose file is not there."""
    try:
        import stable_baselines3  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("rl_latents", "sb3") from error
    import torch

    torch.set_num_threads(1)
    for name in options.tasks:
        for arm in options.arms:
            model, fingerprint = None, ""
            if arm == "latents":
                if options.model is None or len(options.tasks) != 1:
                    raise BadValue("--model: the latents need one, trained on the one task that --tasks names")
                model, _, fingerprint = trained_on(options.model, name, "--tasks")
            cases = ((name, arm, seed) for seed in options.seeds)
            shared = settings(name, arm, options, model, fingerprint)
            measure_missing(
                folder, cases, shared, partial(measure, options=options, model=model), partial(print, flush=True)
            )


def show(options: Options, folder: Path) -> None:
    """Join the files that are there, print, write and draw."""
    import torch

    from worldmodel.benchmarks import plots, rl_curves
    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.files import write_json

    tasks = rl_curves.join(folder)
    print(rl_curves.table(tasks))
    if options.json:
        write_json(options.json, {"tasks": tasks, **provenance(torch.device("cpu"))})
    if options.plot:
        plots.curves(tasks, Path(options.plot))


def main() -> None:
    """Entry point."""
    common.run(lambda: run(common.parse(Options)))


if __name__ == "__main__":
    main()
