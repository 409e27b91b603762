"""``wm-doctor``: what this machine has, so that a question can be asked with the facts."""

from __future__ import annotations

import importlib
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import worldmodel
from worldmodel.cli import common

# Import name -> distribution. Each is imported, because an installed package can still fail to load.
PACKAGES = {
    "torch": "torch",
    "numpy": "numpy",
    "gymnasium": "gymnasium",
    "pymunk": "pymunk",
    "cv2": "opencv-python-headless",
    "h5py": "h5py",
}


def package(module: str, distribution: str) -> str:
    """Version of a package that loads, or why it does not."""
    try:
        loaded = importlib.import_module(module)
    except Exception as error:  # a broken native library raises whatever it likes
        return f"does not load: {type(error).__name__}: {error}".splitlines()[0]
    try:
        return str(getattr(loaded, "__version__", None) or version(distribution))
    except PackageNotFoundError:
        return "unknown version"


def devices(torch: Any) -> Iterator[tuple[str, str]]:
    """Where torch can compute, and how."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        yield "device", "cpu"
    else:
        name = torch.cuda.get_device_name() if accelerator.type == "cuda" else platform.processor()
        yield "device", f"{accelerator.type} ({name}), {torch.accelerator.device_count()} in all"
    yield "threads", str(torch.get_num_threads())
    from worldmodel.training import native_bf16

    yield "bf16 in the processor", "native" if native_bf16("auto", torch.device("cpu")) else "emulated, so not used"


def facts() -> Iterator[tuple[str, str]]:
    """Name and value of everything reported, in order."""
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    yield "worldmodel", f"{worldmodel.__version__} in {Path(worldmodel.__file__).parent}"
    for module, distribution in PACKAGES.items():
        yield module, package(module, distribution)
    try:
        import torch
    except Exception:  # said above
        yield "device", "unknown without torch"
    else:
        yield from devices(torch)
    disk = shutil.disk_usage(".")
    yield "disk free here", f"{disk.free / 1e9:.1f} GB of {disk.total / 1e9:.1f} GB"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Print versions, the torch device and the free disk of this machine."""


def doctor(options: Options) -> None:
    """Do what the options say."""
    print(common.aligned(list(facts())))


def main() -> None:
    """Entry point of ``wm-doctor``."""
    common.run(lambda: doctor(common.parse(Options)))


if __name__ == "__main__":
    main()
