from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.datasets.episodes import episode
from worldmodel.datasets.merge import merge
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.verify import verify
from worldmodel.errors import BadFile, BadValue

ATTRS = {"env": "pusht", "render_preset": "fast", "image_size": 8, "steps": 30}


def make(path: Path, numbers: range, size: int = 8, attrs: dict[str, Any] | None = None, **changes: Any) -> Path:
    episodes = (episode(i, 25 + i, size, split=i % 3) | changes for i in numbers)
    return write_store(path, episodes, ATTRS | {"seed": numbers.start} | (attrs or {}))


@pytest.mark.parametrize("size", [8, 224])
def test_every_row_and_split_of_all(size: int, tmp_path: Path) -> None:
    parts = [make(tmp_path / f"{i}.h5", range(3 * i, 3 * i + 3), size) for i in range(3)]
    calls: list[tuple[int, int]] = []
    with verify(merge(parts, tmp_path / "all.h5", lambda *call: calls.append(call))) as store:
        assert store.lengths.tolist() == [25 + i for i in range(9)] and store.split.tolist() == [0, 1, 2] * 3
        for number in range(9):
            for name, values in episode(number, 25 + number, size, split=number % 3).items():
                rows = store.read_episode(name, number)
                np.testing.assert_array_equal(rows, np.broadcast_to(values, rows.shape))
        assert calls[-1] == (store.rows, store.rows) and calls == sorted(calls)


def test_provenance_says_what_agrees_and_lists_the_sources(tmp_path: Path) -> None:
    parts = [make(tmp_path / f"{i}.h5", range(3 * i, 3 * i + 3)) for i in range(2)]
    with EpisodeStore(merge(parts, tmp_path / "all.h5")) as store:
        assert store.attrs.items() >= ATTRS.items() and "seed" not in store.attrs
        assert store.attrs["policies"] == {"weak": 6}
        assert [source["file"] for source in store.attrs["sources"]] == ["0.h5", "1.h5"]
        for number, source in enumerate(store.attrs["sources"]):
            with EpisodeStore(parts[number]) as part:
                assert source["seed"] == 3 * number and source["episodes"] == 3
                assert source["fingerprint"] == part.fingerprint


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"attrs": {"env": "two-room"}}, "env is 'pusht' in .*a.h5 and 'two-room' in .*b.h5"),
        ({"attrs": {"render_preset": "official"}}, "render_preset is 'fast' in .* and 'official' in"),
        ({"size": 16}, "column 'pixels' holds uint8 8 x 8 x 3 in .* and uint8 16 x 16 x 3 in"),
        ({"action": np.zeros((28, 3))}, "column 'action' holds float32 2 in .* and float32 3 in"),
        ({"extra": 1}, "a.h5 has no column 'extra', .*b.h5 has"),
        ({"numbers": range(3, 4)}, None),
        ({"numbers": range(2, 4)}, "episode 2 of .*a.h5 is episode 0 of .*b.h5"),
    ],
)
def test_what_does_not_fit_is_named(other: dict[str, Any], says: str | None, tmp_path: Path) -> None:
    a = make(tmp_path / "a.h5", range(3))
    b = make(tmp_path / "b.h5", other.pop("numbers", range(3, 4)), **other)
    if says is None:
        merge([a, b], tmp_path / "c.h5")
        return
    with pytest.raises(BadFile, match=says) as caught:
        merge([a, b], tmp_path / "c.h5")
    assert "\n" not in str(caught.value) and not (tmp_path / "c.h5").exists()


def test_nothing_is_overwritten_and_damage_is_named(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.h5", range(3)), make(tmp_path / "b.h5", range(3, 6))
    with pytest.raises(BadFile, match="b.h5 is already there"):
        merge([a, b], b)
    with pytest.raises(BadValue, match="at least two"):
        merge([a], tmp_path / "c.h5")
    with h5py.File(b) as file:
        chunk = file["state"].id.get_chunk_info(0)
    content = bytearray(b.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    b.write_bytes(content)
    with pytest.raises(BadFile, match="b.h5: column 'state' is damaged"):
        merge([a, b], tmp_path / "c.h5")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_a_file_in_another_layout_is_written_anew(tmp_path: Path) -> None:
    """Uncompressed columns of another program, joined after ours: same rows, our chunks."""
    a, b = make(tmp_path / "a.h5", range(3)), make(tmp_path / "b.h5", range(3, 6))
    with EpisodeStore(b) as ours, h5py.File(tmp_path / "plain.h5", "w") as plain:
        for name in ours.columns:
            plain[name] = ours.read(name, 0, ours.rows)
        plain["ep_len"], plain["ep_offset"] = ours.lengths, ours.offsets
        plain.attrs.update({key: ours.attrs[key] for key in ("env", "render_preset")})
    joined, anew = merge([a, b], tmp_path / "c.h5"), merge([a, tmp_path / "plain.h5"], tmp_path / "d.h5")
    with EpisodeStore(joined) as one, verify(anew) as other:
        for name in one.columns:
            np.testing.assert_array_equal(one.read(name, 0, one.rows), other.read(name, 0, other.rows))
            assert one.dataset(name).chunks == other.dataset(name).chunks


def test_equal_actions_before_different_pictures_are_different_episodes(tmp_path: Path) -> None:
    """Robots that stand still at first, without a recorded state."""
    paths = []
    for name, brightness in (("a", 10), ("b", 20)):
        still = {"pixels": np.full((12, 8, 8, 3), brightness, np.uint8), "action": np.zeros((12, 2), np.float32)}
        still["action"][-1] = np.nan
        paths.append(write_store(tmp_path / f"{name}.h5", [still], {"env": "robot"}))
    with EpisodeStore(merge(paths, tmp_path / "c.h5")) as store:
        assert len(store) == 2
    with pytest.raises(BadFile, match="episode 0 of .* is episode 0 of"):
        merge([paths[0], paths[0]], tmp_path / "d.h5")
