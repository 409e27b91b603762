"""How fast environments are: steps, pictures in every look, and collected episodes, side by side.

Run it as ``python -m worldmodel.benchmarks.environments`` for one environment of every family, or name some:
``--envs pusht dmc/reacher-qpos gym/Pendulum-v1``. For each: uniform actions without pictures; pictures of such an
episode in all looks, which take turns; then whole collections, the start of their worker processes included. Rates are
by the clock. ``cpu-ms`` is processor time, which other work on the machine changes less.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.cli import common
from worldmodel.errors import BadValue, WorldModelError

GYM = "gym/Pendulum-v1"  # stands for Gymnasium's own
TURN = 10  # pictures in one look before the next has its turn


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure how fast environments are."""

    envs: tuple[str, ...] = ()
    """Names [one of every family]."""
    all: bool = False
    """Every environment that is known by name."""
    image_size: int = 64
    """Side of the pictures, pixels."""
    seconds: float = 2.0
    """Of steps, and of pictures in each look."""
    episodes: int = 40
    """Collected with each number of workers, which take 20 at a time; 0 leaves it out."""
    steps: int = 100
    """Environment steps in a collected episode."""
    workers: tuple[int, ...] = (1, 2)
    """Numbers of processes to collect with."""
    json: str = "benchmarks/results/environments.json"
    """Where the numbers go."""


class Stopwatch:
    """Counts its ``with`` blocks and adds up their wall-clock and processor seconds."""

    def __init__(self) -> None:
        self.count, self.wall, self.cpu = 0, 0.0, 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.count += 1
        self.wall += time.perf_counter() - self._begun[0]
        self.cpu += time.process_time() - self._begun[1]

    def values(self) -> dict[str, float]:
        """Rate and cost, for JSON."""
        return {"per_second": self.count / self.wall, "cpu_ms": 1000 * self.cpu / self.count}


def play(env: Any, watch: Stopwatch) -> Iterator[None]:
    """Take step after step of the same episodes of uniform actions, for ever."""
    space, rng = env.action_space, np.random.default_rng(0)
    env.reset(seed=0)
    while True:
        action = rng.uniform(space.low, space.high)
        with watch:
            _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
        yield


def time_steps(env: Any, seconds: float) -> dict[str, float]:
    """Step until the time is up."""
    watch = Stopwatch()
    for _ in play(env, watch):
        if watch.wall >= seconds:
            break
    return watch.values()


def time_pictures(envs: Mapping[str, Any], seconds: float) -> dict[str, dict[str, float]]:
    """Draw the same episodes in every look; the first picture, for which the renderer is made, is not counted."""
    watches = {look: Stopwatch() for look in envs}
    players = {look: play(env, Stopwatch()) for look, env in envs.items()}
    for look, env in envs.items():
        next(players[look])
        env.render()
    while min(watch.wall for watch in watches.values()) < seconds:
        for look, env in envs.items():
            for _ in range(TURN):
                next(players[look])
                with watches[look]:
                    env.render()
    return {look: watch.values() for look, watch in watches.items()}


def time_collecting(name: str, options: Options) -> dict[str, float]:
    """Episodes per second, for each number of workers."""
    from worldmodel.datasets.collect import collect

    rates = {}
    for workers in options.workers:
        with tempfile.TemporaryDirectory() as folder:
            path, size = Path(folder) / "a.h5", options.image_size
            begun = time.perf_counter()
            collect(name, path, options.episodes, options.steps, workers=workers, image_size=size)
            rates[str(workers)] = options.episodes / (time.perf_counter() - begun)
    return rates


def measure(name: str, options: Options) -> dict[str, Any]:
    """Everything about one environment, for JSON; what it lacks, where it cannot be made."""
    from worldmodel.envs import registry

    def make(**more: Any) -> Any:
        size = options.image_size
        return registry.make(name, image_size=size, observation="state", terminate_on_success=False, **more)

    try:
        env = make()
        looks = {look: make(render_preset=look) for look in env.unwrapped.presets}
        values = {"steps": time_steps(env, options.seconds), "pictures": time_pictures(looks, options.seconds)}
        for made in (env, *looks.values()):
            made.close()
        return {**values, "episodes": time_collecting(name, options) if options.episodes else {}}
    except WorldModelError as error:
        return {"error": str(error)}


def row(name: str, values: Mapping[str, Any]) -> list[str]:
    """A line of the table."""
    line = [name, f"{values['steps']['per_second']:.0f}"]
    cost = {look: picture["cpu_ms"] for look, picture in values["pictures"].items()}
    for look in ("fast", "official"):
        picture = values["pictures"].get(look)
        line += [f"{picture['per_second']:.0f}", f"{picture['cpu_ms']:.2f}"] if picture else ["-", "-"]
    line.append(f"{cost['official'] / cost['fast']:.1f}" if len(cost) == 2 else "-")
    return line + [f"{rate:.2f}" for rate in values["episodes"].values()]


def families() -> list[str]:
    """One environment of every family: the first of every domain of each suite."""
    from worldmodel.envs import registry

    return list({name.partition("-")[0]: name for name in [*registry.names(), GYM][::-1]}.values())[::-1]


def compare(options: Options) -> None:
    """Measure, print and write."""
    for option, least in (("seconds", 0.01), ("episodes", 0), ("steps", 1), ("image_size", 8)):
        if getattr(options, option) < least:
            name = option.replace("_", "-")
            raise BadValue(f"--{name}: expected {least} or more, got {getattr(options, option)}")
    import torch

    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.envs import registry
    from worldmodel.files import write_json

    with common.option("--envs"):
        named = [registry.short_name(name) for name in options.envs]
    names = [*registry.names(), GYM] if options.all else named or families()
    pictures = [f"{look} {unit}" for look in ("fast", "official") for unit in ("frames/s", "cpu-ms")]
    episodes = [f"episodes/s, {n} worker{'s' * (n > 1)}" for n in options.workers if options.episodes]
    rows, results = [["environment", "steps/s", *pictures, "ratio", *episodes]], {}
    with common.bar(len(names), "environment", "measure") as bar:
        for name in names:
            results[name] = measure(name, options)
            bar.update()
    measured = {name: values for name, values in results.items() if "error" not in values}
    rows += [row(name, values) for name, values in measured.items()]
    print(common.aligned(rows))
    for name in [name for name in results if name not in measured]:
        print(f"{name} not measured: {results[name]['error']}")
    settings = {name: getattr(options, name) for name in ("image_size", "seconds", "steps", "episodes")}
    drawn = {"MUJOCO_GL": os.environ.get("MUJOCO_GL")}
    write_json(options.json, {"environments": results, **settings, **drawn, **provenance(torch.device("cpu"))})
    print(f"numbers: {options.json}")


def main() -> None:
    """Entry point."""
    common.run(lambda: compare(common.parse(Options)))


if __name__ == "__main__":
    main()
