"""What a training says when it has ended: how good the model is on held-out episodes, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from worldmodel.cli import common
from worldmodel.errors import UnknownName
from worldmodel.run import RunConfig

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


def summary(out: Path, model: WorldModel, steps: int, report: Mapping[str, float], config: RunConfig) -> str:
    """Lay out what is known of a finished training, and the command that uses it."""
    from worldmodel.cli.validation import HORIZONS

    rows = [
        ("steps", f"{steps}"),
        ("latent", f"std {report['std']:.2f}, effective rank {report['rank']:.0f} of {config.model.latent_dim}"),
    ]
    for name in model.predictors:
        known = [h for h in HORIZONS if f"{name}_error_{h}" in report]  # short episodes have no far ones
        ahead, errors = ", ".join(map(str, known)), ", ".join(f"{report[f'{name}_error_{h}']:.3f}" for h in known)
        rows.append((name, f"open-loop error {errors} of copy-last at {ahead} model steps, held out"))
        if known and f"{name}_sensitivity_{known[0]}" in report:
            times = ", ".join(f"{report[f'{name}_sensitivity_{h}']:.1f}" for h in known)
            rows.append(("", f"with shuffled actions {times} times that"))
    if "reward_r2" in report:
        rows.append(("reward", f"read from two latents and the actions between them, R^2 {report['reward_r2']:.3f}"))
    if "reflex_r2" in report:
        rows.append(("reflex", f"actions towards near goals, R^2 {report['reflex_r2']:.3f}, held out"))
    for kind in ("linear", "mlp"):
        if f"probe_{kind}" in report:
            r2, pixels, random = (report[f"probe_{control}{kind}"] for control in ("", "pixels_", "random_"))
            text = f"state read from the latent, R^2 {r2:.3f} (from pixels {pixels:.3f}, random encoder {random:.3f})"
            rows.append((f"{kind} probe", text))
    rows.append(("model", f"{out / 'model'}"))
    lines = [common.aligned(rows)]
    try:
        common.short_name(config.env)
        what = " --objective reward" if config.model.reward else ""
        lines.append(f"next: wm-plan --env {config.env} --model {out}{what}")
    except UnknownName:  # somebody's robot: nothing here simulates it
        lines.append(f"next: worldmodel.load({str(out)!r}).agent() plans from pictures of {config.env}")
    return "\n".join(lines)
