"""Commands in processes of their own, several side by side, each with one thread; Ctrl-C ends all in good order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.benchmarks import study_kept
from worldmodel.benchmarks.study_runs import Study
from worldmodel.benchmarks.study_variants import Evaluation, Training, of_evaluation, of_training

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
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(number, signal.SIGTERM)


def last_line(log: Path) -> str:
    """What a command said last."""
    return ([""] + [line for line in log.read_text(errors="replace").splitlines() if line.strip()])[-1]


class Work:
    """Does what is missing.

    Args:
        study: where.
        evaluations: what there is to have in the end.
        call: runs a command.
    """

    def __init__(self, study: Study, evaluations: Sequence[Evaluation], call: Call) -> None:
        self.study, self.evaluations, self.call = study, evaluations, call
        self.failed: list[str] = []

    def prepare(self) -> None:
        """Collect and check data, draw pairs, time the steps of every training, where anything is left to do."""
        study = self.study
        for task in dict.fromkeys(e.training.task for e in self.evaluations):
            its = [e for e in self.evaluations if e.training.task == task]
            trainings = {e.training.name: e.training for e in its}.values()
            untimed = [training for training in trainings if not study.is_measured(training)]
            if not untimed and all(study.is_evaluated(e) for e in its):
                continue
            collected = {"command": "wm-data", "task": task}
            if not study.dataset(task).exists() and not self.do("wm-data", study.collecting(task), collected):
                continue
            study_kept.restore(study, task)
            study.require_data(task)
            for offset in dict.fromkeys(e.offset for e in its):
                study.manifest(task, offset)
            for training in sorted(untimed, key=lambda training: training.flags != study.reference):
                told = {"command": "compute", "task": task, "name": training.name}
                if not study.share_cost(training):
                    self.do("compute", study.measuring(training), told)

    def chain(self, training: Training) -> None:
        """Train, then evaluate; a training that fails is left out."""
        study, told = self.study, of_training(training)
        if not self.left(training) or study.steps(training) is None:  # its steps could not be timed
            return
        if not study.is_trained(training) and not self.do("wm-train", study.training(training), told):
            return
        for evaluation in self.left(training):  # kept evaluations of other weights, too
            self.do("wm-plan", study.evaluating(evaluation), of_evaluation(evaluation))

    def left(self, training: Training) -> list[Evaluation]:
        """Evaluations of a training that are not there."""
        return [e for e in self.evaluations if e.training == training and not self.study.is_evaluated(e)]

    def do(self, command: str, arguments: Sequence[str], what: Mapping[str, Any]) -> bool:
        """Run a command and note what it took; say whether it succeeded."""
        label = " ".join(str(value) for value in what.values())
        log = self.study.folder / "logs" / (label.replace("/", "-").replace(" ", "_") + ".log")
        spent = self.call(command, arguments, log)
        self.study.note(
            {**what, "code": spent.code, "cpu_s": spent.cpu_s, "wall_s": spent.wall_s, "ended": time.time()}
        )
        told = f"{spent.cpu_s / 60:.1f} of the processor's minutes in {spent.wall_s / 60:.1f}"
        if spent.code:
            told = spent.said or f"exit code {spent.code}"
        print(f"{time.strftime('%H:%M:%S')} {label}: {told}", flush=True)
        if spent.code:
            self.failed.append(label)
        return not spent.code
