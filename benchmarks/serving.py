"""A robot at a fixed rate: what serving keeps of its ticks, its plans, its memory and its success.

Run it as ``python -m worldmodel.benchmarks.serving --model runs/two-room --minutes 10 --hz 20``. The robot is a task
whose physics advance every 1 / hz seconds in a thread of their own, whatever the controller does; where no command has
come they go on with the last one. It is put at the start of one held-out pair after another, whose first visits are
what success counts; the time that the first plan takes counts, and the budget is that of ``wm-plan``, whose success on
the same pairs, where the world waits for every plan, stands beside. ``--model`` may also be what ``wm-model export``
wrote: then nothing is planned with torch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.cli import common
from worldmodel.errors import BadValue

if TYPE_CHECKING:
    from worldmodel.benchmarks.pairs import Pairs
    from worldmodel.benchmarks.settings import Setting


@dataclass(frozen=True, kw_only=True)
class Options:
    """Serve a simulated robot in real time."""

    model: str
    """Run folder, model folder, or a folder of exported ONNX graphs."""
    dataset: str | None = None
    """Episodes to take starts and goals from [what the model was trained on]."""
    minutes: float = 10.0
    """How long."""
    hz: float = 20.0
    """Ticks in a second, of the robot's physics too."""
    every: int | None = None
    """Ticks from one solve to the next, at least [a model step]."""
    setting: str = "cem"
    """A planner, and options of it and of the agent, such as "cem iterations=5 deadline_ms=60"."""
    episodes: int = 200
    """Pairs of starts and goals, which are gone through again and again."""
    offset: int = 25
    """Environment steps from start to goal."""
    budget: int = 50
    """Environment steps allowed."""
    seed: int = 0
    """Of the pairs."""
    json: str | None = None
    """Where the numbers go [benchmarks/results/serving-<env>.json]."""


class Robot(threading.Thread):
    """Stands for hardware: its time passes whether or not somebody commands it.

    Args:
        env: the task, made with ``terminate_on_success=False``.
        pairs: starts and goals, one after another.
        hz: steps in a second.
        budget: steps allowed for each pair.

    Attributes:
        seen: number of the episode, picture, and the goal's picture.
        success: of each episode that is over; of the first len(pairs), one for each pair.
    """

    _command: np.ndarray | None

    def __init__(self, env: Any, pairs: Pairs, hz: float, budget: int) -> None:
        super().__init__(name="robot", daemon=True)
        self.env, self.pairs, self.hz, self.budget = env, pairs, hz, budget
        self.success: list[bool] = []
        self.commanded = self.steps = 0  # steps with a new command, and all
        self.ended = threading.Event()
        self._place()

    def act(self, action: np.ndarray) -> None:
        """Command it."""
        self._command = action

    def advance(self) -> None:
        """One step, by the new command or again by the last; a pair that is over makes place for the next."""
        command, self._command = self._command, None
        if command is not None:
            self._last = command
            self.commanded += 1
        observation, _, _, _, info = self.env.step(self._last)
        self.steps += 1
        self._taken += 1
        self.seen = (len(self.success), observation["pixels"], observation["goal"])
        if info["success"] or self._taken == self.budget:
            self.success.append(bool(info["success"]))
            self._place()

    def run(self) -> None:
        """Advance at fixed times until ``ended`` is set."""
        begin = time.perf_counter()
        for step in count(1):
            if self.ended.wait(max(0.0, begin + step / self.hz - time.perf_counter())):
                return
            self.advance()

    def _place(self) -> None:
        """Put it at the start of the next pair, at rest."""
        from worldmodel.benchmarks.evaluate import at_start

        observation, _ = at_start(self.env, self.pairs, len(self.success) % len(self.pairs))
        self._command = None
        self._last = np.zeros(self.env.action_space.shape, np.float32)
        self._taken = 0
        self.seen = (len(self.success), observation["pixels"], observation["goal"])


def serve(options: Options) -> None:
    """Serve, print and write."""
    if not 0 < options.minutes < float("inf"):
        raise BadValue(f"--minutes: expected a finite number above 0, got {options.minutes}")
    common.require_writable("--json", options.json)

    import torch

    from worldmodel.benchmarks.evaluate import evaluate
    from worldmodel.benchmarks.pairs import sample_pairs
    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.benchmarks.report import proportion
    from worldmodel.benchmarks.settings import parse
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.envs import registry
    from worldmodel.files import write_json
    from worldmodel.planners.serving import Controller
    from worldmodel.planners.serving_report import resident_mib

    with common.option("--setting"):
        setting = parse(options.setting)
    with common.option("--model"):
        agent, about = _agent(options.model, setting)
    look = {"image_size": about["image_size"], "render_preset": about.get("render_preset", "fast")}
    episodes = options.dataset or (about.get("dataset") or {}).get("path") or common.default_file(about["env"])
    env = registry.make(about["env"], terminate_on_success=False, max_episode_steps=10**9, **look)
    with common.option("--dataset"), EpisodeStore(episodes) as store, common.options_as_fields():
        pairs = sample_pairs(store, env.unwrapped, options.offset, options.episodes, options.seed)
        data = {"path": str(store.path), "fingerprint": store.fingerprint}

    robot = Robot(env, pairs, options.hz, options.budget)
    here, pixels, goal = robot.seen
    memory: list[float] = []  # MiB, every second
    with common.options_as_fields():
        first, controller = (
            Controller(agent, options.hz, goal, options.every, np.zeros_like(robot.env.action_space.low))
            for _ in range(2)
        )
    first.tick(pixels)  # what is made only once takes as long as it likes
    first.close()

    def read() -> np.ndarray:
        nonlocal here
        assert robot.is_alive()
        episode, pixels, goal = robot.seen
        if episode != here:
            here = episode
            controller.aim(goal, afresh=True)
        if controller.counts.ticks >= len(memory) * options.hz:
            memory.append(resident_mib())
        return pixels

    robot.start()
    report = controller.run(read, robot.act, 60 * options.minutes)
    robot.ended.set()
    robot.join()

    values: dict[str, Any] = {
        "env": about["env"],
        "torch": not hasattr(agent, "graphs"),
        "setting": options.setting,
        **{name: getattr(options, name) for name in ("minutes", "hz", "offset", "budget", "seed")},
        "every": controller.every,
        **asdict(report),
        "physics_steps": robot.steps,
        "commanded": robot.commanded,
        "memory_mib_by_minute": [float(np.mean(memory[i : i + 60])) for i in range(0, len(memory), 60)],
        "pairs": len(pairs),
        "visits": len(robot.success),
        **proportion(np.array(robot.success[: len(pairs)], bool)),  # a pair that comes again says little that is new
    }
    if values["torch"]:
        values["waiting"] = proportion(evaluate(agent, about["env"], pairs, options.budget, **look).success)
    print(common.aligned(list(_table(values))))
    path = Path(options.json or f"benchmarks/results/serving-{registry.file_name(about['env'])}.json")
    write_json(path, {**values, "model": options.model, "dataset": data, **provenance(torch.device("cpu"))})
    print(f"numbers: {path}")


def _agent(model: str, setting: Setting) -> tuple[Any, dict[str, Any]]:
    """The agent, and what its folder says."""
    from worldmodel.files import read_json

    if (Path(model) / "config.json").is_file() and "graphs" in (about := read_json(Path(model) / "config.json")):
        from worldmodel.planners.onnx_agent import OnnxAgent

        return OnnxAgent(model, threads=1, **{k: v for k, v in setting.options.items() if k != "planner"}), about

    from worldmodel.checkpoint import load_model, read_about

    loaded = load_model(model)
    return setting.agent(loaded), {**read_about(model), "image_size": loaded.config.image_size}


def _table(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    first, last = values["memory_mib_by_minute"][0], values["memory_mib_by_minute"][-1]
    yield "ticks", f"{values['ticks']} at {values['hz']:g} Hz, {values['missed']} missed"
    yield "jitter", f"p50 {values['jitter_p50_ms']:.2f} ms, p99 {values['jitter_p99_ms']:.2f} ms"
    yield "plans", f"{values['plans']}, p50 {values['plan_p50_ms']:.1f} ms, p99 {values['plan_p99_ms']:.1f} ms"
    yield "late", f"{values['late']} solves, {values['fallback']} ticks on the last plan, {values['held']} without one"
    yield "memory", f"{first:.1f} MiB in the first minute, {last:.1f} MiB in the last"
    for label, found in (("goals reached", values), ("in a world that waits", values.get("waiting"))):
        if found and found["n"]:
            yield label, "{success:.1%} [{low:.1%}, {high:.1%}] of {n}".format(**found)


def main() -> None:
    """Entry point."""
    common.run(lambda: serve(common.parse(Options)))


if __name__ == "__main__":
    main()
