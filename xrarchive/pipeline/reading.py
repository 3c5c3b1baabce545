"""Archives in, from a folder, a share or the Hub: checked, loaded, followed through their life, compared, exported."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xrarchive.archive.manifest import CHANGELOG_NAME, MANIFEST_NAME, SIGNATURE_NAME, read_manifest
from xrarchive.archive.reader import CheckReport, Problem, check_archive
from xrarchive.archive.sums import write_sums
from xrarchive.errors import DamageError
from xrarchive.records import OnStatus, ignore_status

if TYPE_CHECKING:
    from xrarchive.archive.diffing import ArchiveDiff
    from xrarchive.archive.exporting import ArchiveExport, Format
    from xrarchive.archive.loading import Filter
    from xrarchive.regenerating import Regenerated


@dataclass(frozen=True)
class Checked(CheckReport):
    """The outcome of a check.

    Attributes:
        regenerated: What came of making images again, None = not asked or not sound.
        signed_by: Who signed the manifest, None = not asked.
    """

    regenerated: Regenerated | None
    signed_by: str | None = None


def check(
    archive_dir: Path,
    *,
    read_data: bool = False,
    part: tuple[int, int] = (1, 1),
    decode: bool = False,
    regenerate: int = 0,
    generator: Path | None = None,
    signers: Path | None = None,
    on_status: OnStatus = ignore_status,
) -> Checked:
    """Compare an archive with its manifest, and some of its images with what the generator makes of their latents.

    Args:
        archive_dir: The archive.
        read_data: See `xrarchive.archive.reader.check_archive`, as for `part` and `decode`.
        part: Which of how many parts of the shards to hash.
        decode: Whether to decode every image.
        regenerate: How many images to make again, evenly spread over the archive; 0 = none.
        generator: Weights of the build; None = bundled.
        signers: Public SSH keys, one of which must have signed the manifest; None = nobody need have.
        on_status: Told of each shard.

    Raises:
        InputDataError: If there is no archive, or the generator is not the one the manifest names.
        DamageError: If the manifest is damaged.
    """
    from xrarchive.archive import signing
    from xrarchive.bundled import weights_path

    report = check_archive(archive_dir, read_data=read_data, part=part, decode=decode, on_status=on_status)
    failed, signed_by, again = [], None, None
    if signers is not None:
        try:
            signed_by = signing.verify(archive_dir, signers)
        except DamageError as err:
            failed.append(Problem("not-signed", SIGNATURE_NAME, err.message))
    if regenerate and not report.problems:
        from xrarchive.regenerating import regenerate as make_again

        again = make_again(archive_dir, weights_path("generator", generator), count=regenerate)
        failed += [Problem("not-regenerated", name, "is another image when it is made again") for name in again.failed]
    return Checked(**{**vars(report), "problems": (*report.problems, *failed)}, regenerated=again, signed_by=signed_by)


def load(
    source: Path | str,
    *,
    revision: str | None = None,
    config: str = "default",
    split: str | None = None,
    filters: Sequence[Filter] | None = None,
    ids: Sequence[str] | None = None,
    streaming: bool = False,
    manifest_sha256: str | None = None,
) -> Any:
    """Load an archive with `datasets`, every byte verified.

    Args:
        source: A folder, a folder that `publish --to` filled, or ``owner/name`` on the Hub (``owner/name@revision``).
        revision: Tag, branch or commit, or the version in such a folder; None = `main`, or the folder itself.
        config: See `xrarchive.archive.loading.load_archive`, as for the rest.
        split: One of the archive's; None = all.
        filters: Conditions on columns, labels by name.
        ids: Only these images.
        streaming: Rows one by one.
        manifest_sha256: What the manifest must hash to.
    """
    from xrarchive.archive.loading import load_archive
    from xrarchive.hub.fetching import open_source

    with open_source(source, revision=revision) as opened:
        return load_archive(
            opened,
            config=config,
            split=split,
            filters=filters,
            ids=ids,
            streaming=streaming,
            manifest_sha256=manifest_sha256,
        )


def log(source: Path | str, *, revision: str | None = None) -> dict[str, Any]:
    """The life of an archive: `history` (version, change, rows added and removed, reason, date) and `withdrawn`.

    Args:
        source: As `load` takes it; of an archive on the Hub only the manifest is fetched.
        revision: As `load` takes it.
    """
    from xrarchive.hub.fetching import open_source

    with open_source(source, revision=revision) as opened:
        manifest = opened.manifest
    return {
        "archive": str(source),
        "version": manifest.version,
        "manifest_sha256": manifest.sha256,
        "history": [dataclasses.asdict(change) for change in manifest.history],
        "withdrawn": [dataclasses.asdict(item) for item in manifest.withdrawn],
    }


def diff(a: str | Path, b: str | Path, *, changelog: Path | None = None) -> ArchiveDiff:
    """Compare two archives; see `xrarchive.archive.diffing.diff_archives`.

    Args:
        a: Folder, or ``owner/name@revision`` on the Hub.
        b: As `a`.
        changelog: File that gets the entry of `b`'s version on top.
    """
    from xrarchive.archive.changelog import write_entry
    from xrarchive.archive.diffing import diff_archives
    from xrarchive.hub.fetching import open_source

    with open_source(a) as first, open_source(b) as second:
        found = diff_archives(first, second)
    if changelog is not None:
        write_entry(changelog, found)
        if changelog.name == CHANGELOG_NAME and (changelog.parent / MANIFEST_NAME).is_file():
            write_sums(changelog.parent, read_manifest(changelog.parent))
    return found


def export_archive(archive_dir: Path, out: Path, *, to: Format, on_status: OnStatus = ignore_status) -> ArchiveExport:
    """Write an archive in a format of other tools; see `xrarchive.archive.exporting.export_archive`."""
    from xrarchive.archive import exporting

    return exporting.export_archive(archive_dir, out, to=to, on_status=on_status)
