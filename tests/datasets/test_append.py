"""Datasets that grow while others read them, and whose growth is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.datasets.append import append
from worldmodel.datasets.cache import FrameCache
from worldmodel.datasets.split import resplit
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.verify import verify
from worldmodel.datasets.windows import Windows
from worldmodel.errors import BadFile
from worldmodel.files import locked

ROWS = 25


def make(path: Path, numbers: range, **attrs: object) -> Path:
    """Episodes i of 25 + i rows, in split i % 3."""
    episodes = (episode(i, ROWS + i, split=i % 3) for i in numbers)
    return write_store(path, episodes, {"env": "pusht", "render_preset": "fast", "seed": numbers.start, **attrs})


def holds(path: Path, numbers: range) -> None:
    """The dataset is sound and holds these episodes, row by row."""
    with verify(path) as store:
        assert store.lengths.tolist() == [ROWS + i for i in numbers]
        assert store.split.tolist() == [i % 3 for i in numbers]
        for place, number in enumerate(numbers):
            for name, values in episode(number, ROWS + number, split=number % 3).items():
                rows = store.read_episode(name, place)
                np.testing.assert_array_equal(rows, np.broadcast_to(values, rows.shape))


def test_old_rows_stay_in_place_and_the_provenance_lists_what_came(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5", range(3))
    prints, rows = [], []
    for number in (1, 2):
        with EpisodeStore(path) as store:
            prints.append(store.fingerprint)
            rows.append(store.rows)
        more = make(tmp_path / "more.h5", range(3 * number, 3 * number + 3), round=number)
        assert append(path, more) == path
        holds(path, range(3 * number + 3))
    with EpisodeStore(path) as store:
        assert store.fingerprint not in prints
        assert store.attrs["policies"] == {"weak": 9} and "round" not in store.attrs
        sources = store.attrs["sources"]
        assert [(x["file"], x["episodes"], x["seed"], x.get("round")) for x in sources] == [
            ("a.h5", 3, 0, None), ("more.h5", 3, 3, 1), ("more.h5", 3, 6, 2),
        ]  # fmt: skip
        assert store.attrs["grown_from"] == [{"fingerprint": f, "rows": n} for f, n in zip(prints, rows)]
    with EpisodeStore(resplit(path, tmp_path / "part.h5", only="test")) as store:
        assert "grown_from" not in store.attrs  # its rows are others


def test_what_a_link_points_to_grows(tmp_path: Path) -> None:
    path, link = make(tmp_path / "a.h5", range(3)), tmp_path / "link.h5"
    link.symlink_to(path)
    append(link, make(tmp_path / "b.h5", range(3, 6)))
    assert link.is_symlink()
    holds(path, range(6))


def test_no_window_crosses_from_old_to_new(tmp_path: Path) -> None:
    path = append(make(tmp_path / "a.h5", range(3)), make(tmp_path / "b.h5", range(3, 6)))
    with EpisodeStore(path) as store:
        windows = Windows(store, "train", length=4, stride=3)
        batch = windows.batch(np.arange(len(windows)))
    assert len(windows) == sum(ROWS + i - 9 for i in (0, 3))  # of episodes 0 and 3
    assert (np.ptp(batch["pixels"][:, :, 0, 0, 0], axis=1) == 0).all()  # one episode each
    assert (np.diff(batch["pixels"][:, :, 0, 0, 1].astype(int), axis=1) == 3).all()
    assert np.isfinite(batch["action"]).all()


def test_equal_data_that_grew_have_equal_fingerprints(tmp_path: Path) -> None:
    prints = []
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        path = make(tmp_path / day / "a.h5", range(3), created=f"{day} morning")
        for number in (1, 2):
            append(path, make(tmp_path / "b.h5", range(3 * number, 3 * number + 3), created=f"{day} evening {number}"))
        with EpisodeStore(path) as store:
            prints.append(store.fingerprint)
    assert prints[0] == prints[1]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced")
@pytest.mark.parametrize("cache", [True, False])
def test_who_reads_is_not_disturbed(cache: bool, tmp_path: Path) -> None:
    """A thread draws batches from the file or its cache while the dataset grows and others decode the grown one."""
    path = make(tmp_path / "a.h5", range(3))
    with EpisodeStore(path) as store:
        windows = Windows(store, "train", length=3, cache=cache)
    every = np.arange(len(windows))
    expected = windows.batch(every)
    stop, drawn = threading.Event(), []

    def read() -> None:
        while not stop.is_set() or not drawn:
            batch = windows.batch(every)
            drawn.append(all(np.array_equal(batch[name], expected[name]) for name in expected))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(3, 7):
        append(path, make(tmp_path / "more.h5", range(number, number + 1)))
        with EpisodeStore(path) as store:
            FrameCache(store)
    stop.set()
    reader.join()
    assert all(drawn)
    holds(path, range(7))


KILLED = """
import os, signal, sys
from worldmodel.datasets.append import append
calls, replace = [], os.replace
def die(*args):
    calls.append(args)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
def replace_and_die(*args):
    if sys.argv[4] == "after":
        replace(*args)
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace_and_die
append(sys.argv[1], sys.argv[2], die)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
@pytest.mark.parametrize(("call", "when", "there"), [(1, "", 3), (3, "", 3), (0, "before", 3), (0, "after", 6)])
def test_killed_at_any_moment_the_old_or_the_new_file_is_there(
    call: int, when: str, there: int, tmp_path: Path
) -> None:
    path, more = make(tmp_path / "a.h5", range(3)), make(tmp_path / "b.h5", range(3, 6))
    process = subprocess.run([sys.executable, "-c", KILLED, path, more, str(call), when], timeout=60)
    assert process.returncode == -signal.SIGKILL
    holds(path, range(there))
    if there == 3:
        append(path, more)
    holds(path, range(6))
    assert sorted(item.name for item in tmp_path.iterdir()) == [".a.h5.lock", "a.h5", "b.h5"]


def test_mistakes_are_one_line_and_change_nothing(tmp_path: Path) -> None:
    path, more = make(tmp_path / "a.h5", range(3)), make(tmp_path / "b.h5", range(3, 6))
    before = path.read_bytes()
    with pytest.raises(BadFile, match="env is 'pusht' in .*a.h5 and 'two-room' in .*c.h5"):
        append(path, make(tmp_path / "c.h5", range(3, 6), env="two-room"))
    with pytest.raises(BadFile, match="episode 0 of .*a.h5 is episode 0 of .*a.h5"):
        append(path, path)
    with pytest.raises(BadFile, match="no such dataset: .*none.h5"):
        append(tmp_path / "none.h5", more)
    if sys.platform != "win32":
        with (
            locked(tmp_path / ".a.h5.lock", "the first"),
            pytest.raises(BadFile, match=f"^another process is adding to {path}: try again"),
        ):
            append(path, more)
    assert path.read_bytes() == before
