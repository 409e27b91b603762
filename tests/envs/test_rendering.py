"""MuJoCo's pictures: both looks, many renderers at once, a quiet end, and one line where there is no OpenGL."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.envs.drawing import skip_unless_it_draws
from worldmodel.envs import gl, registry

SCENE = """
from worldmodel.envs.rendering import Renderer, mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='.3'/>"
    "<camera pos='0 -2 0' xyaxes='1 0 0 0 0 1'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderers = [Renderer(model, size, preset) for size in (16, 32) for preset in ("fast", "official")]
renderers.append(renderers)  # a cycle: collected at the very end, or never
print(os.environ["MUJOCO_GL"], all(renderer.draw(data, 0).std() > 1 for renderer in renderers[:4]))
"""


@pytest.fixture(autouse=True)
def can_draw() -> None:
    skip_unless_it_draws("dmc/reacher-qpos")


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in which MUJOCO_GL is only set by us."""
    inherited = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL" and "DISPLAY" not in name}
    call = [sys.executable, "-c", "import os, sys\n" + code]
    return subprocess.run(call, env=inherited | environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["reacher-qpos", "quadruped-escape"])
def test_the_official_look_is_the_suites(name: str) -> None:
    task = registry.make(f"dmc/{name}", render_preset="official", image_size=48).unwrapped
    for seed in range(2):
        state = task.sample(np.random.default_rng(seed))
        assert np.array_equal(task.draw(state), task._physics.render(48, 48, camera_id=task.camera))
    task._physics.free()


def test_the_fast_look_leaves_out_what_is_dear_and_shows_the_same() -> None:
    fast, official = (registry.make("dmc/reacher-qpos", render_preset=look).unwrapped for look in ("fast", "official"))
    state = fast.sample(np.random.default_rng(0))
    ink = [
        picture[..., 0] > 150 for picture in (fast.draw(state), official.draw(state))
    ]  # the arm is the only thing with red in it
    assert 20 < ink[0].sum() < 200 and (ink[0] & ink[1]).sum() > 0.6 * (ink[0] | ink[1]).sum()
    flag = pytest.importorskip("mujoco", reason="needs the extra mujoco").mjtRndFlag
    for task, shadows in ((fast, 0), (official, 1)):
        flags = task._renderer._renderer.scene.flags
        assert flags[flag.mjRND_SHADOW] == flags[flag.mjRND_REFLECTION] == shadows


def test_renderers_do_not_disturb_each_other() -> None:
    """Other sizes, looks and models in lock-step, and one that is closed in between, change nothing."""
    kinds = [("reacher-qpos", 64, "fast"), ("reacher-qpos", 32, "official"), ("walker-walk", 96, "fast")]

    def make(kind: tuple[str, int, str]):
        name, size, look = kind
        return registry.make(f"dmc/{name}", image_size=size, render_preset=look).unwrapped

    def states(task) -> list[np.ndarray]:
        return [task.sample(np.random.default_rng(seed)) for seed in range(3)]

    alone = []
    for kind in kinds:
        task = make(kind)
        quality = task.model.vis.quality.offsamples, task.model.vis.quality.shadowsize, task.model.vis.global_.offwidth
        alone.append([task.draw(state) for state in states(task)])
        left = task.model.vis.quality.offsamples, task.model.vis.quality.shadowsize, task.model.vis.global_.offwidth
        assert left == quality  # the model is as it was, for whoever else draws it
        task.close()
    together = [make(kind) for kind in kinds]
    for seed, drawn in enumerate(zip(*[states(task) for task in together])):
        passing = make(kinds[seed])
        passing.render()
        for task, state, pictures in zip(together, drawn, alone):
            assert np.array_equal(task.draw(state), pictures[seed])
        passing.close()
        passing.close()  # a second time is nothing
        assert np.array_equal(passing.draw(drawn[seed]), alone[seed][seed])  # and it draws again when asked
        del passing


@pytest.mark.parametrize("backend", ["", "egl", "osmesa"])
def test_the_interpreter_ends_quietly(backend: str) -> None:
    if backend == "osmesa" and not (gl._loads("libOSMesa.so.8") or gl._loads("libOSMesa.so.6")):
        pytest.skip("no OSMesa here")
    ended = run(SCENE, **({"MUJOCO_GL": backend} if backend else {}))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{backend or gl.found()} True\n", "")


def test_mujoco_gl_is_chosen_before_mujoco_is_imported_and_never_overridden() -> None:
    chosen = run("from worldmodel.envs import rendering\nprint(os.environ.get('MUJOCO_GL'))")
    assert chosen.stdout == f"{gl.found()}\n" and not chosen.stderr
    users = run("from worldmodel.envs import rendering\nprint(os.environ['MUJOCO_GL'])", MUJOCO_GL="disabled")
    assert users.stdout == "disabled\n"
    names = "from worldmodel.envs import registry\nregistry.names()\nprint('MUJOCO_GL' in os.environ, 'mujoco' in "
    assert run(names + "sys.modules)").stdout == "False False\n"  # nothing is touched before it is used


@pytest.mark.skipif(not gl.found(), reason="says what this machine has")
@pytest.mark.parametrize(
    ("before", "setting", "says"),
    [
        ("import mujoco", {}, "mujoco was imported before worldmodel could choose its OpenGL: start with MUJOCO_GL="),
        ("", {"MUJOCO_GL": "disabled"}, "unset MUJOCO_GL: this machine has"),
        ("", {"MUJOCO_GL": "nonsense"}, "MUJOCO_GL=nonsense does not work here; unset MUJOCO_GL"),
    ],
)
def test_where_it_cannot_draw_it_says_so_in_one_line(before: str, setting: dict[str, str], says: str) -> None:
    code = f"{before}\nfrom worldmodel.errors import WorldModelError\ntry:\n    exec({SCENE!r})\n"
    said = run(code + "except WorldModelError as error:\n    print(error)", **setting).stdout
    assert says in said and said.count("\n") == 1


def test_without_any_opengl_the_hint_is_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gl, "_loads", lambda library: False)
    assert gl.found() == "" and "apt-get install --no-install-recommends libegl1" in gl.hint()
    monkeypatch.setattr(gl, "_loads", lambda library: "OSMesa" in library)
    assert gl.found() == "osmesa"


def test_workers_are_started_safely_after_pictures_were_drawn() -> None:
    """A forked worker would hang on the OpenGL that its parent has used."""
    code = """
import pathlib, tempfile
from worldmodel.datasets.collect import collect
from worldmodel.envs import registry
registry.make("dmc/reacher-qpos").unwrapped.render()
with tempfile.TemporaryDirectory() as folder:
    collect("dmc/reacher-qpos", pathlib.Path(folder) / "a.h5", 21, 3, workers=2, image_size=16)
print("collected")
"""
    ended = run(code)
    assert ended.stdout == "collected\n", ended.stderr
