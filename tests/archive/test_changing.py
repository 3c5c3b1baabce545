"""What is withdrawn is gone from every file, what is dealt stays dealt, and what stands against a change is named."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from life_world import DATE, assert_sound, extend_made, files_below, is_archive, plan_extension, rows_by_readme, rows_of
from made_archive import REQUESTS, make_archive, make_plan, shard_bytes, small_shards, write_units

from xrarchive.archive import shards, writer
from xrarchive.archive.changing import find_leftovers, remove_leftovers, split, withdraw
from xrarchive.archive.manifest import MANIFEST_NAME, REPORT_NAME, VALIDATION_NAME, read_manifest, write_manifest
from xrarchive.archive.reader import check_archive, read_table
from xrarchive.archive.readme import write_readme
from xrarchive.archive.schema import PROVENANCE
from xrarchive.archive.sums import write_sums
from xrarchive.errors import DamageError, InputDataError, PlanChangedError, StorageError
from xrarchive.files import locked
from xrarchive.plan import Plan, SearchSettings
from xrarchive.records import ImageRequest

GONE = "s3-Mass-000001"
SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}


@pytest.fixture(autouse=True)
def shards_of_six() -> Iterator[None]:
    with small_shards(6):
        yield


def take_out(folder: Path, *ids: str, **more: str):
    return withdraw(folder, ids=ids, reason="burned-in text", date=DATE, **more)


def private_bytes(folder: Path, image_id: str) -> dict[str, bytes]:
    """What must be nowhere: the PNG's compressed pixels, the latent, the seed."""
    data, origin = read_table(folder), read_table(folder, config=PROVENANCE)
    row = data["image_id"].to_pylist().index(image_id)
    png = data["image"][row].as_py()["bytes"]
    latent = origin["latent"].combine_chunks().slice(row, 1).flatten().to_numpy()
    return {
        "pixels": png[png.index(b"IDAT") + 4 :][:60],
        "latent": latent.tobytes(),
        "seed": int(origin["seed"][row].as_py()).to_bytes(8, "little"),
        "hash": data["pixels_sha256"][row].as_py().encode(),
    }


def test_a_report_goes_with_the_manifest_it_spoke_of(archive):
    (archive / VALIDATION_NAME).write_text(json.dumps({"manifest_sha256": read_manifest(archive).sha256}))
    (archive / REPORT_NAME).write_bytes(b"a page that shows images")
    write_sums(archive, read_manifest(archive))
    remove_leftovers(archive)
    assert (archive / REPORT_NAME).exists()
    take_out(archive, GONE)
    assert not (archive / REPORT_NAME).exists()
    assert_sound(archive)


def test_nothing_of_a_withdrawn_image_is_left_but_its_note(archive):
    secrets = private_bytes(archive, GONE)
    assert all(any(secret in content for content in files_below(archive).values()) for secret in secrets.values())
    before = rows_of(archive)
    report = take_out(archive, GONE)
    assert (report.removed, report.rows, report.version) == ((GONE,), 8, "2.0.0")
    assert rows_of(archive) == {name: row for name, row in before.items() if name != GONE}
    for name, content in files_below(archive).items():
        assert (GONE.encode() in content) == (name == MANIFEST_NAME), name
        assert [what for what, secret in secrets.items() if secret in content] == [], name
    (note,) = assert_sound(archive).withdrawn
    assert (note.image_id, note.reason, note.date, note.version) == (GONE, "burned-in text", DATE, "2.0.0")


def test_a_withdrawn_image_is_in_no_unit_that_was_joined_already(made, tmp_path):
    """Killed between manifest and clean-up, an extension leaves its units, pixels and all."""
    archive = shutil.copytree(made, tmp_path / "archive")
    plan = plan_extension(archive, 6)
    with locked(archive):
        writer.claim_folder(archive, plan, extending=True)
        write_units(archive, plan, build=1)
    units = shutil.copytree(archive / shards.WORK, tmp_path / "units")
    extend_made(archive, 6)
    shutil.copytree(units, archive / shards.WORK)
    gone = plan.unit(0)[0].image_id
    secrets = private_bytes(archive, gone)
    take_out(archive, gone)
    assert not any(secret in content for content in files_below(archive).values() for secret in secrets.values())


def test_a_validation_that_names_it_goes_another_stays(archive):
    (archive / VALIDATION_NAME).write_text(json.dumps({"copies": ["s3-Mass-000002"]}))
    take_out(archive, GONE)
    assert (archive / VALIDATION_NAME).exists()
    take_out(archive, "s3-Mass-000002")
    assert not (archive / VALIDATION_NAME).exists()


def test_only_shards_that_held_it_change(archive):
    before = shard_bytes(archive)
    report = take_out(archive, GONE)
    after = shard_bytes(archive)
    kept = {name for name in before if name in after and name.endswith(".parquet")}
    assert kept == {"data/train-00001.parquet", "provenance/train-00001.parquet"}
    assert all(before[name] == after[name] for name in kept)
    assert report.rewritten == 2


def test_a_shard_that_is_all_withdrawn_goes_and_its_number_may_come_again(archive):
    last = read_table(archive)["image_id"].to_pylist()[6:]
    take_out(archive, *last)
    assert list(read_manifest(archive).files) == ["data/train-00000.parquet", "provenance/train-00000.parquet"]
    extend_made(archive, 5)
    assert not set(last) & set(rows_of(archive))
    assert_sound(archive)


def test_twice_is_no_change_and_the_card_stays(archive):
    take_out(archive, GONE)
    write_readme(archive, read_manifest(archive), "A card.")
    write_sums(archive, read_manifest(archive))
    before = files_below(archive)
    report = take_out(archive, GONE)
    assert (report.removed, report.rewritten, report.version) == ((), 0, "2.0.0")
    assert files_below(archive) == before


CARD = "# Chests\n\n| manifest | sha256 `{}` |\n\n---\n\nMore."


@pytest.mark.parametrize("stop", ["write_sums", "write_manifest"])
def test_the_card_survives_a_change_that_is_rolled_back(archive, monkeypatch, stop):
    manifest = read_manifest(archive)
    write_readme(archive, manifest, CARD.format(manifest.sha256))
    write_sums(archive, manifest)
    before = files_below(archive)

    def refuse(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shards, stop, refuse)
        with pytest.raises(KeyboardInterrupt):
            take_out(archive, GONE)
    assert CARD.format(manifest.sha256) in (archive / "README.md").read_text()
    remove_leftovers(archive)
    assert files_below(archive) == before


def test_the_card_goes_with_a_change_that_holds(archive, monkeypatch):
    straight = shutil.copytree(archive, archive.with_name("straight"))
    for folder in (archive, straight):
        manifest = read_manifest(folder)
        write_readme(folder, manifest, CARD.format(manifest.sha256))
    take_out(straight, GONE)
    assert "Chests" not in (straight / "README.md").read_text()

    def stopped(folder, manifest):
        write_manifest(folder, manifest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shards, "write_manifest", stopped)
        with pytest.raises(KeyboardInterrupt):
            take_out(archive, GONE)
    assert "Chests" in (archive / "README.md").read_text()
    take_out(archive, GONE)
    assert files_below(archive) == files_below(straight)


def test_versions_of_a_life(archive):
    extend_made(archive, 5)
    take_out(archive, GONE)
    split(archive, SHARES)
    manifest = assert_sound(archive)
    assert [(change.version, change.change, change.added, change.removed) for change in manifest.history] == [
        ("1.0.0", "build", 9, 0),
        ("1.1.0", "extend", 6, 0),
        ("2.0.0", "withdraw", 0, 1),
        ("3.0.0", "split", 0, 0),
    ]


def test_an_extension_keeps_ids_order_and_bytes_and_never_uses_an_id_again(archive):
    newest = ["s3-Mass-000003", "s3-Mass-000002", "s3-Effusion+Mass-000001"]
    take_out(archive, *newest)
    before, order = shard_bytes(archive), list(rows_of(archive))
    extend_made(archive, 5)
    after = shard_bytes(archive)
    assert all(after[name] == content for name, content in before.items() if name.endswith(".parquet"))
    assert list(rows_of(archive))[: len(order)] == order
    assert not set(newest) & set(rows_of(archive))
    assert "s3-Mass-000004" in rows_of(archive)


def test_unknown_ids_are_named_and_nothing_changes(archive):
    before = files_below(archive)
    with pytest.raises(InputDataError, match=r"never held 2 of these images: nobody, s9\.\."):
        take_out(archive, GONE, "nobody", "s9..")
    assert files_below(archive) == before


@pytest.mark.parametrize("more", [{"where": "soft_label > 0"}, {"where": "label == label"}])
def test_all_images_are_never_withdrawn(archive, more):
    before = files_below(archive)
    with pytest.raises(InputDataError, match="withdraw all 9 images"):
        take_out(archive, **more)
    with pytest.raises(InputDataError, match="withdraw all 9 images"):
        take_out(archive, *rows_of(archive))
    assert files_below(archive) == before


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("label == 'Mass' and steps == 7", 4),
        ("Mass", 6),
        ("Mass == True and Effusion == True", 2),
        ("Pleural_Thickening == False", 3),
        ("`image_id`.str.contains('Mass-000001')", 2),
        ("image_id in ['s3-Mass-000000', 'nobody']", 1),
    ],
)
def test_conditions(archive, where, count):
    assert len(take_out(archive, where=where).removed) == count
    assert_sound(archive)


@pytest.mark.parametrize(
    "where",
    [
        "steps", "0", "[0, 0]", "image_id", "True", "index", "label = 'Mass'", "label ==", "nothing > 3", ")", "\0",
        "`", "@folder", "soft_label + 1", "label == 'Mass'\nlabel == 'Mass'", "label", "💥 > 1", "latent",
    ],
)  # fmt: skip
def test_a_condition_that_is_none_is_refused_by_name(archive, where):
    before = files_below(archive)
    with pytest.raises(InputDataError, match="cannot be read"):
        take_out(archive, where=where)
    assert files_below(archive) == before


def test_a_condition_that_fits_nothing_is_refused(archive):
    with pytest.raises(InputDataError, match="No image of"):
        take_out(archive, where="label == 'Nothing'")


def test_the_caller_is_told_what_is_missing(archive):
    for arguments in ({"reason": "x"}, {"ids": [GONE], "reason": " "}, {"ids": [GONE], "reason": "\udcff"}):
        with pytest.raises(ValueError, match=r"needs ids|surrogates"):
            withdraw(archive, date=DATE, **arguments)
    for shares in ({}, {"train": 1.5, "test": -0.5}, {"train": float("nan")}, {"train": 0.5}, {"holdout": 1.0}):
        with pytest.raises(ValueError, match="add up to 1"):
            split(archive, shares)


def test_a_split_is_stable_and_extensions_follow(archive):
    report = split(archive, SHARES)
    assert report.version == "2.0.0"
    before, bytes_before = rows_of(archive), shard_bytes(archive)
    extend_made(archive, 9)
    after, bytes_after = rows_of(archive), shard_bytes(archive)
    assert {name: after[name] for name in before} == before
    assert len({split for split, _, _ in after.values()}) == 3
    assert all(bytes_after[name] == bytes_before[name] for name in bytes_before if name.endswith(".parquet"))
    assert_sound(archive)
    straight = make_archive(archive.parent / "straight")
    extend_made(straight, 9)
    split(straight, SHARES)
    assert rows_of(straight) == after


def test_the_order_of_shares_does_not_matter(archive):
    split(archive, SHARES)
    before = files_below(archive)
    assert split(archive, dict(reversed(SHARES.items()))).rewritten == 0
    assert files_below(archive) == before


def test_an_empty_split_is_refused_and_nothing_is_left(archive):
    before = files_below(archive)
    with pytest.raises(InputDataError, match="would be empty"):
        split(archive, {"train": 0.999999, "test": 0.000001})
    assert files_below(archive) == before


def test_back_to_one_split_is_the_content_of_before(archive):
    content = read_manifest(archive).content_sha256
    split(archive, SHARES)
    assert read_manifest(archive).content_sha256 != content
    split(archive, {"train": 1.0})
    assert assert_sound(archive).content_sha256 == content


ODD = ("🫁 lung", "صدر", "..", "a/b", "x" * 200, "-", "per cent %", "nul\u200d", "quote'\"", "back`tick")


def test_odd_findings_and_ids_through_a_whole_life(tmp_path, monkeypatch):
    import made_archive

    monkeypatch.setattr(made_archive, "FINDINGS", ODD)
    plan = make_plan(requests=tuple(ImageRequest((name,), 2) for name in ODD))
    folder = make_archive(tmp_path / "archive", plan)
    ids = read_table(folder, ["image_id"])["image_id"].to_pylist()
    assert max(len(name.encode()) for name in ids) > 200
    chosen = [ids[0], ids[1], ids[2], ids[4]]
    assert take_out(folder, *chosen).removed == tuple(sorted(chosen))
    split(folder, {"train": 0.6, "test": 0.4})
    assert len(take_out(folder, where="`guide_🫁 lung` >= 0 and label == 'a/b'").removed) == 2
    manifest = assert_sound(folder)
    assert {item.image_id for item in manifest.withdrawn} >= set(chosen)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]


def test_an_unfinished_extension_blocks_changes_until_it_is_ended_or_dropped(archive):
    extend_made(archive, 6, units=1)
    for change in (lambda: take_out(archive, GONE), lambda: split(archive, SHARES)):
        with pytest.raises(InputDataError, match="begun and not finished") as caught:
            change()
        assert "gc --unfinished" in caught.value.fix
    with pytest.raises(PlanChangedError, match="unfinished archive"):
        extend_made(archive, 7)
    assert remove_leftovers(archive) == ()
    assert [item.path for item in remove_leftovers(archive, unfinished=True)] == [".work"]
    take_out(archive, GONE)
    extend_made(archive, 7)
    assert_sound(archive)


def test_units_that_lost_their_claim_are_of_nobody(archive, tmp_path):
    """A clean-up that was killed halfway; the next extension begins at the same unit, and must not use them."""
    straight = shutil.copytree(archive, tmp_path / "straight")
    extend_made(archive, 6, units=1)
    (archive / shards.WORK / "plan.json").unlink()
    extend_made(archive, 7)
    extend_made(straight, 7)
    assert files_below(archive) == files_below(straight)


def test_joined_units_do_not_stand_in_the_way_of_the_next_extension(archive, tmp_path):
    straight = shutil.copytree(archive, tmp_path / "straight")
    plan = plan_extension(archive, 6)
    with locked(archive):
        writer.claim_folder(archive, plan, extending=True)
        write_units(archive, plan, build=1)
    units = shutil.copytree(archive / shards.WORK, tmp_path / "units")
    for total in (6, 7):
        extend_made(straight, total)
        extend_made(archive, total)
        shutil.copytree(units, archive / shards.WORK, dirs_exist_ok=True)
    extend_made(archive, 7)
    assert files_below(archive) == files_below(straight)


def test_an_extension_planned_before_another_was_joined_is_refused(archive):
    stale = plan_extension(archive, 6)
    extend_made(archive, 7)
    with locked(archive), pytest.raises(PlanChangedError, match="meanwhile"):
        writer.claim_folder(archive, stale, extending=True)
    assert_sound(archive)


def test_gc_lists_and_removes_and_spares_what_is_not_ours(archive):
    (archive / "data/.tmp-99-x").write_bytes(b"x" * 5)
    shutil.copy(archive / "data/train-00000.parquet", archive / "data/train-00007.parquet")
    (archive / "mine").mkdir()
    (archive / "mine/train-00000.parquet").write_bytes(b"mine")
    found = find_leftovers(archive)
    assert [(item.path, item.what) for item in found] == [
        ("data/.tmp-99-x", "temporary file"),
        ("data/train-00007.parquet", "shard of no version"),
    ]
    assert found[0].bytes == 5
    assert remove_leftovers(archive) == found
    assert find_leftovers(archive) == ()
    take_out(archive, GONE)
    assert (archive / "mine/train-00000.parquet").read_bytes() == b"mine"


def test_gc_of_an_unfinished_build_leaves_room_for_another(tmp_path):
    folder, plan = tmp_path / "archive", make_plan()
    with locked(folder):
        writer.claim_folder(folder, plan)
        write_units(folder, plan)
    shutil.copytree(make_archive(tmp_path / "made") / "data", folder / "data")
    remove_leftovers(folder, unfinished=True)
    make_archive(folder, make_plan(seed=8))
    assert_sound(folder)
    with pytest.raises(InputDataError, match="No archive"):
        remove_leftovers(tmp_path / "nowhere")


@pytest.mark.parametrize("change", [lambda folder: take_out(folder, GONE), lambda folder: split(folder, SHARES)])
def test_a_damaged_shard_gets_no_good_hash(archive, change):
    path = archive / "provenance/train-00000.parquet"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # the footer, which no page checksum covers
    path.write_bytes(content)
    before = files_below(archive)
    with pytest.raises((DamageError, InputDataError)):
        change(archive)
    assert not check_archive(archive, read_data=True).sound
    remove_leftovers(archive)
    assert files_below(archive) == before


def test_an_edited_manifest_is_refused(archive):
    path = archive / MANIFEST_NAME
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    for change in (lambda: take_out(archive, GONE), lambda: split(archive, SHARES), lambda: extend_made(archive, 6)):
        with pytest.raises(DamageError, match="checksum"):
            change()


@pytest.mark.parametrize(("there", "instead"), [("manifest/2", "manifest/3"), ('"schema"', '"sbhema"')])
def test_a_flipped_bit_makes_no_new_format(archive, there, instead):
    path = archive / MANIFEST_NAME
    path.write_text(path.read_text().replace(there, instead))
    with pytest.raises(DamageError, match="checksum"):
        read_manifest(archive)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user for a moment")
def test_a_folder_of_somebody_else_is_a_storage_error_that_changes_nothing(made):
    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o755)
        folder = shutil.copytree(made, Path(open_to_all) / "archive")
        before = files_below(folder)
        os.seteuid(65534)
        try:
            for change in (lambda: take_out(folder, GONE), lambda: split(folder, SHARES)):
                with pytest.raises(StorageError, match="permission denied"):
                    change()
            assert check_archive(folder, read_data=True).sound
        finally:
            os.seteuid(0)
        assert files_below(folder) == before


def test_large_images_keep_their_row_groups_small(archive, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr("xrarchive.archive.schema.ROW_GROUP_BYTES", 2 * 12 * 12)
    take_out(archive, GONE)
    assert pq.read_metadata(archive / "data/train-00000-r1.parquet").num_row_groups == 3


def test_readme_and_manifest_name_the_same_rows_and_plans_are_plain(archive):
    assert is_archive(archive)
    assert rows_by_readme(archive) == rows_of(archive)
    record = read_manifest(archive).builds[0]
    plan = Plan(REQUESTS, make_plan().weights, 3, SearchSettings(**record.settings))
    assert plan.sha256 == record.plan_sha256 == dataclasses.replace(plan).sha256
