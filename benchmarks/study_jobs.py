"""Commands in processes of their own, several side by side, each with one thread; Ctrl-C ends all in good order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MODULES = {
    "wm-data": "worldmodel.cli.data",
    "wm-train": "worldmodel.cli.train",
    "wm-plan": "worldmodel.cli.plan",
    "compute": "worldmodel.benchmarks.study_compute",
}


@dataclass(frozen=True)
class Spent:
    """How a process ended: its exit code, what it said last, and its seconds."""

    code: int
    said: str
    cpu_s: float
    wall_s: float


Call = Callable[[str, Sequence[str], Path], Spent]  # command, its arguments, file that it logs to


class Jobs:
    """Processes that can all be ended.

    They are in sessions of their own, so that Ctrl-C in a terminal reaches them once, through this process: a training
    takes the second one as a wish to leave at once.
    """

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.ended = False
        self.lock = threading.Lock()

    def call(self, command: str, arguments: Sequence[str], log: Path) -> Spent:
        """Run a command until it ends; its processor seconds are those of its whole process, loading included."""
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-m", MODULES[command], *arguments]
        begun = time.monotonic()
        with open(log, "w") as out:
            with self.lock:
                self.go_on()
                process = subprocess.Popen(
                    line, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True
                )
                self.running.add(process.pid)
            _, status, used = os.wait4(process.pid, 0)
            with self.lock:
                self.running.discard(process.pid)
            process.returncode = os.waitstatus_to_exitcode(status)
        return Spent(process.returncode, last_line(log), used.ru_utime + used.ru_stime, time.monotonic() - begun)

    def go_on(self) -> None:
        """Raise KeyboardInterrupt once everything is to end."""
        if self.ended:
            raise KeyboardInterrupt

    def beside(self, chains: Sequence[Callable[[], object]], count: int) -> None:
        """Call so many functions at a time; when one raises, or on Ctrl-C, everything ends."""
        with ThreadPoolExecutor(count) as pool:
            waiting = [pool.submit(chain) for chain in chains]
            try:
                for future in waiting:
                    future.result()
            except BaseException:
                for future in waiting:
                    future.cancel()
                self.end()
                raise

    def end(self) -> None:
        """Ask every process to end; a training then saves its state."""
        with self.lock:
            self.ended = True
            for number in self.running:
                os.kill(number, signal.SIGTERM)


def last_line(log: Path) -> str:
    """What a command said last."""
    return ([""] + [line for line in log.read_text(errors="replace").splitlines() if line.strip()])[-1]
