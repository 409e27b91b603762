"""The half of swm_roundtrip.py that runs where stable-worldmodel is installed and this package is not."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

FRAMES, STRIDE = 4, 5


def digests(pixels: np.ndarray, action: np.ndarray) -> tuple[str, str]:
    """SHA-256 of a window's pictures (4, S, S, 3) uint8, and of the actions between them (3, 5 a) float32."""
    between = action[: FRAMES - 1].astype("<f4")  # stable-worldmodel adds those after the last picture
    return hashlib.sha256(pixels.tobytes()).hexdigest(), hashlib.sha256(between.tobytes()).hexdigest()


def collect(env: str, path: str, episodes: int, steps: int, size: int, near: bool = False) -> dict[str, Any]:
    """Let stable-worldmodel collect episodes of random actions into an HDF5 file of its own.

    ``near`` takes its weak policy for PushT, which stays near the block; random actions soon leave the picture.
    """
    import stable_worldmodel
    from stable_worldmodel.envs.pusht import WeakPolicy
    from stable_worldmodel.policy import RandomPolicy

    world = stable_worldmodel.World(env, num_envs=2, image_shape=(size, size), max_episode_steps=steps)
    world.set_policy(WeakPolicy(seed=0) if near and "PushT" in env else RandomPolicy(0))
    world.collect(path, episodes=episodes, seed=0, format="hdf5", progress=False)
    return {}


def windows(name: str) -> dict[str, Any]:
    """Load a file as stable-worldmodel does; first row in the file -> digests of the window that begins there.

    Args:
        name: absolute path, or one relative to the folder ``datasets`` of ``STABLEWM_HOME``.
    """
    from stable_worldmodel.data import load_dataset

    dataset = load_dataset(name, num_steps=FRAMES, frameskip=STRIDE)
    found = {}
    for index, (episode, start) in enumerate(dataset.clip_indices):
        clip = dataset[index]
        pixels = clip["pixels"].permute(0, 2, 3, 1).numpy()
        found[int(dataset.offsets[episode]) + start] = digests(pixels, clip["action"].numpy())
    return {"columns": sorted(dataset.column_names), "windows": found}


def versions() -> dict[str, str]:
    """Versions there."""
    return {name: version(name) for name in ("stable-worldmodel", "torch", "h5py", "gymnasium", "pymunk")}


FUNCTIONS: dict[str, Callable[..., dict[str, Any]]] = {"collect": collect, "windows": windows, "versions": versions}

if __name__ == "__main__":
    answer = FUNCTIONS[sys.argv[1]](*json.loads(sys.argv[2]))
    print("\n" + json.dumps(answer))  # the last line: the packages above print too
