"""Rows of an evaluation shared by worker processes of one machine; who plays a row does not matter to it.

Each worker is spawned, keeps to one thread, gets every so many-th row and sends back what happened. Any of them that
fails ends all of them.
"""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from worldmodel import distributed
from worldmodel.datasets.processes import children_ignore_ctrl_c, cores, start_worker
from worldmodel.errors import BadValue, WorldModelError

Share = TypeVar("Share")
Progress = Callable[[int], object]


def shared(
    play: Callable[[Any, range, Progress | None], Share],
    policy: Any,
    rows: range,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Share]:
    """Call ``play(policy, some rows, progress)`` in every worker, or here if there is one; return what they returned.

    Processes that torchrun started share the rows as well, and all of them return everything. ``policy.stats``, if it
    has any, counts what was planned in all of them.

    Args:
        play: can be pickled where there are several workers, with all it holds.
        policy: can be pickled then, too: each worker has a copy of its own.
        rows: of all workers.
        workers: processes; 0 for one a core.
        progress: called in this process with what ``play`` says in any of them.

    Raises:
        BadValue: fewer workers than 0, several inside a process of torchrun, or something that cannot be pickled.
        WorldModelError: a worker failed or was killed.
    """
    if workers < 0:
        raise BadValue(f"workers: expected 0 (one a core) or more, got {workers}")
    if distributed.size() > 1:
        if workers != 1:
            raise BadValue(f"workers: torchrun has started {distributed.size()} processes already, expected 1")
        played = distributed.gathered(_played(play, policy, rows[distributed.rank() :: distributed.size()], progress))
    elif min(workers or cores(), len(rows)) > 1:
        played = _in_processes(play, policy, rows, min(workers or cores(), len(rows)), progress)
    else:
        played = [_played(play, policy, rows, progress)]
    for _, stats in played:
        if stats is not None:
            policy.stats.add(stats)
    return [share for share, _ in played]


def _played(play: Callable[..., Share], policy: Any, rows: range, progress: Progress | None) -> tuple[Share, Any]:
    """What ``play`` returns, and the policy's statistics of it alone."""
    before = getattr(policy, "stats", None)
    if before is None:
        return play(policy, rows, progress), None
    policy.stats = type(before)()
    try:
        return play(policy, rows, progress), policy.stats
    finally:
        policy.stats = before


def _in_processes(play: Callable[..., Any], policy: Any, rows: range, workers: int, progress: Progress | None) -> Any:
    """Play in spawned processes, which end with this call, however it ends."""
    try:
        sent = pickle.dumps((play, policy))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise BadValue(f"workers: expected 1, what is evaluated cannot be sent to other processes: {error}") from error
    context = multiprocessing.get_context("spawn")  # fork would copy renderers and their threads
    pipes: list[Connection] = []
    processes = []
    try:
        with children_ignore_ctrl_c():
            for _ in range(workers):
                here, there = context.Pipe()
                process = context.Process(target=_work, args=(there,), daemon=True)
                process.start()
                there.close()  # so that the death of the worker closes the pipe
                pipes.append(here)
                processes.append(process)
        try:
            for number, pipe in enumerate(pipes):  # only now, when Ctrl-C is heard again: they take seconds to listen
                pipe.send_bytes(sent)
                pipe.send_bytes(pickle.dumps(rows[number::workers]))
            return _received(pipes, progress)
        except (EOFError, ConnectionError) as error:
            raise WorldModelError(
                f"one of {workers} workers was killed or could not start (out of memory? a script that starts workers "
                "needs 'if __name__ == \"__main__\":')"
            ) from error
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _received(pipes: list[Connection], progress: Progress | None) -> list[Any]:
    """Listen to all workers until each has sent its share; the shares in the order of the workers."""
    shares: dict[Connection, Any] = {}
    while len(shares) < len(pipes):
        for pipe in wait([pipe for pipe in pipes if pipe not in shares]):
            assert isinstance(pipe, Connection)
            kind, content = pickle.loads(pipe.recv_bytes())
            if kind == "progress" and progress:
                progress(content)
            elif kind == "share":
                shares[pipe] = content
            elif kind == "mistake":
                raise content
            elif kind == "failure":
                line, details = content
                raise WorldModelError(f"a worker failed: {line}") from RuntimeError(details)
    return [shares[pipe] for pipe in pipes]


def _work(pipe: Connection) -> None:
    """Play rows in a worker process and say how that goes."""
    start_worker()
    import torch

    torch.set_num_threads(1)

    def say(kind: str, content: Any) -> None:
        pipe.send_bytes(pickle.dumps((kind, content)))  # ``send`` would share tensors, which end with this process

    try:
        play, policy = pickle.loads(pipe.recv_bytes())
        rows = pickle.loads(pipe.recv_bytes())
        say("share", _played(play, policy, rows, lambda count: say("progress", count)))
    except WorldModelError as error:
        say("mistake", error)
    except Exception as error:
        say("failure", (f"{type(error).__name__}: {error}", traceback.format_exc()))
