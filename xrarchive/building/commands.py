"""`build` and `extend`: weights and requests in, a finished archive out. Called by `pipeline`.

Like `pipeline` it stands on both sides of the waist; torch is imported inside the functions that need it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xrarchive.archive.changing import find_leftovers, remove_leftovers
from xrarchive.archive.manifest import Manifest, read_manifest, require_current
from xrarchive.boxes import nuisance_tolerance
from xrarchive.building.asking import callable_findings, requests_of, require_callable, require_judged, still_wanted
from xrarchive.building.making import make_archive
from xrarchive.bundled import weights_path
from xrarchive.errors import InputDataError
from xrarchive.plan import Plan, SearchSettings, make_exclusive, read_requests
from xrarchive.records import ImageRequest, OnStatus, Tally, ignore_status

if TYPE_CHECKING:
    from xrarchive.synthesis import Studio


@dataclass(frozen=True)
class BuildReport:
    """What a build gave.

    Attributes:
        out: The archive.
        manifest_sha256: Identifies it.
        rows: Images in all.
        counts: Images per class label.
        tallies: What became of each request.
        offered: Findings the weights offer by default, and for the others why not.
        unfinished: Whether other processes still make units of their shares: there is no archive yet.
    """

    out: Path
    manifest_sha256: str
    rows: int
    counts: Mapping[str, int]
    tallies: tuple[Tally, ...]
    offered: Mapping[str, Sequence[str]]
    unfinished: bool = False

    @property
    def shortfall(self) -> bool:
        """Whether fewer images were reached than asked for."""
        return any(tally.missing for tally in self.tallies)


def build(
    out: Path,
    *,
    per_class: int | None = None,
    findings: Sequence[str] | None = None,
    requests: Path | None = None,
    like_real: int | None = None,
    boost: float = 0.0,
    exclusive: bool = False,
    generator: Path | None = None,
    guide: Path | None = None,
    judge: Path | None = None,
    seed: int = 0,
    search: SearchSettings | None = None,
    workers: int | None = None,
    units: tuple[int, int] | None = None,
    on_status: OnStatus = ignore_status,
) -> BuildReport:
    """Make a labelled archive of synthetic radiographs, or finish one that was interrupted.

    The same arguments and weights give the same bytes; `workers` only decides how fast.

    Args:
        out: Folder of the archive.
        per_class: Images for each finding; None = 20; ignored if `requests` or `like_real` is given.
        findings: Findings to make; None = all that the weights offer.
        requests: CSV of finding sets and counts.
        like_real: Images whose label sets are as common as among the guide's radiographs; findings that the weights do
            not offer drop out of their sets.
        boost: With `like_real`: 0 = as common as in reality, 1 = every set equally often.
        exclusive: Whether all findings that can be called and are not asked for must be absent.
        generator: Weight file or run folder; None = bundled.
        guide: As `generator`.
        judge: As `generator`.
        seed: Of every start latent.
        search: Limits of the latent search; None = the defaults, with natural bars for `like_real`.
        workers: Processes; None = one for each processor, or one for a share of the units.
        units: (i, n) = make the i-th of n shares of the units, then help the others, and join them if all are done; for
            job arrays, where the n commands differ in `i` alone.
        on_status: Told how many images are done.

    Raises:
        ValueError: If `per_class`, `like_real`, `boost` or `units` is out of range, or `units` meets more `workers`.
        InputDataError: If weights do not fit one another or the search, or something is asked that the guide cannot
            call.
        ShortfallError: If not one image could be reached.
        PlanChangedError: If `out` holds an archive of other arguments.
        LockedError, StorageError, DamageError: See their descriptions.
    """
    from xrarchive.classifier.offering import list_offerings
    from xrarchive.synthesis import open_studio

    if per_class is not None and per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}")
    _require_share(units, workers)
    paths = _paths(generator, guide, judge)
    studio = open_studio(*paths)
    offerings = list_offerings(studio.guide.meta, studio.judge.meta)
    offered = [item.finding for item in offerings if item.offered]
    asked = requests_of(studio.guide, offered, per_class, findings, requests, like_real, boost)
    if exclusive:
        asked = make_exclusive(asked, callable_findings(studio.guide))
    if search is not None and search.judge_filter:
        require_judged(asked, studio.judge)
    search = _for_this_processor(search or SearchSettings(natural=like_real is not None))
    nuisance_tolerance(search, studio.guide)  # refuses nuisances the guide does not know
    if search.realism and studio.discriminator is None:
        raise InputDataError(
            f"The generator {paths[0]} came without a discriminator, which realism asks.",
            fix="Leave realism at 0, or use a generator trained here.",
            path=paths[0],
        )
    plan = Plan(asked, _hashes(studio), seed, search)
    manifest = make_archive(out, plan, studio, paths, workers or _processors(), on_status, share=units)
    reasons = {item.finding: item.reasons for item in offerings}
    if manifest is None:
        return BuildReport(out, "", 0, {}, (), reasons, unfinished=True)
    return BuildReport(out, manifest.sha256, manifest.rows, manifest.counts, manifest.builds[0].tallies, reasons)


def extend(
    out: Path,
    *,
    per_class: int | None = None,
    requests: Path | None = None,
    generator: Path | None = None,
    guide: Path | None = None,
    judge: Path | None = None,
    workers: int | None = None,
    units: tuple[int, int] | None = None,
    on_status: OnStatus = ignore_status,
) -> BuildReport:
    """Add images to a finished archive, with the weights, seed and settings it was built with, or finish doing so.

    What is there keeps its ids, its order and its shards, byte for byte; new images come in new shards.

    Args:
        out: The archive.
        per_class: Images there are to be of every set of findings that the archive was asked for.
        requests: CSV of finding sets and of how many images there are to be of each, instead of `per_class`.
        generator: Weight file or run folder of the build; None = bundled.
        guide: As `generator`.
        judge: As `generator`.
        workers: Processes; None = one for each processor.
        units: As for `build`.
        on_status: Told how many images are done.

    Returns:
        The archive as it is now, with the tallies of what was added; none if there was enough of everything.

    Raises:
        ValueError: If neither or both of `per_class` and `requests` are given, `per_class` or `units` is out of range,
            or `units` meets more `workers`.
        InputDataError: If there is no archive, it is of format 1, or the weights are not those of the build.
        ShortfallError: If not one image could be reached.
        PlanChangedError: If another extension was begun and not finished.
        LockedError, StorageError, DamageError: See their descriptions.
    """
    from xrarchive.synthesis import open_studio

    if (per_class is None) == (requests is None) or (per_class is not None and per_class < 1):
        raise ValueError(f"give per_class of at least 1, or requests; got {per_class} and {requests}")
    _require_share(units, workers)
    manifest = read_manifest(out)
    require_current(out, manifest)
    paths = _paths(generator, guide, judge)
    studio = open_studio(*paths)
    _require_same_weights(out, manifest, studio, paths)
    if requests is not None:
        wanted = read_requests(requests, studio.guide.vocabulary)
    else:
        sets = dict.fromkeys((tally.findings, tally.absent) for tally in manifest.tallies)
        wanted = tuple(ImageRequest(findings, per_class or 0, absent) for findings, absent in sets)
    require_callable(wanted, studio.guide)
    build_record = manifest.builds[-1]
    asked = still_wanted(out, manifest, wanted, build_record.seed)
    if not asked:
        if find_leftovers(out):  # we may have been killed when all was there
            remove_leftovers(out)
        return BuildReport(out, manifest.sha256, manifest.rows, manifest.counts, (), {})
    search = SearchSettings(**build_record.settings)
    plan = Plan(asked, _hashes(studio), build_record.seed, search, manifest.units(build_record.seed))
    made = make_archive(out, plan, studio, paths, workers or _processors(), on_status, share=units, extending=True)
    if made is None:
        return BuildReport(out, "", 0, {}, (), {}, unfinished=True)
    return BuildReport(out, made.sha256, made.rows, made.counts, made.builds[-1].tallies, {})


def _require_share(units: tuple[int, int] | None, workers: int | None) -> None:
    if units is None:
        return
    if not 1 <= units[0] <= units[1]:
        raise ValueError(f"units must be (i, n) with 1 <= i <= n, got {units}")
    if workers not in (None, 1):
        raise ValueError(f"a share of the units is made by one process, got {workers} workers")


def _paths(generator: Path | None, guide: Path | None, judge: Path | None) -> tuple[Path, Path, Path]:
    return weights_path("generator", generator), weights_path("guide", guide), weights_path("judge", judge)


def _hashes(studio: Studio) -> dict[str, str]:
    return {"generator": studio.snapshot.sha256, "guide": studio.guide.sha256, "judge": studio.judge.sha256}


def _require_same_weights(out: Path, manifest: Manifest, studio: Studio, paths: tuple[Path, Path, Path]) -> None:
    for (role, found), path in zip(_hashes(studio).items(), paths, strict=True):
        expected = manifest.weights[role].sha256
        if found != expected:
            raise InputDataError(
                f"{path} is not the {role} {out} was built with: expected sha256 {expected[:12]}, found {found[:12]}.",
                fix=f"Name it with --{role}; for other weights build another archive, and merge the two.",
                path=path,
            )


def _for_this_processor(search: SearchSettings) -> SearchSettings:
    import torch

    from xrarchive.gan.devices import computes_bfloat16

    if search.dtype != "auto":
        return search
    return dataclasses.replace(search, dtype="bfloat16" if computes_bfloat16(torch.device("cpu")) else "float32")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
