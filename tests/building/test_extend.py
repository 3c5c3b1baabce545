"""Extending an archive with real weights of the tiny world: it grows as if it had been asked for all at once."""

import contextlib
import shutil

import pytest
from tiny_build import FINDINGS, PER_CLASS, archive_bytes, build_tiny

from xrarchive import pipeline
from xrarchive.archive import writer
from xrarchive.archive.manifest import MANIFEST_NAME, read_manifest
from xrarchive.archive.reader import check_archive, read_table
from xrarchive.archive.shards import WORK
from xrarchive.errors import InputDataError, LockedError, PlanChangedError
from xrarchive.files import leased


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights


@pytest.fixture(scope="module")
def built(tiny_built):
    return tiny_built


@pytest.fixture
def archive(built, tmp_path):
    return shutil.copytree(built, tmp_path / "archive")


def ids(folder):
    return read_table(folder, ["image_id"])["image_id"].to_pylist()


def stop_after(units):
    done = []

    def interrupt(status):
        done.append(status)
        if len(done) == units + 1:
            raise KeyboardInterrupt

    return interrupt


def test_what_was_there_stays_and_new_images_come_after(archive, weights):
    before, order = archive_bytes(archive), ids(archive)
    report = pipeline.extend(archive, per_class=PER_CLASS + 3, workers=1, **weights)
    after = archive_bytes(archive)
    assert report.rows == len(ids(archive)) == (PER_CLASS + 3) * len(FINDINGS)
    assert ids(archive)[: len(order)] == order
    assert all(after[name] == content for name, content in before.items() if name.endswith(".parquet"))
    manifest = read_manifest(archive)
    assert (manifest.version, len(manifest.builds)) == ("1.1.0", 2)
    assert manifest.builds[0] == read_manifest(archive).builds[0]
    assert set(read_table(archive, ["build"], "provenance")["build"].to_pylist()) == {0, 1}
    assert check_archive(archive, read_data=True, decode=True).problems == ()
    pixels = read_table(archive, ["pixels_sha256"])["pixels_sha256"].to_pylist()
    assert len(set(pixels)) == len(pixels), "an extension made an image twice"


def test_enough_is_enough(archive, weights):
    before = archive_bytes(archive)
    report = pipeline.extend(archive, per_class=PER_CLASS, workers=1, **weights)
    assert report.tallies == ()
    assert archive_bytes(archive) == before


def test_interrupted_it_goes_on_and_ends_in_the_same_bytes(archive, weights, tmp_path):
    straight = shutil.copytree(archive, tmp_path / "straight")
    pipeline.extend(straight, per_class=PER_CLASS + 3, workers=1, **weights)
    with pytest.raises(KeyboardInterrupt):
        pipeline.extend(archive, per_class=PER_CLASS + 3, workers=1, on_status=stop_after(1), **weights)
    with pytest.raises(PlanChangedError, match="unfinished archive"):
        pipeline.extend(archive, per_class=PER_CLASS + 1, workers=1, **weights)
    with pytest.raises(InputDataError, match="begun and not finished"):
        pipeline.withdraw(archive, ids=ids(archive)[:1], reason="x", date="2026-01-02")
    pipeline.extend(archive, per_class=PER_CLASS + 3, workers=1, **weights)
    assert archive_bytes(archive) == archive_bytes(straight)


def test_killed_after_the_manifest_it_clears_up_and_can_grow_on(archive, weights, monkeypatch, tmp_path):
    straight = shutil.copytree(archive, tmp_path / "straight")
    for total in (1, 2):
        pipeline.extend(straight, per_class=PER_CLASS + total, workers=1, **weights)

    def killed(*_):
        raise KeyboardInterrupt

    for again in (1, 2):
        with monkeypatch.context() as patch:
            patch.setattr("xrarchive.archive.shards.settle", killed)
            with pytest.raises(KeyboardInterrupt):
                pipeline.extend(archive, per_class=PER_CLASS + again, workers=1, **weights)
        assert (archive / WORK).exists()
        if again == 2:
            pipeline.extend(archive, per_class=PER_CLASS + again, workers=1, **weights)
    assert archive_bytes(archive) == archive_bytes(straight)


def test_withdrawn_ids_never_come_back_and_neighbours_can_be_made_again(archive, weights):
    gone = [f"s0-{name}-{PER_CLASS - 1:06d}" for name in FINDINGS[1:]]
    assert set(gone) <= set(ids(archive))
    pipeline.withdraw(archive, ids=gone, reason="x", date="2026-01-02")
    pipeline.extend(archive, per_class=PER_CLASS + 1, workers=1, **weights)
    assert not set(gone) & set(ids(archive))
    assert len(ids(archive)) == len(FINDINGS) * (PER_CLASS + 1)
    checked = pipeline.check(
        archive, read_data=True, decode=True, regenerate=len(ids(archive)), generator=weights["generator"]
    )
    assert checked.problems == ()
    assert checked.regenerated.identical == len(ids(archive))


def test_split_then_extended_every_image_falls_where_the_rule_says(archive, weights, tmp_path):
    shares = {"train": 0.5, "test": 0.5}
    straight = shutil.copytree(archive, tmp_path / "straight")
    pipeline.split(archive, shares)
    for folder in (archive, straight):
        pipeline.extend(folder, per_class=PER_CLASS + 2, workers=1, **weights)
    pipeline.split(straight, shares)
    assert read_manifest(archive).content_sha256 == read_manifest(straight).content_sha256


def test_other_weights_are_refused(archive, weights):
    before = archive_bytes(archive)
    with pytest.raises(InputDataError, match="a judge was expected"):
        pipeline.extend(archive, per_class=PER_CLASS + 1, **{**weights, "judge": weights["guide"]})
    with pytest.raises(ValueError, match="per_class"):
        pipeline.extend(archive, **weights)
    (archive / MANIFEST_NAME).unlink()
    with pytest.raises(InputDataError, match="No finished archive"):
        pipeline.extend(archive, per_class=9, **weights)
    assert archive_bytes(archive) == {name: data for name, data in before.items() if name != MANIFEST_NAME}


def test_a_share_is_made_by_one_process(archive, weights, tmp_path):
    with pytest.raises(ValueError, match="got 2 workers"):
        pipeline.extend(archive, per_class=PER_CLASS + 1, units=(1, 2), workers=2, **weights)
    with pytest.raises(ValueError, match="got 2 workers"):
        build_tiny(tmp_path / "new", weights, units=(1, 2), workers=2)
    with pytest.raises(ValueError, match="1 <= i <= n"):
        pipeline.extend(archive, per_class=PER_CLASS + 1, units=(3, 2), **weights)


def test_shares_help_one_another_and_whoever_ends_last_joins(archive, weights, tmp_path):
    grown = {"per_class": PER_CLASS + 2, "workers": 1, **weights}
    straight, shared = (shutil.copytree(archive, tmp_path / name) for name in ("straight", "shared"))
    pipeline.extend(straight, **grown)
    with pytest.raises(KeyboardInterrupt):  # claimed, and no unit made
        pipeline.extend(shared, on_status=stop_after(0), **grown)
    held = shared / WORK / f"unit-{read_manifest(shared).builds[0].units:05d}.lock"
    with leased(held):
        assert pipeline.extend(shared, units=(1, 2), **grown).unfinished
        with pytest.raises(LockedError, match="--units"):
            pipeline.extend(shared, **grown)
    assert not pipeline.extend(shared, units=(2, 2), **grown).unfinished
    assert archive_bytes(shared) == archive_bytes(straight)


def test_a_share_that_comes_late_makes_nothing_again(archive, weights, tmp_path, monkeypatch):
    grown = {"per_class": PER_CLASS + 2, "workers": 1, **weights}
    straight, shared = (shutil.copytree(archive, tmp_path / name) for name in ("straight", "shared"))
    pipeline.extend(straight, **grown)
    claim = writer.claim_folder

    def overtaken(folder, plan, **options):
        found = claim(folder, plan, **options)
        monkeypatch.setattr(writer, "claim_folder", claim)
        monkeypatch.setattr("xrarchive.building.making.locked", lambda *_, **__: contextlib.nullcontext())
        pipeline.extend(shared, units=(2, 2), **grown)
        return found

    monkeypatch.setattr(writer, "claim_folder", overtaken)
    assert not pipeline.extend(shared, units=(1, 2), **grown).unfinished
    assert archive_bytes(shared) == archive_bytes(straight)
