"""The stages wired together, in the tiny world: real weights of 16 px, real searches, real archives."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image
from tiny_build import (
    FINDINGS,
    PER_CLASS,
    SEARCH,
    SEARCH_OPTIONS,
    UNITS,
    archive_bytes,
    build_tiny,
    edit_weights,
    file_size_limit,
)

from xrarchive import pipeline
from xrarchive.archive.manifest import MANIFEST_NAME, read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.archive.schema import write_shard
from xrarchive.archive.shards import commit, record_file
from xrarchive.building import package_versions
from xrarchive.classifier.classifier import load_classifier
from xrarchive.cli.main import main
from xrarchive.errors import (
    AccessError,
    GateError,
    InputDataError,
    LockedError,
    PlanChangedError,
    ShortfallError,
    StorageError,
)
from xrarchive.files import locked, sha256_file
from xrarchive.reporting.validation import render_validation
from xrarchive.statistics import to_logit
from xrarchive.validation.schema import validate_report

# A guide whose head for Mass says the same of every image, far below the bar.
CONSTANT = {"scale": {"Mass": 0.0}, "offset": {"Mass": -3.0}}
KILLS = 20


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights


@pytest.fixture(scope="module")
def built(weights, tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("built") / "archive", weights)


@pytest.fixture
def carded(tiny_carded):
    return tiny_carded


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder: exit code and what it printed as JSON."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments), "--json"])
        return end.value.code, json.loads(capsys.readouterr().out)

    return call


def options(weights):
    return [part for role, path in weights.items() for part in (f"--{role}", path)]


# The chain


def test_build_reports_what_it_made(built):
    assert (built.rows, built.shortfall) == (len(FINDINGS) * PER_CLASS, False)
    assert built.counts == dict.fromkeys(FINDINGS, PER_CLASS)
    assert [tally.findings for tally in built.tallies] == [(name,) for name in FINDINGS]
    assert built.manifest_sha256 == sha256_file(built.out / MANIFEST_NAME)
    assert set(built.offered) == set(FINDINGS)
    assert not (built.out / ".work").exists()


def test_the_manifest_names_weights_seed_search_and_versions(built, weights):
    manifest = read_manifest(built.out)
    assert {role: record.sha256 for role, record in manifest.weights.items()} == {
        role: sha256_file(path) for role, path in weights.items()
    }
    assert manifest.settings["steps"] == SEARCH.steps
    assert {"xrarchive", "torch", "numpy", "pillow", "pyarrow", "datasets", "python"} <= set(
        manifest.builds[0].versions
    )
    assert (manifest.builds[0].seed, manifest.size_px, manifest.findings) == (0, 16, FINDINGS)


def test_validate_card_check_show(carded, built, tiny_set):
    report = json.loads((carded / "validation.json").read_bytes())
    assert report["manifest_sha256"] == built.manifest_sha256
    assert set(report["labels"]["findings"]) == set(FINDINGS)
    assert str(tiny_set) not in (carded / "validation.json").read_text()
    assert (carded / "README.md").read_text().startswith("---\nlicense: other\n")
    assert pipeline.check(carded, read_data=True).problems == ()
    assert pipeline.show(carded)["rows"] == built.rows
    assert pipeline.show(carded)["manifest_sha256"] == built.manifest_sha256


def test_the_report_has_the_published_form_and_a_page(carded):
    report = json.loads((carded / "validation.json").read_bytes())
    assert validate_report(report) == []
    assert "18 synthetic chest radiographs" in render_validation(report, title="Tiny")


def test_acceptance_and_stored_scores_belong_to_exactly_the_stored_pixels(built, weights):
    from xrarchive.units import pinned_threads

    table, pixels = read_table(built.out), read_pixels(built.out)
    guide, judge = (load_classifier(weights[role]) for role in ("guide", "judge"))
    with pinned_threads(1):
        for row in range(len(pixels)):
            seen = guide.scores(pixels[row : row + 1])[0]
            stored = [table[f"guide_{name}"][row].as_py() for name in FINDINGS]
            np.testing.assert_array_equal(seen, np.float32(stored))
            asked = table["label"][row].as_py()
            assert to_logit(seen[asked]) >= guide.bar(FINDINGS[asked], SEARCH.strictness) - 1e-4
        stored = np.stack([table[f"judge_{name}"].to_numpy() for name in FINDINGS], axis=1)
        np.testing.assert_array_equal(judge.scores(pixels), stored)


def test_a_latent_in_the_provenance_renders_to_the_image(built, weights):
    import torch

    from xrarchive.gan.snapshots import load_snapshot
    from xrarchive.synthesis import render
    from xrarchive.units import pinned_threads

    latents = torch.tensor(read_table(built.out, ["latent"], "provenance")["latent"].to_pylist())
    with pinned_threads(1):
        np.testing.assert_array_equal(
            render(load_snapshot(weights["generator"]).generator, latents), read_pixels(built.out)
        )


def test_a_user_loads_it(carded, monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    images = load_dataset(str(carded), split="train")
    origins = load_dataset(str(carded), "provenance", split="train")
    np.testing.assert_array_equal(np.stack([np.asarray(image) for image in images["image"]]), read_pixels(carded))
    assert images.features["label"].names == list(FINDINGS)
    assert origins["image_id"][:] == images["image_id"][:]


def test_a_contact_sheet_has_a_row_for_each_label(carded, tmp_path):
    pipeline.show(carded, contact_sheet=tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new/sheet.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape == (3 * 18 + 2, 10 * 18 + 2)
    pixels, labels = read_pixels(carded), read_table(carded, ["label"])["label"].to_numpy()
    for label in range(len(FINDINGS)):
        top = 2 + 18 * label
        np.testing.assert_array_equal(sheet[top : top + 16, 2:18], pixels[labels == label][0])
        assert not sheet[top : top + 16, 2 + 18 * PER_CLASS : 18 * (PER_CLASS + 1)].any()


def test_publishing_shows_its_plan_without_a_network_and_keeps_back_unproven_weights(
    carded, weights, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    carded = shutil.copytree(carded, tmp_path / "archive")
    given = {**weights, "model_repo": "me/chest-gan", "permission": "The films are the test's own."}
    with pytest.raises(GateError, match="No terms are recorded"):
        pipeline.publish(carded, "me/chests", version="1.0.0", dry_run=True, **weights)
    plan = pipeline.publish(carded, "me/chests", version="1.0.0", dry_run=True, **given)
    told = plan.as_dict()
    assert "The Hub was not asked" in told["notes"][-1]
    assert {item["path"] for item in told["dataset"]["files"]} >= {MANIFEST_NAME, "README.md", "validation.json"}
    assert told["model"] is None
    assert [gate.partition(":")[0] for gate in told["withheld"]] == [
        "privacy.membership.critic",
        "privacy.membership.inversion",
    ]
    report = json.loads((carded / "validation.json").read_bytes())
    assert [gate["reason"] for gate in report["gates"]["list"] if gate["status"] == "waived"] == [
        "Images of 16 px are alike."
    ]
    for gate in report["gates"]["list"]:
        gate["status"] = "passed"
    (carded / "validation.json").write_text(json.dumps(report))
    pipeline.write_card(carded)
    plan = pipeline.publish(carded, "me/chests", version="1.0.0", dry_run=True, **given)
    told = plan.as_dict()
    assert told["withheld"] == []
    assert {item["path"] for item in told["model"]["files"]} >= {f"{role}.safetensors" for role in weights}


def test_without_a_token_nobody_is_asked_and_nothing_is_sent(carded, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    asked = []
    with pytest.raises(AccessError, match="no token"):
        pipeline.publish(carded, "me/chests", version="1.0.0", permission="Made for a test.", confirm=asked.append)
    assert not asked


# The same command, the same bytes


def test_the_same_seed_gives_the_same_bytes_in_another_folder(built, weights, tmp_path):
    again = build_tiny(tmp_path / "elsewhere" / "other-name", weights)
    assert again.manifest_sha256 == built.manifest_sha256
    assert archive_bytes(again.out) == archive_bytes(built.out)


def test_another_seed_gives_other_images(built, weights, tmp_path):
    other = build_tiny(tmp_path / "other", weights, seed=1, per_class=2)
    ours, theirs = read_pixels(built.out), read_pixels(other.out)
    assert not {image.tobytes() for image in ours} & {image.tobytes() for image in theirs}


def test_a_finished_archive_is_left_as_it_is(built, weights, tmp_path):
    folder = tmp_path / "archive"
    shutil.copytree(built.out, folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert build_tiny(folder, weights).manifest_sha256 == built.manifest_sha256
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.mark.parametrize("units", [0, 1, 3, UNITS])
def test_an_interrupted_build_goes_on_and_gives_the_same_bytes(built, weights, tmp_path, units):
    done = []

    def interrupt(status):
        done.append(status.done)
        if len(done) == units + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_tiny(tmp_path / "archive", weights, on_status=interrupt)
    assert len(list((tmp_path / "archive/.work").glob("unit-*.json"))) == units
    assert not (tmp_path / "archive" / MANIFEST_NAME).exists()
    resumed = []
    build_tiny(tmp_path / "archive", weights, on_status=lambda status: resumed.append(status.done))
    assert resumed[0] == done[-1]
    assert resumed[-1] == len(FINDINGS) * PER_CLASS
    assert archive_bytes(tmp_path / "archive") == archive_bytes(built.out)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_builds_killed_at_random_moments_end_in_the_same_archive(built, weights, tmp_path):
    script = Path(__file__).with_name("kill_builds.py")
    arguments = ["--out", tmp_path / "archive", "--kills", KILLS, "--weights", *weights.values()]
    told = subprocess.run(
        [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, timeout=280, check=False
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["manifest_sha256"] == built.manifest_sha256
    assert len(found["states"]) == KILLS
    assert len(set(found["states"])) > 3, f"the kills did not fall on different moments: {found['states']}"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_however_units_are_shared_out_the_bytes_are_the_same(weights, tmp_path, monkeypatch):
    search = dataclasses.replace(SEARCH, unit_images=2)  # nine units
    alone = build_tiny(tmp_path / "alone", weights, search=search)
    wanted = archive_bytes(alone.out)
    assert archive_bytes(build_tiny(tmp_path / "two", weights, search=search, workers=2).out) == wanted
    command = ["--out", "archive", "--per-class", PER_CLASS, "--findings", ",".join(FINDINGS), *SEARCH_OPTIONS]
    command += ["--set", "unit_images=2", *options(weights)]
    for processes in (1, 2, 3, 4):
        folder = tmp_path / f"torchrun-{processes}"
        folder.mkdir()
        run = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "xrarchive"]
        told = subprocess.run(
            [sys.executable, *run, "build", *map(str, command)],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert archive_bytes(folder / "archive") == wanted, f"{processes} processes"
        assert sha256_file(folder / "archive" / MANIFEST_NAME) == alone.manifest_sha256
    orders = [[7, 2, 0, 8, 1, 6, 3, 5, 4], list(range(8, -1, -1))]
    for index, order in enumerate(orders):
        monkeypatch.setattr("xrarchive.units.own_share", lambda *_, order=order: order)
        assert archive_bytes(build_tiny(tmp_path / f"shuffled-{index}", weights, search=search).out) == wanted


def test_other_arguments_are_refused_with_the_difference(built, weights):
    before = archive_bytes(built.out)
    with pytest.raises(PlanChangedError, match="seed: 0 there, 5 now"):
        build_tiny(built.out, weights, seed=5)
    assert archive_bytes(built.out) == before


# Rounds

# One draw and two steps an image: at first Effusion falls short, and Mass is never reached.
SHORT = dataclasses.replace(SEARCH, attempts=1, steps=2, screen=1, strictness=0.1)


@pytest.fixture(scope="module")
def short(weights, tmp_path_factory):
    """The same build without top-ups and with two rounds of them."""
    folder = tmp_path_factory.mktemp("short")
    return [
        build_tiny(folder / str(rounds), weights, search=dataclasses.replace(SHORT, top_ups=rounds))
        for rounds in (0, 2)
    ]


def test_what_the_first_round_could_not_reach_is_tried_again(short):
    once, thrice = short
    assert once.shortfall
    assert thrice.rows > once.rows
    assert all(tally.asked == PER_CLASS for tally in thrice.tallies)
    for before, after in zip(once.tallies, thrice.tallies, strict=True):
        assert before.accepted <= after.accepted <= after.asked
        assert (after.starts > before.starts) == bool(before.missing)
    assert thrice.rows == sum(tally.accepted for tally in thrice.tallies)
    assert pipeline.check(thrice.out, read_data=True, decode=True).problems == ()


def test_images_of_later_rounds_come_after_under_numbers_of_their_own(short):
    first, all_ids = (read_table(report.out, ["image_id"])["image_id"].to_pylist() for report in short)
    assert all_ids[: len(first)] == first
    assert len(set(all_ids)) == len(all_ids)
    assert all(int(name.rpartition("-")[2]) >= PER_CLASS for name in all_ids[len(first) :])
    seeds = [read_table(report.out, ["seed"], "provenance")["seed"].to_pylist() for report in short]
    assert not set(seeds[1][len(first) :]) & set(seeds[0])
    build = read_manifest(short[1].out).builds[0]
    assert build.units > read_manifest(short[0].out).builds[0].units == UNITS


@pytest.mark.parametrize("units", [UNITS - 1, UNITS, UNITS + 1])
def test_a_build_interrupted_between_its_rounds_gives_the_same_bytes(short, weights, tmp_path, units):
    search = dataclasses.replace(SHORT, top_ups=2)

    def interrupt(_status):
        if len(list((tmp_path / "archive/.work").glob("unit-*.json"))) == units:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_tiny(tmp_path / "archive", weights, search=search, on_status=interrupt)
    build_tiny(tmp_path / "archive", weights, search=search)
    assert archive_bytes(tmp_path / "archive") == archive_bytes(short[1].out)


@pytest.mark.slow
def test_two_workers_top_up_as_one_does(short, weights, tmp_path):
    search = dataclasses.replace(SHORT, top_ups=2)
    assert build_tiny(tmp_path / "two", weights, search=search, workers=2).manifest_sha256 == short[1].manifest_sha256


# Made again


def test_images_are_made_again_bit_for_bit(built, weights):
    found = pipeline.check(built.out, regenerate=5, generator=weights["generator"])
    assert (found.problems, found.read_data) == ((), False)
    assert (found.regenerated.count, found.regenerated.identical) == (5, 5)
    assert (found.regenerated.least_psnr_db, found.regenerated.versions, found.regenerated.failed) == (None, {}, ())
    everything = pipeline.check(built.out, regenerate=1_000, generator=weights["generator"]).regenerated
    assert (everything.count, everything.identical) == (built.rows, built.rows)
    assert pipeline.check(built.out).regenerated is None


def test_another_image_and_other_versions_are_reported(built, weights, tmp_path):
    """The latents of two images exchanged: both are made again, and are not what is stored."""
    folder = tmp_path / "archive"
    shutil.copytree(built.out, folder)
    manifest = read_manifest(folder)
    (name,) = manifest.shards("provenance")
    table = pq.read_table(folder / name)
    latents = table["latent"].to_pylist()
    latents[0], latents[1] = latents[1], latents[0]
    field = table.schema.field("latent")
    position = table.column_names.index("latent")
    write_shard(folder / name, [table.set_column(position, field, pa.array(latents, field.type))], table.schema)
    versions = {**manifest.builds[0].versions, "torch": "1.0"}
    build = dataclasses.replace(manifest.builds[0], versions=versions)
    files = {**manifest.files, name: record_file(folder / name)}
    commit(folder, dataclasses.replace(manifest, builds=(build,), files=files))
    found = pipeline.check(folder, regenerate=1_000, generator=weights["generator"])
    ids = table["image_id"].to_pylist()[:2]
    assert [(item.id, item.path) for item in found.problems] == [("not-regenerated", image_id) for image_id in ids]
    assert found.regenerated.failed == tuple(ids)
    assert found.regenerated.identical == built.rows - 2
    assert found.regenerated.least_psnr_db < 50
    assert found.regenerated.versions == {"torch": ("1.0", package_versions()["torch"])}


def test_images_are_made_again_by_the_generator_of_the_build_alone(built, weights, tmp_path):
    with pytest.raises(InputDataError, match="is not a generator of"):
        pipeline.check(built.out, regenerate=1, generator=weights["guide"])
    with pytest.raises(InputDataError, match="found no file"):
        pipeline.check(built.out, regenerate=1, generator=tmp_path / "none.safetensors")


# What the world does


def test_an_output_folder_in_use(weights, tmp_path):
    with locked(tmp_path / "archive"), pytest.raises(LockedError, match="is in use by process"):
        build_tiny(tmp_path / "archive", weights)


@pytest.mark.parametrize("limit_bytes", [0, 3_000, 12_000])
def test_a_full_disk_and_afterwards(built, weights, tmp_path, limit_bytes):
    with file_size_limit(limit_bytes), pytest.raises(StorageError) as caught:
        build_tiny(tmp_path / "archive", weights)
    assert caught.value.fix
    assert not (tmp_path / "archive" / MANIFEST_NAME).exists()
    build_tiny(tmp_path / "archive", weights)
    assert archive_bytes(tmp_path / "archive") == archive_bytes(built.out)


def test_a_folder_with_other_things_in_it(weights, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputDataError, match="holds no archive"):
        build_tiny(tmp_path, weights)


# What is asked for


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


def test_a_run_folder_stands_for_its_weights(weights):
    assert pipeline.weights_path("generator", weights["generator"].parent) == weights["generator"]
    assert pipeline.weights_path("guide", None).name == "guide.safetensors"


def test_validating_with_another_judge_is_refused(built, weights, tmp_path):
    other = edit_weights(weights["judge"], tmp_path / "judge.safetensors", note="retrained")
    with pytest.raises(InputDataError, match=r"is not the judge .* was built with"):
        pipeline.validate(built.out, judge=other)


def test_validating_against_films_of_another_size_is_refused(built, weights, tiny_set, tmp_path):
    source = tiny_set.parent / "source"
    pipeline.ingest(source, tmp_path / "large", size_px=32, findings=FINDINGS[1:])
    with pytest.raises(InputDataError, match="holds 32 px images, the archive's are 16 px"):
        pipeline.validate(built.out, radiographs=[tmp_path / "large"], judge=weights["judge"])


def test_a_card_needs_a_validation_of_these_very_bytes(carded, tmp_path):
    folder = tmp_path / "archive"
    shutil.copytree(carded, folder)
    report = json.loads((folder / "validation.json").read_bytes())
    (folder / "validation.json").write_text(json.dumps(report | {"manifest_sha256": "0" * 64}))
    with pytest.raises(GateError, match="names the manifest 000000000000"):
        pipeline.write_card(folder)
    (folder / "validation.json").unlink()
    with pytest.raises(InputDataError, match="No validation at"):
        pipeline.write_card(folder)


# Status


def test_status_of_a_training(weights, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(weights["generator"].parent, run_dir)
    status = pipeline.status(run_dir)
    assert (status["nimg"], status["total"], status["finished"]) == (2_000, 2_000, True)
    assert status["checkpoint"] == "nimg-000002000"
    with (run_dir / "stats.jsonl").open("a") as stream:
        stream.write('{"nimg": 20')  # caught in the middle of a write
    assert pipeline.status(run_dir) == status


def test_status_of_no_training(tmp_path):
    with pytest.raises(InputDataError, match="No generator run at"):
        pipeline.status(tmp_path)
