"""Run folders: where a training keeps its configuration, metrics, resumable state and model.

``runs/pusht/`` holds ``config.yaml`` (resolved; training can be rerun from it), ``metrics.jsonl``, TensorBoard files,
``state/`` and, when the training has ended, ``model/``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from worldmodel.config import LossConfig, ModelConfig, RoundConfig, TrainConfig
from worldmodel.errors import BadFile
from worldmodel.files import replacing
from worldmodel.plain import from_dict, to_dict


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a training run computes."""

    env: str
    recipe: str
    preset: str
    dataset: str
    fingerprint: str = ""  # of the dataset, so that a run is not resumed on other data
    learned: tuple[str, ...] = ()  # fingerprints of the datasets that it has learned from before, if it was continued
    begin: int = 0  # step that the learning-rate schedule and train.steps count from: where it was continued
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    online: int = 0  # rounds in which it gathers data of its own
    round: RoundConfig = field(default_factory=RoundConfig)


def write_config(path: Path, config: RunConfig) -> None:
    """Write a run's configuration as YAML, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(to_dict(config), sort_keys=False))


def read_config(path: Path) -> RunConfig:
    """Read a run's configuration.

    Raises:
        BadFile: missing or not a run configuration.
        UnknownName: a setting that does not exist.
    """
    try:
        values: Any = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise BadFile(f"no such configuration: {path}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadFile(f"{path} is not readable YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict) or not {"env", "recipe", "preset", "dataset"} <= set(values):
        raise BadFile(f"{path} is not the configuration of a training run")
    return from_dict(RunConfig, values)
