from __future__ import annotations

import errno
import gc
import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.datasets import writing
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.writing import StoreWriter
from worldmodel.errors import BadFile, BadValue, UnknownName

ATTRS = {"env": "pusht", "seed": 3, "policies": {"weak": 2}, "image_size": 8}


def make(path: Path, lengths: tuple[int, ...] = (31, 7, 44)) -> Path:
    return write_store(path, (episode(i, n, split=i % 3) for i, n in enumerate(lengths)), ATTRS)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    with EpisodeStore(make(tmp_path / "a.h5")) as store:
        assert store.env == "pusht"
        assert store.attrs.items() >= ATTRS.items()
        assert store.lengths.tolist() == [31, 7, 44] and store.offsets.tolist() == [0, 31, 38]
        assert store.split.tolist() == [0, 1, 2] and store.episodes("validation").tolist() == [1]
        for number, rows in enumerate((31, 7, 44)):
            expected = episode(number, rows, split=number)
            expected |= {"step_idx": np.arange(rows), "episode_idx": number}
            assert set(expected) == set(store.columns)
            for name, values in expected.items():
                np.testing.assert_array_equal(
                    store.read_episode(name, number), np.broadcast_to(values, (rows, *np.shape(values)[1:]))
                )
        types = {name: dtype for name, (_, dtype) in store.columns.items()}
        assert (types["action"], types["state"], types["pixels"]) == (np.float32, np.float64, np.uint8)


def test_layout_is_the_one_stable_worldmodel_reads(tmp_path: Path) -> None:
    """Its reader opens the file in SWMR mode and slices every key but ep_len and ep_offset by rows."""
    with h5py.File(make(tmp_path / "a.h5"), "r", swmr=True) as file:
        assert file["ep_len"].dtype == np.int32 and file["ep_offset"].dtype == np.int64
        assert file["pixels"].chunks == (20, 8, 8, 3) and file["pixels"].compression == "gzip"
        for name in set(file) - {"ep_len", "ep_offset"}:
            assert len(file[name][38:82]) == 44, name
        assert np.isnan(file["action"][81]).all() and np.isfinite(file["action"][80]).all()


@pytest.mark.parametrize(("size", "rows"), [(8, 20), (64, 20), (96, 5), (128, 5), (224, 1), (512, 1)])
def test_chunks_follow_the_size_of_pictures(size: int, rows: int) -> None:
    assert writing.image_chunk((size, size, 3)) == rows
    assert 20 % rows == 0  # 20 episodes fill whole chunks
    blocks = list(writing.row_blocks(5001, (size, size, 3)))
    assert blocks[0][0] == 0 and blocks[-1][1] == 5001
    assert all(stop == start and start % 20 == 0 for (_, stop), (start, _) in zip(blocks, blocks[1:]))


def test_large_pictures_are_joined_as_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the parts before do not end at a multiple of 20 rows: nothing is decoded."""
    for part in range(2):
        write_store(tmp_path / f"{part}.h5", [episode(2 * part, 3, 224), episode(2 * part + 1, 2, 224)], {})
    with StoreWriter(tmp_path / "joined.h5", ATTRS) as writer, monkeypatch.context() as patch:
        read = EpisodeStore.read
        patch.setattr(
            EpisodeStore, "read", lambda store, name, *rows: read(store, name, *rows) if name != "pixels" else 1 / 0
        )
        for part in range(2):
            writer.extend(EpisodeStore(tmp_path / f"{part}.h5"), np.zeros(2))
    write_store(tmp_path / "once.h5", [episode(i, 3 - i % 2, 224) for i in range(4)], ATTRS)
    same(tmp_path / "joined.h5", tmp_path / "once.h5")


@pytest.mark.parametrize("taken", [slice(0, 2), slice(1, 3), slice(2, 5)])
def test_a_run_of_episodes_is_taken(taken: slice, tmp_path: Path) -> None:
    """From chunk borders (episode 0) and from elsewhere, before and after rows that fill no whole chunk."""
    lengths = (20, 40, 21, 33, 10)
    with EpisodeStore(make(tmp_path / "a.h5", lengths)) as store, StoreWriter(tmp_path / "b.h5", ATTRS) as writer:
        writer.extend(store, np.zeros(len(lengths[taken])), taken)
        writer.extend(store, np.ones(1), slice(0, 1))
    numbers = [*range(5)[taken], 0]
    splits = [0] * (len(numbers) - 1) + [1]
    write_store(tmp_path / "once.h5", [episode(i, lengths[i], split=split) for i, split in zip(numbers, splits)], ATTRS)
    same(tmp_path / "b.h5", tmp_path / "once.h5")


def same(a: Path, b: Path) -> None:
    with EpisodeStore(a) as one, EpisodeStore(b) as other:
        assert one.columns == other.columns and one.fingerprint == other.fingerprint
        for name in one.columns:
            np.testing.assert_array_equal(one.read(name, 0, one.rows), other.read(name, 0, other.rows))


def test_joining_parts_equals_writing_at_once(tmp_path: Path) -> None:
    """Parts with a whole number of chunks are copied as they lie, others are written anew: same rows."""
    lengths = (20, 40, 21, 33, 10)  # the part borders fall at rows 60 (whole chunks), 114 (not) and the end
    groups = ((0, 1), (2, 3), (4,))
    split = np.asarray([2, 1, 0, 0, 1])
    for part, group in enumerate(groups):
        write_store(tmp_path / f"{part}.h5", (episode(i, lengths[i]) for i in group), {})
    with StoreWriter(tmp_path / "joined.h5", ATTRS) as writer:
        for part, group in enumerate(groups):
            with EpisodeStore(tmp_path / f"{part}.h5") as store:
                writer.extend(store, split[list(group)])
    write_store(tmp_path / "once.h5", (episode(i, n, split=split[i]) for i, n in enumerate(lengths)), ATTRS)
    same(tmp_path / "joined.h5", tmp_path / "once.h5")


def test_fingerprint_follows_content_not_name_or_time(tmp_path: Path) -> None:
    attrs = ATTRS | {"created": "long ago"}
    write_store(tmp_path / "b.h5", [episode(0, 30)], attrs)
    write_store(tmp_path / "c.h5", [episode(0, 30)], ATTRS)
    write_store(tmp_path / "d.h5", [episode(1, 30)], ATTRS)
    b, c, d = (EpisodeStore(tmp_path / f"{name}.h5").fingerprint for name in "bcd")
    assert b == c != d


@pytest.mark.parametrize(
    ("episodes", "says"),
    [
        ([], "at least one episode"),
        ([episode(0, 0)], "episode 0 is empty"),
        ([episode(0, 5), episode(1, 5) | {"action": np.zeros((4, 2))}], "episode 1: column 'action' has 4 rows"),
        ([episode(0, 5), episode(1, 5) | {"state": np.zeros((5, 9))}], "episode 1: column 'state' has rows of shape"),
        ([episode(0, 5), episode(1, 5) | {"extra": np.zeros(5)}], "episode 1 has columns"),
    ],
)
def test_bad_episodes_leave_no_file(tmp_path: Path, episodes: list, says: str) -> None:
    with pytest.raises(BadValue, match=says):
        write_store(tmp_path / "a.h5", episodes, {})
    assert not list(tmp_path.iterdir())


def test_a_failure_keeps_what_stood_there(tmp_path: Path) -> None:
    before = make(tmp_path / "a.h5").read_bytes()

    def interrupted():
        yield episode(0, 5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "a.h5", interrupted(), {})
    assert (tmp_path / "a.h5").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def write(sink: Any, data: Any) -> int:
        if sink.tell() + len(data) > 3000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return io.FileIO.write(sink, data)

    monkeypatch.setattr(writing._Sink, "_write", write)
    with pytest.raises(BadFile, match="disk full while writing .*a.h5"):
        make(tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())
    gc.collect()
    assert capfd.readouterr().err == ""


def test_reading_out_of_bounds(tmp_path: Path) -> None:
    with EpisodeStore(make(tmp_path / "a.h5")) as store:
        with pytest.raises(BadValue, match="rows 0 to 82, asked for 80 to 83"):
            store.read("pixels", 80, 83)
        with pytest.raises(UnknownName, match="did you mean 'pixels'"):
            store.read("pixel", 0, 1)
        with pytest.raises(UnknownName, match="did you mean 'train'"):
            store.episodes("trian")
        with pytest.raises(BadValue, match="split must be"):
            store.episodes(3)


def test_missing_foreign_and_truncated_files(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.h5").read_bytes()
    cases = {"missing.h5": None, "empty.h5": b"", "text.h5": b"not a dataset" * 100}
    cases |= {f"cut{cut}.h5": whole[: len(whole) * cut // 10] for cut in (1, 5, 9)} | {"short.h5": whole[:-1]}
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(BadFile, match=name) as caught:
            EpisodeStore(tmp_path / name)
        assert "\n" not in str(caught.value)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data/obs"] = np.zeros((4, 3))
    with pytest.raises(BadFile, match="not an episode dataset: it has no column 'ep_len'"):
        EpisodeStore(tmp_path / "foreign.h5")
    with pytest.raises(BadFile, match="no such dataset"):
        EpisodeStore(tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("ep_offset", [0, 31, 37], "'ep_offset' is not the running sum"),
        ("ep_len", [31, 0, 51], "'ep_len' must hold at least one episode and no empty one"),
        ("ep_len", [31, 7, 45], "'ep_len' adds up to 83"),
        ("split", np.full(82, 3), "'split' holds values other than"),
        ("reward", np.zeros(80), "'reward' has 80 rows"),
    ],
)
def test_inconsistent_index_names_the_column(tmp_path: Path, column: str, value: object, says: str) -> None:
    with h5py.File(make(tmp_path / "a.h5"), "a") as file:
        del file[column]
        file[column] = value
    with pytest.raises(BadFile, match=says):
        EpisodeStore(tmp_path / "a.h5")


def test_a_file_without_split_or_provenance_opens(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["ep_len"], file["ep_offset"], file["pixels"] = [4], [0], np.zeros((4, 8, 8, 3), np.uint8)
    with EpisodeStore(tmp_path / "a.h5") as store:
        assert store.split.tolist() == [0]
        with pytest.raises(BadFile, match="does not say which environment"):
            _ = store.env
