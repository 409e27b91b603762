from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets import foreign
from tests.datasets.episodes import episode
from tests.envs.drawing import skip_unless_it_draws
from tests.oracles import windows_slow
from worldmodel.datasets.collect import collect, split_of
from worldmodel.datasets.convert import convert
from worldmodel.datasets.formats import FORMATS, detect
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.verify import verify
from worldmodel.datasets.windows import Windows
from worldmodel.envs import registry
from worldmodel.errors import BadFile, BadValue, UnknownName, WorldModelError


def make(format: str, folder: Path, episodes: list[dict[str, Any]]) -> Path:
    """Write a source of any of the formats."""
    if format in foreign.NEEDS:
        pytest.importorskip(foreign.NEEDS[format], reason=f"needs the extra that reads {format}")
    if format == "worldmodel":
        return write_store(folder / "ours.h5", episodes, {"env": "toy", "policies": {"weak": len(episodes)}})
    return foreign.write(format, folder, episodes)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(2, 30), min_size=1, max_size=5), length=st.integers(1, 5), stride=st.integers(1, 5))
def test_every_window_is_that_of_the_source(format: str, lengths: list[int], length: int, stride: int) -> None:
    """Pixels and actions, in order, whatever the lengths; the file is sound and its format is told by its content."""
    episodes = [episode(i, rows) for i, rows in enumerate(lengths)]
    with TemporaryDirectory() as folder:
        source = make(format, Path(folder), episodes)
        assert detect(source) == format
        calls: list[tuple[int, int]] = []
        path = convert(source, Path(folder) / "a.h5", env="toy", progress=lambda *call: calls.append(call))
        assert calls == [(i + 1, len(lengths)) for i in range(len(lengths))]
        with verify(path) as store:
            assert store.env == "toy" and store.lengths.tolist() == lengths
            for i, one in enumerate(episodes):
                np.testing.assert_array_equal(store.read_episode("action", i), one["action"])
                np.testing.assert_array_equal(store.read_episode("state", i), one["state"])
                if format not in ("ogbench",):
                    np.testing.assert_array_equal(store.read_episode("reward", i), one["reward"])
            expected = windows_slow([one for one, s in zip(episodes, store.split) if s == 0], length, stride)
            if expected:
                batch = (windows := Windows(store, 0, length, stride)).batch(np.arange(len(windows)))
                np.testing.assert_array_equal(batch["pixels"], np.stack([pixels for pixels, _ in expected]))
                np.testing.assert_array_equal(batch["action"], np.stack([action for _, action in expected]))


@pytest.mark.parametrize("format", FORMATS)
def test_provenance(format: str, tmp_path: Path) -> None:
    source = make(format, tmp_path, [episode(i, 12) for i in range(4)])
    with EpisodeStore(convert(source, tmp_path / "a.h5", env="toy", image_size=16)) as store:
        attrs = store.attrs
        assert attrs["source_format"] == format and attrs["source"] == source.name and "/" not in attrs["source"]
        assert attrs["image_size"] == store.image_size == 16 and attrs["action_dim"] == 2
        looks = {"swm": "official", "ogbench": "official", "worldmodel": None}
        assert attrs.get("render_preset") == looks.get(format, "foreign")
        bounds = ([-9, -9], [99, 99]) if format == "minari" else ([0, 0], [3, 10])  # declared, or of the data
        assert (attrs["action_low"], attrs["action_high"]) == bounds
        assert attrs.get("policies") == ({"weak": 4} if format == "worldmodel" else None)
        small = episode(1, 12)["pixels"][3]
        np.testing.assert_array_equal(store.read_episode("pixels", 1)[3], cv2.resize(small, (16, 16), interpolation=3))


def test_split_is_the_sources_or_by_seed(tmp_path: Path) -> None:
    plain = make("npz", tmp_path, [episode(i, 4) for i in range(9)])
    ours = make("worldmodel", tmp_path, [episode(i, 4, split=i % 3) for i in range(9)])

    def split(source: Path, **options: Any) -> list[int]:
        with EpisodeStore(convert(source, tmp_path / f"{len(list(tmp_path.iterdir()))}.h5", env="toy", **options)) as a:
            return a.split.tolist()

    assert split(ours) == [0, 1, 2] * 3
    assert split(ours, seed=3) == split(plain, seed=3) == split_of(9, 3).tolist()
    assert split(plain) == split_of(9, 0).tolist()


def test_our_own_dataset_again_is_the_same_dataset(tmp_path: Path) -> None:
    source = make("worldmodel", tmp_path, [episode(i, 12, split=i % 3) for i in range(4)])
    path = convert(convert(source, tmp_path / "a.h5"), tmp_path / "b.h5")
    with EpisodeStore(source) as one, EpisodeStore(path) as other:
        assert one.columns == other.columns and other.env == "toy" and other.attrs["source"] == "ours.h5"
        for name in one.columns:
            np.testing.assert_array_equal(one.read(name, 0, one.rows), other.read(name, 0, other.rows))


def test_env_is_a_short_name_and_its_bounds_are_known(tmp_path: Path) -> None:
    episodes = [episode(0, 3)]
    episodes[0]["action"] *= 0.3
    source = make("npz", tmp_path, episodes)
    with pytest.raises(BadValue, match=r"^env: .*episodes does not say which environment it is of: .*pusht"):
        convert(source, tmp_path / "a.h5")
    with EpisodeStore(convert(source, tmp_path / "a.h5", env="worldmodel/PushT-v0")) as store:
        assert store.env == "pusht" and store.attrs["action_low"] == [-1, -1] and store.attrs["action_high"] == [1, 1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"actions": None}, "episode 1: there is no column 'action' of numbers"),
        ({"actions": np.zeros((5, 2), int)}, "episode 1: column 'action' must hold real numbers"),
        ({"actions": np.zeros((3, 2), np.float32)}, "episode 1: column 'action' has 3 rows, the others 6"),
        ({"actions": np.full((5, 2), np.nan)}, "episode 1: column 'action' is not finite at step 0"),
        ({"images": np.zeros((6, 8, 8, 4), np.uint8)}, "episode 1: column 'pixels' must hold uint8"),
        ({"state": np.zeros((6, 5))}, "episode 1: column 'state' has rows of shape"),
        ({"state": np.zeros((5, 3))}, "episode 1: column 'state' has 5 rows, the others 6"),
        ({"more": np.zeros(6)}, "episode 1 has columns"),
        ({"split": np.asarray(3)}, "episode 1: column 'split' holds values other than 0, 1 and 2"),
    ],
)
def test_columns_that_do_not_fit_are_named(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    source = make("npz", tmp_path, [episode(0, 6), episode(1, 6)])
    with np.load(source / "0001.npz") as file:
        arrays = {name: value for name, value in {**file, **changes}.items() if value is not None}
    np.savez(source / "0001.npz", **arrays)
    with pytest.raises(BadFile, match=f"episodes: {says}"):
        convert(source, tmp_path / "a.h5", env="toy")
    assert [item.name for item in tmp_path.iterdir()] == ["episodes"]


def test_mistakes_in_the_arguments(tmp_path: Path) -> None:
    source = make("npz", tmp_path, [episode(0, 6)])
    for options, says in (
        ({"image_size": 4}, "image_size: expected at least 8, got 4"),
        ({"seed": -1}, "seed: expected at least 0"),
        ({"camera": "top"}, "camera: only LeRobot datasets have several"),
    ):
        with pytest.raises(BadValue, match=says):
            convert(source, tmp_path / "a.h5", env="toy", **options)
    with pytest.raises(UnknownName, match="did you mean 'ogbench'"):
        convert(source, tmp_path / "a.h5", env="toy", format="ogbnch")
    with pytest.raises(BadFile, match="a.h5 is already there"):
        convert(source, convert(source, tmp_path / "a.h5", env="toy"), env="toy")
    with pytest.raises(BadFile, match="no such file or folder: nothing.h5"):
        convert("nothing.h5", tmp_path / "b.h5", env="toy", format="swm")


@pytest.mark.parametrize("format", FORMATS)
def test_truncated_files_are_one_line(format: str, tmp_path: Path) -> None:
    source = make(format, tmp_path, [episode(i, 12, size=16) for i in range(3)])
    broken = _data_files(source)[-1]
    whole = broken.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 60):
        broken.write_bytes(whole[:size])
        with pytest.raises(BadFile, match=source.name) as caught:
            convert(source, tmp_path / "a.h5", env="toy")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "a.h5").exists() and not list(tmp_path.glob(".a*"))


@pytest.mark.parametrize("format", FORMATS)
def test_a_flipped_bit_is_one_line_or_goes_unnoticed(format: str, tmp_path: Path) -> None:
    """Checksums find it; without, the bit may be just another value. Nothing else is ever raised."""
    source = make(format, tmp_path, [episode(i, 12, size=16) for i in range(3)])
    files = _data_files(source)
    caught = 0
    for position in np.random.default_rng(0).integers(0, 2**31, 40):
        file = files[position % len(files)]
        whole = file.read_bytes()
        flipped = bytearray(whole)
        flipped[position % len(whole)] ^= 1 << position % 8
        file.write_bytes(flipped)
        try:
            convert(source, tmp_path / "a.h5", env="toy").unlink()
        except WorldModelError as error:
            assert "\n" not in str(error) and (source.name in str(error)), error
            caught += 1
        file.write_bytes(whole)
    assert caught > {"worldmodel": 5, "npz": 20, "ogbench": 20}.get(format, -1)


def test_flipped_bits_under_a_checksum_name_the_column(tmp_path: Path) -> None:
    source = make("ogbench", tmp_path, [episode(i, 12) for i in range(3)])
    whole = bytearray(source.read_bytes())
    whole[whole.find(b"qvel.npy") + 60] ^= 16
    source.write_bytes(whole)
    with pytest.raises(BadFile, match="task-play-v0.npz: column 'qvel' is damaged"):
        convert(source, tmp_path / "a.h5", env="toy")


def _data_files(source: Path) -> list[Path]:
    """Files that hold the rows."""
    if source.is_file():
        return [source]
    return sorted(path for path in source.rglob("*") if path.suffix in (".npz", ".parquet", ".hdf5"))


def test_redrawn_pictures_are_those_of_a_collection(tmp_path: Path) -> None:
    ours = collect("two-room", tmp_path / "a.h5", 3, 12, workers=1, image_size=32)
    same = convert(ours, tmp_path / "b.h5", redraw=True, image_size=32)
    large = convert(ours, tmp_path / "c.h5", redraw=True)
    with EpisodeStore(ours) as a, EpisodeStore(same) as b, EpisodeStore(large) as c:
        assert np.array_equal(a.read("pixels", 0, a.rows), b.read("pixels", 0, b.rows))
        assert c.image_size == 64 and c.attrs["render_preset"] == "fast"
        task = registry.make("two-room").unwrapped
        assert np.array_equal(c.read("pixels", 7, 8)[0], task.draw(a.read("state", 7, 8)[0]))
    with pytest.raises(BadValue, match="redraw: its states are not known to toy"):
        convert(ours, tmp_path / "d.h5", redraw=True, env="toy")
    assert not (tmp_path / "d.h5").exists()


@pytest.mark.parametrize("env", ["dmc/reacher-qpos", "ogbench/cube-single", "ogbench/scene"])
def test_positions_and_velocities_become_states(env: str, tmp_path: Path) -> None:
    """What others record of MuJoCo is enough to draw the same pictures and to judge success."""
    skip_unless_it_draws(env)
    (tmp_path / "npz").mkdir()
    with EpisodeStore(collect(env, tmp_path / "a.h5", 3, 6, workers=1, image_size=16)) as store:
        states, pixels = store.read("state", 0, store.rows), store.read("pixels", 0, store.rows)
        for i in range(len(store)):
            columns = [name for name in ("action", "qpos", "qvel", "button_states") if name in store.columns]
            np.savez(tmp_path / "npz" / f"{i}.npz", **{name: store.read_episode(name, i) for name in columns})
    with EpisodeStore(convert(tmp_path / "npz", tmp_path / "b.h5", env=env, redraw=True, image_size=16)) as again:
        task = registry.make(env, image_size=16).unwrapped
        assert np.array_equal(again.read("pixels", 0, again.rows), pixels)
        for state, same in zip(states, again.read("state", 0, again.rows)):
            assert task.distance(same, state) == 0 and np.array_equal(task.qpos(same), task.qpos(state))
        assert again.attrs["action_low"] == task.action_space.low.tolist()


def test_our_own_states_are_kept_and_varied_worlds_are_not_redrawn(tmp_path: Path) -> None:
    skip_unless_it_draws("dmc/reacher-easy")
    ours = collect("dmc/reacher-easy", tmp_path / "a.h5", 3, 5, workers=1, image_size=16)
    with EpisodeStore(ours) as a, EpisodeStore(convert(ours, tmp_path / "b.h5", redraw=True, image_size=16)) as b:
        for name in ("state", "pixels", "action"):
            assert np.array_equal(a.read(name, 0, a.rows), b.read(name, 0, b.rows), equal_nan=True), name
    varied = collect("two-room", tmp_path / "v.h5", 3, 5, workers=1, image_size=16, variation="all")
    with pytest.raises(BadValue, match="redraw: its worlds are varied"):
        convert(varied, tmp_path / "c.h5", redraw=True)


def test_what_others_say_is_not_taken_for_ours(tmp_path: Path) -> None:
    """Their variations have other units, their pictures another look, and a name may look like JSON."""
    (tmp_path / "[ep]").mkdir()
    columns = {name: value for name, value in episode(0, 8).items() if name in ("pixels", "action", "state")}
    for i in range(3):
        np.savez(tmp_path / "[ep]" / f"{i}.npz", **columns, **{"variation.block.scale": np.full(8, 40.0)})
    with EpisodeStore(convert(tmp_path / "[ep]", tmp_path / "b.h5", env="pusht")) as store:
        assert store.attrs["source"] == "[ep]" and store.attrs["render_preset"] == "foreign"
        assert "source_variation_block_scale" in store.columns and "variation_block_scale" not in store.columns
