"""On what, with what and from which commit a number was measured."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import worldmodel
from worldmodel.datasets.processes import cores

PACKAGES = ("torch", "numpy", "gymnasium", "pymunk", "h5py", "mujoco", "dm-control", "ogbench", "stable-baselines3")


def provenance(device: torch.device) -> dict[str, Any]:
    """Hardware, versions, commit and date, ready for JSON."""
    return {
        "hardware": {
            "processor": processor(),
            "cores": cores(),
            "threads": torch.get_num_threads(),
            "device": str(device),
            "accelerator": accelerator(device),
        },
        "versions": {
            "python": platform.python_version(),
            "worldmodel": worldmodel.__version__,
            **{name: _version(name) for name in PACKAGES},
        },
        "commit": commit(),
        "date": datetime.now(UTC).isoformat("T", "seconds"),
    }


def accelerator(device: torch.device) -> str | None:
    """Name of an accelerator; None for the processor."""
    if device.type == "cpu":
        return None
    name = getattr(torch.get_device_module(device), "get_device_name", None)
    return name(device) if name else device.type


def processor() -> str:
    """Model name of the processor, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def commit() -> str | None:
    """What ``git describe`` says of the checkout the package lies in; None for an installed package."""
    root = Path(worldmodel.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        call = ["git", "-C", str(root), "describe", "--always", "--dirty", "--tags"]
        return subprocess.run(call, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def file_fingerprint(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
