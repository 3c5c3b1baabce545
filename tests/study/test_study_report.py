"""The score as a page and as a section of the card."""

from __future__ import annotations

import re

import jinja2
import pytest

from xrarchive.cards.templates import templates_folder
from xrarchive.errors import GateError, InputDataError
from xrarchive.study.folder import read_study
from xrarchive.study.report import card_section, render_score
from xrarchive.study.results import read_results
from xrarchive.study.scoring import make_score, read_card_section, score_study

SETTINGS = [{"task": "both"}, {"layout": "pairs", "cases": 20}, {"task": "review"}, {"task": "findings"}]


@pytest.fixture
def score(studies, answered):
    def call(readers=3, accept=(), **settings):
        folder = studies(**settings)
        study, key = read_study(folder)
        return make_score(study, key, read_results(answered(folder)[:readers], study, key, accept=accept))

    return call


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_kind_of_study_has_a_page_of_its_own(score, settings):
    found = score(**settings)
    page = render_score(found)
    assert page == render_score(found)
    assert "A technical study" in page
    assert found["study_sha256"][:12] in page
    assert ("ROC curves" in page) == (settings == {"task": "both"})
    assert ("In depth" in page) == (settings == {"task": "review"})
    assert "<script" not in page


def test_one_and_two_readers_are_warned_of(score):
    assert "One reader:" in render_score(score(readers=1, task="both"))
    assert "Two readers:" in render_score(score(readers=2, task="both"))


def test_files_are_written_and_named(studies, answered, tmp_path):
    folder = studies(task="both")
    report = score_study(folder, answered(folder), out=tmp_path / "score")
    assert sorted(path.name for path in report.files) == ["reads.csv", "report.html", "score.json"]
    again = score_study(folder, answered(folder), out=tmp_path / "again")
    for one, other in zip(report.files, again.files, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_card_says_the_paper_s_figure_with_its_interval(score):
    found = score(task="both")
    text = card_section(found)
    value = found["realism"]["synthetic_called_real"]["value"]
    assert f"Readers took synthetic films for real in {100 * value:.0f} % (" in text
    assert "A technical study" in text
    assert "| Synthetic films called real |" in text
    assert "TOST, p = " in text


def test_a_score_of_another_archive_or_none_at_all_makes_no_section(studies, answered, tmp_path):
    folder = studies(task="both")
    path = score_study(folder, answered(folder), out=tmp_path / "score").files[0]
    manifest = read_study(folder)[0].manifest_sha256
    assert read_card_section(path, manifest).startswith("### Read by people")
    with pytest.raises(GateError, match="is about the archive"):
        read_card_section(path, "0" * 64)
    with pytest.raises(InputDataError, match="No score of a reader study"):
        read_card_section(tmp_path / "none.json", manifest)
    path.write_text("{}")
    with pytest.raises(InputDataError, match="is no xrarchive"):
        read_card_section(path, manifest)


def test_the_section_stands_in_the_card(score):
    section = card_section(score(task="both"))
    text = (templates_folder() / "dataset.md").read_text()
    assert text.count("{{ study }}") == 1
    rendered = jinja2.Template(text[text.index("{% if study %}") : text.index("## Scorecard")]).render(study=section)
    assert rendered.strip() == section.strip()


def test_hostile_remarks_are_text_in_the_page(studies, answered, edit):
    folder = studies(task="both")
    study, key = read_study(folder)
    paths = answered(folder)

    def fill(value):
        value["comment"] = "<script>window.bad=1</script>"
        value["answers"][3]["note"] = '"><img src=x onerror="window.bad=1">\x1b[2J\u202e'

    edit(paths[0], folder, fill)
    page = render_score(make_score(study, key, read_results(paths, study, key)))
    assert not re.search(r"<script|<img|\x1b|\u202e", page)
    assert "&lt;script&gt;" in page


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_page_is_accessible_fits_and_asks_for_nothing(visit, screenshots, score, settings, scheme):
    for width in (320, 1400):
        seen = visit(render_score(score(**settings)), width=width, scheme=scheme)
        assert seen.sideways() == 0
        assert seen.violations() == []
        assert (seen.console, seen.requests) == ([], [])
        seen.keep(screenshots, f"study-report-{'-'.join(map(str, settings.values()))}-{width}-{scheme}")
