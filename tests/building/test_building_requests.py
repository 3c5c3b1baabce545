"""What builds can be asked for, in the tiny world: findings, requests, nuisances; and weights that do not fit."""

import dataclasses
import json

import pytest
from tiny_build import FINDINGS, PER_CLASS, SEARCH, SEARCH_OPTIONS, build_tiny, edit_weights, options

from xrarchive.archive.manifest import MANIFEST_NAME, read_manifest
from xrarchive.archive.reader import read_table
from xrarchive.classifier.classifier import load_classifier
from xrarchive.cli.main import main
from xrarchive.errors import InputDataError, ShortfallError

# A guide whose head for Mass says the same of every image, far below the bar.
CONSTANT = {"scale": {"Mass": 0.0}, "offset": {"Mass": -3.0}}


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder: exit code and what it printed as JSON."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments), "--json"])
        return end.value.code, json.loads(capsys.readouterr().out)

    return call


def test_without_findings_those_the_weights_offer_are_made(weights, tmp_path):
    report = build_tiny(tmp_path / "archive", weights, findings=None, per_class=1)
    offered = [name for name, reasons in report.offered.items() if not reasons]
    assert set(report.counts) == set(offered) != set()


def test_a_finding_that_cannot_be_reached_is_a_shortfall_with_code_10(run, weights, tmp_path):
    guide = edit_weights(weights["guide"], tmp_path / "flat.safetensors", tensors=CONSTANT)
    asked = ("--per-class", 2, "--findings", "Mass,Effusion", *SEARCH_OPTIONS)
    code, result = run("build", *asked, *options(weights | {"guide": guide}))
    assert code == 10
    assert result["shortfall"] is True
    assert result["counts"] == {"Effusion": 2}
    mass = result["tallies"][0]
    assert (mass["findings"], mass["asked"], mass["accepted"], mass["starts"]) == (["Mass"], 2, 0, 24)
    assert mass["missed_by"] == pytest.approx(load_classifier(guide).bar("Mass", SEARCH.strictness) + 3, abs=1e-4)
    assert (mass["median_steps"], mass["median_travel_deg"]) == (None, None)
    tallies = {tally.findings: tally.missing for tally in read_manifest(tmp_path / "archive").tallies}
    assert tallies == {("Mass",): 2, ("Effusion",): 0}
    assert run("check", "--read-data")[0] == 0


def test_not_one_image_is_code_10_too_and_no_archive(run, weights, tmp_path):
    guide = edit_weights(weights["guide"], tmp_path / "flat.safetensors", tensors=CONSTANT)
    asked = ("--per-class", 1, "--findings", "Mass", *SEARCH_OPTIONS)
    code, result = run("build", *asked, *options(weights | {"guide": guide}))
    assert (code, result["code"], result["kind"]) == (10, ShortfallError.code, "shortfall")
    assert not (tmp_path / "archive" / MANIFEST_NAME).exists()


def test_requests_for_several_findings_at_once(weights, tmp_path):
    (tmp_path / "requests.csv").write_text("findings,count\nMass|Effusion,2\nNo Finding,1\n")
    report = build_tiny(tmp_path / "archive", weights, findings=None, requests=tmp_path / "requests.csv")
    assert report.counts == {"Mass": 2, "No Finding": 1}
    table = read_table(tmp_path / "archive")
    assert table["findings"].to_pylist() == [[2, 1], [0], [2, 1]]
    assert table["Effusion"].to_pylist() == [True, None, True]
    assert table["No Finding"].to_pylist() == [None, True, None]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("findings,count\nNo Finding|Mass,3\n", "'No Finding' cannot be asked for together with another finding"),
        ("findings,count\nMass|Mass,3\n", "named twice"),
        ("findings,count,absent\nMass,3,Mass\n", "'Mass' is named twice in Mass, absent Mass"),
        ("findings,count,absent\nMass,3,Mas\n", "The nearest declared one is 'Mass'"),
        ("findings,count\nMass|Effusion,3\nEffusion|Mass,1\n", "asks twice for"),
        ("findings,count\nMas,3\n", "The nearest declared one is 'Mass'"),
        ("findings,count\nMass,0\n", "expected a positive whole number"),
        ("findings,count\n", "asks for nothing"),
        ("finding,count\nMass,1\n", "lacks the column"),
    ],
)
def test_requests_that_cannot_be_met(weights, tmp_path, lines, message):
    (tmp_path / "requests.csv").write_text(lines)
    with pytest.raises(InputDataError, match=message):
        build_tiny(tmp_path / "archive", weights, findings=None, requests=tmp_path / "requests.csv")
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(
    ("findings", "message"), [(("Mas",), "nearest declared one is 'Mass'"), (("Mass", "Mass"), "names a finding twice")]
)
def test_findings_that_cannot_be_met(weights, tmp_path, findings, message):
    with pytest.raises(InputDataError, match=message):
        build_tiny(tmp_path / "archive", weights, findings=findings)


def test_a_finding_without_a_threshold_cannot_be_asked_for(weights, tmp_path):
    guide = edit_weights(weights["guide"], tmp_path / "guide.safetensors", tensors={"thresholds": {"Mass": -1.0}})
    with pytest.raises(InputDataError, match="no threshold for 'Mass'") as caught:
        build_tiny(tmp_path / "archive", weights | {"guide": guide})
    assert caught.value.fix == "Ask for some of: No Finding, Effusion."


@pytest.mark.parametrize("per_class", [0, -1])
def test_a_number_of_images_that_is_none_is_the_callers_mistake(weights, tmp_path, per_class):
    with pytest.raises(ValueError, match="per_class must be at least 1"):
        build_tiny(tmp_path / "archive", weights, per_class=per_class)


def test_what_the_world_shows_can_be_asked_for_as_often(weights, tmp_path):
    """Of findings the weights offer: here that is one, and the others drop out of their sets."""
    sets = {"No Finding": 30, "Mass": 9}
    guide = edit_weights(weights["guide"], tmp_path / "guide.safetensors", label_sets=sets)
    report = build_tiny(
        tmp_path / "archive", weights | {"guide": guide}, findings=None, per_class=None, like_real=4, seed=2
    )
    offered = [name for name, reasons in report.offered.items() if not reasons]
    assert {tally.findings for tally in report.tallies} == {(name,) for name in sets if name in offered} != set()
    assert sum(tally.asked for tally in report.tallies) == 4
    bare = edit_weights(weights["guide"], tmp_path / "bare.safetensors", label_sets={})
    with pytest.raises(InputDataError, match="bear no set of findings that can be asked for"):
        build_tiny(tmp_path / "none", weights | {"guide": bare}, findings=None, like_real=4)
    with pytest.raises(ValueError, match="like_real must be at least 1"):
        build_tiny(tmp_path / "none", weights, findings=None, like_real=0)
    assert not (tmp_path / "none").exists()


def test_exclusive_archives_say_what_is_not_there(weights, tmp_path):
    report = build_tiny(tmp_path / "archive", weights, findings=("No Finding",), per_class=3, exclusive=True)
    assert report.tallies[0].absent == ("Effusion", "Mass")
    assert report.rows >= 1
    table = read_table(report.out)
    for name in ("Effusion", "Mass"):
        assert table[name].to_pylist() == [False] * report.rows


def test_matched_nuisances_are_named_and_strangers_refused_before_work_starts(weights, tmp_path):
    search = dataclasses.replace(SEARCH, match=("view",), attempts=2)
    report = build_tiny(tmp_path / "archive", weights, per_class=2, search=search)
    manifest = read_manifest(report.out)
    assert (manifest.nuisances, manifest.settings["match"]) == (("view",), ["view"])
    assert len(read_table(report.out, ["nuisances"], "provenance")["nuisances"][0]) == 1
    strange = dataclasses.replace(SEARCH, match=("age",))
    with pytest.raises(InputDataError, match="The guide knows no 'age'; it knows view"):
        build_tiny(tmp_path / "none", weights, search=strange)
    assert not (tmp_path / "none").exists()


def test_realism_needs_a_discriminator(weights, tmp_path):
    from xrarchive.gan.snapshots import load_snapshot, save_snapshot

    generator, search = tmp_path / "imported.safetensors", dataclasses.replace(SEARCH, realism=0.1)
    snapshot = load_snapshot(weights["generator"])
    save_snapshot(generator, snapshot.generator, None, nimg=0, origin={"terms": []})
    with pytest.raises(InputDataError, match="came without a discriminator"):
        build_tiny(tmp_path / "archive", weights | {"generator": generator}, search=search)
    assert not (tmp_path / "archive").exists()
    assert build_tiny(tmp_path / "archive", weights, search=search, per_class=1).rows == 3


@pytest.mark.parametrize("role", ["guide", "judge"])
def test_a_classifier_without_numbers_ends_a_build_with_words(run, weights, tmp_path, role):
    broken = {"scale": dict.fromkeys(FINDINGS, 3e38)}  # a file of NaN would be refused when it is read
    other = edit_weights(weights[role], tmp_path / "broken.safetensors", tensors=broken)
    asked = ("--per-class", 1, "--findings", "Mass", *SEARCH_OPTIONS)
    code, result = run("build", *asked, *options(weights | {role: other}))
    assert (code, result["kind"]) == (InputDataError.code, InputDataError.kind)
    assert "gave NaN or infinity" in result["message"]
    assert not (tmp_path / "archive" / MANIFEST_NAME).exists()


def test_a_judge_that_filters_is_on_record(weights, tmp_path):
    """A judge that calls everything but Mass."""
    thresholds = {"thresholds": dict.fromkeys(FINDINGS, 1e-6) | {"Mass": 0.999999}}
    judge = edit_weights(weights["judge"], tmp_path / "judge.safetensors", tensors=thresholds)
    search = dataclasses.replace(SEARCH, judge_filter=True)
    report = build_tiny(tmp_path / "archive", weights | {"judge": judge}, search=search)
    assert report.shortfall
    assert report.counts == {"No Finding": PER_CLASS, "Effusion": PER_CLASS}
    manifest = read_manifest(report.out)
    assert manifest.settings["judge_filter"] is True
    assert [(tally.filtered, tally.missing) for tally in manifest.tallies] == [
        (0, 0),
        (0, 0),
        (3 * PER_CLASS, PER_CLASS),
    ]


def test_a_judge_that_cannot_call_a_finding_is_no_filter_for_it(weights, tmp_path):
    judge = edit_weights(weights["judge"], tmp_path / "judge.safetensors", tensors={"thresholds": {"Mass": -1.0}})
    search = dataclasses.replace(SEARCH, judge_filter=True)
    with pytest.raises(InputDataError, match="The judge has no threshold for 'Mass'"):
        build_tiny(tmp_path / "archive", weights | {"judge": judge}, search=search)
    assert not (tmp_path / "archive").exists()


# Weights that do not fit


@pytest.mark.parametrize("role", ["guide", "judge"])
def test_a_generator_and_a_classifier_of_different_size(run, weights, tmp_path, role):
    other = edit_weights(weights[role], tmp_path / "large.safetensors", size_px=32)
    code, result = run("build", *options(weights | {role: other}))
    assert code == 3
    words = f"The generator {weights['generator']} makes 16 px images, the {role} {other} was trained on 32 px"
    assert words in result["message"]
    assert not (tmp_path / "archive").exists()


def test_a_guide_as_judge(weights, tmp_path):
    with pytest.raises(InputDataError, match="is a guide, a judge was expected"):
        build_tiny(tmp_path / "archive", weights | {"judge": weights["guide"]})


def test_a_judge_that_knows_the_guides_patients(weights, tmp_path):
    from xrarchive.weights import read_meta

    patients = read_meta(weights["guide"], kind="classifier")["patients"]
    judge = edit_weights(weights["judge"], tmp_path / "judge.safetensors", patients=patients[:3])
    with pytest.raises(InputDataError, match="trained on 3 common patients"):
        build_tiny(tmp_path / "archive", weights | {"judge": judge})


def test_weights_that_are_not_there(weights, tmp_path):
    with pytest.raises(InputDataError, match="No weights at"):
        build_tiny(tmp_path / "archive", weights | {"generator": tmp_path / "none.safetensors"})
