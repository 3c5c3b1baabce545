import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml
from tiny_build import FINDINGS

from xrarchive import pipeline
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.readme import readme_head
from xrarchive.cards import dataset, templates
from xrarchive.cards.facts import Told, collect_facts
from xrarchive.cards.model import render_model_card
from xrarchive.cards.templates import templates_folder
from xrarchive.errors import GateError, SettingsError
from xrarchive.weights import read_meta

# Of the table of how many images show what was asked for.
PURITY_CELLS = 9


@pytest.fixture
def manifest(archive):
    return read_manifest(archive)


@pytest.fixture
def report(archive):
    return json.loads((archive / "validation.json").read_bytes())


@pytest.fixture
def metas(weights):
    return {
        role: read_meta(path, kind="generator" if role == "generator" else "classifier")
        for role, path in weights.items()
    }


@pytest.fixture
def card(archive):
    return (archive / "README.md").read_text()


@pytest.fixture
def model_card(metas):
    return render_model_card(**metas, dataset="me/chests")


def render_dataset_card(manifest, report, *, archive_dir):
    return dataset.render_dataset_card(collect_facts(manifest, report, Told("2026-11-23"), archive_dir=archive_dir))


def sections(text):
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def tables(text):
    """Every table of a card, as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [[line.strip("|").split("|") for line in block.splitlines()] for block in blocks]


@pytest.mark.parametrize("name", ["card", "model_card"])
def test_no_slot_is_left_and_no_python_shows(name, request, archive, weights):
    text = request.getfixturevalue(name)
    assert not re.search(r"\{[{%#]|[}%#]\}|\bNone\b|Undefined|<[a-z_.]+ object|<built-in", text)
    assert not re.search(r"\bnan\b|\binf\b", text)
    for place in (archive.parent, *(path.parent for path in weights.values()), Path.home(), Path.cwd()):
        assert str(place) not in text, "a card names no path of its publisher's machine"
    assert "/tmp" not in text


@pytest.mark.parametrize("name", ["card", "model_card"])
def test_tables_are_whole(name, request):
    found = tables(request.getfixturevalue(name))
    assert len(found) >= 2
    for rows in found:
        assert len({len(row) for row in rows}) == 1, rows
        assert set("".join(rows[1])) <= set("-: "), rows[1]
    assert all(table[-1] for table in found)


def test_sections_of_the_dataset_card(card):
    assert sections(card) == [
        "Pictures", "What it is for", "Labels", "Load", "Evidence", "Scorecard", "Limits", "How it was made", "Terms",
        "Changes", "Withdrawals", "Maintenance and contact", "Cite",
    ]  # fmt: skip


def test_a_null_is_explained(card):
    assert '**null where nobody asked: null is not "absent"**' in card


def test_it_says_what_the_images_are_not(card, model_card):
    assert "no person was imaged" in card
    for text in (card, model_card):
        assert "**Not for clinical use**" in text
        assert "Segal" in text


def test_the_head_is_what_loads_and_stays_when_the_card_is_written(card, manifest):
    assert yaml.safe_load(card.split("---\n")[1]) == readme_head(manifest)


def test_every_request_and_every_measure_has_a_row(card, manifest, report):
    rows = [[cell.strip() for cell in row] for table in tables(card) for row in table]
    for tally in manifest.tallies:
        share = f"{100 * tally.accepted / tally.starts:.0f} %"
        ways = [f"{tally.median_steps:.3g}", f"{tally.median_travel_deg:.3g}°"]
        counts = [str(count) for count in (tally.accepted, tally.asked, tally.missing)]
        assert [" + ".join(tally.findings), *counts, share, *ways] in rows
    subjects = {row[0] for row in rows}
    assert {f"{role} AUROC, {name}" for role in ("judge", "referee") for name in FINDINGS} <= subjects
    assert {"copies of radiographs", "exact duplicates", "near duplicates"} <= subjects
    assert {f"KID, {space}" for space in report["fidelity"]} <= subjects


def test_what_was_not_measured_holds_the_reason(card, report):
    frechet = report["fidelity"]["imagenet"]["frechet"]
    assert frechet["value"] is None
    assert frechet["reason"] in card


def test_its_snippets_load(card, manifest):
    code = card.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert 'load_dataset("chests", split="train")' in code
    assert 'load_dataset("OWNER/NAME", revision="vX.Y.Z", split="train")' in code
    first = manifest.findings.index(manifest.labels[0])
    assert f'one = [("label", "==", {first})]  # {manifest.labels[0]}\n' in code
    assert max(map(len, code.splitlines())) <= 110, "no need to scroll"


def test_it_names_weights_manifest_and_versions(card, manifest):
    for record in manifest.weights.values():
        assert record.sha256 in card
    assert manifest.sha256 in card
    assert f"torch {manifest.builds[0].versions['torch']}" in card


@pytest.mark.parametrize(
    ("copies", "words"), [(None, "were not searched for"), (0, "0 were found"), (2, "2 were found")]
)
def test_privacy_says_what_was_searched(manifest, report, copies, words):
    report["privacy"]["copies"] |= {"value": copies}
    text = render_dataset_card(manifest, report, archive_dir=Path("chests"))
    assert words in text
    assert "absence of evidence is not anonymity" in text.replace("\n", " ")


def test_problems_are_listed_and_notes_are_not(manifest, report):
    report["problems"] = [{"id": "a", "severity": "note", "message": "Only a note."}]
    assert "Validation found no problem." in render_dataset_card(manifest, report, archive_dir=Path("chests"))
    report["problems"].append({"id": "b", "severity": "error", "message": "Two are alike."})
    text = render_dataset_card(manifest, report, archive_dir=Path("chests"))
    assert "* Two are alike." in text
    assert "Only a note" not in text


def test_a_validation_of_other_bytes_closes_the_gate(manifest, report):
    for other in ("0" * 64, None):
        with pytest.raises(GateError, match="names the manifest") as caught:
            render_dataset_card(manifest, report | {"manifest_sha256": other}, archive_dir=Path("chests"))
        assert caught.value.fix == "Run `xrarchive validate chests` again."


def with_terms(manifest, terms):
    return dataclasses.replace(manifest, builds=(dataclasses.replace(manifest.builds[0], terms=terms),))


def test_terms_are_carried(manifest, report, archive, metas, model_card):
    assert "carry no recorded terms" in render_dataset_card(manifest, report, archive_dir=archive)
    assert "carry no recorded terms" in model_card
    nih = with_terms(manifest, ("mednist", "nih-chestxray14"))
    text = render_dataset_card(nih, report | {"manifest_sha256": nih.sha256}, archive_dir=archive)
    metas = metas | {"generator": metas["generator"] | {"terms": ["mednist"]}}
    for found in (text, render_model_card(**metas, dataset=None)):
        assert "Creative Commons Attribution-ShareAlike 4.0" in found
        assert "carry no recorded terms" not in found
    assert "ChestX-ray8" in text
    assert readme_head(nih)["license"] == "cc-by-sa-4.0"
    with pytest.raises(SettingsError, match="Unknown terms"):
        readme_head(with_terms(manifest, ("mine",)))


def test_the_model_card_lists_every_finding_with_its_figures(model_card, metas):
    rows = {row[0].strip(): row for row in tables(model_card)[1]}
    assert set(FINDINGS) < set(rows)
    for name in FINDINGS:
        figures = metas["guide"]["figures"][name]["cross_fitted"]
        assert f"{figures['value']:.2f} ({figures['low']:.2f}–{figures['high']:.2f})" in rows[name][2]


def test_the_model_card_says_why_a_finding_is_not_offered(metas):
    guide, judge = metas["guide"], metas["judge"]
    guide = guide | {"settings": guide["settings"] | {"withheld": ["Mass"]}}
    judge = judge | {
        "figures": judge["figures"] | {"Effusion": {"positives": 2, "cross_fitted": None, "within": {}, "test": None}}
    }
    text = render_model_card(metas["generator"], guide, judge, dataset=None)
    rows = {row[0].strip(): row for row in tables(text)[1]}
    assert "no: withheld by the publisher" in rows["Mass"][-1]
    assert "no: judge: too few labelled radiographs" in rows["Effusion"][-1]
    assert rows["Effusion"][5].strip() == "–"


def test_the_head_of_a_model_card(model_card, metas):
    head = yaml.safe_load(model_card.split("---\n")[1])
    assert head["datasets"] == ["me/chests"]
    assert head["license"] == "other"
    assert "https://huggingface.co/datasets/me/chests" in model_card
    alone = render_model_card(**metas, dataset=None)
    assert "datasets" not in yaml.safe_load(alone.split("---\n")[1])
    assert "huggingface.co/datasets" not in alone


def test_templates_come_from_the_package_where_it_holds_them_and_else_from_the_checkout(tmp_path, monkeypatch):
    assert {path.name for path in templates_folder().iterdir()} >= {"dataset.md", "model.md"}
    monkeypatch.setattr(templates, "_PACKAGE", tmp_path / "xrarchive")
    assert templates_folder() == tmp_path / "cards"
    (tmp_path / "xrarchive/cards_templates").mkdir(parents=True)
    assert templates_folder() == tmp_path / "xrarchive/cards_templates"


def test_a_slot_nobody_fills_is_an_error(manifest, report, tmp_path, monkeypatch):
    import jinja2

    (tmp_path / "cards_templates").mkdir()
    (tmp_path / "cards_templates/dataset.md").write_text("{{ manifest.rows }} {{ colour }}")
    monkeypatch.setattr(templates, "_PACKAGE", tmp_path)
    with pytest.raises(jinja2.UndefinedError, match="colour"):
        render_dataset_card(manifest, report, archive_dir=Path("chests"))


def test_the_model_card_says_what_the_classifiers_share(metas, tiny_referee, model_card):
    referee = read_meta(tiny_referee, kind="classifier")
    text = render_model_card(**metas, dataset=None, referee=referee)
    rows = {row[0].strip(): [cell.strip() for cell in row] for table in tables(text) for row in table}
    patients = len(referee["patients"])
    assert rows["guide and judge"][1:5] == ["yes", "none", "none", "none"]
    assert rows["guide and referee"][1:5] == ["yes", "none", "none", "none"]
    assert rows["judge and referee"][1:5] == ["yes", f"{patients} of {patients}", "none", "none"]
    assert "densely connected network" in rows["`referee.safetensors`"][1]
    assert "Four files" in text
    found = sorted(value for value in metas["judge"]["pair"]["correlation"].values() if value is not None)
    assert f"({found[0]:.2f} to {found[-1]:.2f})" in rows["guide and judge"][5]
    assert rows["guide and referee"][5] == "–"
    assert "referee" not in model_card
    assert len(tables(text)) == len(tables(model_card)) == 4


def test_the_model_card_goes_beyond_auroc(metas, model_card):
    table = {row[0].strip(): [cell.strip() for cell in row] for row in tables(model_card)[2]}
    for name in FINDINGS:
        guide, judge = (metas[role]["figures"][name] for role in ("guide", "judge"))
        whole = [found["more"]["cross_fitted"]["all"]["brier"]["value"] for found in (guide, judge)]
        assert table[name][2] == " / ".join(f"{value:.2f}" for value in whole)
        assert table[name][4].startswith(f"{guide['purity']['0.1']['value']:.2f}")
    alone = {name: value for name, value in metas["judge"].items() if name != "pair"}
    text = render_model_card(metas["generator"], metas["guide"], alone, dataset=None)
    assert all([cell.strip() for cell in row][5:7] == ["–", "–"] for row in tables(text)[2][2:])


def rendered(manifest, report, *, settings=None, **changes):
    """The card of an archive that differs in some fields of its manifest's only build, and has this report."""
    build = dataclasses.replace(manifest.builds[0], settings=manifest.settings | (settings or {}), **changes)
    changed = dataclasses.replace(manifest, builds=(build,))
    return render_dataset_card(changed, report | {"manifest_sha256": changed.sha256}, archive_dir=Path("chests"))


def rows_of(text):
    return [[cell.strip() for cell in row] for table in tables(text) for row in table]


def test_a_request_that_went_badly_has_a_row(manifest, report):
    tally = dataclasses.replace(
        manifest.tallies[0], findings=("Mass", "Effusion"), absent=("Edema",), asked=9, accepted=0, starts=40,
        filtered=3, median_steps=None, median_travel_deg=None,
    )  # fmt: skip
    untried = dataclasses.replace(tally, absent=("A", "B", "C", "D"), starts=0, filtered=0)
    text = rendered(manifest, report, tallies=(tally, untried), settings={"judge_filter": True})
    assert ["Mass + Effusion, without Edema", "0", "9", "9", "3", "0 %", "–", "–"] in rows_of(text)
    assert ["Mass + Effusion, without 4 other findings", "0", "9", "9", "0", "–", "–", "–"] in rows_of(text)


def test_what_counts_as_shown_is_said_in_words(manifest, report, card):
    assert "the guide's operating threshold" in card
    text = rendered(manifest, report, settings={"strictness": 0.02, "targets": True, "match": [], "tolerance": 0.3})
    assert "one of the 2 % of real radiographs" in text
    assert "cases of all degrees" in text
    assert "No view, sex, age or source was held still" in text
    assert "and so it does here" in text
    text = rendered(manifest, report, settings={"targets": False, "match": ["view", "sex"], "tolerance": 0.25})
    assert "the score of the faintest of these was enough" in text
    assert "held to a random draw in view, sex, to within 0.25 standard deviations" in text
    assert "and so it does here" not in text


def test_a_judge_that_filtered_is_named(manifest, report, card):
    assert "filtered none" in card
    assert "The judge chose" not in card
    text = rendered(manifest, report, settings={"judge_filter": True})
    assert "filtered none" not in text
    assert "none was asked" in text
    assert "the referee, a third classifier, can" in rendered(
        manifest, report | {"labels": report["labels"] | {"by": "referee"}}, settings={"judge_filter": True}
    )


def test_columns_are_explained(card):
    assert "false where its absence was asked for" in card
    assert [row for row in rows_of(card) if row[0] == "`soft_label`"]


def test_the_card_says_how_many_images_show_it(manifest, report, card):
    for part, role in (("findings", "judge"), ("referee", "referee")):
        for name in FINDINGS:
            purity = report["labels"][part][name]["purity"]
            (row,) = [row for row in rows_of(card) if row[:2] == [name, role] and len(row) == PURITY_CELLS]
            for cell, key in zip(
                row[3:7], ("rogan_gladen", "with_10pct_label_noise", "score_mixture", "soft"), strict=True
            ):
                value = purity[key]["value"]
                assert cell == "–" if value is None else cell.startswith(f"{value:.2f} (")
    report["labels"]["findings"]["Mass"]["purity"]["rogan_gladen"] |= {"value": 0.9, "floor": {"value": 0.021}}
    report["labels"]["findings"]["Mass"]["purity"]["soft"] |= {"value": 0.2, "low": 0.1, "high": 0.3}
    text = rendered(manifest, report)
    assert "Mass (2.1 % of real radiographs)" in text.split("**Most images asked to show ")[1].split("will not")[0]
    for labels in (report["labels"]["findings"], report["labels"]["referee"]):
        for found in labels.values():
            for measure in found["purity"].values():
                measure |= {"value": 0.9, "low": 0.8, "high": 1.0}
    assert "Most images" not in rendered(manifest, report)
    reason = "Nobody looked."
    purity = report["labels"]["findings"]["Mass"]["purity"]
    purity |= {key: {"value": None, "reason": reason} for key in purity}
    rows = rows_of(rendered(manifest, report))
    (row,) = [row for row in rows if row[:2] == ["Mass", "judge"] and len(row) == PURITY_CELLS]
    assert row[2:] == ["–"] * 6 + [reason]


def test_the_card_says_whether_what_was_asked_for_carries_over(manifest, report):
    mass = report["labels"]["findings"]["Mass"]
    mass["transfer"] = {"value": 0.957, "low": 0.9, "high": 1.01, "n": 100}
    mass["exaggeration"] = {"value": 0.1, "excess": {"value": 0.021, "low": -0.01, "high": 0.06}}
    mass["off_target"] = {"value": 0.5, "low": 0.4, "high": 0.6, "floor": {"value": 0.62}}
    report["labels"]["findings"]["Effusion"]["transfer"] = {"value": None, "reason": "No films."}
    rows = rows_of(rendered(manifest, report))
    assert ["Mass", "judge", "100", "0.96 (0.90–1.01)", "0.02 (-0.01–0.06)", "0.50 (0.40–0.60) [0.62]", "–"] in rows
    assert next(row[:4] for row in rows if row[-1] == "No films.") == ["Effusion", "judge", "–", "–"]


def test_what_came_along_is_shown_where_it_was_measured(manifest, report, card):
    assert report["labels"]["nuisances"], "the tiny guide knows views"
    found = report["labels"]["nuisances"]["view"]["Mass"]
    expected = f"{found['positive_start']['value']:.2f} → {found['positive_end']['value']:.2f}"
    table = next(table for table in tables(card) if [cell.strip() for cell in table[0]] == ["", "label", "view"][1:])
    assert ["Mass", expected] in [[cell.strip() for cell in row] for row in table]
    assert "What came along" not in rendered(manifest, report | {"labels": report["labels"] | {"nuisances": {}}})


def test_a_validation_of_another_version_has_no_card(manifest, report):
    with pytest.raises(GateError, match=r"its schema is xrarchive.validation/1, expected xrarchive.validation/2"):
        rendered(manifest, report | {"schema": "xrarchive.validation/1"})


def test_a_part_that_was_not_measured_has_no_table(manifest, report):
    text = rendered(manifest, {name: found for name, found in report.items() if name not in ("labels", "privacy")})
    assert "judge AUROC" not in text
    assert "How many of the images" not in text
    assert "were not searched for" in text


def test_the_model_card_of_a_pipeline_knows_the_referee(weights, tiny_referee):
    text = pipeline.model_card(weights | {"referee": tiny_referee})
    assert text == render_model_card(
        **{
            role: read_meta(path, kind="generator" if role == "generator" else "classifier")
            for role, path in weights.items()
        },
        dataset=None,
        referee=read_meta(tiny_referee, kind="classifier"),
    )
    assert "judge and referee" in text
    assert "referee" not in pipeline.model_card(weights)
