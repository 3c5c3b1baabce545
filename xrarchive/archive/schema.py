"""Columns of both configs and how they are written to Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.archive.manifest import FORMAT
from xrarchive.files import atomic_path, sha256_bytes
from xrarchive.pixels import AnyPixels, encode_png
from xrarchive.records import SyntheticImage

DATA, PROVENANCE = "data", "provenance"
CONFIGS = (DATA, PROVENANCE)
# The Hub names the first config `default`; `data` is refused as a config name.
CONFIG_NAMES = {DATA: "default", PROVENANCE: "provenance"}
# A shard and a row group hold at most so many rows, and at most so many bytes of pixels before compression.
SHARD_ROWS, SHARD_BYTES = 5_000, 256 << 20
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 1_000, 32 << 20
GUIDE_PREFIX, JUDGE_PREFIX = "guide_", "judge_"
BYTES_PER_PIXEL = {"L": 1, "I;16": 2, "RGB": 3}
# In every PNG, for whoever meets it outside its archive.
PNG_TEXT = {"Source": "Synthetic, by xrarchive"}

# As `datasets` does and recorded as there, but for larger pages: where nothing is compressed, the head of a page is one
# more place that changes. A Hub keeps files in parts of about 64 kB and sends anew each that lost a row: about 96 kB a
# row. 1 % of rows withdrawn all over is 50 % of an archive at 64 px, 25 % at 128 px; 91 % as pyarrow writes by itself.
# Tried at 64 px on 2026-11-23 and dropped: row groups of 500, 250, 100 rows 51, 56, 60 %; of 5,000 rows 49 %; pages of
# 4 MiB and more 47 %, in groups of 5,000 rows 45 %, but whoever wants one image reads all of that; pages of 256 KiB to
# 1 MiB 58 %; without dictionaries, without index, with pages of the second version: no difference.
_CHUNKING = {"min_chunk_size": 262_144, "max_chunk_size": 16_777_216, "norm_level": 0}
_PLAIN_LEAVES = ("image.bytes", "pixels_sha256")


def shard_name(config: str, index: int, *, split: str = "train", change: int = 0) -> str:
    """Path of a shard inside the archive; one that a later change rewrote bears that change's number."""
    return f"{config}/{split}-{index:05d}{f'-r{change}' if change else ''}.parquet"


def data_columns(vocabulary: Sequence[str], *, mode: str = "L", version: int = FORMAT) -> list[dict[str, Any]]:
    """Columns of the default config, as README documents them: in the words of `datasets` for the YAML of a card."""
    return [
        {"name": "image", "dtype": {"image": {"mode": mode}}},
        _column("image_id", "string"),
        {"name": "label", "dtype": _finding(vocabulary)},
        {"name": "findings", "list": _finding(vocabulary)},
        *(_column(name, "bool") for name in vocabulary),
        *(_column(GUIDE_PREFIX + name, "float32") for name in vocabulary),
        *(_column(JUDGE_PREFIX + name, "float32") for name in vocabulary),
        _column("soft_label", "float32"),
        _column("synthetic", "bool"),
        *([] if version == 1 else [_column("pixels_sha256", "string")]),
    ]


def provenance_columns(*, version: int = FORMAT) -> list[dict[str, Any]]:
    """Columns of the provenance config, likewise."""
    return [
        _column("image_id", "string"),
        *([] if version == 1 else [_column("build", "int32")]),
        _column("seed", "int64"),
        _column("draw", "int32"),
        _column("steps", "int32"),
        _column("travel_deg", "float32"),
        *({"name": name, "list": "float32"} for name in ("targets", "nuisances", "start_nuisances", "latent")),
    ]


def columns_of(
    config: str, vocabulary: Sequence[str], *, mode: str = "L", version: int = FORMAT
) -> list[dict[str, Any]]:
    """Columns of either config, in a version of the format."""
    return (
        data_columns(vocabulary, mode=mode, version=version) if config == DATA else provenance_columns(version=version)
    )


def features_of(config: str, vocabulary: Sequence[str], *, mode: str = "L", version: int = FORMAT) -> Any:
    """`datasets.Features` of either config. Brings `datasets`, which takes as long as sending a small archive."""
    from datasets import Features

    return Features._from_yaml_list(columns_of(config, vocabulary, mode=mode, version=version))


def _column(name: str, dtype: str) -> dict[str, Any]:
    return {"name": name, "dtype": dtype}


def _finding(vocabulary: Sequence[str]) -> dict[str, Any]:
    return {"class_label": {"names": {str(index): name for index, name in enumerate(vocabulary)}}}


def mode_of(pixels: AnyPixels) -> str:
    """Pillow's word for uint8 [H, W], uint16 [H, W] or uint8 [H, W, 3]."""
    if pixels.ndim == 3:
        return "RGB"
    return "I;16" if pixels.dtype == np.uint16 else "L"


def hash_pixels(pixels: AnyPixels) -> str:
    """Hex sha256 of shape and samples (16 bits little-endian), row by row: the same however an image is compressed."""
    samples = pixels.astype("<u2") if pixels.dtype == np.uint16 else pixels
    return sha256_bytes(f"{mode_of(pixels)} {pixels.shape[0]} {pixels.shape[1]}\n".encode() + samples.tobytes())


def to_tables(images: Iterable[SyntheticImage], vocabulary: Sequence[str], *, build: int = 0) -> dict[str, pa.Table]:
    """Rows of both configs, in the order given.

    A finding's column is true where it was asked for, false where its absence was, and null where nobody asked.
    """
    images = list(images)
    index = {name: position for position, name in enumerate(vocabulary)}
    mode = mode_of(images[0].pixels) if images else "L"
    schemas = {config: features_of(config, vocabulary, mode=mode).arrow_schema for config in CONFIGS}
    ids = [image.image_id for image in images]
    data = {
        "image": _images(images, schemas[DATA].field("image").type),
        "image_id": ids,
        "label": [index[image.findings[0]] for image in images],
        "findings": [[index[name] for name in image.findings] for image in images],
        **{name: [_asked(name, image) for image in images] for name in vocabulary},
        **{GUIDE_PREFIX + name: [image.guide[name] for image in images] for name in vocabulary},
        **{JUDGE_PREFIX + name: [image.judge[name] for image in images] for name in vocabulary},
        "soft_label": [image.soft_label for image in images],
        "synthetic": [True] * len(images),
        "pixels_sha256": [hash_pixels(image.pixels) for image in images],
    }
    provenance = {
        "image_id": ids,
        "build": [build] * len(images),
        "seed": [image.seed for image in images],
        "draw": [image.draw for image in images],
        "steps": [image.steps for image in images],
        "travel_deg": [image.travel_deg for image in images],
        "targets": [image.targets for image in images],
        "nuisances": [image.nuisances for image in images],
        "start_nuisances": [image.start_nuisances for image in images],
        "latent": [image.latent for image in images],
    }
    columns = {DATA: data, PROVENANCE: provenance}
    return {config: pa.Table.from_pydict(columns[config], schema=schemas[config]) for config in CONFIGS}


def _images(images: Sequence[SyntheticImage], kind: pa.StructType) -> pa.StructArray:
    """PNGs, encoded by as many threads as there are processors: encoding is most of the cost of an archive."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        encoded = list(pool.map(lambda image: encode_png(image.pixels, text=PNG_TEXT), images))
    names = [f"{image.image_id}.png" for image in images]
    return pa.StructArray.from_arrays([pa.array(encoded, pa.binary()), pa.array(names, pa.string())], fields=list(kind))


def _asked(finding: str, image: SyntheticImage) -> bool | None:
    if finding in image.findings:
        return True
    return False if finding in image.absent else None


def write_shard(
    path: Path, tables: Iterable[pa.Table], schema: pa.Schema, *, image_bytes: int = 0, regroup: bool = True
) -> int:
    """Write a shard atomically and return its rows.

    Image bytes, hashes and numbers with fractions stay uncompressed and plain: compressing images saves .5 %, the rest
    never repeats, so that a dictionary of it is a second copy, and both ruin de-duplication on the Hub. Pages carry
    checksums and an index; row groups hold 1,000 rows, or 32 MiB of pixels; without `regroup` no table shares one.
    """
    rows = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **_options(schema)) as writer:
        group = capped(ROW_GROUP_ROWS, ROW_GROUP_BYTES, image_bytes)
        for table in _regrouped(tables, group) if regroup else tables:
            writer.write_table(table, row_group_size=group if regroup else min(group, table.num_rows))
            rows += table.num_rows
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(_CHUNKING)})
    return rows


def capped(rows: int, most_bytes: int, image_bytes: int) -> int:
    """At most `rows`, fewer where so many images of `image_bytes` bytes of pixels were more than `most_bytes`."""
    return max(1, min(rows, most_bytes // max(1, image_bytes)))


def _regrouped(tables: Iterable[pa.Table], group: int) -> Iterable[pa.Table]:
    """Join small tables so that row groups are full, whatever the size of the units they come from."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        while rows >= group:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, group)
            waiting, rows = [joined.slice(group)], rows - group
    if rows:
        yield pa.concat_tables(waiting)


def _options(schema: pa.Schema) -> dict[str, Any]:
    leaves = [leaf for field in schema for leaf in _leaves(field)]
    plain = [leaf for field in schema for leaf in _leaves(field) if leaf in _PLAIN_LEAVES or _is_fraction(field.type)]
    return {
        "compression": {leaf: "none" if leaf in plain else "snappy" for leaf in leaves},
        "use_dictionary": [leaf for leaf in leaves if leaf not in plain],
        "column_encoding": dict.fromkeys(plain, "PLAIN"),
        "write_page_index": True,
        "write_page_checksum": True,
        "use_content_defined_chunking": _CHUNKING,
    }


def _is_fraction(kind: pa.DataType) -> bool:
    """Whether a column holds floating-point numbers, or lists of them."""
    return bool(pa.types.is_floating(kind.value_type if pa.types.is_list(kind) else kind))


def _leaves(field: pa.Field) -> list[str]:
    if pa.types.is_struct(field.type):
        return [f"{field.name}.{child.name}" for child in field.type]
    if pa.types.is_list(field.type):
        return [f"{field.name}.list.element"]
    return [field.name]
