"""Prefix against one-step on the same model: time of a plan and open-loop error, side by side at several horizons.

Run it as ``python -m worldmodel.benchmarks.horizons --model runs/pusht``. Every time is the median over repeats that
take turns between the predictors, for one environment; both search with the same settings and read the last step. The
error is that of held-out windows under the demonstrator's actions, over the error of not moving at all (1 is as good
as copying the last latent).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.cli import common
from worldmodel.errors import BadValue
from worldmodel.planners.config import CEMConfig

if TYPE_CHECKING:
    import torch

    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.model import WorldModel


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare the predictors of one model at several horizons."""

    model: str
    """Run folder or model folder."""
    dataset: str | None = None
    """Episodes for the error [what the model was trained on]."""
    horizons: tuple[int, ...] = (5, 8, 16, 32)
    """Model steps."""
    windows: int = 256
    """Held-out windows that the error is averaged over."""
    repeats: int = 5
    """Timed plans of each kind."""
    candidates: int = CEMConfig.candidates
    """Plans scored in each iteration."""
    iterations: int = CEMConfig.iterations
    """Iterations of the search."""
    seed: int = 0
    """Of windows and search."""
    device: str = "auto"
    """auto, cpu, or an accelerator's name."""
    json: str | None = None
    """Where the numbers go [benchmarks/results/horizons-<env>.json]."""


def open_loop(
    model: WorldModel, store: EpisodeStore, horizons: Sequence[int], count: int, seed: int
) -> dict[str, list[float]]:
    """Error of every predictor at each horizon, relative to copying the last latent, on held-out windows."""
    import torch

    from worldmodel.datasets.windows import Windows
    from worldmodel.diagnostics import open_loop_error
    from worldmodel.interfaces import Context

    C, H = model.config.context, max(horizons)
    windows = Windows(store, "test", C + H, model.config.action_block)
    chosen = np.random.default_rng(seed).choice(len(windows), min(count, len(windows)), replace=False)
    z_hat: dict[str, list[Any]] = {name: [] for name in model.predictors}
    z_true = []
    with torch.inference_mode():
        for part in np.array_split(np.sort(chosen), -(-len(chosen) // 32)):
            batch = {name: torch.from_numpy(x).to(model.device) for name, x in windows.batch(part).items()}
            z, actions = model.encode(batch), model.normalise(batch["action"])
            context = Context(z[:, :C], actions[:, : C - 1])
            z_true.append(z[:, C - 1 :])
            for name in model.predictors:
                z_hat[name].append(model.predictor(name).rollout(context, actions[:, None, C - 1 :])[:, 0])
    errors = {name: open_loop_error(torch.cat(paths), torch.cat(z_true)) for name, paths in z_hat.items()}
    return {name: [float(error[h - 1]) for h in horizons] for name, error in errors.items()}


def milliseconds(
    model: WorldModel, config: CEMConfig, horizons: Sequence[int], repeats: int, seed: int
) -> dict[str, list[float]]:
    """Median time of one plan for one environment, each predictor at each horizon; the first of each is not counted."""
    import torch

    from worldmodel.interfaces import Context
    from worldmodel.planners.cem import CEM
    from worldmodel.planners.costs import Cost
    from worldmodel.planners.objectives import GoalDistance

    device, D, C = model.device, model.config.latent_dim, model.config.context
    generator = torch.Generator(device).manual_seed(seed)
    z = torch.randn(2, C, D, generator=generator, device=device)  # what is planned from does not change the time
    context = Context(z[:1], torch.zeros(1, C - 1, len(model.low), device=device))
    planner = CEM(config, model.low, model.high, model.config.action_block)
    result: dict[str, list[float]] = {name: [] for name in model.predictors}
    for horizon in horizons:
        start = torch.zeros(1, horizon, len(model.low), device=device)
        times: dict[str, list[float]] = {name: [] for name in model.predictors}
        for _ in range(repeats + 1):
            for name in model.predictors:
                cost = Cost(model.predictor(name), GoalDistance(), context, z[1:, -1])
                with torch.inference_mode():
                    _wait(device)
                    begun = time.perf_counter()
                    planner.solve(cost, start, [generator])
                    _wait(device)
                times[name].append(1000 * (time.perf_counter() - begun))
        for name, taken in times.items():
            result[name].append(median(taken[1:]))
    return result


def _wait(device: torch.device) -> None:
    """Let the accelerator finish what it was given."""
    import torch

    if device.type != "cpu":
        torch.accelerator.synchronize()


def table(values: Mapping[str, Any]) -> list[list[str]]:
    """Rows to print: one for each horizon."""
    names = list(values["ms_per_plan"])
    both = {"one-step", "prefix"} <= set(names)
    head = ["horizon", *(f"{name} ms" for name in names), *(["times faster"] if both else [])]
    rows = [[*head, *(f"{name} error" for name in names)]]
    for i, horizon in enumerate(values["horizons"]):
        times = [f"{values['ms_per_plan'][name][i]:.1f}" for name in names]
        faster = [f"{values['times_faster'][i]:.2f}"] if both else []
        rows.append([str(horizon), *times, *faster, *(f"{values['error'][name][i]:.3f}" for name in names)])
    return rows


def compare(options: Options) -> None:
    """Measure, print and write."""
    for name in ("windows", "repeats"):
        if getattr(options, name) < 1:
            raise BadValue(f"--{name}: expected 1 or more, got {getattr(options, name)}")
    if not options.horizons or min(options.horizons) < 1:
        raise BadValue(f"--horizons: expected numbers of 1 or more, got {options.horizons}")
    elites = max(1, options.candidates // 10)
    with common.options_as_fields():
        config = CEMConfig(candidates=options.candidates, elites=elites, iterations=options.iterations)

    from worldmodel.benchmarks.provenance import file_fingerprint, provenance
    from worldmodel.checkpoint import load_model, model_folder, read_about
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.files import write_json

    device = common.device(options.device)
    with common.option("--model"):
        folder, about = model_folder(options.model), read_about(options.model)
        model = load_model(folder, device)
    episodes = options.dataset or (about.get("dataset") or {}).get("path") or f"data/{model.config.env}.h5"
    with common.option("--dataset"), EpisodeStore(episodes) as store:
        error = open_loop(model, store, options.horizons, options.windows, options.seed)
        data = {"path": str(store.path), "fingerprint": store.fingerprint}
    taken = milliseconds(model, config, options.horizons, options.repeats, options.seed)
    values: dict[str, Any] = {
        "env": model.config.env,
        "horizons": list(options.horizons),
        "ms_per_plan": taken,
        "error": error,
        "jumps": {n: [-(-h // model.predictor(n).max_prefix) for h in options.horizons] for n in model.predictors},
    }
    if {"one-step", "prefix"} <= set(taken):
        values["times_faster"] = [one / prefix for one, prefix in zip(taken["one-step"], taken["prefix"])]
    print(common.aligned(table(values)))
    path = Path(options.json or f"benchmarks/results/horizons-{model.config.env}.json")
    settings = {"search": asdict(config), "windows": options.windows, "repeats": options.repeats, "seed": options.seed}
    weights = {"path": str(folder), "fingerprint": file_fingerprint(folder / "model.safetensors")}
    write_json(path, {**values, **settings, "model": weights, "dataset": data, **provenance(device)})
    print(f"numbers: {path}")


def main() -> None:
    """Entry point."""
    common.run(lambda: compare(common.parse(Options)))


if __name__ == "__main__":
    main()
