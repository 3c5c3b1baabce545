"""The manifest: what an archive holds, with a hash for every shard. Written last; its own sha256 names the archive.

It holds no version, validation, date or README hash: a validation names the manifest's sha256 and `publish --version`
gives the version, so that the same plan always gives the same manifest, byte for byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import dump_json, read_json, sha256_bytes, sha256_file, write_json
from xrarchive.records import Tally

# The files of an archive beside its shards, named once for everything that reads or writes them.
MANIFEST_NAME = "manifest.json"
README_NAME = "README.md"
VALIDATION_NAME = "validation.json"
RECEIPT_NAME = "publish-receipt.json"
SCHEMA = "xrarchive.manifest/1"


@dataclass(frozen=True)
class FileRecord:
    """One shard."""

    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True)
class WeightsRecord:
    """One set of weights the archive was made with."""

    sha256: str
    name: str


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json.

    Attributes:
        findings: The vocabulary; position = class index of `label` and `findings`.
        nuisances: Names of the numbers in the columns `nuisances` and `start_nuisances` of the provenance.
        size_px: Side of the images.
        rows: Images in all.
        counts: Images per class label; labels without an image are left out.
        tallies: What became of each request.
        files: Shards of both configs by path, posix and relative.
        weights: `generator`, `guide`, `judge`.
        seed: Of the archive.
        settings: Limits of the latent search.
        plan_sha256: The resume token of the plan that made it.
        versions: Python and the packages that decide bytes.
        terms: Names of the terms of the radiographs behind the weights.
    """

    findings: tuple[str, ...]
    nuisances: tuple[str, ...]
    size_px: int
    rows: int
    counts: Mapping[str, int]
    tallies: tuple[Tally, ...]
    files: Mapping[str, FileRecord]
    weights: Mapping[str, WeightsRecord]
    seed: int
    settings: Mapping[str, Any]
    plan_sha256: str
    versions: Mapping[str, str]
    terms: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form. `checksum` is the sha256 of all the rest: it gives a flipped bit in this very file away."""
        content = {"schema": SCHEMA, **dataclasses.asdict(self)}
        return {**content, "checksum": sha256_bytes(dump_json(content))}

    @property
    def sha256(self) -> str:
        """Of the bytes of manifest.json."""
        return sha256_bytes(dump_json(self.as_dict()))

    @property
    def labels(self) -> tuple[str, ...]:
        """Class labels that occur, in vocabulary order."""
        return tuple(name for name in self.findings if name in self.counts)

    def shards(self, config: str) -> tuple[str, ...]:
        """Paths of one config's shards, in row order."""
        return tuple(sorted(path for path in self.files if path.startswith(f"{config}/")))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json: the archive is finished from here on."""
    write_json(folder / MANIFEST_NAME, manifest.as_dict())


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a finished archive.

    Raises:
        InputDataError: If there is none, or it is of another format.
        DamageError: If it was altered.
    """
    path = folder / MANIFEST_NAME
    value = read_json(path, what="finished archive", fix=f"Make one with `xrarchive build --out {folder}`.")
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise InputDataError(
            f"{path} is of format {schema!r}, this version reads {SCHEMA!r}.", fix="Update xrarchive.", path=path
        )
    try:
        manifest = _from_dict(value)
    except (KeyError, TypeError, AttributeError) as err:
        raise _damaged(path, f"a field is missing or misshapen ({err})") from err
    if manifest.sha256 != sha256_file(path):
        raise _damaged(path, "its bytes are not those `build` writes for this content")
    return manifest


def _damaged(path: Path, why: str) -> DamageError:
    return DamageError(
        f"{path} is damaged: {why}.", fix="Restore it from the Hub or build the archive again.", path=path
    )


def _from_dict(value: dict[str, Any]) -> Manifest:
    fields = {field.name: value[field.name] for field in dataclasses.fields(Manifest)}
    return Manifest(
        **{
            **fields,
            "findings": tuple(fields["findings"]),
            "nuisances": tuple(fields["nuisances"]),
            "terms": tuple(fields["terms"]),
            "tallies": tuple(_tally(tally) for tally in fields["tallies"]),
            "files": {path: FileRecord(**record) for path, record in fields["files"].items()},
            "weights": {role: WeightsRecord(**record) for role, record in fields["weights"].items()},
        }
    )


def _tally(value: dict[str, Any]) -> Tally:
    return Tally(**{**value, "findings": tuple(value["findings"]), "absent": tuple(value["absent"])})
