"""Columns of both configs and how they are written to Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.files import atomic_path
from xrarchive.pixels import encode_png
from xrarchive.records import SyntheticImage

DATA, PROVENANCE = "data", "provenance"
CONFIGS = (DATA, PROVENANCE)
# The Hub names the first config `default`; `data` is refused as a config name.
CONFIG_NAMES = {DATA: "default", PROVENANCE: "provenance"}
SPLIT = "train"
SHARD_ROWS = 5_000
ROW_GROUP_ROWS = 1_000
GUIDE_PREFIX, JUDGE_PREFIX = "guide_", "judge_"

# What `datasets` itself uses for image columns; recorded in the file as it does.
_CHUNKING = {"min_chunk_size": 262_144, "max_chunk_size": 1_048_576, "norm_level": 0}
_IMAGE_LEAVES = ("image.bytes", "image.path")


def shard_name(config: str, index: int) -> str:
    """Path of a shard inside the archive."""
    return f"{config}/{SPLIT}-{index:05d}.parquet"


def data_features(vocabulary: Sequence[str]) -> Any:
    """`datasets.Features` of the default config, as documented in README."""
    from datasets import ClassLabel, Features, Image, List, Value

    finding = ClassLabel(names=list(vocabulary))
    return Features(
        {
            "image": Image(mode="L"),
            "image_id": Value("string"),
            "label": finding,
            "findings": List(finding),
            **{name: Value("bool") for name in vocabulary},
            **{GUIDE_PREFIX + name: Value("float32") for name in vocabulary},
            **{JUDGE_PREFIX + name: Value("float32") for name in vocabulary},
            "soft_label": Value("float32"),
            "synthetic": Value("bool"),
        }
    )


def provenance_features() -> Any:
    """`datasets.Features` of the provenance config."""
    from datasets import Features, List, Value

    return Features(
        {
            "image_id": Value("string"),
            "seed": Value("int64"),
            "draw": Value("int32"),
            "steps": Value("int32"),
            "travel_deg": Value("float32"),
            "targets": List(Value("float32")),
            "nuisances": List(Value("float32")),
            "start_nuisances": List(Value("float32")),
            "latent": List(Value("float32")),
        }
    )


def features_of(config: str, vocabulary: Sequence[str]) -> Any:
    """`datasets.Features` of either config."""
    return data_features(vocabulary) if config == DATA else provenance_features()


def to_tables(images: Iterable[SyntheticImage], vocabulary: Sequence[str]) -> dict[str, pa.Table]:
    """Rows of both configs, in the order given.

    A finding's column is true where it was asked for, false where its absence was, and null where nobody asked.
    """
    images = list(images)
    index = {name: position for position, name in enumerate(vocabulary)}
    data = {
        "image": [{"bytes": encode_png(image.pixels), "path": f"{image.image_id}.png"} for image in images],
        "image_id": [image.image_id for image in images],
        "label": [index[image.findings[0]] for image in images],
        "findings": [[index[name] for name in image.findings] for image in images],
        **{name: [_asked(name, image) for image in images] for name in vocabulary},
        **{GUIDE_PREFIX + name: [image.guide[name] for image in images] for name in vocabulary},
        **{JUDGE_PREFIX + name: [image.judge[name] for image in images] for name in vocabulary},
        "soft_label": [image.soft_label for image in images],
        "synthetic": [True] * len(images),
    }
    provenance = {
        "image_id": data["image_id"],
        "seed": [image.seed for image in images],
        "draw": [image.draw for image in images],
        "steps": [image.steps for image in images],
        "travel_deg": [image.travel_deg for image in images],
        "targets": [image.targets for image in images],
        "nuisances": [image.nuisances for image in images],
        "start_nuisances": [image.start_nuisances for image in images],
        "latent": [image.latent.tolist() for image in images],
    }
    columns = {DATA: data, PROVENANCE: provenance}
    return {
        config: pa.Table.from_pydict(columns[config], schema=features_of(config, vocabulary).arrow_schema)
        for config in CONFIGS
    }


def _asked(finding: str, image: SyntheticImage) -> bool | None:
    if finding in image.findings:
        return True
    return False if finding in image.absent else None


def write_shard(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write a shard atomically and return its rows.

    Image bytes stay uncompressed and plain (compressing them saves .5 % and ruins de-duplication on the Hub); pages
    carry checksums and an index; row groups hold 1,000 rows.
    """
    rows = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **_options(schema)) as writer:
        for table in _regrouped(tables):
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            rows += table.num_rows
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(_CHUNKING)})
    return rows


def _regrouped(tables: Iterable[pa.Table]) -> Iterable[pa.Table]:
    """Join small tables so that row groups are full, whatever the size of the units they come from."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        while rows >= ROW_GROUP_ROWS:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, ROW_GROUP_ROWS)
            waiting, rows = [joined.slice(ROW_GROUP_ROWS)], rows - ROW_GROUP_ROWS
    if rows:
        yield pa.concat_tables(waiting)


def _options(schema: pa.Schema) -> dict[str, Any]:
    leaves = [leaf for field in schema for leaf in _leaves(field)]
    plain = [leaf for leaf in leaves if leaf in _IMAGE_LEAVES]
    return {
        "compression": {leaf: "none" if leaf in plain else "snappy" for leaf in leaves},
        "use_dictionary": [leaf for leaf in leaves if leaf not in plain],
        "column_encoding": dict.fromkeys(plain, "PLAIN"),
        "write_page_index": True,
        "write_page_checksum": True,
        "use_content_defined_chunking": _CHUNKING,
    }


def _leaves(field: pa.Field) -> list[str]:
    if pa.types.is_struct(field.type):
        return [f"{field.name}.{child.name}" for child in field.type]
    if pa.types.is_list(field.type):
        return [f"{field.name}.list.element"]
    return [field.name]
