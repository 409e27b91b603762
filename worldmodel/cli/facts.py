"""What a model remembers of how it came to be: the episodes it learned from, and the training."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from worldmodel.datasets.store import EpisodeStore


def learned_from(store: EpisodeStore) -> dict[str, Any]:
    """What is to know of a dataset; ``command`` makes it again, if one command made it."""
    facts = {"path": str(store.path), "fingerprint": store.fingerprint, "episodes": len(store), "rows": store.rows}
    facts |= {"policies": store.attrs["policies"]} if "policies" in store.attrs else {}
    return facts | ({"command": command} if (command := collecting(store)) else {})


def collecting(store: EpisodeStore) -> str | None:
    """The command that collects a dataset again; None of one that was converted, merged, or has grown."""
    from worldmodel.datasets.collect import Recipe

    told = Recipe.__dataclass_fields__.keys() - {"version", "variation"}
    if not told | {"policies"} <= store.attrs.keys() or {"source_format", "sources", "grown_from"} & store.attrs.keys():
        return None
    line = ["wm-data", "collect", "--env", store.env, "--episodes", len(store)]
    for name in ("steps", "seed", "image_size", "render_preset", "variation"):
        line += [f"--{name.replace('_', '-')}", store.attrs[name]] if name in store.attrs else []
    return shlex.join(map(str, [*line, "--out", store.path]))


def trained_by(run: Path, device: torch.device, begin: int, steps: int) -> dict[str, Any]:
    """Commands, minutes, hardware, versions, commit and date of the training that has just ended in a run folder.

    A training that was finished, and made longer by ``--resume``, has the commands of both; of one that was interrupted
    only the last is known.

    Args:
        run: the folder, which may still hold an older model.
        device: where it was trained.
        begin: steps of earlier trainings, whose commands and minutes are noted as ``before``, the first one first.
        steps: that have been done by now.
    """
    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.checkpoint import read_about
    from worldmodel.training import saved_minutes

    command = shlex.join(["wm-train", *sys.argv[1:]])
    about = read_about(run) if (run / "model" / "config.json").is_file() else {}
    told = about.get("training") or {}
    before = [*told.get("before", [])]
    if told and about["steps"] <= begin:
        before.append({name: told[name] for name in ("command", "minutes") if name in told})
    elif told:
        command = told["command"] if about["steps"] == steps else f"{told['command']}; {command}"
    return {"command": command, "minutes": saved_minutes(run), **provenance(device), "before": before}
