"""Calls spread over spawned processes that end with their parent, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from worldmodel.errors import WorldModelError

T = TypeVar("T")


def run_in_processes(
    function: Callable[..., T], calls: Sequence[tuple[Any, ...]], workers: int
) -> Generator[T, None, None]:
    """Call ``function(*call)`` for every call and yield the results as they are finished, in any order.

    With one worker all happens in this process. Leaving early (an exception, Ctrl-C, closing the generator) ends the
    processes at once.

    Args:
        function: a module-level function of the package.
        calls: arguments.
        workers: processes.

    Raises:
        WorldModelError: a process was killed.
    """
    if workers <= 1:
        for call in calls:
            yield function(*call)
        return
    context = multiprocessing.get_context("spawn")  # fork would copy renderers and their threads
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)
    try:
        with children_ignore_ctrl_c():
            futures = [executor.submit(function, *call) for call in calls]
        for future in as_completed(futures):
            yield future.result()
    except BaseException as error:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        executor.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise WorldModelError(
                "a worker process was killed or could not start (out of memory? a script that starts workers needs "
                "'if __name__ == \"__main__\":'); what was finished is kept, the same call continues"
            ) from error
        raise
    executor.shutdown()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_worker() -> None:
    """Begin a worker process: OpenCV keeps to one thread, and the end of the parent is the end of it."""
    import cv2

    cv2.setNumThreads(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this process when its parent is gone: SIGKILL gives the parent no chance to say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def children_ignore_ctrl_c() -> Iterator[None]:
    """Let processes started inside ignore SIGINT from their first instruction; the parent ends them in good order."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
