"""The record of the bundled model's archive: which bytes its weights made, and on what. For scripts/reproduce_bundled.

    bundled_record.py per-class RECORD          how many images of each finding it is of
    bundled_record.py write ARCHIVE RECORD      record an archive
    bundled_record.py compare ARCHIVE RECORD    hold an archive's files against it; exit code 20 if anything differs

In: an archive of `build --per-class N` with the bundled weights. The hashes of its files are taken here, not believed.
Out: sentences on stdout. A record says what differs, and what might be why: weights, plan, versions, processor.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from xrarchive.archive.content import hash_content
from xrarchive.archive.manifest import MANIFEST_NAME, read_manifest
from xrarchive.bundled import bundled_weights
from xrarchive.errors import XrArchiveError
from xrarchive.files import read_json, sha256_file, write_json

SCHEMA = "xrarchive.bundled-archive/1"
DIFFERS = 20
WRITE = "scripts/reproduce_bundled --write"
# Of what torch says of a processor: what its kernels for bfloat16 and float32 are chosen by.
_INSTRUCTIONS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "neon", "sve", "bf16")
Record = Mapping[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, paths in {
        "per-class": ["record"],
        "write": ["archive", "record"],
        "compare": ["archive", "record"],
    }.items():
        command = commands.add_parser(name)
        for path in paths:
            command.add_argument(path, type=Path)
    arguments = parser.parse_args()
    try:
        return run(arguments)
    except XrArchiveError as err:
        sys.stderr.write(f"Error: {err.message}\nFix: {err.fix}\n")
        return err.code


def run(arguments: argparse.Namespace) -> int:
    """What the command line asks for; the exit code."""
    if arguments.command == "write":
        made = record(arguments.archive)
        write_json(arguments.record, made)
        print(*digests(made), sep="\n")
        return 0
    recorded = read_json(arguments.record, what="record of the bundled model's archive", fix=f"Make one: {WRITE}")
    if recorded.get("schema") != SCHEMA:
        raise SystemExit(f"{arguments.record} is of format {recorded.get('schema')!r}, expected {SCHEMA!r}: {WRITE}")
    if arguments.command == "per-class":
        print(recorded["per_class"])
        return 0
    made = record(arguments.archive)
    different = list(differences(recorded, made))
    print(*(different or ["Every byte is that of the record.", *digests(made)]), sep="\n")
    return DIFFERS if different else 0


def record(archive: Path) -> dict[str, Any]:
    """What there is to record of an archive: hashes of the files as they are, and what they were made with.

    Raises:
        DamageError: If a shard cannot be read.
    """
    manifest = read_manifest(archive)
    (build,) = manifest.builds
    able = torch.cpu.get_capabilities()
    return {
        "schema": SCHEMA,
        "per_class": max(tally.asked for tally in build.tallies),
        "rows": manifest.rows,
        "weights": {role: sha256_file(bundled_weights(role)) for role in build.weights},
        "plan_sha256": build.plan_sha256,
        "content_sha256": hash_content(archive, manifest),
        "manifest_sha256": sha256_file(archive / MANIFEST_NAME),
        "files": {name: sha256_file(archive / name) for name in sorted(manifest.files)},
        "machine": {
            "processor": platform.machine(),
            "vectors": build.versions["processor"],
            "instructions": " ".join(name for name in _INSTRUCTIONS if able.get(name)),
            "search": build.settings["dtype"],
        },
        "versions": {name: found for name, found in build.versions.items() if name != "processor"},
    }


def digests(made: Record) -> Iterator[str]:
    """The hashes of a record, a line each."""
    yield f"  content   {made['content_sha256']}"
    yield f"  manifest  {made['manifest_sha256']}"
    for name, found in made["files"].items():
        yield f"  {name}  {found}"


def differences(recorded: Record, made: Record) -> Iterator[str]:
    """What of an archive differs from the record, and what might be why, a sentence each; nothing if all is equal.

    Versions and processor that differ are no difference if all bytes are equal: they would have been the reason.
    """
    bytes_differ = [*_differing(recorded, made, "manifest_sha256"), *_differing(recorded["files"], made["files"])]
    content_differs = recorded["content_sha256"] != made["content_sha256"]
    if not bytes_differ and not content_differs:
        return
    if content_differs:
        yield "The images are others: split, id, labels or pixels differ."
        yield f"  content: recorded {recorded['content_sha256']}, here {made['content_sha256']}"
    else:
        yield "Split, ids, labels and pixels are those of the record. What differs is around them: scores,"
        yield "latents, what the manifest tells, or how Parquet and PNG pack them."
    yield from bytes_differ
    reasons = [
        *_differing(recorded, made, "per_class", "rows", "plan_sha256"),
        *(line for part in ("weights", "machine", "versions") for line in _differing(recorded[part], made[part])),
    ]
    yield (
        "What else differs from the record, and may be why:"
        if reasons
        else ("Weights, plan, versions and processor are those of the record: it is the code that makes other bytes.")
    )
    yield from reasons
    if any(recorded["weights"].get(role) != found for role, found in made["weights"].items()):
        yield f"The record is of other weights. If these are to be released: {WRITE}"


def _differing(recorded: Record, made: Record, *names: str) -> Iterator[str]:
    for name in names or sorted({*recorded, *made}):
        was, found = recorded.get(name, "none"), made.get(name, "none")
        if was != found:
            yield f"  {name}: recorded {was}, here {found}"


if __name__ == "__main__":
    sys.exit(main())
