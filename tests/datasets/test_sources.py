from __future__ import annotations

import numpy as np
import pytest

from worldmodel.datasets.sources import fit
from worldmodel.errors import BadValue


def test_pictures_are_fitted() -> None:
    frame = np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)
    padded = fit(frame, 10)
    np.testing.assert_array_equal(padded[2:8], frame)
    assert not padded[:2].any() and not padded[8:].any()
    assert fit(frame.transpose(1, 0, 2), 8).shape == (8, 8, 3)
    np.testing.assert_array_equal(fit(padded[..., 0], None), np.repeat(padded[..., :1], 3, axis=2))
    averaged = padded.reshape(5, 2, 5, 2, 3).mean(axis=(1, 3))
    assert np.abs(fit(padded, 5) - averaged).max() <= 0.5
    with pytest.raises(BadValue, match="image_size: pictures of 6 x 10 are not square"):
        fit(frame, None)
    for bad in (frame.astype(np.float32), frame.transpose(2, 0, 1), np.zeros((4, 8, 8, 3), np.uint8)):
        with pytest.raises(BadValue, match="column 'pixels' must hold uint8"):
            fit(bad, 8)
