"""The manifest: what an archive holds, with a hash for every shard. Written last; its own sha256 names the archive.

It holds no validation and no README hash (a validation names the manifest's sha256), and a date only where somebody
took something away: the same plan always gives the same manifest, byte for byte.
"""

from __future__ import annotations

import dataclasses
import re
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
REPORT_NAME = "report.html"
RECEIPT_NAME = "publish-receipt.json"
RETRACTIONS_NAME = "retractions.json"  # in a published repository: versions taken back
CHANGELOG_NAME = "CHANGELOG.md"
SUMS_NAME = "SHA256SUMS"
# What `card` writes beside README.md.
CROISSANT_NAME = "croissant.json"
CITATION_NAME = "CITATION.cff"
SCORECARD_NAME = "SCORECARD.md"
SAMPLES = "samples"
SIGNATURE_NAME = "manifest.json.sig"
FORMAT = 2
_SCHEMA = "xrarchive.manifest/"
FIRST_VERSION = "1.0.0"
_SHARD = re.compile(r"(?P<config>data|provenance)/(?P<split>\w+)-(?P<index>\d{5})(-r\d+)?\.parquet")


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
class BuildRecord:
    """One `build` or `extend` that images came from; the column `build` of the provenance is its index.

    Attributes:
        plan_sha256: The resume token of its plan.
        units: Units made, so that a later one of the same seed begins after them.
        seed: Of its draws.
        settings: Limits of the latent search.
        weights: `generator`, `guide`, `judge`.
        versions: Python and the packages that decide bytes, and the processor's vector instructions.
        terms: Names of the terms of the radiographs behind the weights.
        tallies: What became of each request.
    """

    plan_sha256: str
    units: int
    seed: int
    settings: Mapping[str, Any]
    weights: Mapping[str, WeightsRecord]
    versions: Mapping[str, str]
    terms: tuple[str, ...]
    tallies: tuple[Tally, ...]


@dataclass(frozen=True)
class Change:
    """One step in the life of an archive.

    Attributes:
        version: From this step on, `X.Y.Z`: additions raise Y, whatever takes rows away or moves them raises X.
        change: `build`, `extend`, `withdraw`, `split` or `merge`.
        added: Rows that came.
        removed: Rows that went.
        reason: Why, in the words of whoever did it; empty for what needs none.
        date: `YYYY-MM-DD`, of a withdrawal only.
    """

    version: str
    change: str
    added: int
    removed: int
    reason: str = ""
    date: str | None = None


@dataclass(frozen=True)
class Withdrawal:
    """An image that was taken away: its id is never used again."""

    image_id: str
    reason: str
    date: str
    version: str


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json.

    Attributes:
        findings: The vocabulary; position = class index of `label` and `findings`.
        nuisances: Names of the numbers in the columns `nuisances` and `start_nuisances` of the provenance.
        size_px: Side of the images.
        mode: Pillow's word for their pixels: `L` 8-bit grey, `I;16` 16-bit grey, `RGB`.
        rows: Images in all.
        counts: Images per class label; labels without an image are left out.
        content_sha256: Of split, id, labels and pixels of every row; does not change with pyarrow or zlib.
        files: Shards of both configs by path, posix and relative.
        splits: Share of each split, in order.
        builds: What made the images.
        history: What happened, the oldest first.
        withdrawn: What was taken away.
        format: Version of the format.
    """

    findings: tuple[str, ...]
    nuisances: tuple[str, ...]
    size_px: int
    rows: int
    counts: Mapping[str, int]
    content_sha256: str
    files: Mapping[str, FileRecord]
    builds: tuple[BuildRecord, ...]
    history: tuple[Change, ...]
    mode: str = "L"
    splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: {"train": 1.0})
    withdrawn: tuple[Withdrawal, ...] = ()
    format: int = FORMAT

    def as_dict(self) -> dict[str, Any]:
        """The JSON form. `checksum` is the sha256 of all the rest: it gives a flipped bit in this very file away."""
        content = {"schema": f"{_SCHEMA}{self.format}", **dataclasses.asdict(self)}
        del content["format"]
        if self.format == 1:
            content = _as_format_1(content)
        else:
            # Order counts, and the keys of a JSON object are sorted when it is written.
            content["splits"] = list(self.splits.items())
        return {**content, "checksum": sha256_bytes(dump_json(content))}

    @property
    def sha256(self) -> str:
        """Of the bytes of manifest.json."""
        return sha256_bytes(dump_json(self.as_dict()))

    @property
    def version(self) -> str:
        """Of the archive, `X.Y.Z`."""
        return self.history[-1].version

    @property
    def labels(self) -> tuple[str, ...]:
        """Class labels that occur, in vocabulary order."""
        return tuple(name for name in self.findings if name in self.counts)

    @property
    def weights(self) -> Mapping[str, WeightsRecord]:
        """Those of the newest build; guide and judge are the same in all."""
        return self.builds[-1].weights

    @property
    def settings(self) -> Mapping[str, Any]:
        """Limits of the latent search of the newest build."""
        return self.builds[-1].settings

    @property
    def judge_filtered(self) -> bool:
        """Whether the judge chose among the images of any build."""
        return any(build.settings.get("judge_filter") for build in self.builds)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms of all radiographs behind the weights."""
        return tuple(sorted({name for build in self.builds for name in build.terms}))

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """What became of each request of each build."""
        return tuple(tally for build in self.builds for tally in build.tallies)

    def units(self, seed: int) -> int:
        """Units made with a seed, in all builds: the number of its next one."""
        return sum(build.units for build in self.builds if build.seed == seed)

    def shards(self, config: str, split: str | None = None) -> tuple[str, ...]:
        """Paths of one config's shards, of one split or all, in row order."""
        order = list(self.splits)
        named = [(order.index(split_of(path)), path) for path in self.files if path.startswith(f"{config}/")]
        return tuple(path for _, path in sorted(named) if split in (None, split_of(path)))

    def follow(
        self, change: str, *, added: int = 0, removed: int = 0, reason: str = "", date: str | None = None
    ) -> Change:
        """The entry of a change to be made now."""
        major, minor, _ = (int(part) for part in self.version.split("."))
        version = f"{major}.{minor + 1}.0" if change == "extend" else f"{major + 1}.0.0"
        return Change(version, change, added, removed, reason, date)


def is_shard(path: str) -> bool:
    """Whether a relative posix path is named as a shard is."""
    return _SHARD.fullmatch(path) is not None


def split_of(path: str) -> str:
    """The split a shard belongs to, from its name."""
    return _parsed(path)["split"]


def index_of(path: str) -> int:
    """The number of a shard among those of its split, from its name."""
    return int(_parsed(path)["index"])


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json: what it says holds from here on."""
    write_json(folder / MANIFEST_NAME, manifest.as_dict())


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a finished archive, of this format or the one before.

    Raises:
        InputDataError: If there is none, or it is of another format.
        DamageError: If it was altered.
    """
    path = folder / MANIFEST_NAME
    value = read_json(path, what="finished archive", fix=f"Make one with `xrarchive build --out {folder}`.")
    manifest = parse_manifest(value, path)
    if sha256_bytes(dump_json(value)) != sha256_file(path):
        raise _damaged(path, "its bytes are not those `build` writes for this content")
    return manifest


def parse_manifest(value: Any, path: Path) -> Manifest:
    """A manifest from the values of its JSON.

    Raises:
        InputDataError: If it is of a format that this version does not read.
        DamageError: If a field is missing or misshapen, or its checksum is not that of the rest.
    """
    content = {name: item for name, item in value.items() if name != "checksum"} if isinstance(value, dict) else {}
    schema = str(content.get("schema"))
    known = {f"{_SCHEMA}{number}": number for number in (FORMAT - 1, FORMAT)}
    checksum = value.get("checksum") if content else None
    altered = checksum != sha256_bytes(dump_json(content))
    if schema not in known and not (checksum and altered):  # a flipped bit makes no new format
        raise InputDataError(
            f"{path} is of format {schema!r}, this version reads {' and '.join(known)}.",
            fix="Update xrarchive.",
            path=path,
        )
    if altered:
        raise _damaged(path, "its checksum is not that of its content")
    try:
        return _from_dict(content) if known[str(schema)] == FORMAT else _from_format_1(content)
    except (KeyError, TypeError, AttributeError, ValueError) as err:
        raise _damaged(path, f"a field is missing or misshapen ({err})") from err


def _damaged(path: Path, why: str) -> DamageError:
    return DamageError(
        f"{path} is damaged: {why}.", fix="Restore it from the Hub or build the archive again.", path=path
    )


def _parsed(path: str) -> re.Match[str]:
    found = _SHARD.fullmatch(path)
    if not found:
        raise ValueError(f"{path!r} is not the name of a shard")
    return found


def _from_dict(value: dict[str, Any]) -> Manifest:
    names = {field.name for field in dataclasses.fields(Manifest)} - {"format"}
    fields = {name: value[name] for name in names}
    manifest = Manifest(
        **{
            **fields,
            "findings": tuple(fields["findings"]),
            "nuisances": tuple(fields["nuisances"]),
            "files": {path: FileRecord(**record) for path, record in fields["files"].items()},
            "splits": dict(fields["splits"]),
            "builds": tuple(_build(build) for build in fields["builds"]),
            "history": tuple(Change(**change) for change in fields["history"]),
            "withdrawn": tuple(Withdrawal(**item) for item in fields["withdrawn"]),
        }
    )
    for path in manifest.files:
        if split_of(path) not in manifest.splits:
            raise ValueError(f"{path} belongs to no split")
    return manifest


def _as_format_1(content: dict[str, Any]) -> dict[str, Any]:
    """What a manifest of format 1 held, so that its sha256 is still that of its bytes."""
    kept = {name: content[name] for name in ("schema", "findings", "nuisances", "size_px", "rows", "counts", "files")}
    (build,) = content["builds"]
    return {**kept, **{name: value for name, value in build.items() if name != "units"}}


def _from_format_1(value: dict[str, Any]) -> Manifest:
    """Format 1 knew one build, no history, no content hash and no splits."""
    made = {
        name: value[name] for name in ("plan_sha256", "seed", "settings", "weights", "versions", "terms", "tallies")
    }
    return Manifest(
        findings=tuple(value["findings"]),
        nuisances=tuple(value["nuisances"]),
        size_px=value["size_px"],
        rows=value["rows"],
        counts=value["counts"],
        content_sha256="",
        files={path: FileRecord(**record) for path, record in value["files"].items()},
        builds=(_build({**made, "units": 0}),),
        history=(Change(FIRST_VERSION, "build", value["rows"], 0),),
        format=1,
    )


def _build(value: Mapping[str, Any]) -> BuildRecord:
    return BuildRecord(
        **{
            **value,
            "weights": {role: WeightsRecord(**record) for role, record in value["weights"].items()},
            "terms": tuple(value["terms"]),
            "tallies": tuple(_tally(tally) for tally in value["tallies"]),
        }
    )


def _tally(value: Mapping[str, Any]) -> Tally:
    return Tally(**{**value, "findings": tuple(value["findings"]), "absent": tuple(value["absent"])})


def require_current(folder: Path, manifest: Manifest) -> None:
    """Refuse to change an archive of the format before.

    Raises:
        InputDataError: If it is of format 1.
    """
    if manifest.format != FORMAT:
        raise InputDataError(
            f"{folder} is of format {manifest.format}, which can be read, not changed; this version writes {FORMAT}.",
            fix="Build it again with this version: the same seed and weights give the same images.",
            path=folder,
        )
