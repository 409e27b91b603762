"""The block of PushT: a T and, as variations, other shapes made of boxes; all turn about the same point."""

from __future__ import annotations

import numpy as np
import pymunk

Array = np.ndarray
Corners = tuple[tuple[float, float], ...]


def _box(left: float, top: float, right: float, bottom: float) -> Corners:
    return (left, top), (right, top), (right, bottom), (left, bottom)


# px, in the block's frame. A shape is its boxes, whose centres' mean is the centre of gravity, and its outline, once
# around, x to the right and y down, clockwise.
CENTRE_OF_GRAVITY = (0.0, 45.0)
BAR, STEM = _box(-60.0, 0.0, 60.0, 30.0), _box(-15.0, 30.0, 15.0, 120.0)
_UPRIGHT, _FOOT = _box(-37.5, -37.5, -7.5, 82.5), _box(-7.5, 52.5, 52.5, 82.5)
_SQUARE = _box(-45.0, 0.0, 45.0, 90.0)
_ACROSS, _DOWN = _box(-60.0, 30.0, 60.0, 60.0), _box(-15.0, -15.0, 15.0, 105.0)
_L_OUTLINE = (*_UPRIGHT[:2], *_FOOT[:3], _UPRIGHT[3])
_PLUS_OUTLINE = (
    _ACROSS[0], (-15.0, 30.0), *_DOWN[:2], (15.0, 30.0), *_ACROSS[1:3], (15.0, 60.0), *_DOWN[2:], (-15.0, 60.0),
    _ACROSS[3],
)  # fmt: skip
SHAPES: dict[str, tuple[tuple[Corners, ...], Corners]] = {
    "T": ((BAR, STEM), (*BAR[:3], *STEM[1:], STEM[0], BAR[3])),
    "L": ((_UPRIGHT, _FOOT), _L_OUTLINE),
    "square": ((_SQUARE,), _SQUARE),
    "plus": ((_ACROSS, _DOWN), _PLUS_OUTLINE),
}
MOMENT = 2 * pymunk.moment_for_poly(1.0, BAR)  # of mass 1; the bar is counted twice, as in the published environment


class Block:
    """A shape at a scale; a state says where it lies. Lengths in px.

    Args:
        shape: one of `SHAPES`.
        scale: 1 is the published size. The moment grows with its square; it is that of the T for every shape.

    Attributes:
        parts: the boxes, in the block's frame.
        radius_of_gyration: weighs a turn against a shift.
    """

    def __init__(self, shape: str, scale: float) -> None:
        boxes, corners = SHAPES[shape]
        self.parts = [[(scale * x, scale * y) for x, y in box] for box in boxes]
        self.centre_of_gravity = (scale * CENTRE_OF_GRAVITY[0], scale * CENTRE_OF_GRAVITY[1])
        self.moment = scale**2 * MOMENT
        self.radius_of_gyration = float(np.sqrt(self.moment))
        self._corners = scale * np.array(corners)
        self._boxes = [(np.array(part[0]), np.array(part[2])) for part in self.parts]

    def outline(self, state: Array) -> Array:
        """Return the corners, once around: (P, 2)."""
        c, s = np.cos(state[4]), np.sin(state[4])
        return self._corners @ np.array([[c, s], [-s, c]]) + state[2:4]

    def centre(self, state: Array) -> Array:
        """Return where the centre of gravity is, (2,)."""
        c, s = np.cos(state[4]), np.sin(state[4])
        x, y = self.centre_of_gravity
        return state[2:4] + np.array([c * x - s * y, s * x + c * y])

    def clearance(self, state: Array, points: Array) -> Array:
        """Return how far points (..., 2) are from the block, (...); negative inside."""
        c, s = np.cos(state[4]), np.sin(state[4])
        local = (points - state[2:4]) @ np.array([[c, -s], [s, c]])
        gaps = [_box_distance(local, *box) for box in self._boxes]
        return gaps[0] if len(gaps) == 1 else np.minimum(*gaps)


def _box_distance(points: Array, low: Array, high: Array) -> Array:
    outside = np.maximum(low - points, points - high)  # (..., 2), per axis
    return np.linalg.norm(np.maximum(outside, 0.0), axis=-1) + np.minimum(outside.max(-1), 0.0)
