"""``wm-bench geometry``: how the latent space is laid out, and whether wrong predictions explain failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from worldmodel.cli.diagnosis import Diagnosis, Subject, subject


@dataclass(frozen=True, kw_only=True)
class Geometry(Diagnosis):
    """Measure the latent space on held-out episodes, and predicted against reached latents in saved evaluations."""


def geometry(options: Annotated[Geometry, tyro.conf.arg(name="")]) -> None:
    """Measure the latent space on held-out episodes, and predicted against reached latents in saved evaluations."""
    with subject("geometry", options) as judged:
        from worldmodel.benchmarks import executed, geometry
        from worldmodel.benchmarks.heldout import episodes

        task = judged.task()
        seen = episodes(judged.model, judged.store, judged.split, judged.seed)
        values = geometry.measure(judged.model, seen, judged.store, task, judged.seed)
        values["executed"] = _executed(judged, task)
        judged.tell(values, [*geometry.rows(values), *executed.rows(values["executed"])])


def _executed(judged: Subject, task: Any) -> dict[str, Any]:
    """What saved evaluations of the model tell, by the name of their folder; those of other weights are left out."""
    from worldmodel.benchmarks import record
    from worldmodel.benchmarks.executed import examine

    found = {}
    for folder in record.find(judged.run) if task.restorable else ():
        saved = record.Record.load(folder)
        if saved.values["model"]["fingerprint"] == judged.fingerprint:
            found[folder.name] = examine(saved, judged.model, task, judged.seed)
        else:
            print(f"note: {folder} is of other weights, trained before; wm-plan writes it again")
    return found
