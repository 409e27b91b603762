"""Kill a collection again and again, and see that nothing finished is lost and nothing wrong is kept.

Run it as ``python -m worldmodel.benchmarks.kill_collect``. It collects a dataset undisturbed, then starts the same
collection, kills it with SIGKILL at a random moment, starts it again, and so on, until it was killed so many times.
Every other kill takes the parent alone, the ones between its whole process group. After every kill the finished parts
must still be there; whenever the collection comes to its end, both datasets must be sound and equal in every row.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from worldmodel.cli import common
from worldmodel.errors import BadValue, WorldModelError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Kill a collection again and again."""

    env: str = "two-room"
    """Task."""
    kills: int = 20
    """SIGKILLs."""
    episodes: int = 200
    """In the dataset; every 20 are one part."""
    steps: int = 100
    """Of an episode; long enough for kills to fall in between."""
    image_size: int = 32
    """Side of the pictures, pixels."""
    workers: int = 2
    """Processes."""
    seed: int = 0
    """Of the moments."""


def command(path: Path, options: Options) -> list[str]:
    """The collection as one types it."""
    numbers = {"episodes": options.episodes, "steps": options.steps, "image-size": options.image_size}
    flags = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    flags += ["--env", options.env, "--workers", str(options.workers), "--out", str(path)]
    return [sys.executable, "-m", "worldmodel.cli.data", "collect", *flags]


def kill_again_and_again(path: Path, whole: Path, options: Options, longest: float) -> Iterator[str]:
    """Start, kill and start again; a collection that came to its end is compared, and begun anew while kills are left.

    Args:
        path: the dataset, in a folder of its own.
        whole: the same dataset, collected undisturbed.
        options: what is collected, and how often it is killed.
        longest: seconds; kills fall uniformly within them.

    Yields:
        One line for each thing that happened.

    Raises:
        WorldModelError: a finished part was lost, a process survived, the collection failed by itself, something was
            left behind, or the datasets differ.
    """
    from worldmodel.datasets.collect import parts_folder

    rng, kills, folder = np.random.default_rng(options.seed), 0, parts_folder(path)
    while True:
        before, last = _parts(folder), kills == options.kills
        process = subprocess.Popen(
            command(path, options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        moment, group = float(rng.uniform(0, longest)), kills % 2 == 0
        try:
            _, error = process.communicate(timeout=None if last else moment)
        except subprocess.TimeoutExpired:
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            process.communicate()
            _wait_for_group(process.pid)
            kills, kept = kills + 1, _parts(folder)
            if not path.exists() and not before <= kept:
                raise WorldModelError(f"kill {kills} lost {sorted(before - kept)}") from None
            what = "group" if group else "parent"
            how_far = "finished" if path.exists() else f"{len(before)} parts before, {len(kept)} after"
            yield f"kill {kills:2} after {moment:5.2f} s, {what:6}: {how_far}"
            continue
        if process.returncode:
            raise WorldModelError(f"the collection failed by itself: {error.decode().strip()}")
        left = sorted(item.name for item in path.parent.iterdir() if item != path)
        wrong = differences(whole, path)
        if left or wrong:
            raise WorldModelError(f"differ: {', '.join(wrong) or 'nothing'}; left: {', '.join(left) or 'nothing'}")
        yield "finished: sound, and equal to the undisturbed one"
        if last:
            return
        path.unlink()


def differences(one: Path, other: Path) -> list[str]:
    """Verify both datasets and name what differs: columns, or the fingerprint."""
    from worldmodel.datasets.verify import verify

    with verify(one) as a, verify(other) as b:
        names = sorted(a.columns.keys() ^ b.columns.keys())
        for name in sorted(a.columns.keys() & b.columns.keys()):
            if a.read(name, 0, a.rows).tobytes() != b.read(name, 0, b.rows).tobytes():  # so that NaN equals NaN
                names.append(name)
        return names + ["fingerprint"] * (a.fingerprint != b.fingerprint)


def _parts(folder: Path) -> set[tuple[str, int]]:
    """Finished parts, each with the time at which it was written."""
    return {(part.name, part.stat().st_mtime_ns) for part in folder.glob("part-*.h5")}


def _wait_for_group(group: int) -> None:
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise WorldModelError("a worker outlived its parent by ten seconds")


def main() -> None:
    """Entry point."""
    common.run(lambda: _main(common.parse(Options)))


def _main(options: Options) -> None:
    if not hasattr(os, "killpg"):
        raise BadValue("kill_collect needs POSIX process groups")
    with TemporaryDirectory(prefix="worldmodel-kill-") as folder:
        whole, killed = Path(folder) / "whole.h5", Path(folder) / "killed" / "a.h5"
        start = time.perf_counter()
        subprocess.run(command(whole, options), check=True, stdout=subprocess.DEVNULL)
        longest = time.perf_counter() - start
        print(f"undisturbed: {longest:.1f} s")
        for line in kill_again_and_again(killed, whole, options, longest):
            print(line, flush=True)


if __name__ == "__main__":
    main()
