"""What a training step sees depends on (seed, step) only, and processes share it out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.datasets.episodes import episode
from tests.worldmodel.tiny import LOSS, TRAIN, tiny_config
from worldmodel import distributed
from worldmodel.cli.batches import MORE, Batches, prefetched
from worldmodel.datasets import on_device
from worldmodel.datasets.mirrors import MIRRORS, Mirroring
from worldmodel.datasets.shifts import shifted
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.stream import FrameStream
from worldmodel.errors import BadValue
from worldmodel.model import WorldModel
from worldmodel.run import RunConfig

CPU = torch.device("cpu")
BOUNDS = {"action_low": [-40.0, -40.0], "action_high": [40.0, 40.0]}
CONFIG = RunConfig(
    env="robot", recipe="wm", preset="nano", dataset="", model=tiny_config(), loss=LOSS, train=replace(TRAIN, batch=12)
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    path = tmp_path_factory.mktemp("data") / "a.h5"
    return EpisodeStore(write_store(path, [episode(i, rows) for i, rows in enumerate((40, 30, 21))], BOUNDS))


GOALS = replace(CONFIG, model=replace(CONFIG.model, reflex=8), train=replace(CONFIG.train, ahead=11, long_share=1 / 3))


def equal(a: list, b: list) -> bool:
    return all(torch.equal(x[name], y[name]) for x, y in zip(a, b, strict=True) for name in x)


def test_a_step_is_what_its_number_says(store: EpisodeStore) -> None:
    batches = Batches(store, CONFIG, CPU)
    (windows,) = batches(3)
    assert windows["pixels"].shape == (12, 5, 8, 8, 3) and windows["action"].shape[:2] == (12, 4)
    assert equal(batches(3), Batches(store, CONFIG, CPU)(3)) and not equal(batches(3), batches(4))
    mixed = Batches(store, replace(CONFIG, train=replace(CONFIG.train, long_share=1 / 3)), CPU)(0)
    assert [tuple(group["pixels"].shape[:2]) for group in mixed] == [(4, 5), (8, 3)]


def test_goals_lie_ahead_in_the_same_episode(store: EpisodeStore) -> None:
    """Pixels spell (episode, row); with C = 2 and F = 3, the present of a window is three rows after its start."""
    batches, without = Batches(store, GOALS, CPU), replace(GOALS, train=replace(GOALS.train, ahead=0))
    steps: list[int] = []
    for step in range(40):
        groups = batches(step)
        assert equal(Batches(store, without, CPU)(step), [{k: x[k] for k in ("pixels", "action")} for x in groups])
        for group in groups:
            assert group["goal"].dtype == torch.uint8 and group["ahead"].dtype == torch.float32
            now, goal = (x[:, 0, 0].long() for x in (group["pixels"][:, 1], group["goal"]))
            assert torch.equal(now[:, 0], goal[:, 0])  # episodes
            k = goal[:, 1] - now[:, 1]
            torch.testing.assert_close(group["ahead"], k / 3)
            end = store.lengths[now[:, 0]] - 1
            assert bool(((k >= 3) & (k <= 11)).all())
            steps += k[goal[:, 1].numpy() < end].tolist()
    counted = Counter(steps)
    assert set(counted) == set(range(3, 12)) and counted[3] > 1.5 * counted[11]  # log-uniform
    assert equal(batches(3), Batches(store, GOALS, CPU)(3))


def test_processes_share_the_batch_of_one(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Batches(store, GOALS, CPU)(5)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        share = Batches(store, GOALS, CPU)(5)
        assert equal(share, [{name: values[rank::2] for name, values in group.items()} for group in whole])
    monkeypatch.setattr(distributed, "size", lambda: 5)
    with pytest.raises(
        BadValue,
        match="--train.batch: its 12 windows of one length cannot be shared by 5 processes; expected such as 15",
    ):
        Batches(store, CONFIG, CPU)


def test_ragged_batches_hold_one_length_as_often_as_there_are_windows_of_it(store: EpisodeStore) -> None:
    batches = Batches(store, replace(CONFIG, train=replace(CONFIG.train, ragged=True)), CPU)
    counted = Counter(batches(step)[0]["pixels"].shape[1] for step in range(400))
    # Of an episode of L rows, L - 12 starts have all five frames, three each have exactly four, three and two.
    starts = {5: 28 + 18 + 9, 4: 9, 3: 9, 2: 9}
    shares = {length: count / sum(starts.values()) for length, count in starts.items()}
    assert {length: counted[length] / 400 for length in starts} == pytest.approx(shares, abs=0.06)


def test_frames_on_an_accelerator_give_the_same_windows(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Batches(store, GOALS, CPU)
    monkeypatch.setattr("worldmodel.cli.batches.fits_on", lambda device, store: True)
    monkeypatch.setattr("worldmodel.datasets.stream.fits", lambda store, column: False)
    assert isinstance(Batches(store, CONFIG, CPU).frames, FrameStream)  # the host cannot decode them all
    monkeypatch.undo()
    monkeypatch.setattr("worldmodel.cli.batches.fits_on", lambda device, store: True)
    batches = Batches(store, GOALS, CPU)
    assert isinstance(batches.frames, on_device.FramesOnDevice)
    assert all(equal(batches(step), expected(step)) for step in range(3))


def test_mirrored_windows_are_those_of_the_step(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is one of the eight ways to see the window that would be there, all are seen, and processes share them."""
    monkeypatch.setitem(MIRRORS, "robot", MIRRORS["pusht"])
    config = replace(GOALS, train=replace(GOALS.train, mirror=True))
    batches, plain, seen = Batches(store, config, CPU), Batches(store, GOALS, CPU), set()
    every = list(product((False, True), repeat=3))
    for step in range(6):
        for mirrored, group in zip(batches(step), plain(step), strict=True):
            count = len(group["action"])
            ways = [Mirroring("robot")(group, np.tile(way, (count, 1)).T) for way in every]
            for i in range(count):
                alike = [all(torch.equal(mirrored[name][i], way[name][i]) for name in mirrored) for way in ways]
                seen.add(alike.index(True))
    assert len(seen) == 8
    whole = batches(5)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        assert equal(batches(5), [{name: values[rank::2] for name, values in group.items()} for group in whole])
    assert not batches.settled(WorldModel(GOALS.model)).mirroring


def test_actions_that_cannot_be_mirrored_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MIRRORS, "robot", MIRRORS["pusht"])
    places = EpisodeStore(write_store(tmp_path / "a.h5", [episode(0, 40)], BOUNDS | {"action_low": [0.0, 0.0]}))
    with pytest.raises(BadValue, match="^--train.mirror: .* --train.no-mirror"):
        Batches(places, replace(GOALS, train=replace(GOALS.train, mirror=True)), CPU)
    Batches(places, GOALS, CPU)


def test_moved_windows_are_those_of_the_step(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """By up to a quarter of eight pixels, every way; processes share them."""
    model = replace(GOALS.model, image_size=8)
    config = replace(GOALS, model=model, train=replace(GOALS.train, shift=0.25))
    batches, plain, seen = Batches(store, config, CPU), Batches(store, GOALS, CPU), set()
    ways = list(product(range(-2, 3), repeat=2))
    for step in range(20):
        for moved, group in zip(batches(step), plain(step), strict=True):
            every = [shifted(group, np.tile(way, (len(group["action"]), 1)).T) for way in ways]
            for i in range(len(group["action"])):
                alike = [all(torch.equal(moved[name][i], way[name][i]) for name in moved) for way in every]
                seen.add(alike.index(True))
    assert len(seen) == 10  # down and to the right; the others move the corner, where all is written, out of sight
    whole = batches(5)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        assert equal(batches(5), [{name: values[rank::2] for name, values in group.items()} for group in whole])
    assert not batches.settled(WorldModel(model)).shift
    assert Batches(store, replace(config, train=replace(config.train, shift=0.01)), CPU).shift == 1


def test_a_settled_step_has_more_windows_of_latents(store: EpisodeStore) -> None:
    """Drawn as a larger batch would be; each latent is what the encoder makes of the frame that would be there."""
    torch.manual_seed(0)
    model = WorldModel(replace(GOALS.model, image_size=8)).eval()
    batches = Batches(store, GOALS, CPU)
    settled = batches.settled(model)
    for step in range(3):
        groups = settled(step)
        assert [tuple(group["z"].shape) for group in groups] == [(MORE * 4, 5, 16), (MORE * 8, 3, 16)]
        more = replace(GOALS, train=replace(GOALS.train, batch=MORE * 12))
        for group, seen in zip(groups, Batches(store, more, CPU)(step), strict=True):
            with torch.no_grad():
                torch.testing.assert_close(group["z"], model.encode(seen))
                torch.testing.assert_close(group["goal"], model.encode({"pixels": seen["goal"][:, None]})[:, 0])
            assert torch.equal(group["action"], seen["action"]) and torch.equal(group["ahead"], seen["ahead"])
    assert equal(batches(3), Batches(store, GOALS, CPU)(3))  # what they were made from is what it was


def test_batches_prepared_ahead_are_the_same(store: EpisodeStore) -> None:
    asked: list[int] = []

    def sample(step: int) -> list[dict[str, torch.Tensor]]:
        asked.append(step)
        return [{"pixels": torch.full((1,), step), "action": torch.zeros(1)}]

    with prefetched(sample, torch.device("meta")) as prepared:  # any device but the processor
        assert [int(prepared(step)[0]["pixels"]) for step in (0, 1, 2, 7, 8)] == [0, 1, 2, 7, 8]
    assert asked == [0, 1, 2, 3, 7, 8, 9]  # 3 was prepared for nothing, because of the jump
    with prefetched(sample, CPU) as plain:
        assert plain is sample
    assert np.all(np.diff(asked) > 0)
