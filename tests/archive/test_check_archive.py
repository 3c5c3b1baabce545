"""Every kind of problem, row by row, and flipped bytes anywhere."""

import dataclasses
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from made_archive import make_archive

from xrarchive.archive import reader
from xrarchive.archive.manifest import MANIFEST_NAME, SUMS_NAME, FileRecord, Manifest, read_manifest, write_manifest
from xrarchive.archive.reader import check_archive, read_table
from xrarchive.archive.readme import README_NAME, write_readme, yaml_problems
from xrarchive.archive.schema import write_shard
from xrarchive.archive.sums import write_sums
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import sha256_file
from xrarchive.pixels import decode_png, encode_png

FIRST, SECOND = "data/train-00000.parquet", "data/train-00001.parquet"
ORIGINS = "provenance/train-00001.parquet"


def problems(archive, *, read_data=True, decode=False):
    found = check_archive(archive, read_data=read_data, decode=decode).problems
    return {(problem.id, problem.path) for problem in found}


def flip(path: Path, position: int, bit: int = 0) -> None:
    with path.open("r+b") as stream:
        stream.seek(position)
        byte = stream.read(1)[0]
        stream.seek(position)
        stream.write(bytes([byte ^ 1 << bit]))


def replace_shard(archive: Path, name: str, table: pa.Table) -> None:
    """Another shard that the manifest names as if it had always been there."""
    rows = write_shard(archive / name, [table], table.schema)
    manifest = read_manifest(archive)
    record = FileRecord(sha256_file(archive / name), (archive / name).stat().st_size, rows)
    rewrite_manifest(archive, dataclasses.replace(manifest, files={**manifest.files, name: record}))


def rewrite_manifest(archive: Path, manifest: Manifest) -> None:
    write_manifest(archive, manifest)
    write_sums(archive, manifest)


def with_image(archive: Path, data: bytes) -> pa.Table:
    table = pq.read_table(archive / FIRST)
    images = table["image"].to_pylist()
    images[2]["bytes"] = data
    return table.set_column(0, table.schema.field("image"), pa.array(images, table.schema.field("image").type))


@pytest.mark.parametrize("read_data", [False, True])
def test_a_sound_archive_has_no_problem(archive, read_data):
    (archive / ".lock").touch()
    (archive / "validation.json").write_text("{}")
    write_sums(archive, read_manifest(archive))
    seen = []
    report = check_archive(archive, read_data=read_data, on_status=seen.append)
    assert report.problems == ()
    assert (report.files, report.rows, report.read_data) == (4, 9, read_data)
    assert report.manifest_sha256 == sha256_file(archive / MANIFEST_NAME)
    assert [(status.done, status.total) for status in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def no_shard(archive):
    (archive / SECOND).unlink()


def folder_for_shard(archive):
    (archive / SECOND).unlink()
    (archive / SECOND).mkdir()


def truncated(archive):
    path = archive / FIRST
    path.write_bytes(path.read_bytes()[:-100])


def empty(archive):
    (archive / FIRST).write_bytes(b"")


def same_size_nonsense(archive):
    path = archive / FIRST
    path.write_bytes(bytes(path.stat().st_size))


def extra_shard(archive):
    shutil.copy(archive / FIRST, archive / "data/train-00002.parquet")


def extra_file(archive):
    (archive / "notes.txt").write_text("hello")


def no_readme(archive):
    (archive / README_NAME).unlink()


def readme_without_head(archive):
    (archive / README_NAME).write_text("# Chests\n")


def readme_not_utf8(archive):
    (archive / README_NAME).write_bytes((archive / README_NAME).read_bytes().replace(b"Synthetic", b"Synth\xe9tic"))


def readme_not_yaml(archive):
    edit_readme(archive, "configs:", "configs: [")


def readme_lacks_a_shard(archive):
    edit_readme(archive, f"    - {SECOND}\n", "")


def readme_with_a_pattern(archive):
    edit_readme(archive, f"    - {FIRST}\n    - {SECOND}\n", "    - data/*.parquet\n")


def readme_with_other_labels(archive):
    edit_readme(archive, "'1': Effusion", "'1': Mass")


def readme_with_other_licence(archive):
    edit_readme(archive, "license: other", "license: mit")


def other_validation(archive):
    (archive / "validation.json").write_text("{}")
    write_sums(archive, read_manifest(archive))
    (archive / "validation.json").write_text("[]")


def sums_lack_a_line(archive):
    path = archive / SUMS_NAME
    path.write_text("".join(line for line in path.read_text().splitlines(True) if SECOND not in line))


def sums_are_nonsense(archive):
    (archive / SUMS_NAME).write_text("hello\n")


def edit_readme(archive, before, after):
    path = archive / README_NAME
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def swapped_configs(archive):
    path = archive / "data/train-00000.parquet"
    table = pq.read_table(archive / "provenance/train-00000.parquet")
    replace_shard(archive, path.relative_to(archive).as_posix(), table)


def fewer_rows(archive):
    table = pq.read_table(archive / FIRST)
    replace_shard(archive, FIRST, table.slice(1))
    manifest = read_manifest(archive)
    record = dataclasses.replace(manifest.files[FIRST], rows=table.num_rows)
    rewrite_manifest(archive, dataclasses.replace(manifest, files={**manifest.files, FIRST: record}))


def other_order(archive):
    table = pq.read_table(archive / ORIGINS)
    replace_shard(archive, ORIGINS, table.take(list(range(table.num_rows))[::-1]))


def one_id_twice(archive):
    for config in ("data", "provenance"):
        name = f"{config}/train-00000.parquet"
        table = pq.read_table(archive / name)
        ids = table["image_id"].to_pylist()
        position = table.column_names.index("image_id")
        replace_shard(archive, name, table.set_column(position, "image_id", [[ids[1], *ids[1:]]]).cast(table.schema))


def bad_png(archive):
    replace_shard(archive, FIRST, with_image(archive, b"\x89PNG\r\n\x1a\n"))


def truncated_png(archive):
    good = pq.read_table(archive / FIRST)["image"][2].as_py()["bytes"]
    replace_shard(archive, FIRST, with_image(archive, good[:60]))


def small_png(archive):
    good = decode_png(pq.read_table(archive / FIRST)["image"][2].as_py()["bytes"])
    replace_shard(archive, FIRST, with_image(archive, encode_png(good[:8, :8])))


def coloured_png(archive):
    replace_shard(archive, FIRST, with_image(archive, encode_png(np.zeros((12, 12, 3), np.uint8))))


def other_pixel(archive):
    """A whole PNG of the right size, one grey level off in one place."""
    pixels = decode_png(pq.read_table(archive / FIRST)["image"][2].as_py()["bytes"]).copy()
    pixels[3, 4] ^= 1
    replace_shard(archive, FIRST, with_image(archive, encode_png(pixels)))


def other_label(archive):
    table = pq.read_table(archive / FIRST)
    labels = table["label"].to_pylist()
    position = table.column_names.index("label")
    other = pa.array([(labels[0] + 1) % 4, *labels[1:]], pa.int64())
    replace_shard(archive, FIRST, table.set_column(position, table.schema.field("label"), other))


# What was done, the problem it must be, and whether images must be decoded to find it.
OTHER_README = {("readme", README_NAME), ("wrong-sum", README_NAME)}
TABLE = [
    (no_shard, {("missing-file", SECOND)}, False),
    (folder_for_shard, {("missing-file", SECOND)}, False),
    (truncated, {("wrong-size", FIRST)}, False),
    (empty, {("wrong-size", FIRST)}, False),
    (same_size_nonsense, {("unreadable", FIRST)}, False),
    (extra_shard, {("surplus-file", "data/train-00002.parquet")}, False),
    (extra_file, {("surplus-file", "notes.txt")}, False),
    (no_readme, {("readme", README_NAME), ("wrong-sum", README_NAME)}, False),
    (readme_without_head, OTHER_README, False),
    (readme_not_utf8, OTHER_README, False),
    (readme_not_yaml, OTHER_README, False),
    (readme_lacks_a_shard, OTHER_README, False),
    (readme_with_a_pattern, OTHER_README, False),
    (readme_with_other_labels, OTHER_README, False),
    (readme_with_other_licence, OTHER_README, False),
    (other_validation, {("wrong-sum", "validation.json")}, False),
    (sums_lack_a_line, {("wrong-sum", SECOND)}, False),
    (sums_are_nonsense, {("wrong-sum", SUMS_NAME)}, False),
    (swapped_configs, {("wrong-schema", FIRST)}, False),
    (fewer_rows, {("wrong-rows", FIRST)}, False),
    (other_order, {("unjoined", "provenance")}, False),
    (one_id_twice, {("doubled-id", "data")}, False),
    (bad_png, {("bad-image", FIRST)}, True),
    (truncated_png, {("bad-image", FIRST)}, True),
    (small_png, {("bad-image", FIRST)}, True),
    (coloured_png, {("bad-image", FIRST)}, True),
    (other_pixel, {("bad-image", FIRST)}, True),
    (other_label, {("wrong-content", MANIFEST_NAME)}, True),
]


@pytest.mark.parametrize(("change", "wanted", "needs_pixels"), TABLE, ids=[row[0].__name__ for row in TABLE])
def test_problem(archive, change, wanted, needs_pixels):
    change(archive)
    without_pixels = set() if needs_pixels else wanted
    assert problems(archive, read_data=False) == without_pixels
    assert problems(archive) == ({("wrong-hash", FIRST)} if change is same_size_nonsense else without_pixels)
    assert problems(archive, read_data=False, decode=True) == wanted


def test_swapped_shards_are_found_by_their_size_or_their_hash(archive):
    names = [f"{config}/train-0000{index}.parquet" for config in ("data", "provenance") for index in (0, 1)]
    for first, second in (names[:2], names[2:]):
        (archive / first).rename(archive / "x")
        (archive / second).rename(archive / first)
        (archive / "x").rename(archive / second)
    assert problems(archive) == {("wrong-size", name) for name in names}


def test_shards_swapped_for_others_of_the_same_size_are_found_without_reading_all(archive):
    """The join with the provenance gives them away: sizes, rows and columns all agree."""
    table = pq.read_table(archive / FIRST)
    ids = pc.binary_replace_slice(table["image_id"], 0, 2, "x3")
    replace_shard(archive, FIRST, table.set_column(1, table.schema.field("image_id"), ids))
    assert problems(archive, read_data=False) == {("unjoined", "provenance")}


def test_any_flipped_bit_in_a_shard_is_found(archive):
    rng = random.Random(0)
    names = list(read_manifest(archive).files)
    for _ in range(100):
        name = rng.choice(names)
        position, bit = rng.randrange((archive / name).stat().st_size), rng.randrange(8)
        flip(archive / name, position, bit)
        assert problems(archive) == {("wrong-hash", name)}
        flip(archive / name, position, bit)
    assert problems(archive) == set()


def test_a_flipped_bit_never_ends_a_quick_check_in_a_traceback(archive):
    """Without reading the data a flip may go unseen; where it is seen, it must be a problem in words."""
    rng, seen = random.Random(1), 0
    for name in (FIRST, ORIGINS):
        size = (archive / name).stat().st_size
        for position in [*rng.sample(range(size), 60), *range(size - 40, size)]:
            flip(archive / name, position)
            found = problems(archive, read_data=False)
            assert found <= {(kind, name) for kind in ("unreadable", "wrong-schema", "wrong-rows")} | {
                ("unjoined", "provenance"), ("doubled-id", "data"),
            }  # fmt: skip
            seen += bool(found)
            flip(archive / name, position)
    assert seen > 20


@pytest.mark.parametrize("mode", ["I;16", "RGB", None])
def test_a_shard_that_tells_datasets_another_mode_is_found(archive, mode):
    table = pq.read_table(archive / FIRST)
    told = json.loads(table.schema.metadata[b"huggingface"])
    told["info"]["features"]["image"] = {"_type": "Image", **({"mode": mode} if mode else {})}
    replace_shard(archive, FIRST, table.replace_schema_metadata({"huggingface": json.dumps(told)}))
    (problem,) = check_archive(archive, read_data=True).problems
    assert (problem.id, problem.path) == ("wrong-schema", FIRST)
    assert f"of mode {mode}, the manifest L" in problem.message


def test_ids_that_share_a_hash_are_not_one_id(archive, monkeypatch):
    hash_texts = reader.hash_texts
    monkeypatch.setattr(reader, "hash_texts", lambda column: hash_texts(column) % np.uint64(2))
    assert check_archive(archive).problems == ()
    one_id_twice(archive)
    assert problems(archive, read_data=False) == {("doubled-id", "data")}


def test_any_flipped_bit_in_the_configs_and_features_of_readme_is_found(archive):
    path, rng = archive / README_NAME, random.Random(2)
    text, manifest = path.read_bytes(), read_manifest(archive)
    start, end = text.index(b"configs:"), text.rindex(b"---\n")
    for _ in range(40):
        position = rng.randrange(start, end)
        flip(path, position, rng.choice((0, 1, 7)))
        changed = path.read_bytes()
        path_problems = yaml_problems(archive, manifest)
        assert path_problems or changed[position : position + 1].isspace() or text[position : position + 1].isspace()
        path.write_bytes(text)


def test_the_text_of_the_card_is_free(archive):
    write_readme(archive, read_manifest(archive), "# Chests\n\n---\n\nMore.")
    write_sums(archive, read_manifest(archive))
    assert problems(archive) == set()
    assert (archive / README_NAME).read_text().endswith("# Chests\n\n---\n\nMore.\n")


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_parts_together_hash_every_shard_once(tmp_path, parts, monkeypatch):
    folder = make_archive(tmp_path / "archive", rows_per_shard=1)
    hashed = []
    monkeypatch.setattr(
        "xrarchive.archive.reader.sha256_file",
        lambda path: (hashed.append(path.relative_to(folder).as_posix()), sha256_file(path))[1],
    )
    found = [check_archive(folder, read_data=True, part=(number, parts)) for number in range(1, parts + 1)]
    manifest = read_manifest(folder)
    assert sorted(hashed) == sorted(manifest.files)
    assert sum(report.hashed_bytes for report in found) == sum(record.bytes for record in manifest.files.values())
    assert all(report.sound for report in found)


def test_only_the_part_that_holds_a_flipped_bit_finds_it(tmp_path):
    folder = make_archive(tmp_path / "archive", rows_per_shard=1)
    flip(folder / "data/train-00004.parquet", 40)
    found = [check_archive(folder, read_data=True, part=(number, 7)).problems for number in range(1, 8)]
    assert [[(item.id, item.path) for item in problems] for problems in found if problems] == [
        [("wrong-hash", "data/train-00004.parquet")]
    ]


@pytest.mark.parametrize("part", [(0, 7), (8, 7), (1, 0), (-1, 3)])
def test_a_part_that_is_none_is_the_callers_mistake(made, part):
    with pytest.raises(ValueError, match="part must be"):
        check_archive(made, read_data=True, part=part)


def test_no_archive_and_a_damaged_manifest_are_errors(archive, tmp_path):
    with pytest.raises(InputDataError):
        check_archive(tmp_path)
    flip(archive / MANIFEST_NAME, 100)
    with pytest.raises(DamageError):
        check_archive(archive)


def test_reading_a_damaged_archive_says_which_shard(archive):
    same_size_nonsense(archive)
    with pytest.raises(DamageError, match=FIRST) as caught:
        read_table(archive)
    assert "xrarchive check" in caught.value.fix
