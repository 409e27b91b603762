"""Frames kept on a device are the frames of the file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.datasets.episodes import episode
from worldmodel.datasets import on_device
from worldmodel.datasets.cache import FrameCache
from worldmodel.datasets.on_device import FramesOnDevice, fits_on
from worldmodel.datasets.store import EpisodeStore, write_store
from worldmodel.datasets.windows import Windows


def test_frames_on_a_device_are_the_windows_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "_ROWS", 7)  # moved in several pieces
    with EpisodeStore(write_store(tmp_path / "a.h5", [episode(0, 23), episode(1, 12)], {})) as store:
        windows, frames = Windows(store, 0, 3, 4), FramesOnDevice(FrameCache(store), torch.device("cpu"))
    order = np.asarray([5, 0, 5, len(windows) - 1])
    np.testing.assert_array_equal(frames.gather(windows.frame_rows(order)).numpy(), windows.batch(order)["pixels"])


@pytest.mark.parametrize(("free", "fits"), [(15359, False), (15360, True)])
def test_frames_may_take_three_tenths_of_the_free_memory(
    free: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 pictures of 8 px are 4608 bytes."""
    store = EpisodeStore(write_store(tmp_path / "a.h5", [episode(0, 24)], {}))
    module = SimpleNamespace(mem_get_info=lambda device: (free, 10**9))
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    assert fits_on(SimpleNamespace(type="xpu"), store) is fits  # type: ignore[arg-type]
    assert not fits_on(torch.device("cpu"), store)
