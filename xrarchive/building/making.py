"""A plan carried out: units made by one process, by those of a torchrun or of a job array, and joined to an archive.

Torch is imported inside the functions that need it.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from xrarchive.archive import writer
from xrarchive.archive.manifest import Manifest, WeightsRecord, read_manifest
from xrarchive.errors import InputDataError
from xrarchive.files import leased, locked
from xrarchive.plan import Plan
from xrarchive.records import OnStatus, Status

if TYPE_CHECKING:
    from xrarchive.synthesis import Studio

# Packages whose version can change the bytes of an archive.
_BYTE_DECIDING = ("xrarchive", "torch", "numpy", "scipy", "pillow", "pyarrow", "datasets")
# How long a process of a job array waits for the folder while another claims it or joins the units.
_CLAIM_S = 1800.0


def make_archive(
    out: Path,
    plan: Plan,
    studio: Studio,
    paths: tuple[Path, Path, Path],
    workers: int,
    on_status: OnStatus,
    *,
    share: tuple[int, int] | None = None,
    extending: bool = False,
) -> Manifest | None:
    """Make what is missing of a plan and join it, alone, or as one of several processes that share the units.

    Under torchrun all wait for one another, and the first joins. With a `share`, as in a job array, each makes its own
    units, then those nobody holds, and whoever finds all of them done joins; None = others are still at work.
    """
    from xrarchive.units import own_share, torchrun_place

    place, places = torchrun_place()
    work = _Work(out, plan, studio, paths, workers if places == 1 else 1, on_status, package_versions(), extending)
    if share is not None:
        return _share(work, *share)
    if place == 0:
        writer.require_unleased(out)
    with locked(out) if place == 0 else contextlib.nullcontext():
        if place == 0:
            manifest = writer.claim_folder(out, plan, versions=work.versions, extending=extending)
        else:
            manifest = writer.await_claim(out, plan)
        if manifest is not None:
            return manifest
        rounds: list[Plan] = []
        following: Plan | None = plan
        while following is not None:
            rounds.append(following)
            _make_units(work, following, own_share(writer.missing_units(out, following), place, places))
            if places > 1:
                writer.await_units(out, following, first=plan)
            try:
                following = writer.next_round(out, rounds)
            except InputDataError:  # the first process was quicker: it has joined the units and removed them
                if not place:
                    raise
                break
        return writer.await_manifest(out, plan) if place else _finish(work, rounds)


@dataclass(frozen=True)
class _Work:
    """What the processes that make an archive go by."""

    out: Path
    plan: Plan
    studio: Studio
    paths: tuple[Path, Path, Path]
    workers: int
    on_status: OnStatus
    versions: Mapping[str, str]
    extending: bool


def _share(work: _Work, number: int, of: int) -> Manifest | None:
    """The part of one of several processes, 1 to `of`, that may start and end at any time, on any machine."""
    from xrarchive.units import own_share

    with locked(work.out, wait_s=_CLAIM_S, clean=False):
        manifest = writer.claim_folder(work.out, work.plan, versions=work.versions, extending=work.extending)
    if manifest is not None:
        return manifest
    rounds = [work.plan]
    while True:
        current = rounds[-1]
        own = own_share(writer.missing_units(work.out, current), number - 1, of)
        others = [index for index in writer.missing_units(work.out, current) if index not in own]
        for index in (*own, *others):
            if done := writer.finished(work.out, work.plan):  # joined by another, and the units are gone
                return done
            with leased(writer.unit_lease(work.out, current, index)) as free:
                if free and index in writer.missing_units(work.out, current):
                    _make_units(work, current, [index])
        if writer.missing_units(work.out, current):
            return writer.finished(work.out, work.plan)
        with locked(work.out, wait_s=_CLAIM_S, clean=False):
            if done := writer.finished(work.out, work.plan):
                return done
            following = writer.next_round(work.out, rounds)
            if following is None:
                return _finish(work, rounds)
        rounds.append(following)


def _make_units(work: _Work, current: Plan, own: Sequence[int]) -> None:
    """Make units of one round and keep them."""
    from xrarchive.units import make_units

    build = len(read_manifest(work.out).builds) if work.extending else 0
    missing = writer.missing_units(work.out, current)
    done = current.total - sum(len(current.unit(index)) for index in missing)
    work.on_status(Status(done, current.total, "images", "" if current is work.plan else "topping up"))
    for index, images, tallies in make_units(current, own, work.studio, work.paths, workers=work.workers):
        number, vocabulary = current.first_unit + index, work.studio.guide.vocabulary
        writer.write_unit(work.out, number, images, tallies, vocabulary, build=build)
        done += len(current.unit(index))
        work.on_status(Status(done, current.total, "images"))


def _finish(work: _Work, rounds: Sequence[Plan]) -> Manifest:
    return writer.finish_archive(
        work.out,
        rounds,
        vocabulary=work.studio.guide.vocabulary,
        nuisances=work.studio.guide.nuisances,
        size_px=work.studio.snapshot.settings.resolution,
        weights={role: WeightsRecord(sha256, f"{role}.safetensors") for role, sha256 in work.plan.weights.items()},
        versions=work.versions,
        terms=_terms(work.studio),
    )


def _terms(studio: Studio) -> list[str]:
    metas = (studio.snapshot.meta, studio.guide.meta, studio.judge.meta)
    return sorted({name for meta in metas for name in meta["terms"]})


def package_versions() -> dict[str, str]:
    """What decides bytes beside plan and weights: versions of packages and Python, and the processor's instructions."""
    import torch

    versions = {name: metadata.version(name) for name in _BYTE_DECIDING}
    return {**versions, "python": platform.python_version(), "processor": torch.backends.cpu.get_cpu_capability()}
