"""Collections that are killed, started twice, or find what a killed one left."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.datasets.collecting import collect_here, interrupt_after, same
from worldmodel.datasets import collect as library
from worldmodel.datasets.collect import PART, parts_folder, unfinished
from worldmodel.errors import BadFile
from worldmodel.files import locked

EPISODES = 5 * PART
LONG = 1200  # steps of episodes that take long enough for a signal to arrive in time


def _command(path: Path) -> list[str]:
    options = f"--env two-room --episodes {EPISODES} --steps {LONG} --image-size 32 --workers 2 --out {path}"
    return [sys.executable, "-m", "worldmodel.cli.data", "collect", *options.split()]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("collect") / "whole.h5"
    subprocess.run(_command(path), check=True, capture_output=True, timeout=120)
    return path


def _start(path: Path) -> subprocess.Popen[str]:
    """Start collecting in a process (group) of its own; return when the first part is there."""
    process = subprocess.Popen(
        _command(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(parts_folder(path).glob("part-*")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.002)
    return process


def _group_is_gone(group: int) -> bool:
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX process groups")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_killed_midway_and_continued(sent: signal.Signals, long: Path, tmp_path: Path) -> None:
    """No worker outlives the command, nothing finished is lost, and the result is that of an uninterrupted run."""
    path = tmp_path / "a.h5"
    process = _start(path)
    if sent == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    if sent == signal.SIGINT:  # after SIGKILL Python itself may warn of semaphores that it cleans up
        assert len(err.splitlines()) == 1, err
    assert _group_is_gone(process.pid)
    kept = len(list(parts_folder(path).glob("part-*")))
    assert kept >= 1 and not path.exists()

    again = subprocess.run(_command(path), capture_output=True, text=True, timeout=120)
    assert again.returncode == 0 and again.stderr == ""
    assert f"going on: {PART * kept} of {EPISODES} episodes were found" in again.stdout
    same(long, path)
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_second_collection_of_the_same_dataset_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with locked(parts_folder(path) / "lock", "the first"):
        with pytest.raises(
            BadFile, match=f"^another process is collecting into {path}: wait for it, or choose another"
        ):
            collect_here(path)
        assert [item.name for item in parts_folder(path).iterdir()] == ["lock"]
    collect_here(path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_two_that_start_together_do_not_disturb_each_other(long: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    both = [
        subprocess.Popen(_command(path), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)
    ]
    for process, error in [(process, process.communicate(timeout=120)[1]) for process in both]:
        if process.returncode:  # as a rule one of them; both finish if one was so slow that the other was done
            assert process.returncode == 2 and len(error.splitlines()) == 1 and "another process is" in error
    assert 0 in [process.returncode for process in both]
    same(long, path)
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]


def test_another_process_finished_while_we_were_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, theirs = tmp_path / "a.h5", collect_here(tmp_path / "theirs.h5")

    @contextmanager
    def late(*_: object) -> Iterator[None]:
        theirs.rename(path)
        yield

    monkeypatch.setattr(library, "locked", late)
    collect_here(path, progress=lambda done, total: pytest.fail("collected again"))
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.skipif(os.name != "posix", reason="asks POSIX which processes live")
def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    path, folder = tmp_path / "a.h5", tmp_path / "a.h5.parts"
    folder.mkdir()
    for file in (path, folder / "part-0000000-0000020.h5", folder / "recipe.json"):
        file.with_name(f".{file.name}.{platform.node()}-{gone.pid}.tmp").write_text("half")
    with pytest.raises(KeyboardInterrupt):
        collect_here(path, PART + 1, progress=interrupt_after(PART))
    assert not list(folder.glob(".*"))
    collect_here(path, PART + 1)
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]


def test_unfinished_collections_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    assert unfinished(tmp_path) == []
    with pytest.raises(KeyboardInterrupt):
        collect_here(path, PART + 1, progress=interrupt_after(PART))
    assert unfinished(tmp_path) == [(path, "two-room", PART)]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers through /proc")
def test_a_killed_worker_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    process = _start(path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    os.kill(next(pid for pid, command in commands.items() if b"spawn_main" in command), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and len(err.splitlines()) == 1 and "a worker process was killed" in err
    assert _group_is_gone(process.pid) and list(parts_folder(path).glob("part-*"))
