"""Building and extending archives: weights and requests in, a finished archive out. Called by `pipeline`.

Like `pipeline` it stands on both sides of the waist; torch is imported inside the functions that need it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import platform
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from xrarchive.archive import writer
from xrarchive.archive.changing import find_leftovers, remove_leftovers
from xrarchive.archive.manifest import Manifest, WeightsRecord, read_manifest, require_current
from xrarchive.archive.reader import read_table
from xrarchive.boxes import nuisance_tolerance
from xrarchive.bundled import bundled_weights
from xrarchive.errors import InputDataError
from xrarchive.files import leased, locked
from xrarchive.findings import require_known
from xrarchive.plan import (
    Plan,
    SearchSettings,
    make_exclusive,
    read_requests,
    requests_like_real,
    requests_per_class,
)
from xrarchive.records import ImageRequest, OnStatus, Status, Tally, ignore_status

if TYPE_CHECKING:
    from xrarchive.classifier.classifier import Classifier
    from xrarchive.synthesis import Studio

ROLES = ("generator", "guide", "judge")
DEFAULT_PER_CLASS = 20
# Packages whose version can change the bytes of an archive.
_BYTE_DECIDING = ("xrarchive", "torch", "numpy", "scipy", "pillow", "pyarrow", "datasets")
# How long a process of a job array waits for the folder while another claims it or joins the units.
_CLAIM_S = 1800.0
_IMAGE_ID = re.compile(r"s(?P<seed>\d+)-(?P<slug>.+)-(?P<number>\d{6,})")


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
    asked = _requests(studio.guide, offered, per_class, findings, requests, like_real, boost)
    if exclusive:
        asked = make_exclusive(asked, _callable_findings(studio.guide))
    if search is not None and search.judge_filter:
        _require_judged(asked, studio.judge)
    search = _for_this_processor(search or SearchSettings(natural=like_real is not None))
    nuisance_tolerance(search, studio.guide)  # refuses nuisances the guide does not know
    if search.realism and studio.discriminator is None:
        raise InputDataError(
            f"The generator {paths[0]} came without a discriminator, which realism asks.",
            fix="Leave realism at 0, or use a generator trained here.",
            path=paths[0],
        )
    plan = Plan(asked, _hashes(studio), seed, search)
    manifest = _make_archive(out, plan, studio, paths, workers or _processors(), on_status, share=units)
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
    _require_callable(wanted, studio.guide)
    build_record = manifest.builds[-1]
    asked = _still_wanted(out, manifest, wanted, build_record.seed)
    if not asked:
        if find_leftovers(out):  # we may have been killed when all was there
            remove_leftovers(out)
        return BuildReport(out, manifest.sha256, manifest.rows, manifest.counts, (), {})
    search = SearchSettings(**build_record.settings)
    plan = Plan(asked, _hashes(studio), build_record.seed, search, manifest.units(build_record.seed))
    made = _make_archive(out, plan, studio, paths, workers or _processors(), on_status, share=units, extending=True)
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


def weights_path(role: str, given: Path | None) -> Path:
    """The weight file of a role: bundled, a file, or the one inside a run folder."""
    if given is None:
        return bundled_weights(role)
    return given / f"{role}.safetensors" if given.is_dir() else given


def _requests(
    guide: Classifier,
    offered: Sequence[str],
    per_class: int | None,
    findings: Sequence[str] | None,
    requests: Path | None,
    like_real: int | None,
    boost: float,
) -> tuple[ImageRequest, ...]:
    callable_findings = _callable_findings(guide)
    if requests is not None:
        asked = read_requests(requests, guide.vocabulary)
    elif like_real is not None:
        asked = requests_like_real(guide.meta.get("label_sets", {}), like_real, callable_findings=offered, boost=boost)
    else:
        names = offered if findings is None else tuple(findings)
        require_known(names, guide.vocabulary, where="--findings")
        if len(set(names)) != len(names):
            raise InputDataError(f"--findings names a finding twice: {', '.join(names)}.", fix="Name each once.")
        asked = requests_per_class(names, DEFAULT_PER_CLASS if per_class is None else per_class)
    _require_callable(asked, guide)
    if not asked:
        raise InputDataError(
            "These weights offer no finding by default: guide and judge do not reach the figures the rule asks for.",
            fix=f"Train better classifiers, or name some with --findings (callable: {', '.join(callable_findings)}).",
        )
    return asked


def _callable_findings(guide: Classifier) -> list[str]:
    return [name for name in guide.vocabulary if not math.isnan(guide.threshold(name))]


def _require_callable(asked: Sequence[ImageRequest], guide: Classifier) -> None:
    callable_findings = _callable_findings(guide)
    for name in (name for request in asked for name in (*request.findings, *request.absent)):
        if name not in callable_findings:
            raise InputDataError(
                f"The guide has no threshold for {name!r}: it saw too few examples.",
                fix=f"Ask for some of: {', '.join(callable_findings)}.",
            )


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


def _still_wanted(out: Path, manifest: Manifest, wanted: Sequence[ImageRequest], seed: int) -> tuple[ImageRequest, ...]:
    """What is missing of the totals wanted, numbered after every id that is or was in the archive."""
    present = read_table(out, ["image_id"])["image_id"].to_pylist()
    there: Counter[str] = Counter()
    next_number: Counter[str] = Counter()
    for image_id in (*present, *(item.image_id for item in manifest.withdrawn)):
        if (found := _IMAGE_ID.fullmatch(image_id)) and int(found["seed"]) == seed:
            next_number[found["slug"]] = max(next_number[found["slug"]], int(found["number"]) + 1)
    there.update(found["slug"] for image_id in present if (found := _IMAGE_ID.fullmatch(image_id)))
    return tuple(
        dataclasses.replace(request, count=request.count - there[request.slug], start=next_number[request.slug])
        for request in wanted
        if request.count > there[request.slug]
    )


def _make_archive(
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
        weights={role: WeightsRecord(work.plan.weights[role], f"{role}.safetensors") for role in ROLES},
        versions=work.versions,
        terms=_terms(work.studio),
    )


def _require_judged(asked: Sequence[ImageRequest], judge: Classifier) -> None:
    for name in {name for request in asked for name in request.findings}:
        if math.isnan(judge.threshold(name)):
            raise InputDataError(
                f"The judge has no threshold for {name!r}: as a filter it would leave out every image.",
                fix="Leave out --judge-filter, or do not ask for this finding.",
            )


def _for_this_processor(search: SearchSettings) -> SearchSettings:
    import torch

    from xrarchive.gan.devices import computes_bfloat16

    if search.dtype != "auto":
        return search
    return dataclasses.replace(search, dtype="bfloat16" if computes_bfloat16(torch.device("cpu")) else "float32")


def _terms(studio: Studio) -> list[str]:
    metas = (studio.snapshot.meta, studio.guide.meta, studio.judge.meta)
    return sorted({name for meta in metas for name in meta["terms"]})


def package_versions() -> dict[str, str]:
    """What decides bytes beside plan and weights: versions of packages and Python, and the processor's instructions."""
    import torch

    versions = {name: metadata.version(name) for name in _BYTE_DECIDING}
    return {**versions, "python": platform.python_version(), "processor": torch.backends.cpu.get_cpu_capability()}


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
