import time
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from xrarchive.errors import InputDataError
from xrarchive.files import dump_json
from xrarchive.records import Status, ignore_status
from xrarchive.validation import SCHEMA
from xrarchive.validation.columns import ArchiveImages
from xrarchive.validation.duplicates import measure_copies
from xrarchive.validation.fidelity import measure_spaces
from xrarchive.validation.integrity import measure_integrity
from xrarchive.validation.measures import measure
from xrarchive.validation.nuisances import measure_nuisances
from xrarchive.validation.raters import PURITY, Rater, measure_raters
from xrarchive.validation.reference import make_reference
from xrarchive.validation.report import make_report
from xrarchive.validation.subject import archive_subject
from xrarchive.validation.summary import purity_rows, summary_rows

FINDINGS = ("No Finding", "Edema", "Mass")
NUISANCES = ("view", "sex")
CALLS = {"tp": 40, "fn": 10, "fp": 20, "tn": 130}
PRINTS = {"imagenet": "1" * 64, "judge": "2" * 64}


@dataclass(frozen=True)
class ToyManifest:
    """What validation reads of a manifest."""

    sha256: str = "f" * 64
    findings: tuple[str, ...] = FINDINGS
    rows: int = 60
    nuisances: tuple[str, ...] = NUISANCES
    judge_filtered: bool = False
    version: str = "1.0.0"
    builds: tuple[SimpleNamespace, ...] = (SimpleNamespace(seed=0),)
    terms: tuple[str, ...] = ()


def world(count=60, real=200, dims=(40, 6), seed=0, size=16):
    rng = np.random.default_rng(seed)
    asked = np.eye(3, dtype=bool)[np.arange(count) % 3]
    judge = np.clip(rng.normal(0.4, 0.15, (count, 3)) + 0.3 * asked, 0, 1).astype(np.float32)
    pixels = rng.integers(0, 256, (count, size, size)).astype(np.uint8)
    nuisances = np.random.default_rng(seed + 100).normal(size=(2, count, 2)).astype(np.float32)
    images = ArchiveImages(
        [f"i{n:05d}" for n in range(count)],
        pixels,
        asked,
        judge,
        judge,
        np.arange(count) % 3,
        judge.mean(axis=1),
        *nuisances,
    )
    spaces = dict(zip(PRINTS, dims, strict=True))
    features = {space: rng.normal(size=(count, dim)).astype(np.float32) for space, dim in spaces.items()}
    reference = make_reference(
        "toy",
        {space: rng.normal(size=(real, dim)).astype(np.float16) for space, dim in spaces.items()},
        fingerprints=PRINTS,
        patients=[str(n // 2) for n in range(real)],
        source="Noise.",
    )
    return {"images": images, "synthetic": features, "fingerprints": PRINTS, "reference": reference}


def rater(role, scores, **changes):
    auroc = {"value": 0.8, "low": 0.7, "high": 0.9}
    figures = {name: {"cross_fitted": auroc if name == "Edema" else None, "calls": CALLS} for name in FINDINGS}
    values = {"sha256": role[0] * 64, "thresholds": np.full(3, 0.5, np.float32), "figures": figures}
    return Rater(role, scores=scores, **(values | changes))


def report_of(given, *, manifest=None, judge=None, referee=None, radiographs=None, seed=0, on_status=None, **changes):
    given = given | changes
    images = given["images"]
    manifest = manifest or ToyManifest(rows=len(images.pixels))
    subject = replace(archive_subject("toy", manifest, images), seed=seed)
    spaces = given["synthetic"], given["fingerprints"], given["reference"]
    parts = {
        "integrity": measure_integrity(subject, None),
        "fidelity": measure_spaces(*spaces, seed=seed, on_status=on_status or ignore_status),
        "labels": {
            **measure_raters(subject, judge or rater("judge", images.judge), referee),
            "nuisances": measure_nuisances(subject.nuisances, subject.findings, images, seed=seed),
        },
        "privacy": {"copies": measure_copies(images.image_ids, images.pixels, radiographs)},
    }
    return make_report(subject, given["reference"], parts, [])


def leaves(value):
    if isinstance(value, dict) and "value" in value:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)


def test_every_measure_has_its_company_or_a_reason():
    report = report_of(world())
    assert report["schema"] == SCHEMA
    assert report["manifest_sha256"] == "f" * 64
    found = [m for part in ("fidelity", "integrity", "privacy") for m in leaves(report[part])]
    found += leaves(report["labels"]["findings"])
    assert len(found) == 4 + 3 + 1 + 3
    for item in found:
        if item["value"] is None:
            assert item["reason"].endswith(".")
        else:
            assert {"low", "high", "n", "floor", "note"} <= set(item)
    assert report["fidelity"]["imagenet"]["frechet"]["value"] is None
    assert report["fidelity"]["judge"]["frechet"]["value"] is not None
    assert report["reference"]["patients"] == 100
    for labels in report["labels"]["findings"].values():
        assert tuple(sorted(labels["purity"])) == tuple(sorted(PURITY))
        for item in labels["purity"].values():
            assert item["reason"].endswith(".") if item["value"] is None else item["note"].endswith(".")
    for by_label in report["labels"]["nuisances"].values():
        assert list(by_label) == list(FINDINGS)


def test_every_sentence_of_the_report_is_one():
    given = world()
    referee = rater("referee", given["images"].judge)
    report = report_of(given, referee=referee)
    notes = [
        measure["note"]
        for part in ("findings", "referee")
        for found in report["labels"][part].values()
        for measure in found["purity"].values()
        if measure["value"] is not None
    ]
    assert len(notes) == 3 * 4 + 3 * 3
    assert all(note[0].isupper() and note.endswith(".") and ". " not in note for note in notes)


def test_a_judge_that_chose_the_images_measures_nothing():
    given = world()
    manifest = ToyManifest(judge_filtered=True)
    report = report_of(given, manifest=manifest)
    assert report["labels"]["by"] == "judge"
    assert "referee" not in report["labels"]
    assert set(report["labels"]["findings"]) == set(FINDINGS)
    for found in report["labels"]["findings"].values():
        for measured in (found, *found["purity"].values()):
            assert measured["value"] is None
            assert "judge_filter" in measured["reason"]
            assert "--referee" in measured["reason"]
    assert all(row.reason for row in [*summary_rows(report), *purity_rows(report)] if getattr(row, "by", "") == "judge")


def test_a_referee_measures_what_the_judge_may_not():
    given = world()
    scores = given["images"].judge[:, ::-1].copy()
    scores[:, 2] = np.nan
    referee = rater("referee", scores)
    plain = report_of(given, referee=referee)
    filtered = report_of(given, referee=referee, manifest=ToyManifest(judge_filtered=True))
    assert (plain["labels"]["by"], filtered["labels"]["by"]) == ("judge", "referee")
    assert plain["labels"]["findings"] == report_of(given)["labels"]["findings"]
    assert "referee" not in filtered["labels"]
    assert plain["labels"]["raters"] == {"judge": {"sha256": "j" * 64}, "referee": {"sha256": "r" * 64}}
    edema = filtered["labels"]["findings"]["Edema"]
    assert "independent referee" in edema["note"]
    assert edema["purity"]["rogan_gladen"]["value"] is not None
    assert "judge_filter" in edema["purity"]["soft"]["reason"]
    assert "no part" in plain["labels"]["referee"]["Edema"]["purity"]["soft"]["reason"]
    assert "referee gives no score" in filtered["labels"]["findings"]["Mass"]["reason"]
    assert {"labels_referee.agreement"} <= {problem["id"] for problem in filtered["problems"]}
    for report, raters in ((plain, ["judge"] * 3 + ["referee"] * 3), (filtered, ["referee"] * 3)):
        assert [row.by for row in purity_rows(report)] == raters
        assert [row.measure.split()[0] for row in summary_rows(report) if row.part.startswith("labels")] == raters


def test_same_input_same_bytes_and_another_seed_other_intervals():
    assert dump_json(report_of(world())) == dump_json(report_of(world()))
    assert dump_json(report_of(world())) != dump_json(report_of(world(), seed=1))


def test_a_space_of_another_judge_is_not_compared():
    given = world()
    report = report_of(given, fingerprints=PRINTS | {"judge": "9" * 64})
    assert "with weights 222222222222 and the features of the images with 999999999999" in str(
        report["fidelity"]["judge"]
    )
    assert report["fidelity"]["judge"]["kid"]["value"] is None
    assert report["fidelity"]["imagenet"]["kid"]["value"] is not None
    assert "fidelity.judge.kid" in {problem["id"] for problem in report["problems"]}


def test_a_space_on_one_side_only_has_a_reason():
    given = world()
    given["synthetic"] = {"judge": given["synthetic"]["judge"], "extra": given["synthetic"]["imagenet"]}
    given["fingerprints"] = {"judge": "2" * 64, "extra": "3" * 64}
    fidelity = report_of(given)["fidelity"]
    assert "no features" in fidelity["imagenet"]["kid"]["reason"]
    assert "no features" in fidelity["extra"]["kid"]["reason"]


def test_problems_name_duplicates_copies_and_labels_worst_first():
    given = world()
    images = given["images"]
    images.pixels[7] = images.pixels[3]
    guessing = images.judge.copy()
    guessing[:, 2] = 0.5
    report = report_of(given | {"images": replace(images, judge=guessing)}, radiographs=images.pixels[20:22])
    problems = [(problem["id"], problem["severity"]) for problem in report["problems"]]
    assert problems[:2] == [("integrity.exact_duplicates", "error"), ("privacy.copies", "error")]
    assert ("labels.agreement", "warning") in problems
    assert "The first is i00007" in report["problems"][0]["message"]
    assert report["privacy"]["copies"]["image_ids"] == ["i00020", "i00021"]


def test_a_clean_archive_has_no_errors_and_no_warnings():
    report = report_of(world(), radiographs=world(seed=5)["images"].pixels)
    assert {problem["severity"] for problem in report["problems"]} <= {"note"}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_tiny_archives_get_reasons_not_numbers(count):
    report = report_of(world(count=count))
    assert all(m["value"] is None for m in [*leaves(report["fidelity"]), *leaves(report["labels"]["findings"])])


def test_identical_images_get_reasons_and_an_error():
    given = world()
    given["images"].pixels[:] = given["images"].pixels[0]
    for features in given["synthetic"].values():
        features[:] = features[0]
    report = report_of(given)
    assert "same features" in report["fidelity"]["imagenet"]["kid"]["reason"]
    assert report["problems"][0]["id"] == "integrity.exact_duplicates"


def test_broken_input_is_refused_with_its_place():
    given = world()
    with pytest.raises(InputDataError, match="names 61 images and 60 were read"):
        report_of(given, manifest=ToyManifest(rows=61))
    given["images"].judge[5, 1] = np.nan
    with pytest.raises(InputDataError, match="judge_Edema is empty in 1 of 60 images, the first is i00005"):
        report_of(given)
    given = world()
    given["synthetic"]["judge"][9, 0] = np.inf
    with pytest.raises(InputDataError, match="'judge': 1 of 60 rows hold NaN or infinity, the first is row 9"):
        report_of(given)
    with pytest.raises(InputDataError, match="holds no images"):
        report_of(world(count=0), manifest=ToyManifest(rows=0))


def test_arrays_that_do_not_belong_together_are_a_bug():
    given = world()
    with pytest.raises(ValueError, match="fingerprints"):
        report_of(given, fingerprints={})
    with pytest.raises(ValueError, match="feature rows"):
        report_of(given, synthetic=given["synthetic"] | {"judge": given["synthetic"]["judge"][:-1]})
    with pytest.raises(ValueError, match="findings"):
        report_of(given, images=replace(given["images"], asked=given["images"].asked[:, :2]))
    with pytest.raises(ValueError, match="of the referee"):
        report_of(given, referee=rater("referee", given["images"].judge[:, :2]))


def test_status_counts_up_to_its_total():
    seen: list[Status] = []
    report_of(world(), on_status=seen.append)
    assert [status.done for status in seen] == list(range(5))
    assert seen[-1].done == seen[-1].total


def test_no_number_may_be_undefined():
    with pytest.raises(ValueError, match="finite"):
        measure(float("nan"), n=3, note="")


def test_summary_has_a_row_per_measure():
    rows = summary_rows(report_of(world()))
    assert [(row.part, row.subject) for row in rows[:4]] == [
        ("fidelity", s) for s in ("imagenet",) * 2 + ("judge",) * 2
    ]
    edema = next(row for row in rows if row.subject == "Edema")
    assert (edema.beside, edema.beside_text) == (0.8, "on real radiographs")
    kid = rows[0]
    assert kid.beside is not None
    assert kid.beside_text.startswith("real vs real at n = 60, where synthetic")
    assert [row.measure for row in rows[-4:]] == [
        "problems of files",
        "exact duplicates",
        "near duplicates",
        "copies of radiographs",
    ]
    assert rows[-1].reason
    assert rows[-1].value is None


def test_a_report_of_one_part_has_its_rows_alone():
    report = report_of(world())
    del report["labels"], report["privacy"]
    assert {row.part for row in summary_rows(report)} == {"fidelity", "integrity"}
    assert purity_rows(report) == []


def test_an_archive_of_120_is_quick():
    given = world(count=120, real=1000, dims=(1280, 64), size=64)
    started = time.process_time()
    report_of(given)
    assert time.process_time() - started < 10


@pytest.mark.slow
def test_an_archive_of_2000_takes_less_than_a_minute():
    given = world(count=2000, real=1000, dims=(1280, 240), size=64)
    started = time.process_time()
    report_of(given, radiographs=np.random.default_rng(3).integers(0, 256, (3000, 64, 64)).astype(np.uint8))
    assert time.process_time() - started < 60
