"""Does the number of worker processes, or of environments in lock-step, change any outcome?

Run it as ``python -m worldmodel.benchmarks.workers --model RUN``: the same pairs by every number of workers, with every
number of environments together, compared episode by episode with the first setting: success, steps and, where they are
recorded, states and actions, bit for bit. Floors and ceiling too.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.cli import common


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare evaluations by several worker processes, episode by episode."""

    model: str
    """Run folder or model folder."""
    dataset: str | None = None
    """Episodes to take the pairs from [what the model was trained on]."""
    episodes: int = 40
    """Start and goal pairs."""
    offset: int = 25
    """Environment steps from start to goal; the budget is twice as long."""
    seed: int = 0
    """Of the pairs, the search and the random policy."""
    workers: tuple[int, ...] = (1, 2, 4)
    """Numbers of processes."""
    together: tuple[int, ...] = (1, 50)
    """Numbers of environments in lock-step in each of them."""
    candidates: int = 64
    """Plans scored in an iteration."""
    json: str = "benchmarks/results/workers.json"
    """Where the numbers go."""


def identical(one: Any, two: Any) -> np.ndarray:
    """Episodes (n,) on which two outcomes agree in every array they keep, to the last bit."""
    same = np.ones(len(one.success), bool)
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if isinstance(a, np.ndarray):
            same &= np.array([x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)])
    return same


def compare(options: Options) -> None:
    """Do what the options say."""
    import torch

    from worldmodel.benchmarks.evaluate import evaluate, floors_and_ceiling
    from worldmodel.benchmarks.pairs import sample_pairs
    from worldmodel.benchmarks.provenance import file_fingerprint, provenance
    from worldmodel.checkpoint import load_model, model_folder, read_about
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.envs import registry
    from worldmodel.files import write_json
    from worldmodel.planners.stats import Stats

    common.require_writable("--json", options.json)
    with common.option("--model"):
        folder, about = model_folder(Path(options.model)), read_about(Path(options.model))
        model = load_model(folder, torch.device("cpu"))
    env, look = str(about["env"]), {"render_preset": about.get("render_preset", "fast")}
    path = options.dataset or (about.get("dataset") or {}).get("path") or common.default_file(env)
    task = registry.make(env, observation="state").unwrapped
    with common.option("--dataset"), EpisodeStore(Path(path)) as store:
        pairs = sample_pairs(store, task, options.offset, options.episodes, options.seed)
    agent = model.agent(seed=options.seed, goal_offset=options.offset, candidates=options.candidates)
    budget, size = 2 * options.offset, model.config.image_size
    settings = [(workers, together) for workers in options.workers for together in options.together]
    first: Any = None
    rows = []
    for workers, together in settings:
        agent.stats, begun = Stats(), time.perf_counter()
        with common.bar(len(pairs) * budget, "step", f"{workers} workers, {together} together") as bar:
            outcome = evaluate(agent, env, pairs, budget, size, 0, together, bar.update, workers=workers, **look)
        seconds = time.perf_counter() - begun
        floors = floors_and_ceiling(env, pairs, budget, options.seed, workers=workers)
        first = first or (outcome, floors)
        rows.append(
            {
                "workers": workers,
                "together": together,
                "n": len(pairs),
                "success": outcome.rate,
                "identical": int(identical(first[0], outcome).sum()),
                **{f"identical_{name}": int(identical(first[1][name], floors[name]).sum()) for name in floors},
                "plans": agent.stats.plans,
                "seconds": seconds,
            }
        )
    header = ("workers", "together", "success %", "identical episodes", "random", "noop", "replay", "plans", "seconds")
    table = [
        (row["workers"], row["together"], f"{100 * row['success']:.1f}", f"{row['identical']} of {row['n']}")
        + tuple(f"{row[f'identical_{name}']} of {row['n']}" for name in ("random", "noop", "replay"))
        + (row["plans"], f"{row['seconds']:.1f}")
        for row in rows
    ]
    print(common.aligned([header, *table]))
    weights = {"path": str(folder), "fingerprint": file_fingerprint(folder / "model.safetensors")}
    told = dataclasses.asdict(options) | {"dataset": str(path), "env": env, "budget": budget}
    write_json(options.json, {"rows": rows, **told, "model": weights, **provenance(torch.device("cpu"))})
    print(f"numbers: {options.json}")


def main() -> None:
    """Entry point."""
    common.run(lambda: compare(common.parse(Options)))


if __name__ == "__main__":
    main()
