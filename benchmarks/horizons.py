"""Prefix against one-step on the same model: open-loop error, side by side at several horizons.

Run it as ``python -m worldmodel.benchmarks.horizons --model runs/pusht``. The error is that of held-out windows under
the demonstrator's actions, over the error of not moving at all (1 is as good as copying the last latent). What a plan
takes at these horizons says ``wm-bench speed --model runs/pusht --horizons 5 8 16 32``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.cli import common
from worldmodel.errors import BadValue

if TYPE_CHECKING:
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
    seed: int = 0
    """Of the windows."""
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


def table(values: Mapping[str, Any]) -> list[list[str]]:
    """Rows to print: one for each horizon."""
    rows = [["horizon", *(f"{name} error" for name in values["error"])]]
    for i, horizon in enumerate(values["horizons"]):
        rows.append([str(horizon), *(f"{errors[i]:.3f}" for errors in values["error"].values())])
    return rows


def compare(options: Options) -> None:
    """Measure, print and write."""
    if options.windows < 1:
        raise BadValue(f"--windows: expected 1 or more, got {options.windows}")
    if not options.horizons or min(options.horizons) < 1:
        raise BadValue(f"--horizons: expected numbers of 1 or more, got {options.horizons}")

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
    values: dict[str, Any] = {
        "env": model.config.env,
        "horizons": list(options.horizons),
        "error": error,
        "jumps": {n: [-(-h // model.predictor(n).max_prefix) for h in options.horizons] for n in model.predictors},
    }
    print(common.aligned(table(values)))
    path = Path(options.json or f"benchmarks/results/horizons-{model.config.env}.json")
    settings = {"windows": options.windows, "seed": options.seed}
    weights = {"path": str(folder), "fingerprint": file_fingerprint(folder / "model.safetensors")}
    write_json(path, {**values, **settings, "model": weights, "dataset": data, **provenance(device)})
    print(f"numbers: {path}")


def main() -> None:
    """Entry point."""
    common.run(lambda: compare(common.parse(Options)))


if __name__ == "__main__":
    main()
