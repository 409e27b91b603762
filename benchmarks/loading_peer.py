"""Windows per second of stable-worldmodel's HDF5 reader: fed to the interpreter of an environment which has it.

It reads settings as one line of JSON from its first argument, and prints the results as one line of JSON. It does not
import this package, which that environment need not have.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Readers: keys kept in memory, and worker processes of the DataLoader.
SETTINGS: dict[str, tuple[list[str], int]] = {
    "from the file": ([], 0),
    "from the file, actions in memory": (["action"], 0),
    "from the file, 2 workers": ([], 2),
    "all in memory": (["pixels", "action"], 0),
}


def write(source: str, target: str) -> None:
    """Write pixels and actions of a dataset as stable-worldmodel's own writer does."""
    import h5py
    from stable_worldmodel.data.formats.hdf5 import HDF5Writer

    half = target + ".tmp"
    with h5py.File(source) as file, HDF5Writer(half, mode="overwrite") as writer:
        for start, length in zip(file["ep_offset"][:], file["ep_len"][:]):
            writer.write_episode({name: file[name][start : start + length] for name in ("pixels", "action")})
    os.replace(half, target)


def measure(path: str, given: dict[str, Any], keys: list[str], workers: int) -> dict[str, float]:
    """Return windows per second and per CPU-second of shuffled batches, the first one left out."""
    from stable_worldmodel.data.formats.hdf5 import HDF5Dataset
    from torch.utils.data import DataLoader

    windows: Any = HDF5Dataset(
        path=path,
        num_steps=given["length"],
        frameskip=given["stride"],
        keys_to_load=["pixels", "action"],
        keys_to_cache=keys,
    )
    loader: Any = DataLoader(windows, batch_size=given["batch"], shuffle=True, drop_last=True, num_workers=workers)
    batches = iter(loader)
    next(batches)
    start, cpu, count = time.perf_counter(), _cpu(), 0
    while time.perf_counter() - start < given["seconds"]:
        try:
            next(batches)
        except StopIteration:
            batches = iter(loader)
            continue
        count += given["batch"]
    wall = time.perf_counter() - start
    del batches  # ends the workers, whose time counts from then on
    return {"windows_per_s": count / wall, "windows_per_cpu_s": count / (_cpu() - cpu)}


def _cpu() -> float:
    import resource  # POSIX

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Measure every setting on the file in the writer's own layout, and the plain one on the dataset as it is."""
    import torch

    torch.set_num_threads(1)
    given = json.loads(sys.argv[1])
    if not Path(given["own"]).exists():
        write(given["dataset"], given["own"])
    rates = {name: measure(given["own"], given, *setting) for name, setting in SETTINGS.items()}
    rates["from our file"] = measure(given["dataset"], given, [], 0)
    names = ("stable-worldmodel", "torch", "h5py")
    print(json.dumps({"rates": rates, "versions": {name: version(name) for name in names}}))


if __name__ == "__main__":
    main()
