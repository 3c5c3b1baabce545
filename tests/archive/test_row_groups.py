"""Row groups of a shard that lost rows: where they were, and untouched ones byte for byte."""

from unittest import mock

import pyarrow.parquet as pq
from made_archive import make_archive

from xrarchive.archive import schema
from xrarchive.archive.changing import withdraw


def test_a_row_group_that_loses_nothing_keeps_its_bytes(tmp_path):
    with mock.patch.object(schema, "ROW_GROUP_ROWS", 2):
        make_archive(tmp_path)
    before = tmp_path / "data/train-00000.parquet"
    ids = pq.read_table(before, columns=["image_id"])["image_id"].to_pylist()
    kept = _group_bytes(before, 1)
    withdraw(tmp_path, ids=[ids[0], ids[4], ids[5]], reason="test", date="2026-01-01")
    after = tmp_path / "data/train-00000-r1.parquet"
    metadata = pq.read_metadata(after)
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [1, 2]
    assert kept in after.read_bytes()


def _group_bytes(path, index):
    group = pq.read_metadata(path).row_group(index)
    first, last = group.column(0), group.column(group.num_columns - 1)
    return path.read_bytes()[first.data_page_offset : last.data_page_offset + last.total_compressed_size]
