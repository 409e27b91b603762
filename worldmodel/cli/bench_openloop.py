"""``wm-bench openloop``: how far ahead the predictors of a model can be believed, on held-out episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from worldmodel.cli.diagnosis import Diagnosis, subject
from worldmodel.errors import BadValue


@dataclass(frozen=True, kw_only=True)
class OpenLoop(Diagnosis):
    """Measure open-loop latent error against horizon, over that of copying the last latent, and action sensitivity."""

    horizons: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 16, 24, 32)
    """Model steps ahead; those that the held-out episodes do not reach are left out."""


def openloop(options: Annotated[OpenLoop, tyro.conf.arg(name="")]) -> None:
    """Measure open-loop latent error against horizon, over that of copying the last latent, and action sensitivity."""
    if not options.horizons or min(options.horizons) < 1:
        raise BadValue(f"--horizons: expected numbers of 1 or more, got {options.horizons}")
    with subject("openloop", options, simulated=False) as judged:
        from worldmodel.benchmarks import openloop
        from worldmodel.benchmarks.heldout import episodes

        seen = episodes(judged.model, judged.store, judged.split, judged.seed)
        values = openloop.measure(judged.model, seen, options.horizons, judged.seed)
        judged.tell(values, openloop.rows(values))
