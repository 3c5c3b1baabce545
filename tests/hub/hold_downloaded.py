"""Hold what was downloaded of a published version against the files it was published from, byte for byte.

Run as `python hold_downloaded.py DATASET ARCHIVE REPO VERSION [MODEL WEIGHTS]`: folders of the downloads and of the
files here. Every file of the archive must be there unchanged, but for those that publishing puts repository, version
and the weights' commit into: these must be what that gives, and stand in SHA256SUMS.
What differs is said; exit code 21.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from xrarchive.archive.manifest import CHANGELOG_NAME, README_NAME, SUMS_NAME, VALIDATION_NAME, read_manifest
from xrarchive.archive.manifest import MANIFEST_NAME as MANIFEST
from xrarchive.cards.addressing import ADDRESSED, fill_in
from xrarchive.files import sha256_file

DIFFERS = 21
MADE_THERE = (".gitattributes", CHANGELOG_NAME, SUMS_NAME)  # by the Hub, and by publishing


def files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def dataset_problems(dataset: Path, archive: Path, repo: str, version: str) -> Iterator[str]:
    there = files(dataset)
    wanted = {*read_manifest(archive).files, MANIFEST, VALIDATION_NAME, *ADDRESSED}
    yield from (f"{name} is not there" for name in sorted(wanted - set(there)))
    for name, path in there.items():
        if name in MADE_THERE:
            continue
        if not (archive / name).is_file():
            yield f"{name} is there, and not in the archive"
            continue
        here = fill_in(name, (archive / name).read_bytes(), repo=repo, version=version)
        found = path.read_bytes()
        # Where the weights are is added at the end of the card.
        if found != here and not (name == README_NAME and found.startswith(here.rstrip())):
            yield f"{name} differs"
    yield from sums_problems(dataset, set(there) - {".gitattributes", SUMS_NAME})


def sums_problems(folder: Path, expected: set[str]) -> Iterator[str]:
    lines = (folder / SUMS_NAME).read_text().splitlines()
    sums = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
    yield from (f"{name} is not in {SUMS_NAME}" for name in sorted(expected - set(sums)))
    for name, sha256 in sums.items():
        if not (folder / name).is_file() or sha256_file(folder / name) != sha256:
            yield f"{name} is not what {SUMS_NAME} says"


def weights_problems(model: Path, weights: Path) -> Iterator[str]:
    there = {name: path for name, path in files(model).items() if name.endswith(".safetensors")}
    if "generator.safetensors" not in there:
        yield "generator.safetensors is not there"
    yield from (f"{name} differs" for name, path in there.items() if path.read_bytes() != (weights / name).read_bytes())


def main(dataset: str, archive: str, repo: str, version: str, *model: str) -> int:
    there = files(Path(dataset))
    found = [f"dataset: {line}" for line in dataset_problems(Path(dataset), Path(archive), repo, version)]
    if model:
        found += [f"weights: {line}" for line in weights_problems(*map(Path, model))]
    same = [name for name in there if name not in (*ADDRESSED, *MADE_THERE)]
    told = [
        f"{len(same)} files are those of the archive, {sum(there[name].stat().st_size for name in same):,} bytes.",
        f"With repository, version and weights filled in: {', '.join(ADDRESSED)}.",
        f"Made by publishing: {', '.join(name for name in there if name in MADE_THERE)}.",
    ]
    if model:
        told.append(
            f"Weights as here: {', '.join(sorted(path.name for path in Path(model[0]).glob('*.safetensors')))}."
        )
    sys.stdout.write("\n".join(found or told) + "\n")
    return DIFFERS if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
