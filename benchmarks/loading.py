"""How fast windows are loaded: from the decoded cache, streamed from the file, and by stable-worldmodel's reader.

Run it as ``python -m worldmodel.benchmarks.loading --peer PYTHON``, where PYTHON is the interpreter of an environment
which has stable-worldmodel; without it only ours is measured. It collects a PushT set of each size, and every reader
draws shuffled batches of the same windows in turn, several times; the median counts. Files lie in the page cache. A
CPU-second is one of all processes together, and moves less than a second when others use the machine too. The peer
reads a file in its own layout, uncompressed, and ours as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from worldmodel.cli import common
from worldmodel.errors import BadFile, BadValue
from worldmodel.files import write_json

Rates = dict[str, dict[str, float]]  # reader -> windows_per_s, windows_per_cpu_s
BASE = "stable-worldmodel, from the file"  # what the last column is a ratio to
_LAYOUT = "stable-worldmodel, "


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure how fast windows are loaded."""

    peer: str | None = None
    """Interpreter of an environment which has stable-worldmodel [only ours is measured]."""
    frames: tuple[int, int] = (100_000, 5_000)
    """Rows of the 64 px and of the 224 px set."""
    batch: int = 64
    """Windows in a batch."""
    length: int = 4
    """Frames in a window."""
    stride: int = 5
    """Environment steps between two frames."""
    seconds: float = 3.0
    """For each reader in each round."""
    rounds: int = 3
    """Turns of all readers."""
    folder: str = ""
    """Where the datasets are made and kept, a few GB [a temporary folder]."""
    json: str = "benchmarks/results/loading.json"
    """Where the numbers go."""


def rate(batch: Callable[[np.ndarray], object], windows: int, size: int, seconds: float) -> dict[str, float]:
    """Draw shuffled batches for some seconds: windows per second, and per CPU-second of this process."""
    rng = np.random.default_rng(0)
    batch(rng.integers(windows, size=size))  # opens what is opened late
    start, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        batch(rng.integers(windows, size=size))
        count += size
    wall, used = time.perf_counter() - start, time.process_time() - cpu
    return {"windows_per_s": count / wall, "windows_per_cpu_s": count / used}


def ours(path: Path, options: Options) -> Rates:
    """Rates of the cache and of streaming, as PyTorch tensors (B, T, S, S, 3) and actions."""
    import torch

    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.datasets.windows import Windows

    rates = {}
    for name, cache in (("ours, cached", True), ("ours, streamed", False)):
        with EpisodeStore(path) as store:
            windows = Windows(store, "train", options.length, options.stride, cache=cache)

        def batch(indices: np.ndarray, windows: Windows = windows) -> dict[str, torch.Tensor]:
            return {column: torch.from_numpy(values) for column, values in windows.batch(indices).items()}

        rates[name] = rate(batch, len(windows), options.batch, options.seconds)
    return rates


def peers(path: Path, options: Options) -> dict[str, Any]:
    """Rates and versions of stable-worldmodel on the same rows.

    Raises:
        BadFile: the other environment cannot do it; the last line it said.
    """
    given = {name: getattr(options, name) for name in ("length", "stride", "batch", "seconds")}
    given |= {"dataset": str(path.resolve()), "own": str(own_layout(path))}
    answer = feed(str(options.peer), Path(__file__).with_name("loading_peer.py"), given)
    return {**answer, "rates": {f"{_LAYOUT}{name}": value for name, value in answer["rates"].items()}}


def own_layout(path: Path) -> Path:
    """Where the peer's own layout of a dataset is written, once."""
    return path.resolve().with_suffix(".swm.h5")


def feed(python: str, source: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run a file in the interpreter of another environment: settings and answer are lines of JSON.

    Nothing of this package is there but ``clocks.py``, under its own name, so that both sides are timed alike.

    Raises:
        BadFile: the other environment cannot do it; the last line it said.
    """
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    call = [python, "-", json.dumps(given)]
    with TemporaryDirectory(prefix="worldmodel-peer-") as folder:  # where nothing hides its packages
        clocks = Path(folder) / "worldmodel" / "benchmarks" / "clocks.py"
        clocks.parent.mkdir(parents=True)
        clocks.write_text(Path(__file__).with_name(clocks.name).read_text())
        try:
            done = subprocess.run(
                call, input=source.read_text(), capture_output=True, text=True, cwd=folder, env=surroundings
            )
        except OSError as error:
            raise BadFile(f"--peer: cannot run {python}: {error.strerror}") from error
    if done.returncode:
        raise BadFile(f"--peer: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(path: Path, options: Options) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure all readers on one dataset; return the numbers and the versions of the peer's packages."""
    from worldmodel.datasets.store import EpisodeStore

    seen: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    versions: dict[str, str] = {}
    for _ in range(options.rounds):
        found = ours(path, options)
        if options.peer:
            answer = peers(path, options)
            found |= answer["rates"]
            versions = answer["versions"]
        for name, rates in found.items():
            seen[name].append(rates)
    readers = {name: {key: median(one[key] for one in rates) for key in rates[0]} for name, rates in seen.items()}
    if BASE in readers:
        base = readers[BASE]["windows_per_cpu_s"]
        for values in readers.values():
            values["times_peer"] = values["windows_per_cpu_s"] / base
    with EpisodeStore(path) as store:
        size = path.stat().st_size
        facts = {"frames": store.rows, "megabytes": size / 1e6, "bytes_per_frame": size / store.rows}
    return {**facts, "readers": readers}, versions


def rows(sizes: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table: one line for each size and reader."""
    table: list[tuple[str, ...]] = [("px", "reader", "windows/s", "per CPU-second", "times the peer")]
    for size, found in sizes.items():
        for name, values in found["readers"].items():
            times = f"{values['times_peer']:.1f}" if "times_peer" in values else "not measured"
            table.append((size, name, f"{values['windows_per_s']:,.0f}", f"{values['windows_per_cpu_s']:,.0f}", times))
    return table


def main() -> None:
    """Entry point."""
    common.run(lambda: _main(common.parse(Options)))


def _main(options: Options) -> None:
    import torch

    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.cli.data import collect_with_bar

    for name in ("batch", "length", "stride", "rounds", "seconds"):
        if getattr(options, name) <= 0:
            raise BadValue(f"--{name}: expected more than 0, got {getattr(options, name)}")
    if min(options.frames) < 200:
        raise BadValue(f"--frames: expected at least 200 each, got {min(options.frames)}")
    torch.set_num_threads(1)
    sizes: dict[str, Any] = {}
    versions: dict[str, str] = {}
    with TemporaryDirectory(prefix="worldmodel-loading-") as temporary:
        for pixels, frames in zip((64, 224), options.frames):
            path = Path(options.folder or temporary) / f"pusht-{pixels}.h5"
            collect_with_bar("pusht", path, frames // 200, steps=199, image_size=pixels)
            sizes[str(pixels)], versions = measure(path, options)
    print(common.aligned(rows(sizes)))
    for size, found in sizes.items():
        print(f"{size} px: {found['frames']} frames in {found['megabytes']:.1f} MB")
    settings = {name: value for name, value in asdict(options).items() if name not in ("peer", "folder", "json")}
    made_with = provenance(torch.device("cpu"))
    result = {"settings": settings, "sizes": sizes, "peer_versions": versions, **made_with}
    write_json(options.json, result)
    print(options.json)


if __name__ == "__main__":
    main()
