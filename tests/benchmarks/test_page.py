"""The report: what is on it, what is not, and that a real browser shows it without asking anybody for anything."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.diagnosed import diagnose
from worldmodel.benchmarks import page, page_films, page_runs
from worldmodel.benchmarks.chart_parts import COLOURS
from worldmodel.benchmarks.page_films import FAILURES, SUCCESSES, choose, films
from worldmodel.benchmarks.page_runs import evaluations, read_runs
from worldmodel.benchmarks.record import Record, find
from worldmodel.cli import bench, bench_report, plan
from worldmodel.cli.diagnosis import Diagnosis
from worldmodel.cli.plan_options import Options
from worldmodel.errors import BadFile, BadValue
from worldmodel.files import read_json, write_json

EVIL = "<script>alert(1)</script>&\"'"
LIMIT = 15_000_000  # bytes of a page
WIDTHS = (390, 1280)  # of a phone and of a desktop


class Reader(HTMLParser):
    """Collects ids, addresses and text, and sees to it that what begins ends."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words = self.folded = ""  # all of them, and those that are not seen before a click
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[name] for name in ("src", "href", "poster") if name in found]
        if tag not in ("br", "img", "link", "meta"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, words):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words += words
            self.folded += words if "details" in self.open else ""


@pytest.fixture(scope="module")
def evaluated(workplace, tmp_path_factory) -> Path:
    """A run folder with three evaluations of a model that was never trained."""
    run = tmp_path_factory.mktemp("runs") / "plain"
    shutil.copytree(workplace / "runs" / "two-room" / "model", run / "model")  # other files evaluate it there, too
    quick = dict(model=str(run), dataset=str(workplace / "data" / "two-room.h5"), device="cpu", no_video=True)
    quick |= dict(episodes=8, candidates=8, elites=2, iterations=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["wm-plan", "--model", "plain"])
        plan.plan(Options(**quick))
        plan.plan(Options(**quick, predictor="one-step"))
        plan.plan(Options(**quick, protocol="offset-50", budget=60))
    return run


@pytest.fixture
def run(evaluated, tmp_path) -> Path:
    """The same with all diagnoses, to be changed."""
    folder = tmp_path / "whole"
    shutil.copytree(evaluated, folder)
    diagnose(folder)
    return folder


def main_result(run: Path) -> Path:
    (one,) = read_runs([run])
    return run / "evaluation" / one.main / "result.json"


def test_everything_that_was_measured_is_on_the_page(run, tmp_path):
    seen = []
    text = page.write_page(tmp_path / "report.html", [run], lambda done, total: seen.append((done, total))).read_text()
    assert seen == [(done, len(page.PARTS)) for done in range(len(page.PARTS))]
    read = Reader(text)
    assert read.ids == [name for name, _, _, _ in page.PARTS if name != "missing"]
    assert {f"#{name}" for name in read.ids} <= set(read.addresses)
    record = Record.load(find(run)[0])
    for words in (
        record.values["manifest"]["sha256"],
        "wm-plan --model plain",
        "random actions",
        "demonstration replayed",
        "Wilson 95 %",
        "goal behind the wall",
        "Wrong model:",
        "copying the last latent",
        "model steps ahead (below: environment steps)",
        "random encoder",
        "suddenly elsewhere",
        "Do wrong predictions explain failures?",
        "Judged on 50 episodes, validation split, seed 3.",
        "R² on validation episodes",
        "mean R² 0.990 [0.890, 1.090], over raw pixels +0.190 [+0.100, +0.200]",
        "wm-bench probe --seed 3",
        "not corrected for their number",
    ):
        assert words in read.words, words
    assert text.index('class="findings"') < text.index('id="success"')
    assert len(text) < LIMIT


def test_what_was_not_measured_is_absent_and_its_command_is_given(evaluated, tmp_path):
    read = Reader(page.render(read_runs([evaluated])))
    assert {"openloop", "probes", "surprise", "geometry"}.isdisjoint(read.ids) and read.ids[-1] == "missing"
    for name in ("openloop", "probe", "surprise", "geometry", "frontier"):
        assert f"wm-bench {name} --model {evaluated}" in read.words


def test_the_main_evaluation_comes_first_and_the_others_are_folded(run):
    text = page.render(read_runs([run]))
    card = text[text.index('class="card"') : text.index('id="success"')]
    seen, folded = card.split("<details>")
    assert "lewm-25, prefix: " in seen and "lewm-25, prefix: " not in folded and "random actions" in seen
    assert seen.index("lewm-25, prefix: ") < seen.index("<strong>Predicts")
    assert "lewm-25, one-step: " in folded and "offset-50, prefix: " in folded and "Predicts" not in folded


def test_the_ceiling_by_the_simulator_is_in_the_card_the_chart_and_the_numbers(run):
    result = main_result(run)
    rate = {"success": 0.9, "n": 50, "low": 0.78, "high": 0.96}
    ceiling = rate | {"candidates": 64, "iterations": 5, "mcnemar_p_pairs_independent": 0.04}
    values = read_json(result) | {"simulator": ceiling | {"policy": rate | {"success": 0.5}}}
    write_json(result, values)
    text = page.render(read_runs([run])).replace("\N{NO-BREAK SPACE}", " ")
    card, rest = text.split('id="success"')
    chart, tables = rest[: rest.index('id="paired"')].split("</figure>", 1)
    for part in (card, chart, tables):
        assert "CEM 64 x 5 on the true simulator, n = 50" in part and "90 % [78.0, 96.0]" in part.replace("90.0", "90")
    assert "50 % [78.0, 96.0] n = 50" in tables and "0.040" in tables


def test_what_is_of_other_weights_is_left_out_or_marked(run):
    result, name = main_result(run), main_result(run).parent.name
    diagnose(run, weights="0" * 64)
    values = read_json(result)
    write_json(result, values | {"model": {**values["model"], "fingerprint": "0" * 64}, "command": "wm-plan --again"})
    (one,) = read_runs([run])
    read = Reader(page.render([one]))
    assert not one.found and {"openloop", "probes", "surprise", "geometry"}.isdisjoint(read.ids)
    assert one.main != name and "prefix (of other weights)" in read.words
    assert "wm-bench probe --seed 3; " in read.words and "wm-plan --again" in read.words
    assert list(page_films.drawn(None, one, one.records[name], [])) == []
    assert page_films._expected(one, one.records[name], [0]) == {}


def test_reasons_are_shown_of_the_same_pairs_only(run):
    assert "Wrong model:" in films(read_runs([run]))
    geometry = run / "evaluation" / "geometry.json"
    values = read_json(geometry)
    values["executed"][main_result(run).parent.name]["manifest"] = {"sha256": "0" * 64}
    write_json(geometry, values)
    assert "Wrong model:" not in films(read_runs([run]))


def test_a_search_from_the_reflexs_plan_is_called_so(run):
    for path in find(run):
        write_json(path / "result.json", read_json(path / "result.json") | {"controller": "both"})
    (one,) = read_runs([run])
    words = Reader(page.render([one])).words
    assert "lewm-25, reflex and prefix" in words and "lewm-25, reflex and one-step" in words
    assert "lewm-25, prefix" not in words
    looks = [one.look(name)[0] for name in page_runs.ACTING]
    assert len({look % COLOURS for look in looks}) == len(looks)


def test_official_pairs_are_called_so_and_have_no_interval_by_episodes(run):
    result = main_result(run)
    values = read_json(result) | {"offset": None, "from_episodes": 5, "by_episode": {"low": 0.1, "high": 0.2}}
    write_json(result, values)
    words = Reader(page.render(read_runs([run]))).words.replace("\N{NO-BREAK SPACE}", " ")
    assert "8 from 5 official tasks" in words and "[10.0, 20.0]" not in words


def test_diagnoses_alone_make_a_page(tmp_path):
    diagnose(tmp_path / "run")
    read = Reader(page.render(read_runs([tmp_path / "run"])))
    assert "success" in read.ids and "rollouts" not in read.ids and "two-room: what the model knows" in read.words
    assert f"wm-plan --model {tmp_path / 'run'} --protocol lewm-25" in read.words


def test_several_runs_stand_side_by_side_and_are_compared_pair_by_pair(run, tmp_path):
    other = tmp_path / "elsewhere" / "whole"
    shutil.copytree(run, other)
    diagnose(other)
    read = Reader(page.render(read_runs([run, other / "model"])))
    assert "2 models compared" in read.words and "elsewhere/whole" in read.words
    named = [name for name, _, _ in evaluations(read_runs([run, other]))]
    standard = [name for name in named if "lewm-25" in name and name.endswith(", prefix")]
    assert standard[0].startswith(f"{tmp_path.name}/whole: ") and standard[1].startswith("elsewhere/whole: ")
    assert " → ".join(standard) in read.words
    assert f"{standard[0]} → {tmp_path.name}/whole: offset-50" not in read.words  # other pairs


def test_names_cannot_become_markup(run, tmp_path):
    evil = tmp_path / f"a{EVIL.replace('/', '')}"
    shutil.copytree(run, evil)
    diagnose(evil, EVIL)
    for file in find(evil):
        result = file / "result.json"
        result.write_text(result.read_text().replace("goal behind the wall", "<script>").replace("nano", "<b>"))
    text = page.render(read_runs([evil]))
    read = Reader(text)
    assert text.count("<script>") == 1  # the page's own
    assert EVIL in read.words and evil.name in read.words


def test_films_end_with_the_budget_and_say_so(run):
    runs = read_runs([run])
    whole, none = films(runs), films(runs, budget=0)
    few = films(runs, budget=len(whole) // 3)
    all_of_them, some = whole.count("<video"), few.count("<video")
    assert all_of_them == len(choose(runs[0].records[runs[0].main].outcome.success)) > some > 0 == none.count("<video")
    assert "left out" not in whole
    assert f"{all_of_them - some} more are left out" in few and f"{all_of_them} more are left out" in none


def test_failures_come_first_and_are_spread():
    success = np.arange(40) % 4 == 0
    rows = choose(success)
    assert len(rows) == FAILURES + SUCCESSES and not success[rows[:FAILURES]].any() and success[rows[FAILURES:]].all()
    assert (rows[0], rows[FAILURES - 1]) == (1, 39)
    assert choose(np.ones(2, bool)) == [0, 1] and choose(np.zeros(1, bool)) == [0]
    reasons = [None if solved else "wrong model" for solved in success]
    reasons[17] = "budget"
    assert 17 in choose(success, reasons)[:2]


def test_films_show_the_recorded_states(run):
    (one,) = read_runs([run])
    record = one.records[one.main]
    row = choose(record.outcome.success)[0]
    task = page_films.registry.make("two-room", image_size=page_films.SIDE).unwrapped
    (film,) = page_films.drawn(task, one, record, [row])
    np.testing.assert_array_equal(film.goal, task.draw(record.pairs.goals[row]))
    np.testing.assert_array_equal(film.frames[0], task.draw(record.pairs.starts[row]))
    assert film.frames.shape == film.expected.shape == (51, page_films.SIDE, page_films.SIDE, 3)


def test_without_its_model_a_run_has_no_expected_pictures(run):
    shutil.rmtree(run / "model")
    assert "what was expected" not in (text := films(read_runs([run]))) and "what happened" in text


def test_what_is_no_run_is_said(tmp_path, run):
    with pytest.raises(BadFile, match="no such run folder"):
        read_runs([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadFile, match="holds no evaluation to report: wm-plan --model"):
        read_runs([tmp_path / "empty"])
    (run / "evaluation" / "probe.json").write_text("{")
    with pytest.raises(BadFile, match="probe.json is not readable JSON"):
        page.write_page(tmp_path / "report.html", [run])
    assert not (tmp_path / "report.html").exists()


def test_what_cannot_be_measured_is_said_and_what_is_of_other_weights_is_measured_again(run, capsys, monkeypatch):
    tried = []

    def measure(options):
        tried.append(options.model)
        if len(tried) == 1:
            raise BadValue("cannot be put into a state")
        diagnose(run)

    monkeypatch.setattr(
        bench_report, "DIAGNOSES", dict.fromkeys(("surprise", "probe", "openloop"), (Diagnosis, measure))
    )
    diagnose(run, weights="0" * 64)
    bench_report.report(bench_report.Report(runs=(str(run),), measure=True))
    said = capsys.readouterr().out
    assert tried == [str(run)] * 2  # the second made the third unnecessary
    assert "not measured: cannot be put into a state" in said and (run / "report.html").is_file()


def test_the_command_measures_what_is_missing(evaluated, tmp_path, workplace, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(evaluated, run)
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("sys.argv", ["wm-bench", "report", str(run), "--measure"])
    bench.main()
    said = capsys.readouterr().out
    found = {path.stem: read_json(path) for path in (run / "evaluation").glob("*.json")}
    for name in bench_report.DIAGNOSES:
        assert name in found or f"{name} of {run}\nnot measured: " in said
    assert "openloop" in found and found["openloop"]["command"] == f"wm-bench report {run} --measure"
    assert "openloop" in Reader((run / "report.html").read_text()).ids


def test_the_command_writes_into_the_run_folder(run, capsys):
    bench_report.report(bench_report.Report(runs=(str(run / "model"),)))
    assert capsys.readouterr().out.startswith(f"report: {run / 'report.html'} (")
    assert (run / "report.html").read_text().startswith("<!doctype html>")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


def test_a_browser_shows_it_on_a_phone_and_a_desktop_by_day_and_by_night(browser, run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    file = page.write_page(tmp_path / "report.html", [run, other])
    assert file.stat().st_size < LIMIT
    papers = set()
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            shown = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            said: list[str] = []
            asked: list[str] = []
            shown.on("console", lambda message, said=said: said.append(message.text))
            shown.on("pageerror", lambda error, said=said: said.append(str(error)))
            shown.on("request", lambda request, asked=asked: asked.append(request.url))
            shown.goto(file.as_uri())
            shown.locator("video").first.scroll_into_view_if_needed()
            decoded = (
                "[...document.querySelectorAll('video')].every(v => v.readyState > 0 && v.videoWidth > v.videoHeight)"
            )
            shown.wait_for_function(decoded)
            shown.wait_for_function("document.querySelector('video').currentTime > 0")  # plays when it is seen
            assert said == []
            assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [file.as_uri()]
            assert shown.evaluate("document.documentElement.scrollWidth") <= width
            assert shown.evaluate("[...document.images].every(i => i.naturalWidth > 0 && i.alt)")
            assert shown.evaluate("[...document.querySelectorAll('svg')].every(s => s.querySelector('title'))")
            assert shown.evaluate(INSIDE) == []
            picture = shown.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
            assert len(picture) > 50_000
            papers.add((scheme, shown.evaluate("getComputedStyle(document.body).backgroundColor")))
            shown.close()
    assert len(papers) == 2 and len({colour for _, colour in papers}) == 2


# Texts of charts that are cut off at an edge of their picture.
INSIDE = """[...document.querySelectorAll('svg')].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const {left, right, top, bottom} = text.getBoundingClientRect();
    return left < box.left - 2 || right > box.right + 2 || top < box.top - 2 || bottom > box.bottom + 2;
  }).map(text => text.textContent);
})"""


def test_it_prints_light_with_pictures_for_films(browser, run, tmp_path):
    file = page.write_page(tmp_path / "report.html", [run])
    shown = browser.new_page(viewport={"width": 720, "height": 1000}, color_scheme="dark")
    shown.goto(file.as_uri())
    shown.emulate_media(media="print", color_scheme="dark")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.evaluate("document.documentElement.scrollWidth") <= 720
    hidden = "[...document.querySelectorAll('video')].every(v => v.offsetWidth === 0)"
    seen = "[...document.querySelectorAll('img.print')].every(i => i.offsetWidth > 0)"
    assert shown.evaluate(hidden) and shown.evaluate(seen)
    shown.pdf(path=tmp_path / "report.pdf", format="A4", print_background=True)
    assert (tmp_path / "report.pdf").stat().st_size > 50_000
    shown.close()
