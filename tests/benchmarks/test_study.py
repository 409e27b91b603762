"""The study on a toy, both stages: nothing finished is repeated, compute is equal, the numbers are the records'."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from worldmodel.benchmarks import study, study_compute, study_jobs, study_results
from worldmodel.benchmarks.evaluate import Outcome
from worldmodel.benchmarks.intervals import mcnemar
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.benchmarks.provenance import file_fingerprint
from worldmodel.benchmarks.record import Record, save_pairs
from worldmodel.benchmarks.study import Options
from worldmodel.benchmarks.study_jobs import Jobs, Spent
from worldmodel.benchmarks.study_runs import Study
from worldmodel.benchmarks.study_variants import VARIANTS, Evaluation, Training, Variant, chosen, named, training_of
from worldmodel.cli import plan, train
from worldmodel.errors import BadFile, BadValue, UnknownName
from worldmodel.files import locked, read_json, write_json

SMALL = "--model.image-size 16 --model.latent-dim 8 --model.encoder.width 4 --model.encoder.depth 2 --train.batch 6 "
SMALL += "--model.encoder.projector 8 --loss.projections 16 --train.precision fp32"
PREFIX = " --model.prefix.head 8 --model.prefix.block-mlp 8"
QUICK = "--candidates 4 --elites 2 --iterations 1"
TOY = (
    Variant(name="wm", idea="The default.", train=SMALL + PREFIX, plan=QUICK),
    Variant(name="lewm", idea="One.", train="--recipe lewm " + SMALL, plan=QUICK),
    Variant(name="fast-lewm", idea="Two.", train="--recipe fast-lewm " + SMALL + PREFIX, plan=QUICK),
    Variant(name="often", idea="Plans often.", train=SMALL + PREFIX, plan=QUICK + " --execute-steps 2"),
)
RATIOS = {"wm": 2.0, "lewm": 1.0, "fast-lewm": 4.0}  # of a step's cost, over the reference's


class Desk:
    """Runs commands in this process, and stops at one of them as Ctrl-C would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch, self.calls, self.stop = monkeypatch, [], 10**6
        self.seconds = 0.03  # of a step of the reference on this machine

    def __call__(self, command: str, arguments: list[str], log: Path) -> Spent:
        if len(self.calls) == self.stop:
            raise KeyboardInterrupt
        self.calls.append(command)
        code = 0
        if command == "compute":
            given = json.loads(arguments[0])
            name = next(v.name for v in TOY if v.train == given["flags"])
            seconds = {"seconds": self.seconds * RATIOS[name], "reference_seconds": self.seconds}
            cost = {**seconds, "ratio": RATIOS[name], "frames": 30}
            settings = study_compute.settings_of(given["flags"], given["task"])
            write_json(given["out"], {"flags": given["flags"], "settings": settings, **cost})
        else:
            self.monkeypatch.setattr(sys, "argv", [command, *arguments])
            try:
                {"wm-train": train.main, "wm-plan": plan.main}[command]()
            except SystemExit as stop:
                code = int(stop.code or 0)
        return Spent(code, "", 1.5, 3.0)


@pytest.fixture
def toy(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Options of a study of two-room with four pairs, whose reference takes twenty steps."""
    monkeypatch.setattr(study, "VARIANTS", TOY)
    (tmp_path / "data").mkdir()
    shutil.copy(dataset, tmp_path / "data" / "two-room.h5")
    told = {"folder": tmp_path / "study", "data": tmp_path / "data", "results": tmp_path / "results"}
    return {
        **{name: str(path) for name, path in told.items()},
        **{"tasks": ("two-room",), "pairs": 4, "budget_minutes": 0.01, "jobs": 1},
    }


@pytest.mark.slow
def test_both_stages_go_on_where_they_stopped_and_repeat_nothing(
    toy: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(monkeypatch)
    study.run(Options(**toy, dry_run=True), desk)
    said = capsys.readouterr().out
    assert "3 trainings and 4 of 4 evaluations are left to do" in said and " \n" not in said
    assert "about 0.0 hours of training alone, 1 side by side; to these come 4 evaluations of which none is" in said
    assert not desk.calls and not (tmp_path / "study").exists()
    desk.stop = 5  # between two evaluations
    with pytest.raises(KeyboardInterrupt):
        study.run(Options(**toy), desk)
    assert [c["variant"] for c in read_json(tmp_path / "results" / "study-screen.json")["cells"]] == ["wm"]
    desk.stop = 10**6
    with locked(tmp_path / "study" / "lock", "busy"), pytest.raises(BadFile, match="another process works in"):
        study.run(Options(**toy), desk)
    study.run(Options(**toy), desk)
    assert desk.calls == ["compute"] * 3 + ["wm-train", *["wm-plan"] * 2] + ["wm-train", "wm-plan"] * 2
    capsys.readouterr()
    study.run(Options(**toy, dry_run=True), desk)
    shown = capsys.readouterr().out
    assert "0 trainings and 0 of 4 evaluations are left to do" in shown and "| often | " in shown
    made = {path: path.read_bytes() for path in (tmp_path / "study").rglob("*") if path.is_file()}
    study.run(Options(**toy), desk)
    assert {path: path.read_bytes() for path in (tmp_path / "study").rglob("*") if path.is_file()} == made
    assert len(desk.calls) == 10
    found = read_json(tmp_path / "results" / "study-screen.json")
    assert {c["variant"]: c["steps"] for c in found["cells"]} == {"wm": 10, "often": 10, "lewm": 20, "fast-lewm": 5}
    assert all(c["frames"] == 30 * c["steps"] and c["training_cpu_s"] == 1.5 for c in found["cells"])

    capsys.readouterr()
    study.run(Options(**toy, stage="final", variants=("often",), seeds=(0, 1), offsets=(25, 50)), desk)
    assert desk.calls[10:].count("wm-train") == 3 and desk.calls[10:].count("wm-plan") == 12  # of 6 and of 16
    printed = capsys.readouterr().out
    check_result(tmp_path, printed)


def check_result(folder: Path, printed: str) -> None:
    """Every number of the final stage is that of a record."""
    found = read_json(folder / "results" / "study-final.json")
    assert len(found["cells"]) == 16 and len(found["rows"]) == 8 and not found["macro"]
    assert found["data"]["two-room"]["command"].startswith("wm-data collect --env two-room --episodes 1000 --seed 1")
    records, runs = {}, folder / "study" / "two-room" / "0.01min"
    for cell in found["cells"]:
        name = f"{cell['variant']}-offset-{cell['offset']}"
        record = Record.load(runs / f"{cell['training']}-{cell['seed']}" / "evaluation" / name)
        records[cell["variant"], cell["offset"], cell["seed"]] = record
        for key in ("success", "n", "low", "high", "random", "noop", "replay", "solved_at_start"):
            assert cell[key] == record.values[key]
        assert cell["manifest"] == record.pairs.sha256 and cell["n"] == 4
        every = record.values["execute_steps"] * 5
        assert cell["ms_per_action"] == record.values["cpu_ms_one_plan"] / every
    assert len({record.pairs.sha256 for record in records.values()}) == 2  # one manifest for each offset
    assert {(c["variant"], c["training"]) for c in found["cells"]} >= {("often", "wm"), ("lewm", "lewm")}
    for row in found["rows"]:
        both = [records[row["variant"], row["offset"], seed].values["success"] for seed in (0, 1)]
        assert row["success"] == pytest.approx(np.mean(both)) and list(row["seeds"].values()) == both
        line = f"| {row['variant']} | {100 * row['success']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}] |"
        assert line in printed and line in (folder / "results" / "study-final.md").read_text()
    assert len(found["comparisons"]) == 2 * (3 + 2 + 2 + 2)
    for one in found["comparisons"]:
        first, second = (
            np.array([records[one[who], one["offset"], seed].outcome.success for seed in (0, 1)], int)
            for who in ("first", "second")
        )
        assert one["difference"] == pytest.approx((first - second).mean())
        for seed in (0, 1):
            only = [int((first[seed] > second[seed]).sum()), int((first[seed] < second[seed]).sum())]
            assert [one["seeds"][seed][name] for name in ("only_first", "only_second")] == only
            assert one["seeds"][seed]["mcnemar_p"] == mcnemar(*only)
    for name in ("study-screen", "study-final", "study-final-offsets", "study-final-latency"):
        assert (folder / "results" / f"{name}.png").stat().st_size > 1000


@pytest.mark.slow
def test_another_machine_goes_on_from_the_results(
    toy: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(monkeypatch)
    study.run(Options(**toy), desk)
    path = tmp_path / "results" / "study-screen.json"
    before = read_json(path)
    found = ("cells", "rows", "comparisons", "pairs", "compute", "data", "variants")
    shutil.rmtree(tmp_path / "study")
    toy["data"] = str(tmp_path / "nowhere")
    desk.calls.clear()
    study.run(Options(**toy), desk)
    after = read_json(path)
    assert not desk.calls and {name: after[name] for name in found} == {name: before[name] for name in found}

    # A new idea: its training is timed and done, the others' are kept, also that of an idea which was removed.
    new = Variant(name="other", idea="New.", train=SMALL + PREFIX + " --loss.knots 9", plan=QUICK)
    monkeypatch.setattr(study, "VARIANTS", (*TOY[:3], new))
    monkeypatch.setattr(sys.modules[__name__], "TOY", (*TOY, new))
    monkeypatch.setitem(RATIOS, "other", 2.0)
    toy["data"], desk.seconds = str(tmp_path / "data"), 0.06
    study.run(Options(**toy), desk)
    after = read_json(path)
    assert desk.calls == ["compute", "wm-train", "wm-plan"]
    assert next(c["steps"] for c in after["cells"] if c["variant"] == "other") == 10  # by the first machine's reference
    assert [v["name"] for v in after["variants"]] == ["wm", "lewm", "fast-lewm", "other", "often"]
    assert [c for c in after["cells"] if c["variant"] != "other"] == before["cells"]
    pair = next(c for c in after["comparisons"] if (c["first"], c["second"]) == ("other", "wm"))
    bits = {c["variant"]: [int(won) for won in c["solved"]] for c in after["cells"]}
    assert pair["difference"] == pytest.approx(np.mean(bits["other"]) - np.mean(bits["wm"]))

    # The next stage and another seed: cut and judged by the same measure, in the same folder or a fresh one.
    desk.calls.clear()
    study.run(Options(**toy, stage="final", seeds=(0,), offsets=(25,)), desk)
    assert desk.calls.count("compute") == 0 and desk.calls.count("wm-train") == 3
    assert {c["variant"]: c["steps"] for c in read_json(path.with_name("study-final.json"))["cells"]} == {
        "wm": 10, "lewm": 20, "fast-lewm": 5,
    }  # fmt: skip
    study.run(Options(**toy, variants=("wm",), seeds=(1,)), desk)
    assert {(c["variant"], c["seed"]) for c in read_json(path)["cells"]} >= {("wm", 0), ("wm", 1), ("often", 0)}

    fresh = toy | {"folder": str(tmp_path / "fresh")}
    for changed, message in (
        (
            Variant(name="other", idea="New.", train=new.train),
            "a cell of the results, .*'variant': 'other'.* is of other pairs or of --candidates",
        ),
        (
            Variant(name="other", idea="New.", train=TOY[1].train, plan=QUICK),
            "the results' other is of .* now .*: name the idea otherwise",
        ),
    ):
        monkeypatch.setattr(study, "VARIANTS", (*TOY[:3], changed))
        with pytest.raises(BadFile, match=message):
            study.run(Options(**fresh), desk)
    write_json(path, {name: value for name, value in after.items() if name != "compute"})
    with pytest.raises(BadFile, match="is no study's, or of an older version: it has no compute"):
        study.run(Options(**fresh), desk)


def test_a_failed_command_is_named_and_the_others_are_done(
    toy: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(monkeypatch)
    calling = desk.__call__

    def call(command: str, arguments: list[str], log: Path) -> Spent:
        return Spent(2, "no", 0, 0) if "fast-lewm-0" in " ".join(arguments) else calling(command, arguments, log)

    with pytest.raises(study.WorldModelError, match=r"failed: wm-train two-room fast-lewm 0 0.01; .*logs"):
        study.run(Options(**toy), call)
    assert {c["variant"] for c in read_json(tmp_path / "results/study-screen.json")["cells"]} == {"wm", "lewm", "often"}


def test_a_task_without_data_leaves_the_others_alone(
    toy: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(monkeypatch)

    def call(command: str, arguments: list[str], log: Path) -> Spent:
        return Spent(2, "no", 0, 0) if command == "wm-data" else desk(command, arguments, log)

    with pytest.raises(study.WorldModelError, match=r"failed: wm-data pusht; .*logs"):
        study.run(Options(**toy | {"tasks": ("pusht", "two-room")}), call)
    assert {c["task"] for c in read_json(tmp_path / "results/study-screen.json")["cells"]} == {"two-room"}


def test_what_was_changed_since_is_refused(
    toy: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(monkeypatch)
    toy |= {"variants": ("wm",)}
    study.run(Options(**toy), desk)
    table = [v for v in TOY if v.name != "wm"]
    for changed, message in (
        (Variant(name="wm", idea="", train=SMALL + PREFIX + " --loss.sigreg 1", plan=QUICK), "loss.sigreg 0.09, now 1"),
        (Variant(name="wm", idea="", train=TOY[0].train, plan=QUICK + " --execute-steps 1"), "now .*execute-steps 1"),
    ):
        monkeypatch.setattr(study, "VARIANTS", (changed, *table))
        with pytest.raises(BadFile, match=message):
            study.run(Options(**toy), desk)
    monkeypatch.setattr(study, "VARIANTS", TOY)
    with pytest.raises(BadFile, match="of 0.01 minutes and 4 pairs, not of 0.01 and 3: give these, or another --res"):
        study.run(Options(**toy | {"pairs": 3}), desk)
    with pytest.raises(BadFile, match="is of 0.01 minutes and 4 pairs, not of 7 and 4"):
        study.run(Options(**toy | {"budget_minutes": 7}), desk)
    toy["results"] = str(tmp_path / "others")
    with pytest.raises(BadFile, match="holds 4 pairs, not 3"):
        study.run(Options(**toy | {"pairs": 3, "seeds": (1,)}), desk)
    note = tmp_path / "study" / "two-room" / "data.json"
    known = read_json(note)
    write_json(note, known | {"fingerprint": "0" * 64})
    with pytest.raises(BadFile, match="is not what the study began with: .* make it again with wm-data collect"):
        study.run(Options(**toy | {"seeds": (1,)}), desk)
    toy["results"] = str(tmp_path / "results")
    with pytest.raises(BadFile, match="data.json is not what .*study-screen.json keeps: remove one of the two"):
        study.run(Options(**toy), desk)
    write_json(note, known | {"command": "wm-data collect --out /elsewhere/two-room.h5"})  # the same episodes
    study.run(Options(**toy), desk)


def test_an_evaluation_is_of_the_weights_that_are_there(tmp_path: Path) -> None:
    those, training = Study(tmp_path, tmp_path, 4, ""), Training("two-room", "wm", "", 0, 20)
    one = Evaluation(training, Variant(name="wm", idea="", plan=QUICK), 25)
    weights, pairs = those.run(training) / "model" / "model.safetensors", recorded([True] * 4).pairs
    save_pairs(tmp_path / "two-room" / "pairs-25.npz", pairs)
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"first")
    judged = {"manifest": {"sha256": pairs.sha256}, "model": {"fingerprint": file_fingerprint(weights)}}
    assert not those.is_evaluated(one)
    write_json(those.record(one) / "result.json", {**judged, "command": shlex.join(["x", *those.evaluating(one)])})
    assert those.is_evaluated(one)
    planned = Evaluation(training, Variant(name="wm", idea="", plan="--iterations 1"), 25)
    with pytest.raises(BadFile, match="of --candidates 4 --elites 2 --iterations 1, now --iterations 1"):
        those.is_evaluated(planned)
    kept = {"training": "wm", "manifest": pairs.sha256, "command": shlex.join(["x", *those.evaluating(one)])}
    those.kept["cells"] = [{**named(one), **kept, "model": file_fingerprint(weights)}]
    those.kept["compute"] = {"two-room": {"wm": {"settings": {}}}}
    those.record(one).rename(tmp_path / "gone")
    assert those.is_evaluated(one)  # as the results keep it
    (tmp_path / "gone").rename(those.record(one))
    weights.write_bytes(b"second")
    assert not those.is_evaluated(one)
    weights.unlink()
    assert those.is_evaluated(one)
    those.kept["cells"] = []
    assert not those.is_evaluated(one)


def test_a_run_of_other_steps_is_named_with_the_file_that_plans_them(tmp_path: Path) -> None:
    those, training = Study(tmp_path, tmp_path, 4, ""), Training("two-room", "wm", "", 0, 20)
    write_json(those.timing("two-room", "wm"), {"flags": "", "seconds": 60.0, "ratio": 1.0})
    write_json(those.run(training) / "model" / "config.json", {"steps": 10})
    message = "wm-0 has 10 steps, 20 are planned by .*two-room/compute/wm.json: remove one of the two"
    with pytest.raises(BadFile, match=message):
        those.is_trained(training)


def test_equal_minutes_are_fewer_steps_where_a_step_costs_more(tmp_path: Path) -> None:
    assert study_compute.steps(20, 0.2, 1.0) == 6000
    assert study_compute.steps(20, 0.2, 0.5) == 12000
    assert study_compute.steps(20, 0.2, 3.0) == 2000
    assert study_compute.steps(1e-9, 0.2, 1.0) == 1
    those = Study(tmp_path, tmp_path, 4, "")
    here = {name: Training("pusht", name, flags, 0, 20) for name, flags in (("wm", ""), ("lewm", "--recipe lewm"))}
    write_json(those.timing("pusht", "lewm"), {"flags": "--recipe lewm", "seconds": 0.3, "ratio": 0.5})
    assert those.steps(here["lewm"]) is None  # of unknown steps of the reference
    write_json(those.timing("pusht", "wm"), {"flags": "", "seconds": 0.2, "ratio": 1.0})
    assert (those.steps(here["wm"]), those.steps(here["lewm"])) == (6000, 12000)  # whatever lewm took at its time


def test_trainings_whose_steps_do_the_same_work_share_a_timing(tmp_path: Path) -> None:
    """So noise in timings gives none of them more steps."""
    those = Study(tmp_path, tmp_path, 4, "")
    older = {name: x for name, x in study_compute.settings_of("", "pusht").items() if name != "train.shift"}
    cost = {"flags": "", "settings": older, "seconds": 0.2, "ratio": 2.0}
    write_json(those.timing("pusht", "wm"), cost)
    write_json(those.timing("pusht", "timed-alone"), {**cost, "ratio": 2.1})
    flags = {
        "reflex-4": "--loss.reflex 4",
        "no-inverse": "--model.inverse 0 --loss.inverse 0",
        "knots": "--loss.knots 9",
        "shift": "--train.shift 0.05",
    }
    shared = {name: those.share_cost(Training("pusht", name, told, 0, 20)) for name, told in flags.items()}
    assert shared == {"reflex-4": True, "no-inverse": False, "knots": False, "shift": False}
    again = Training("pusht", "reflex-4", "--loss.reflex 4", 0, 20)
    assert those.is_measured(again) and those.cost(again)["ratio"] == 2.0
    assert those.cost(again)["settings"]["loss.reflex"] == 4


def test_what_a_training_took_is_what_its_own_processes_did(tmp_path: Path) -> None:
    those = Study(tmp_path, tmp_path, 4, "")
    for number, code in enumerate((0, 1, 0)):  # one that was discarded; then another, interrupted and resumed
        those.note({"command": "wm-train", "code": code, "cpu_s": 10.0**number})
    with open(tmp_path / "times.jsonl", "a") as file:
        file.write('\n{"command": "wm-tr')  # cut off
    those.note({"command": "wm-plan", "code": 0, "cpu_s": 5.0})
    assert [line["cpu_s"] for line in those.took()] == [1, 10, 100, 5]
    assert [line["cpu_s"] for line in study_results.last_training(those.took()[:3])] == [10, 100]
    assert [line["cpu_s"] for line in study_results.last_training(those.took()[1:3])] == [10, 100]


def test_steps_are_timed_by_the_training_loop_in_turns(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_compute, "ROUNDS", 3)
    flags = [TOY[0].train, TOY[1].train]
    alone, both = study_compute.measure(flags[:1], str(dataset)), study_compute.measure(flags, str(dataset))
    assert alone["ratio"] == 1.0 and alone["seconds"] == alone["reference_seconds"] > 0
    assert len(both["rounds"]) == 3 and both["ratio"] == np.median(both["rounds"]) > 0
    joint = 1 * 9 + 5 * 3 + 6  # of wm: one window in six is long; 6 goals
    still = study_compute.options_of(flags[0], "two-room").train.settle
    assert still > 0 and alone["frames"] == (1 - still) * joint and both["frames"] == 6 * 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stage": "sreen"}, UnknownName, "unknown --stage 'sreen': did you mean 'screen'"),
        ({"variants": ("contxt-1",)}, UnknownName, "unknown --variants 'contxt-1': did you mean 'context-1'"),
        ({"tasks": ("push",)}, BadValue, "--tasks: unknown environment 'push'"),
        ({"offsets": (30,)}, BadValue, "--offsets: expected some of 25, 50, 75, 100, got 30"),
        ({"budget_minutes": 0.0}, BadValue, "--budget-minutes: expected a finite number above 0, got 0.0"),
        ({"budget_minutes": float("nan")}, BadValue, "--budget-minutes: expected a finite number above 0, got nan"),
        ({"budget_minutes": float("inf")}, BadValue, "--budget-minutes: expected a finite number above 0, got inf"),
        ({"seeds": (0, -1)}, BadValue, "--seeds: expected 0 or more, got -1"),
        ({"pairs": 0}, BadValue, "--pairs: expected 1 or more, got 0"),
        ({"jobs": 0}, BadValue, "--jobs: expected 1 or more, got 0"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        study.run(Options(**options))


def test_flags_that_do_not_work_are_found_before_anything_is_done() -> None:
    study.require_sound(VARIANTS, "pusht")
    assert len({v.name for v in VARIANTS}) == len(VARIANTS)
    for wrong in (
        Variant(name="bad", idea="", train="--model.contxt 1"),
        Variant(name="bad", idea="", plan="--hrizon 2"),
        Variant(name="bad", idea="", train="--model.inverse 0"),
    ):
        with pytest.raises(BadValue, match="idea bad: .*(contxt|hrizon|loss.inverse)"):
            study.require_sound([wrong], "pusht")


def test_ideas_that_only_plan_otherwise_share_a_training() -> None:
    rows = {variant.name: training_of(variant, VARIANTS) for variant in VARIANTS}
    assert (rows["one-step"], rows["context-1"], rows["lewm-our-search"]) == ("wm", "context-1", "lewm")
    assert (rows["reflex"], rows["search"], rows["no-reflex"]) == ("wm", "wm", "no-reflex")
    assert [v.name for v in chosen(["context-1"], VARIANTS)] == ["wm", "lewm", "fast-lewm", "context-1"]
    assert chosen([], VARIANTS) == list(VARIANTS)


def recorded(success: list[bool]) -> Record:
    """A record of which only pairs and success matter."""
    n, flat = len(success), np.zeros((len(success), 2))
    pairs = Pairs(
        env="two-room", starts=flat, goals=flat, actions=np.zeros((n, 1, 2)), episode=np.arange(n) // 2,
        row=np.arange(n), hard=np.zeros(n, bool), hard_label="", offset=25, split="test",
    )  # fmt: skip
    steps = np.zeros(n, int)
    outcome = Outcome(success=np.array(success), steps=steps, states=flat[:, None], actions=flat[:, None], rollouts=())
    return Record(values={}, pairs=pairs, outcome=outcome, floors={})


def test_seeds_are_pooled_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 30)) < 0.7, rng.random((2, 30)) < 0.4
    episode = np.arange(30) // 2
    one = study_results.pooled(first[:1], second[:1], episode)
    only = (int((first[0] & ~second[0]).sum()), int((second[0] & ~first[0]).sum()))
    assert one["p"] == pytest.approx(mcnemar(*only))  # one seed: McNemar's
    two = study_results.pooled(first, second, episode)
    assert two["difference"] == pytest.approx(
        np.mean([first[s][i] - 1.0 * second[s][i] for s in (0, 1) for i in range(30)])
    )
    assert two["low"] < two["difference"] < two["high"] and two["n"] == 30 and len(two["seeds"]) == 2
    sums = [sum(int(first[s][i]) - int(second[s][i]) for s in (0, 1)) for i in range(30)]
    signs = rng.choice([-1, 1], (20_000, 30))
    assert two["p"] == pytest.approx((abs(signs @ sums) >= abs(sum(sums))).mean(), abs=0.01)
    same = study_results.pooled(first, first, episode)
    assert (same["difference"], same["p"], same["low"], same["high"]) == (0, 1, 0, 0)


def test_the_mean_over_tasks_is_of_what_was_judged_on_all() -> None:
    rows = [
        {"task": task, "variant": variant, "offset": 25, "success": success}
        for task, variant, success in (("a", "wm", 0.5), ("b", "wm", 1.0), ("a", "lewm", 0.5))
    ]
    assert study_results.macro(rows) == [{"variant": "wm", "offset": 25, "tasks": 2, "success": 0.75}]
    assert study_results.macro(rows[:1]) == []


def test_processes_are_timed_and_end_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_jobs, "MODULES", {"time": "timeit", "json": "json.tool"})
    failed = Jobs().call("json", ["nowhere"], tmp_path / "logs" / "a.log")
    assert failed.code and "nowhere" in failed.said and failed.wall_s > 0 and failed.cpu_s > 0
    jobs, ended = Jobs(), []

    def sleep() -> None:
        ended.append(jobs.call("time", ["-n", "1", "import time; time.sleep(60)"], tmp_path / "b.log").code)

    def interrupt() -> None:
        while not jobs.running:
            pass
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.beside([interrupt, sleep], 2)
    assert ended == [-signal.SIGTERM] and not jobs.running
    gone = subprocess.Popen(["true"])
    gone.wait()
    jobs.running.add(gone.pid)
    jobs.end()  # what has ended by itself keeps nothing else from its end
    with pytest.raises(KeyboardInterrupt):
        sleep()  # nothing begins any more
