"""Coarser meshes for small pictures: a triangle much smaller than a pixel costs as much to draw as a large one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

Array = np.ndarray
MANY = 1000  # triangles
_FACES = ("mesh_face", "mesh_facenormal", "mesh_facetexcoord")  # of a MuJoCo model: three numbers for each triangle


def coarse(corners: Array, triangles: Array, cells: int) -> tuple[Array, Array]:
    """Join corners that lie in one cell of a grid (vertex clustering, Rossignac and Borrel 1993).

    Args:
        corners: (V, 3) float, places.
        triangles: (N, 3) int, their corners.
        cells: of the grid along the longest side of the corners' box.

    Returns:
        Which triangles remain, (M,) int: of those that meet the same three cells, the first. And their corners, (M, 3),
        each the first of its cell.
    """
    low, high = corners.min(axis=0), corners.max(axis=0)
    cell = ((corners - low) * (cells / max(float((high - low).max()), 1e-9))).astype(np.int64)
    number = (cell[:, 0] * (cells + 1) + cell[:, 1]) * (cells + 1) + cell[:, 2]
    _, first, group = np.unique(number, return_index=True, return_inverse=True)
    met = np.sort(group[triangles], axis=1)
    wide = np.flatnonzero((met[:, 0] < met[:, 1]) & (met[:, 1] < met[:, 2]))
    met = met[wide]
    _, unlike = np.unique((met[:, 0] * len(first) + met[:, 1]) * len(first) + met[:, 2], return_index=True)
    kept = wide[np.sort(unlike)]
    return kept, first[group[triangles[kept]]]


@contextmanager
def coarsened(model: Any, cells: int) -> Iterator[None]:
    """Let the meshes of a compiled MuJoCo model be coarse, and put them back: for what reads them meanwhile.

    Those of few triangles stay as they are: a box has none to spare.
    """
    before = {name: getattr(model, name).copy() for name in ("mesh_facenum", *_FACES)}
    try:
        for mesh in np.flatnonzero(before["mesh_facenum"] >= MANY):
            corner, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
            start, stop = model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + before["mesh_facenum"][mesh]
            corners = model.mesh_vert[corner : corner + count]
            kept, triangles = coarse(corners, before["mesh_face"][start:stop], cells)
            here = slice(start, start + len(kept))
            for name in _FACES:
                getattr(model, name)[here] = before[name][start:stop][kept]
            model.mesh_face[here] = triangles
            model.mesh_facenum[mesh] = len(kept)
        yield
    finally:
        for name, values in before.items():
            getattr(model, name)[:] = values
