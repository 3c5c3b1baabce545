"""What a publication sends, decided and checked locally before anyone is asked for a token.

In: an archive folder, a repository name, a version, and (for a model repository) the weight files. Out: a `Publication`
listing every file with size and sha256. Nothing here touches the network.

README.md, manifest.json, validation.json, SHA256SUMS, report.html, CHANGELOG.md and what `card` wrote beside README if
they are there, and the shards named in the manifest go up, nothing else. Small files are sent from memory, so that what
was checked is what arrives; shards are hashed here, and again on upload if they changed since.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from xrarchive.archive.companions import COMPANIONS, find_companions, stale_companions
from xrarchive.archive.manifest import (
    CHANGELOG_NAME,
    MANIFEST_NAME,
    README_NAME,
    REPORT_NAME,
    SAMPLES,
    SUMS_NAME,
    VALIDATION_NAME,
    FileRecord,
    Manifest,
    read_manifest,
)
from xrarchive.archive.sums import render_sums
from xrarchive.errors import DamageError, GateError, InputDataError, SettingsError
from xrarchive.files import dump_json, read_json, sha256_file
from xrarchive.hub.access import PUBLIC, Access, require_release
from xrarchive.hub.content import REPO, RepoContent, Upload, in_memory
from xrarchive.hub.scanning import require_clean
from xrarchive.hub.versions import VERSION, ordered
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.validation import SCHEMA
from xrarchive.validation.gates import keeps_back_weights, require_open

SHARD_FOLDERS = ("data", "provenance")
# What goes up where it is there, and goes from the repository where it is not.
OPTIONAL = (REPORT_NAME, CHANGELOG_NAME, *COMPANIONS)
_HASHERS = 4  # threads: hashing leaves the interpreter to others
WEIGHT_ROLES = ("generator", "guide", "judge")

# What an unrendered template (not BibTeX's "{{Title}}") and the Hub's own card template leave behind.
_UNFILLED = re.compile(r"\{\{\s|\{%\s|\[More Information Needed\]", re.IGNORECASE)


@dataclass(frozen=True)
class Publication:
    """A checked plan: which bytes go to which repositories under which version.

    Attributes:
        archive_dir: What is published.
        version: ``X.Y.Z``; may still rise while `asked_version` is None, by what is published already.
        manifest: Of the archive.
        dataset: What the dataset repository is to hold.
        model: What the model repository is to hold; None = no weights are published.
        withheld: What keeps back the weights that were asked for: closed gates, each with what was found.
        access: Who gets in.
        asked_version: The version its publisher named, if any.
        notes: What whoever confirms the plan should read: terms, permission, what is published already.
    """

    archive_dir: Path
    version: str
    manifest: Manifest
    dataset: RepoContent
    model: RepoContent | None
    withheld: tuple[str, ...] = ()
    access: Access = PUBLIC
    asked_version: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def manifest_sha256(self) -> str:
        """Of the archive."""
        return self.manifest.sha256

    @property
    def tag(self) -> str:
        """The tag that will name this version on the Hub."""
        return f"v{self.version}"

    @property
    def contents(self) -> tuple[RepoContent, ...]:
        """The repositories in publishing order: weights first, so that the dataset's card never points at nothing."""
        return (self.dataset,) if self.model is None else (self.model, self.dataset)

    def as_dict(self) -> dict[str, object]:
        """The machine-readable form of ``publish --dry-run --json``."""
        return {
            "archive": str(self.archive_dir),
            "version": self.version,
            "tag": self.tag,
            "manifest_sha256": self.manifest_sha256,
            "dataset": self.dataset.as_dict(),
            "model": None if self.model is None else self.model.as_dict(),
            "withheld": list(self.withheld),
            "access": self.access.as_dict(),
            "notes": list(self.notes),
        }


def plan_publication(
    archive_dir: Path,
    repo: str,
    version: str | None = None,
    *,
    model_repo: str | None = None,
    weights: Mapping[str, Path] | None = None,
    model_card: str | None = None,
    weights_needed: bool = True,
    access: Access = PUBLIC,
    ids: Collection[str] = (),
    on_status: OnStatus = ignore_status,
) -> Publication:
    """Check that an archive may be published and list what would be sent. Reads every shard once, sends nothing.

    Args:
        archive_dir: A finished archive: built, validated, with its card rendered.
        repo: Dataset repository, ``owner/name``.
        version: ``X.Y.Z``, no lower than the archive's own; the tag becomes ``vX.Y.Z``. None = the archive's own, or
            the next after what is published already.
        model_repo: Model repository for the weights, ``owner/name``; None publishes no weights, and so do closed gates
            (see `Publication.withheld`).
        weights: Weight file per role (``generator``, ``guide``, ``judge``); all that the manifest names are needed.
        model_card: Text of the model repository's README.md; needed with `model_repo`.
        weights_needed: Whether weight files that are missing or others are an error; False keeps them back.
        access: Who gets in, and who permitted that.
        ids: Of patients and films, which must stand in no text that goes up.
        on_status: Told about the hashing of shards, in bytes.

    Raises:
        SettingsError: If `version` or a repository name is malformed, or the version is lower than the archive's
            own.
        InputDataError: If there is no archive, or a weight file is missing or not the one the manifest names.
        GateError: If the archive is not validated, one of its gates is closed, its card is missing, unfilled or
            older than the manifest, the terms of the films behind it do not allow it, or a text holds a path of this
            machine, a token or one of `ids`.
        DamageError: If a file's bytes are not those the manifest names.
        ValueError: If `model_repo` comes without `model_card`.
    """
    _check_names(repo, version, model_repo)
    manifest = read_manifest(archive_dir)
    _require_not_lower(version, manifest)
    notes = require_release(manifest.terms, access)
    validation, gates = _read_validation(archive_dir, manifest)
    with _checking_shards(archive_dir, manifest) as pending:  # beside the card, which brings heavy imports
        readme = _read_card(archive_dir, manifest, validation.sha256)
        shards = tuple(_checked_shards(pending, manifest, on_status))
    manifest_file = in_memory(MANIFEST_NAME, dump_json(manifest.as_dict()))
    withheld = () if model_repo is None else tuple(keeps_back_weights(gates))
    if model_repo is not None and not withheld and not weights_needed:
        withheld = tuple(_missing_weights(manifest, weights or {}))
    wanted = model_repo is not None and not withheld
    model = _plan_model(str(model_repo), manifest, weights or {}, model_card) if wanted else None
    sums = in_memory(SUMS_NAME, render_sums(archive_dir, manifest).encode())
    others = [name for name in (REPORT_NAME, CHANGELOG_NAME) if (archive_dir / name).is_file()]
    others += _companion_names(archive_dir, manifest)
    texts = (readme, manifest_file, validation, sums, *(in_memory(n, (archive_dir / n).read_bytes()) for n in others))
    claims = (*(f"{folder}/" for folder in (*SHARD_FOLDERS, SAMPLES)), *OPTIONAL)
    dataset = RepoContent(repo, "dataset", (*shards, *texts), claims)
    folders = {Path.home(), Path.cwd(), archive_dir.absolute(), archive_dir.resolve()}
    require_clean((dataset, *([model] if model else [])), folders=folders, ids=ids)
    return Publication(
        archive_dir, version or manifest.version, manifest, dataset, model, withheld, access, version, notes
    )


def _require_not_lower(version: str | None, manifest: Manifest) -> None:
    """Refuse a version lower than the archive's own, which rises with every change."""
    asked, own = (ordered(text) for text in (version or manifest.version, manifest.version))
    if asked < own:
        last = manifest.history[-1]
        raise SettingsError(
            f"The version {version} is lower than the archive's own, {manifest.version}: the last change was "
            f"{last.change!r}, {last.added:,} images added and {last.removed:,} removed.",
            fix=f"Publish it as {manifest.version}, or leave the version out.",
        )


def _check_names(repo: str, version: str | None, model_repo: str | None) -> None:
    if version is not None and not VERSION.fullmatch(version):
        raise SettingsError(
            f"The version {version!r} is not of the form X.Y.Z (three numbers without leading zeros, no 'v').",
            fix="Give for example --version 1.0.0.",
        )
    for name in (repo, model_repo):
        if name is not None and not re.fullmatch(REPO, name, re.ASCII):
            raise SettingsError(
                f"The repository {name!r} is not of the form owner/name (letters, digits, '_', '-', '.').",
                fix="Give the repository as on the Hub, for example jane/chest-xrays.",
            )


def _read_card(archive_dir: Path, manifest: Manifest, validation_sha256: str) -> Upload:
    """README.md, if it was rendered from this manifest and this validation, and describes exactly its shards."""
    from xrarchive.archive.readme import validation_of, yaml_problems  # brings pyarrow

    path = archive_dir / README_NAME
    fix = f"Run `xrarchive card {archive_dir}`, then publish again."
    if not path.is_file():
        raise GateError(f"The archive {archive_dir} has no {README_NAME}.", fix=fix, path=path)
    content = path.read_bytes()
    text = content.decode(errors="replace")
    if manifest.sha256 not in text:
        raise GateError(
            f"The card {path} has no text for this archive: it does not name the manifest {manifest.sha256[:12]}…",
            fix=fix,
            path=path,
        )
    if validation_of(text) not in (None, validation_sha256):
        raise GateError(f"The card {path} was written before the archive was validated anew.", fix=fix, path=path)
    if unfilled := _UNFILLED.search(text):
        raise GateError(f"The card {path} has an unfilled slot: {unfilled.group()!r}.", fix=fix, path=path)
    if problems := yaml_problems(archive_dir, manifest):
        raise GateError(f"The card {path} does not fit the manifest: {'; '.join(problems)}.", fix=fix, path=path)
    return in_memory(README_NAME, content)


def _companion_names(archive_dir: Path, manifest: Manifest) -> list[str]:
    """What `card` wrote beside README.md, if all of it is of this manifest."""
    if stale := stale_companions(archive_dir, manifest):
        raise GateError(
            f"The archive {archive_dir} changed after its card was written: {', '.join(stale)} "
            f"{'does' if len(stale) == 1 else 'do'} not name the manifest {manifest.sha256[:12]}…",
            fix=f"Run `xrarchive card {archive_dir}`, then publish again.",
            path=archive_dir / stale[0],
        )
    return find_companions(archive_dir)


def _read_validation(archive_dir: Path, manifest: Manifest) -> tuple[Upload, Mapping[str, Any]]:
    """validation.json, if it speaks of this manifest and its gates are open; and those gates."""
    path = archive_dir / VALIDATION_NAME
    fix = f"Run `xrarchive validate {archive_dir}`, then `xrarchive card {archive_dir}`, then publish again."
    if not path.is_file():
        raise GateError(f"The archive {archive_dir} has not been validated: no {VALIDATION_NAME}.", fix=fix, path=path)
    found = read_json(path, what="validation", fix=fix)
    named = found.get("manifest_sha256") if isinstance(found, dict) else None
    if named != manifest.sha256:
        raise GateError(
            f"{path} is about another archive: it names the manifest {str(named)[:12]}…, "
            f"the archive's is {manifest.sha256[:12]}…",
            fix=fix,
            path=path,
        )
    if found.get("schema") != SCHEMA or "gates" not in found:
        raise GateError(
            f"{path} was written by another version: its schema is {found.get('schema')}, expected {SCHEMA}.",
            fix=fix,
            path=path,
        )
    require_open(found["gates"], where=str(archive_dir))
    return in_memory(VALIDATION_NAME, path.read_bytes()), found["gates"]


@contextlib.contextmanager
def _checking_shards(archive_dir: Path, manifest: Manifest) -> Iterator[Sequence[Future[Upload]]]:
    """Hash the manifest's shards side by side, in the background; what is not begun when the block ends is left."""
    for name in manifest.files:
        parts = PurePosixPath(name).parts
        if len(parts) != 2 or parts[0] not in SHARD_FOLDERS or parts[1] == "..":
            raise DamageError(
                f"{MANIFEST_NAME} names {name!r}, which is no shard of {' or '.join(SHARD_FOLDERS)}.",
                fix="Build the archive again, or fetch it again.",
                path=archive_dir / MANIFEST_NAME,
            )
    pool = ThreadPoolExecutor(_HASHERS)
    try:
        yield [
            pool.submit(_checked_shard, archive_dir / name, name, record)
            for name, record in sorted(manifest.files.items())
        ]
    finally:
        pool.shutdown(cancel_futures=True)


def _checked_shards(pending: Sequence[Future[Upload]], manifest: Manifest, on_status: OnStatus) -> Iterator[Upload]:
    """The shards in order, each with its bytes found to be those recorded."""
    done, total = 0, sum(record.bytes for record in manifest.files.values())
    for checked in pending:
        on_status(Status(done, total, "bytes", "checking the shards"))
        yield (shard := checked.result())
        done += shard.bytes
    on_status(Status(done, total, "bytes", "checked"))


def _checked_shard(path: Path, name: str, record: FileRecord) -> Upload:
    changed_ns = path.stat().st_mtime_ns if path.is_file() else 0
    return Upload(name, path, record.bytes, _require_sha256(path, record.sha256), changed_ns)


def _require_sha256(path: Path, expected: str) -> str:
    found = sha256_file(path) if path.is_file() else "no such file"
    if found != expected:
        raise DamageError(
            f"{path} is not what the manifest names: expected sha256 {expected[:12]}…, found {found[:12]}"
            f"{'…' if len(found) == len(expected) else ''}.",
            fix="Run `xrarchive check` on the archive; restore the file, or build the archive again.",
            path=path,
        )
    return found


def _plan_model(repo: str, manifest: Manifest, weights: Mapping[str, Path], card: str | None) -> RepoContent:
    if not card:
        raise ValueError("model_repo needs model_card, the text of its README.md")
    if unfilled := _UNFILLED.search(card):
        raise GateError(
            f"The model card has an unfilled slot: {unfilled.group()!r}.", fix="Fill it in, then publish again."
        )
    uploads = tuple(_checked_weights(role, manifest, weights) for role in sorted(manifest.weights))
    claims = tuple(f"{role}.safetensors" for role in WEIGHT_ROLES)
    return RepoContent(repo, "model", (*uploads, in_memory(README_NAME, card.encode())), claims)


def _missing_weights(manifest: Manifest, weights: Mapping[str, Path]) -> Iterator[str]:
    """Why the weights that happen to be at hand cannot go along."""
    for role in sorted(manifest.weights):
        try:
            _checked_weights(role, manifest, weights)
        except InputDataError as err:
            yield f"{err.message} {err.fix}"


def _checked_weights(role: str, manifest: Manifest, weights: Mapping[str, Path]) -> Upload:
    """The weight file of one role, if it is the one the archive was made with."""
    expected = manifest.weights[role].sha256
    path = weights.get(role)
    if path is None or not path.is_file():
        raise InputDataError(
            f"The {role}'s weights were not found{'' if path is None else f' at {path}'}.",
            fix=f"Name the {role} the archive was built with, or publish without a model repository.",
            path=path,
        )
    found = sha256_file(path)
    if found != expected:
        raise InputDataError(
            f"{path} is not the {role} this archive was made with: expected sha256 {expected[:12]}…, "
            f"found {found[:12]}…",
            fix=f"Name the {role} the archive was built with.",
            path=path,
        )
    found_at = path.stat()
    return Upload(f"{role}.safetensors", path, found_at.st_size, found, found_at.st_mtime_ns)
