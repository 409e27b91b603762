"""Do stable-worldmodel and this package read the same windows from each other's files?

Run it as ``python -m worldmodel.benchmarks.swm_roundtrip --peer PYTHON``, PYTHON being that of an environment with
stable-worldmodel installed (``pip install stable-worldmodel[format,env]``). A window is 4 pictures 5 steps apart and
the actions between them; windows are matched by their first row and compared bit for bit.

- ours -> swm: our collection, as it is, against what its ``load_dataset`` gives.
- swm -> ours: its ``World.collect`` into HDF5, against what `convert` and `Windows` give. The states are checked too:
  our drawing of the converted state must be nearer to its picture than to one of another episode.

stable-worldmodel wants four more rows for a window, whose actions follow the last picture, and so has four windows
fewer in an episode.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.benchmarks import swm_peer
from worldmodel.benchmarks.swm_peer import FRAMES, STRIDE
from worldmodel.cli import common
from worldmodel.errors import BadFile, BadValue

if TYPE_CHECKING:
    from worldmodel.datasets.store import EpisodeStore

TASKS = {"pusht": "swm/PushT-v1", "two-room": "swm/TwoRoom-v1"}
EPISODES, STEPS, SIZE = 12, 60, 64


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare windows with stable-worldmodel."""

    peer: str
    """Python of an environment with stable-worldmodel."""
    json: str = "benchmarks/results/swm-roundtrip.json"
    """Where the numbers go."""


def call(
    peer: str, home: Path, function: str, *arguments: Any, file: str | None = None, path: str | None = None
) -> Any:
    """Call a function of swm_peer.py, or of another file, in the other environment, with ``path`` to import from."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"STABLEWM_HOME": str(home)}
    env |= {} if path is None else {"PYTHONPATH": path}
    command = [peer, file or str(swm_peer.__file__), function, json.dumps(arguments)]
    try:
        done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadValue(f"--peer: cannot run {peer}: {error}") from error
    if done.returncode:
        raise BadFile(f"--peer: {function} failed there: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def our_windows(store: EpisodeStore) -> dict[int, tuple[str, str]]:
    """First row -> digests of every window of every split."""
    from worldmodel.datasets.windows import Windows

    found = {}
    for split in range(3):
        windows = Windows(store, split, FRAMES, STRIDE)
        batch = windows.batch(np.arange(len(windows)))
        for start, pixels, action in zip(windows.starts.tolist(), batch["pixels"], batch["action"]):
            found[start] = swm_peer.digests(pixels, action)
    return found


def compared(ours: dict[int, tuple[str, str]], theirs: dict[str, list[str]]) -> dict[str, int]:
    """Count windows and how many of stable-worldmodel's are ours too."""
    same = [[a == b for a, b in zip(ours.get(int(row), ("", "")), window)] for row, window in theirs.items()]
    return {
        "windows": len(ours),
        "windows_swm": len(theirs),
        "same_pixels": sum(pixels for pixels, _ in same),
        "same_actions": sum(actions for _, actions in same),
    }


def drawn(store: EpisodeStore, env: str) -> dict[str, float]:
    """Mean absolute difference (of 255) of our drawings to the pictures of the same rows, and of other episodes'."""
    from worldmodel.envs.registry import make

    task = make(env, image_size=SIZE).unwrapped
    ours = np.stack([task.draw(state) for state in store.read("state", 0, store.rows)]).astype(np.float32)
    pixels = store.read("pixels", 0, store.rows).astype(np.float32)
    others = np.roll(pixels, store.lengths[0], axis=0)
    return {"same_row": float(np.abs(ours - pixels).mean()), "other_row": float(np.abs(ours - others).mean())}


def roundtrip(options: Options) -> None:
    """Do what the options say."""
    import torch

    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.datasets.collect import collect
    from worldmodel.datasets.convert import convert
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.files import write_json

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        peer = {"versions": call(options.peer, home, "versions")}
        for env, theirs in TASKS.items():
            name = f"{env}.h5"  # relative to the folder "datasets" there
            with EpisodeStore(
                collect(env, home / "datasets" / name, EPISODES, STEPS, image_size=SIZE, workers=1)
            ) as store:
                loaded = call(options.peer, home, "windows", name)
                assert set(loaded["columns"]) == set(store.columns), loaded["columns"]
                about = {"env": env, "direction": "ours -> swm", "episodes": len(store), "rows": store.rows}
                rows.append(about | compared(our_windows(store), loaded["windows"]))

            source = home / f"swm-{env}.h5"
            call(options.peer, home, "collect", theirs, str(source), EPISODES, STEPS, SIZE)
            with EpisodeStore(convert(source, home / f"converted-{env}.h5", env=env)) as store:
                loaded = call(options.peer, home, "windows", str(source))
                about = {"env": env, "direction": "swm -> ours", "episodes": len(store), "rows": store.rows}
                rows.append(about | compared(our_windows(store), loaded["windows"]) | {"drawn": drawn(store, env)})
    here = provenance(torch.device("cpu"))
    header = (
        "task",
        "direction",
        "episodes",
        "windows, ours",
        "swm",
        "same pixels",
        "same actions",
        "drawn, other row",
    )
    table = [(*(row[key] for key in list(row)[:3]), *(row[key] for key in list(row)[4:8]), _drawn(row)) for row in rows]
    print(common.aligned([header, *table]))
    print(f"stable-worldmodel {peer['versions']['stable-worldmodel']}, worldmodel {here['versions']['worldmodel']}")
    settings = {"frames": FRAMES, "stride": STRIDE, "image_size": SIZE, "steps": STEPS}
    write_json(options.json, {"rows": rows, **settings, "peer": peer, **here})
    print(f"numbers: {options.json}")


def _drawn(row: dict[str, Any]) -> str:
    return "{same_row:.1f}, {other_row:.1f}".format(**row["drawn"]) if "drawn" in row else ""


def main() -> None:
    """Entry point."""
    common.run(lambda: roundtrip(common.parse(Options)))


if __name__ == "__main__":
    main()
