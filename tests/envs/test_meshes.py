"""Coarse meshes: which triangles remain, that nobody but the renderer meets them, and that pictures hardly change."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from tests.envs.drawing import skip_unless_it_draws
from tests.oracles import coarse_slow
from worldmodel.envs import meshes, registry
from worldmodel.envs.meshes import coarse, coarsened


@pytest.mark.parametrize("cells", [1, 3, 10, 1000])
def test_triangles_remain_that_meet_three_cells_of_their_own(cells: int) -> None:
    rng = np.random.default_rng(cells)
    corners = rng.random((200, 3)).astype(np.float32) * [1.0, 0.5, 0.1]
    triangles = np.concatenate([rng.integers(200, size=(300, 3)), rng.integers(200, size=(50, 3)).repeat(2, axis=0)])
    kept, met = coarse(corners, triangles, cells)
    expected = coarse_slow(corners, triangles, cells)
    assert kept.tolist() == [i for i, _ in expected] and met.tolist() == [found for _, found in expected]
    if cells == 1000:  # every corner in a cell of its own: what is double or thin is all that goes
        assert np.array_equal(met, triangles[kept]) and len(kept) > 300


def test_the_model_is_as_before_but_for_whom_it_is_coarsened() -> None:
    pytest.importorskip("ogbench", reason="needs the extra mujoco")
    with registry.make("ogbench/cube-single", observation="state") as env:
        model = env.unwrapped.model
        names = ("mesh_facenum", "mesh_face", "mesh_facenormal", "mesh_facetexcoord", "mesh_vert")
        before = {name: getattr(model, name).copy() for name in names}
        few = before["mesh_facenum"] < meshes.MANY
        with pytest.raises(ZeroDivisionError), coarsened(model, 24):
            assert model.mesh_facenum.sum() < 0.2 * before["mesh_facenum"].sum()
            assert few.any() and (model.mesh_facenum[few] == before["mesh_facenum"][few]).all()
            assert (model.mesh_facenum > 0).all()
            _ = 1 / 0
        for name in names:
            assert np.array_equal(getattr(model, name), before[name])


@pytest.mark.parametrize("look", ["fast", "official"])
def test_pictures_of_a_robot_arm_hardly_change(look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ogbench", reason="needs the extra mujoco")
    skip_unless_it_draws("ogbench/cube-single")
    with registry.make("ogbench/cube-single", observation="state", render_preset=look) as env:
        task = env.unwrapped
        states = [env.reset(seed=seed) and task.get_state() for seed in range(2)]
        quick = np.stack([task.draw(state) for state in states]).astype(int)
        task.close()
        monkeypatch.setattr("worldmodel.envs.rendering.coarsened", lambda model, cells: nullcontext())
        gap = np.abs(quick - np.stack([task.draw(state) for state in states]))
        arm = np.abs(quick[0] - quick[1])  # what moving the arm changes
    assert gap.max() == 0 if look == "official" else 0 < gap.mean() < 0.6 < 0.5 * arm.mean()
