"""What the commands that diagnose a model share: their options, the model with held-out episodes, table and JSON."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from worldmodel.cli import common, plan
from worldmodel.cli.plan_options import Options, text
from worldmodel.errors import BadValue

if TYPE_CHECKING:
    import torch

    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.model import WorldModel


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Options of every diagnosis; a command's own are fields of a subclass."""

    model: Annotated[str | None, text("PATH", "newest run of the task")] = None
    """Run folder or model folder."""
    env: Annotated[str | None, text("NAME", "the model's")] = None
    """Task."""
    dataset: Annotated[str | None, text("PATH", "what the model was trained on, else data/<env>.h5")] = None
    """Episodes to judge it on."""
    split: str = "test"
    """Which of its episodes: test, validation or train."""
    seed: int = 0
    """Of everything that is drawn."""
    device: str = "auto"
    """auto, cpu, or an accelerator's name."""
    json: Annotated[str | None, text("FILE", "evaluation/<diagnosis>.json in the run folder")] = None
    """Write every number here."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to diagnose, with what it is judged on."""

    name: str  # of the diagnosis
    model: WorldModel  # in evaluation mode
    folder: Path  # its model folder
    env: str
    render_preset: str  # of the pictures it learned from
    store: EpisodeStore  # open
    split: str
    seed: int
    device: torch.device
    json: Path  # where the numbers go
    notes: Sequence[str]  # what is not known of the episodes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        from worldmodel.benchmarks.provenance import file_fingerprint

        return file_fingerprint(self.folder / "model.safetensors")

    @property
    def run(self) -> Path:
        """Run folder, or the model folder where it is in none."""
        return common.run_folder(self.folder)

    def task(self) -> Any:
        """The task itself, which draws the pictures that the model knows."""
        from worldmodel.envs.registry import make

        size = self.model.config.image_size
        return make(self.env, image_size=size, render_preset=self.render_preset).unwrapped

    def tell(self, values: Mapping[str, Any], rows: Sequence[Sequence[object]]) -> None:
        """Print the table; write the numbers and on what, with what and from which commit they were measured."""
        from worldmodel.benchmarks.provenance import provenance
        from worldmodel.files import write_json

        whole = {
            "diagnostic": self.name,
            "env": self.env,
            "model": {"path": str(self.folder), "fingerprint": self.fingerprint},
            "dataset": {"path": str(self.store.path), "fingerprint": self.store.fingerprint, "split": self.split},
            "seed": self.seed,
            "notes": list(self.notes),
            "command": shlex.join(["wm-bench", *sys.argv[1:]]),
            **values,
            **provenance(self.device),
        }
        print(common.aligned(rows))
        for note in self.notes:
            print(f"note: {note}")
        write_json(self.json, whole)
        print(f"numbers: {self.json}")


@contextmanager
def subject(name: str, options: Diagnosis, simulated: bool = True) -> Iterator[Subject]:
    """Find and load what the options name, with the checks of ``wm-plan``; gradients are off inside.

    Args:
        name: of the diagnosis, which the file is called after.
        options: of the command.
        simulated: whether it needs the task itself, not recorded episodes alone.
    """
    if options.seed < 0:
        raise BadValue(f"--seed: expected 0 or more, got {options.seed}")
    common.require_writable("--json", options.json)
    fields = ("model", "env", "dataset", "split", "device", "seed")
    chosen = Options(**{field: getattr(options, field) for field in fields})
    folder, about, env = plan.choose_model(chosen, simulated)
    path = Path(options.json or common.run_folder(folder) / "evaluation" / f"{name}.json")
    common.require_writable("--json", str(path))

    import torch

    from worldmodel.checkpoint import load_model

    device = common.device(options.device)
    with common.option("--model"):
        model = load_model(folder, device)
    look = plan.look_of(about, env, folder)[1] if common.is_simulated(env) else about.get("render_preset", "fast")
    size = model.config.image_size
    with plan.dataset(chosen, env, about.get("dataset") or {}, size, look) as store, torch.inference_mode():
        notes = plan.held_out(options.dataset, about, store, options.split)
        yield Subject(
            notes=notes,
            name=name,
            model=model,
            folder=folder,
            env=env,
            render_preset=look,
            store=store,
            split=options.split,
            seed=options.seed,
            device=device,
            json=path,
        )
