"""``wm-bench probe``: what can be read from a model's latents, and from what has learned nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from worldmodel.cli.diagnosis import Diagnosis, subject
from worldmodel.errors import BadValue


@dataclass(frozen=True, kw_only=True)
class Probe(Diagnosis):
    """Read recorded numbers of the state from latents, from pixels and from an encoder that was never trained."""

    fit: int = 2000
    """Frames of training episodes that probes are fitted on."""
    frames: int = 2000
    """Frames of other episodes that they are judged on."""


def probe(options: Annotated[Probe, tyro.conf.arg(name="")]) -> None:
    """Read recorded numbers of the state from latents, from pixels and from an encoder that was never trained."""
    for name in ("fit", "frames"):
        if getattr(options, name) < 2:
            raise BadValue(f"--{name}: expected 2 or more, got {getattr(options, name)}")
    if options.split == "train":
        raise BadValue("--split: probes are fitted on the train episodes; judge them on test or validation")
    with subject("probe", options, simulated=False) as judged:
        from worldmodel.benchmarks import probe

        split, seed = judged.split, judged.seed
        values = probe.measure(judged.model, judged.store, options.fit, options.frames, split, seed)
        judged.tell(values, probe.rows(values))
        print("pixels, random: R2 of the same probe on the frame averaged down, and on an untrained encoder's latent")
        if values["left_out"]:
            print(f"left out, since they never vary: {', '.join(values['left_out'])}")
