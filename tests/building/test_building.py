"""Building, in the tiny world: real weights of 16 px, real searches, real archives, the same bytes again."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from tiny_build import (
    FINDINGS,
    PER_CLASS,
    SEARCH,
    SEARCH_OPTIONS,
    UNITS,
    archive_bytes,
    build_tiny,
    file_size_limit,
    options,
)

from xrarchive import pipeline
from xrarchive.archive.manifest import MANIFEST_NAME, read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.classifier.classifier import load_classifier
from xrarchive.errors import InputDataError, LockedError, PlanChangedError, StorageError
from xrarchive.files import locked, sha256_file
from xrarchive.statistics import to_logit

KILLS = 20


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights


@pytest.fixture(scope="module")
def built(weights, tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("built") / "archive", weights)


# What is made


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


def test_a_user_loads_it(built, monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    images = load_dataset(str(built.out), split="train")
    origins = load_dataset(str(built.out), "provenance", split="train")
    np.testing.assert_array_equal(np.stack([np.asarray(image) for image in images["image"]]), read_pixels(built.out))
    assert images.features["label"].names == list(FINDINGS)
    assert origins["image_id"][:] == images["image_id"][:]


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
    script = Path(__file__).parent.parent / "kill_builds.py"
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


def test_a_run_folder_stands_for_its_weights(weights):
    assert pipeline.weights_path("generator", weights["generator"].parent) == weights["generator"]
    assert pipeline.weights_path("guide", None).name == "guide.safetensors"
