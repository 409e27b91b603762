"""``wm-doctor``: what this machine has, so that a question can be asked with the facts."""

from __future__ import annotations

import importlib
import multiprocessing
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
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
# Extra -> distributions, as in pyproject.toml; not imported, which takes seconds.
EXTRAS = {
    "mujoco": ("mujoco", "dm-control", "ogbench"),
    "gym": ("pygame",),
    "sb3": ("stable-baselines3",),
    "lerobot": ("pyarrow",),
    "minari": ("minari",),
    "hdf5plugin": ("hdf5plugin",),
    "wandb": ("wandb",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}
# Draws a ball in a process of its own, which a bad OpenGL may crash or hang.
PROBE = """
import os, time
from worldmodel.errors import WorldModelError
try:
    from worldmodel.envs.rendering import Renderer, mujoco
    scene = "<mujoco><worldbody><light pos='0 0 3'/><geom size='1'/></worldbody></mujoco>"
    model = mujoco.MjModel.from_xml_string(scene)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = Renderer(model, 64, "fast")
    black = not renderer.draw(data, -1).any()
    begun = time.perf_counter()
    for _ in range(20):
        renderer.draw(data, -1)
    name, ms = os.environ.get("MUJOCO_GL", "the system's"), 50 * (time.perf_counter() - begun)
    print("failed: pictures are black" if black else f"{name}, {ms:.1f} ms for a picture of 64 x 64")
except WorldModelError as error:
    print(f"failed: {error}")
"""
PROBE_SECONDS = 60.0
WITHOUT_ROOT = (
    "mkdir gl; cd gl;"
    " apt-get download $(apt-get install -s --no-install-recommends libosmesa6 | awk '/^Inst/ {print $2}');"
    ' for f in *.deb; do dpkg-deb -x "$f" .; done;'
    " export MUJOCO_GL=osmesa LD_LIBRARY_PATH=$PWD/usr/lib/$(uname -m)-linux-gnu"
)


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


def extra(name: str) -> str:
    """Versions of what an extra installs, and how to install what is missing."""
    found, missing = [], ""
    for distribution in EXTRAS[name]:
        try:
            found.append(f"{distribution} {version(distribution)}")
        except PackageNotFoundError:
            missing = f"pip install 'worldmodel[{name}]'"
    if not missing:
        return ", ".join(found)
    return f"{', '.join(found) or 'not installed'}: {missing}"


def opengl() -> Iterator[tuple[str, str]]:
    """Whether MuJoCo can draw, and what to do if it cannot; nothing where it is not installed."""
    if find_spec("mujoco") is None:
        return
    from worldmodel.envs.gl import APT

    call = [sys.executable, "-c", PROBE]
    try:
        ended = subprocess.run(call, capture_output=True, text=True, timeout=PROBE_SECONDS)
        said = (
            ended.stdout.strip() or f"failed: {(ended.stderr.strip() or f'exit {ended.returncode}').splitlines()[-1]}"
        )
    except subprocess.TimeoutExpired:
        said = f"failed: no picture within {PROBE_SECONDS:g} s"
    said, _, remedy = said.partition("; ")
    yield "opengl", said
    if remedy and APT not in remedy:
        yield "  remedy", remedy
    elif said.startswith("failed"):
        yield "  as root, once", APT
        yield "  without root", WITHOUT_ROOT


def devices(torch: Any) -> Iterator[tuple[str, str]]:
    """Where torch can compute, and how."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        yield "device", "cpu"
    else:
        name = torch.cuda.get_device_name() if accelerator.type == "cuda" else platform.processor()
        yield "device", f"{accelerator.type} ({name}), {torch.accelerator.device_count()} in all"
    yield "threads", str(torch.get_num_threads())
    from worldmodel.precision import native_bf16

    yield "bf16 in the processor", "native" if native_bf16("auto", torch.device("cpu")) else "emulated, so not used"


def facts() -> Iterator[tuple[str, str]]:
    """Name and value of everything reported, in order."""
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    yield "worldmodel", f"{worldmodel.__version__} in {Path(worldmodel.__file__).parent}"
    for module, distribution in PACKAGES.items():
        yield module, package(module, distribution)
    for name in EXTRAS:
        yield f"[{name}]", extra(name)
    yield from opengl()
    forks = multiprocessing.get_start_method() == "fork"
    yield "processes", "fork by default: once MuJoCo has drawn, start yours with spawn" if forks else "do not fork"
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
    """Print versions, whether MuJoCo can draw, the torch device and the free disk of this machine."""


def doctor(options: Options) -> None:
    """Do what the options say."""
    print(common.aligned(list(facts())))


def main() -> None:
    """Entry point of ``wm-doctor``."""
    common.run(lambda: doctor(common.parse(Options)))


if __name__ == "__main__":
    main()
