"""``wm-bench surprise``: does a model notice what its actions cannot have done?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from worldmodel.cli import common
from worldmodel.cli.diagnosis import Diagnosis, subject
from worldmodel.errors import BadFile, BadValue


@dataclass(frozen=True, kw_only=True)
class Surprise(Diagnosis):
    """Compare a model's surprise along held-out clips with that when a colour changes or something is elsewhere."""

    clips: int = 100
    """Clips, each with a change in its middle."""


def surprise(options: Annotated[Surprise, tyro.conf.arg(name="")]) -> None:
    """Compare a model's surprise along held-out clips with that when a colour changes or something is elsewhere."""
    if options.clips < 1:
        raise BadValue(f"--clips: expected 1 or more, got {options.clips}")
    with subject("surprise", options) as judged:
        from worldmodel.benchmarks import surprise

        task, config = judged.task(), judged.model.config
        if not task.restorable:
            raise BadValue(f"--env: {judged.env} cannot be put into a state, so nothing in its episodes can be changed")
        if "state" not in judged.store.columns:
            raise BadFile(f"{judged.store.path} has no column 'state', from which clips are drawn again")
        with common.bar(options.clips, "clip", f"surprise {judged.env}") as bar:
            shown = surprise.clips(
                judged.store, task, config.context, config.action_block, options.clips, judged.seed, judged.split,
                bar.update,
            )  # fmt: skip
        values = surprise.measure(judged.model, shown, judged.seed)
        judged.tell(values, surprise.rows(values))
