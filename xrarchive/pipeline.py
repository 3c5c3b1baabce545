"""The stages, wired: what each command does, as a function a notebook can call.

The only module on both sides of the waist; torch is imported inside the functions that need it.

    ingest -> train_generator, train_classifier -> build -> validate -> write_card -> publish
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from xrarchive.archive.manifest import README_NAME, VALIDATION_NAME, Manifest, WeightsRecord, read_manifest
from xrarchive.archive.reader import CheckReport, check_archive, read_pixels, read_table
from xrarchive.archive.schema import JUDGE_PREFIX, PROVENANCE
from xrarchive.boxes import nuisance_tolerance
from xrarchive.bundled import bundled_reference, bundled_weights
from xrarchive.errors import InputDataError
from xrarchive.files import atomic_path, is_locked, locked, read_json, sha256_file, write_json
from xrarchive.findings import require_known
from xrarchive.pixels import Pixels, write_grid
from xrarchive.plan import (
    Plan,
    SearchSettings,
    make_exclusive,
    read_requests,
    requests_like_real,
    requests_per_class,
)
from xrarchive.radiographs import RadiographSet, ingest, open_set
from xrarchive.records import ImageRequest, OnStatus, Status, Tally, ignore_status

if TYPE_CHECKING:
    from xrarchive.classifier.classifier import Classifier
    from xrarchive.classifier.settings import ClassifierSettings, Role
    from xrarchive.classifier.training import ClassifierReport
    from xrarchive.classifier.xrv_import import XrvReport
    from xrarchive.gan.adopt.adopting import AdoptionReport
    from xrarchive.gan.adopt.layouts import Kind
    from xrarchive.gan.cost import CostEstimate
    from xrarchive.gan.exporting import ExportReport
    from xrarchive.gan.settings import GeneratorSettings
    from xrarchive.gan.training import TrainingReport
    from xrarchive.hub import Publication, Receipt
    from xrarchive.synthesis import Studio
    from xrarchive.validation.raters import Rater
    from xrarchive.validation.reference import Reference

__all__ = [
    "BuildReport",
    "build",
    "check",
    "export_weights",
    "import_weights",
    "import_xrv",
    "ingest",
    "publish",
    "show",
    "show_weights",
    "status",
    "train_classifier",
    "train_generator",
    "validate",
    "write_card",
]

ROLES = ("generator", "guide", "judge")
DEFAULT_PER_CLASS = 20
CONTACT_SHEET_COLUMNS = 10
# Packages whose version can change the bytes of an archive.
_BYTE_DECIDING = ("xrarchive", "torch", "numpy", "scipy", "pillow", "pyarrow", "datasets")


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
    """

    out: Path
    manifest_sha256: str
    rows: int
    counts: Mapping[str, int]
    tallies: tuple[Tally, ...]
    offered: Mapping[str, Sequence[str]]

    @property
    def shortfall(self) -> bool:
        """Whether fewer images were reached than asked for."""
        return any(tally.missing for tally in self.tallies)


def train_generator(
    set_dir: Path,
    out: Path,
    *,
    settings: GeneratorSettings,
    init_from: Path | None = None,
    fork: Path | None = None,
    metric_nimg: int | None = None,
    tensorboard: bool = False,
    on_nan: Literal["stop", "rollback"] = "stop",
    timeout_s: float = 600.0,
    on_status: OnStatus = ignore_status,
) -> TrainingReport:
    """Train, or continue, a PGGAN; see `xrarchive.gan.training.train_generator`.

    Args:
        set_dir: Radiograph set.
        out: Run folder.
        settings: What decides the weights.
        init_from: Snapshot whose weights a new run starts from.
        fork: Run whose newest checkpoint a new run starts from.
        metric_nimg: Radiographs between two KIDs, 0 = never; None = the default.
        tensorboard: Whether to write TensorBoard's files.
        on_nan: What to do when a loss is no number.
        timeout_s: How long to wait for another process of a torchrun.
        on_status: Told after every step.
    """
    from xrarchive.gan.runs import Start
    from xrarchive.gan.training import METRIC_NIMG, Watch, train_generator

    return train_generator(
        open_set(set_dir),
        out,
        settings=settings,
        start=Start(init_from, fork),
        watch=Watch(metric_nimg=METRIC_NIMG if metric_nimg is None else metric_nimg, tensorboard=tensorboard),
        on_nan=on_nan,
        timeout_s=timeout_s,
        on_status=on_status,
    )


def estimate_cost(set_dir: Path | None, *, settings: GeneratorSettings, devices: int = 1) -> CostEstimate:
    """What a generator training would cost: images, FLOPs, memory, disk, and time at a rate measured here.

    Args:
        set_dir: Radiograph set, for the disk it takes; None = none yet.
        settings: Of the training.
        devices: How many devices would train together.

    Raises:
        InputDataError: If the batch cannot be shared out to the devices.
    """
    import torch

    from xrarchive.gan.cost import estimate_cost, measure_rates
    from xrarchive.gan.devices import computes_bfloat16

    halved = settings.precision == "auto" and computes_bfloat16(torch.device("cpu"))
    dtype = torch.bfloat16 if halved or settings.precision == "bfloat16" else torch.float32
    radiographs = len(open_set(set_dir)) if set_dir else 0
    try:
        estimate_cost(settings, radiographs=radiographs, devices=devices, dtype=dtype)  # refuses before measuring
    except ValueError as err:
        raise InputDataError(f"{err}.", fix="Change batch, group or the number of devices.") from err
    rates = measure_rates(settings, dtype)
    return estimate_cost(settings, radiographs=radiographs, devices=devices, rates=rates, dtype=dtype)


def train_classifier(
    set_dir: Path,
    out: Path,
    *,
    role: Role,
    settings: ClassifierSettings,
    guide: Path | None = None,
    on_status: OnStatus = ignore_status,
) -> ClassifierReport:
    """Train a guide, a judge or a referee; see `xrarchive.classifier.training.train_classifier`.

    Args:
        set_dir: Radiograph set.
        out: Run folder.
        role: What it is for.
        settings: What decides the weights.
        guide: Run folder of the guide that a judge or referee is compared with; None = not compared.
        on_status: Told after every network.
    """
    from xrarchive.classifier import training

    return training.train_classifier(
        open_set(set_dir), out, role=role, settings=settings, guide=guide, on_status=on_status
    )


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
        workers: Processes; None = one for each processor.
        on_status: Told how many images are done.

    Raises:
        ValueError: If `per_class`, `like_real` or `boost` is out of range.
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
    paths = (weights_path("generator", generator), weights_path("guide", guide), weights_path("judge", judge))
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
    shas = {"generator": studio.snapshot.sha256, "guide": studio.guide.sha256, "judge": studio.judge.sha256}
    plan = Plan(asked, shas, seed, search)
    manifest = _make_archive(out, plan, studio, paths, workers or _processors(), on_status)
    return BuildReport(
        out=out,
        manifest_sha256=manifest.sha256,
        rows=manifest.rows,
        counts=manifest.counts,
        tallies=manifest.tallies,
        offered={item.finding: item.reasons for item in offerings},
    )


def validate(
    archive_dir: Path,
    *,
    radiographs: Path | None = None,
    judge: Path | None = None,
    referee: Path | None = None,
    on_status: OnStatus = ignore_status,
) -> dict[str, Any]:
    """Measure an archive against real radiographs and write validation.json; returns its content.

    Args:
        archive_dir: A finished archive.
        radiographs: Radiograph set with films no generator saw; None = the bundled reference statistics.
        judge: The judge the archive was built with; None = bundled.
        referee: A classifier that had no part in the archive and measures its labels too, or alone if the judge was
            asked to filter; None = nobody does.
        on_status: Told what is being measured.

    Raises:
        InputDataError: If there is no archive, the judge is not the one the manifest names, or the referee is no
            referee, had a part in the archive, or sees images of another size.
        DamageError: If a shard cannot be read.
    """
    from xrarchive.features import IMAGENET, imagenet_features, imagenet_fingerprint
    from xrarchive.validation.columns import PROVENANCE_COLUMNS, needed_columns, to_images
    from xrarchive.validation.reference import load_reference
    from xrarchive.validation.report import make_report

    manifest = read_manifest(archive_dir)
    measuring = _load_judge(weights_path("judge", judge), archive_dir, manifest)
    third = None if referee is None else _load_referee(weights_path("referee", referee), manifest)
    real = None if radiographs is None else open_set(radiographs)
    images = to_images(
        read_table(archive_dir, needed_columns(manifest.findings, _columns(manifest))),
        read_table(archive_dir, list(PROVENANCE_COLUMNS), PROVENANCE),
        manifest.findings,
        manifest.nuisances,
    )
    fingerprints = {IMAGENET: imagenet_fingerprint(), "judge": measuring.sha256}
    reference = (
        load_reference(bundled_reference()) if real is None else _reference(real, measuring, fingerprints, on_status)
    )
    report = make_report(
        manifest,
        images,
        synthetic={
            IMAGENET: imagenet_features(images.pixels, on_status=on_status),
            "judge": measuring.features(images.pixels),
        },
        fingerprints=fingerprints,
        reference=reference,
        judge=_rater("judge", measuring, manifest, images.judge),
        referee=None
        if third is None
        else _rater("referee", third, manifest, _known_scores(third, manifest, images.pixels)),
        radiographs=None if real is None else _trained_on(real, manifest),
        seed=manifest.seed,
        on_status=on_status,
    )
    write_json(archive_dir / VALIDATION_NAME, report)
    return report


def write_card(archive_dir: Path) -> Path:
    """Write README.md: the YAML head and the card's text, from manifest and validation.

    Raises:
        InputDataError: If there is no archive or no validation.
        GateError: If the validation belongs to another manifest.
    """
    from xrarchive.archive.readme import write_readme
    from xrarchive.cards import render_dataset_card

    manifest = read_manifest(archive_dir)
    report = read_json(
        archive_dir / VALIDATION_NAME, what="validation", fix=f"Run `xrarchive validate {archive_dir}` first."
    )
    write_readme(archive_dir, manifest, render_dataset_card(manifest, report, archive_dir=archive_dir))
    return archive_dir / README_NAME


def publish(
    archive_dir: Path,
    repo: str,
    *,
    version: str,
    model_repo: str | None = None,
    generator: Path | None = None,
    guide: Path | None = None,
    judge: Path | None = None,
    dry_run: bool = False,
    confirm: Callable[[Publication], bool] = lambda _plan: True,
    on_status: OnStatus = ignore_status,
) -> Publication | Receipt | None:
    """Publish an archive, and its weights if `model_repo` is given, under one version.

    Args:
        archive_dir: Built, validated, with its card.
        repo: ``owner/name`` of the dataset.
        version: ``X.Y.Z``.
        model_repo: ``owner/name`` of the model repository; None publishes no weights.
        generator: The weights the archive was built with; None = bundled.
        guide: As `generator`.
        judge: As `generator`.
        dry_run: Check everything, send nothing.
        confirm: Asked with the plan before anything is sent.
        on_status: Told about hashing and uploads.

    Returns:
        The plan on a dry run, the receipt after publishing, None if `confirm` said no.

    Raises:
        GateError, DamageError, AccessError, PlanChangedError, RemoteError: See `xrarchive.hub`.
    """
    from xrarchive import hub

    weights = dict(zip(ROLES, (generator, guide, judge), strict=True))
    paths = {role: weights_path(role, path) for role, path in weights.items()} if model_repo else None
    publication = hub.plan_publication(
        archive_dir,
        repo,
        version,
        model_repo=model_repo,
        weights=paths,
        model_card=model_card(paths, dataset=repo) if paths else None,
        on_status=on_status,
    )
    if dry_run:
        return publication
    return hub.publish(publication, on_status=on_status) if confirm(publication) else None


def show(archive_dir: Path, *, contact_sheet: Path | None = None) -> dict[str, Any]:
    """What an archive holds, from its manifest; `contact_sheet` also gets a PNG, a row of ten for each label."""
    manifest = read_manifest(archive_dir)
    if contact_sheet is not None:
        _write_contact_sheet(archive_dir, manifest, contact_sheet)
    return {"archive": str(archive_dir), "manifest_sha256": manifest.sha256, **manifest.as_dict()}


def check(archive_dir: Path, *, read_data: bool = False, on_status: OnStatus = ignore_status) -> CheckReport:
    """Compare an archive with its manifest; see `xrarchive.archive.reader.check_archive`."""
    return check_archive(archive_dir, read_data=read_data, on_status=on_status)


def status(run_dir: Path, *, plot: Path | None = None) -> dict[str, Any]:
    """How far a generator's training is, from its files, without disturbing it; `plot` also gets its curves as a PNG.

    Returns:
        `state` (`running`, `stopped` or `finished`), `nimg` of `total` images, `px` and `alpha` of the stage,
        `images_per_s` and, if it runs, `left_s` at that speed, `last` (the whole last tick), its `warnings`,
        `best` (nimg and kid of the lowest KID), the newest `checkpoint`, `finished`. None = not known.

    Raises:
        InputDataError: If there is no training at `run_dir`, or its curves cannot be drawn.
    """
    from xrarchive.gan.curves import plot_curves
    from xrarchive.gan.stats import best_measurement, read_stats, ticks

    run = read_json(
        run_dir / "run.json", what="generator run", fix=f"Start one: xrarchive train generator SET --out {run_dir}"
    )
    records, running = read_stats(run_dir), is_locked(run_dir)
    last = next(reversed(ticks(records)), {})
    best = best_measurement(records)
    checkpoint = max((path.name for path in (run_dir / "checkpoints").glob("nimg-*")), default=None)
    nimg = max(last.get("nimg", 0), int(checkpoint.removeprefix("nimg-")) if checkpoint else 0)
    total = run["settings"]["nimg"]
    # A run that was prolonged still has the snapshot of its first end.
    finished = not running and nimg >= total and (run_dir / "generator.safetensors").exists()
    if plot is not None:
        plot_curves(run_dir, plot)
    return {
        "run": str(run_dir),
        "state": "running" if running else "finished" if finished else "stopped",
        "nimg": nimg,
        "total": total,
        "finished": finished,
        **{name: last.get(name) for name in ("px", "alpha", "images_per_s")},
        "left_s": last.get("left_s") if running else None,
        "last": last,
        "warnings": last.get("warnings", []),
        "best": best and {"nimg": best["nimg"], "kid": best["kid"]},
        "checkpoint": checkpoint,
    }


def import_weights(
    checkpoint: Path,
    out: Path,
    *,
    kind: Kind,
    grey: bool = False,
    sha256: str | None = None,
    terms: Sequence[str] = (),
) -> AdoptionReport:
    """Turn a checkpoint of other code into a snapshot; see `xrarchive.gan.adopt.adopting.adopt_weights`."""
    from xrarchive.gan.adopt.adopting import adopt_weights

    return adopt_weights(checkpoint, out, kind=kind, grey=grey, sha256=sha256, terms=terms)


def import_xrv(
    checkpoint: Path,
    out: Path,
    *,
    name: str,
    set_dir: Path,
    role: Role,
    sha256: str | None = None,
    on_status: OnStatus = ignore_status,
) -> XrvReport:
    """Turn weights of torchxrayvision into a classifier; see `xrarchive.classifier.xrv_import.import_xrv`."""
    from xrarchive.classifier import xrv_import

    return xrv_import.import_xrv(
        checkpoint, out, name=name, role=role, radiographs=open_set(set_dir), sha256=sha256, on_status=on_status
    )


def show_weights(path: Path) -> dict[str, Any]:
    """What a weight file holds; see `xrarchive.weights.describe_weights`."""
    from xrarchive.weights import describe_weights

    return describe_weights(path)


def export_weights(path: Path, out: Path, *, onnx: bool = False) -> ExportReport:
    """Write a snapshot for `from_pretrained`, and as ONNX; see `xrarchive.gan.exporting.export_weights`."""
    from xrarchive.gan import exporting

    return exporting.export_weights(path, out, onnx=onnx)


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
    for request in asked:
        for name in (*request.findings, *request.absent):
            if name not in callable_findings:
                raise InputDataError(
                    f"The guide has no threshold for {name!r}: it saw too few examples.",
                    fix=f"Ask for some of: {', '.join(callable_findings)}.",
                )
    if not asked:
        raise InputDataError(
            "These weights offer no finding by default: guide and judge do not reach the figures the rule asks for.",
            fix=f"Train better classifiers, or name some with --findings (callable: {', '.join(callable_findings)}).",
        )
    return asked


def _callable_findings(guide: Classifier) -> list[str]:
    return [name for name in guide.vocabulary if not math.isnan(guide.threshold(name))]


def _make_archive(
    out: Path, plan: Plan, studio: Studio, paths: tuple[Path, Path, Path], workers: int, on_status: OnStatus
) -> Manifest:
    """Make what is missing of a plan and join it. Under torchrun every process makes its share, and the first joins."""
    from xrarchive.archive import writer
    from xrarchive.units import make_units, own_share, torchrun_place

    place, places = torchrun_place()
    with locked(out) if place == 0 else contextlib.nullcontext():
        manifest = writer.claim_folder(out, plan) if place == 0 else writer.await_claim(out, plan)
        if manifest is not None:
            return manifest
        missing = writer.missing_units(out, plan)
        done = plan.total - sum(len(plan.unit(index)) for index in missing)
        on_status(Status(done, plan.total, "images"))
        own = own_share(missing, place, places)
        for index, images, tallies in make_units(plan, own, studio, paths, workers=workers if places == 1 else 1):
            writer.write_unit(out, index, images, tallies, studio.guide.vocabulary)
            done += len(plan.unit(index))
            on_status(Status(done, plan.total, "images"))
        if place:
            return writer.await_manifest(out, plan)
        writer.await_units(out, plan)
        return writer.finish_archive(
            out,
            plan,
            vocabulary=studio.guide.vocabulary,
            nuisances=studio.guide.nuisances,
            size_px=studio.snapshot.settings.resolution,
            weights={role: WeightsRecord(plan.weights[role], f"{role}.safetensors") for role in ROLES},
            versions=_versions(),
            terms=_terms(studio),
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


def _columns(manifest: Manifest) -> list[str]:
    return [JUDGE_PREFIX + name for name in manifest.findings]


def _load_judge(path: Path, archive_dir: Path, manifest: Manifest) -> Classifier:
    from xrarchive.classifier.classifier import load_classifier

    judge, expected = load_classifier(path, role="judge"), manifest.weights["judge"].sha256
    if judge.sha256 != expected:
        raise InputDataError(
            f"{path} is not the judge {archive_dir} was built with: expected sha256 {expected[:12]}, found "
            f"{judge.sha256[:12]}.",
            fix="Name the judge of that build with --judge or in xrarchive.toml.",
            path=path,
        )
    return judge


def _load_referee(path: Path, manifest: Manifest) -> Classifier:
    from xrarchive.classifier.classifier import load_classifier

    sha256 = sha256_file(path) if path.is_file() else None
    for role in ("guide", "judge"):
        if sha256 == manifest.weights[role].sha256:
            raise InputDataError(
                f"{path} is the {role} this archive was built with: it had a part in the images and cannot referee.",
                fix="Give a third classifier: xrarchive train classifier SET --role referee",
                path=path,
            )
    referee = load_classifier(path, role="referee")
    if referee.size_px != manifest.size_px:
        raise InputDataError(
            f"{path} sees images of {referee.size_px} px, the archive's are {manifest.size_px} px.",
            fix="Train a referee on radiographs of that size.",
            path=path,
        )
    return referee


def _known_scores(classifier: Classifier, manifest: Manifest, pixels: Pixels) -> NDArray[np.float32]:
    """Scores [N, K] in the manifest's order of findings; NaN where the classifier does not know one."""
    scores = np.full((len(pixels), len(manifest.findings)), np.nan, np.float32)
    known = [name for name in manifest.findings if name in classifier.vocabulary]
    columns = [classifier.vocabulary.index(name) for name in known]
    scores[:, [manifest.findings.index(name) for name in known]] = classifier.scores(pixels)[:, columns]
    return scores


def _rater(role: str, classifier: Classifier, manifest: Manifest, scores: NDArray[np.float32]) -> Rater:
    from xrarchive.validation.raters import Rater

    thresholds = [
        classifier.threshold(name) if name in classifier.vocabulary else math.nan for name in manifest.findings
    ]
    return Rater(role, classifier.sha256, scores, np.array(thresholds, np.float32), classifier.meta["figures"])


def _reference(
    real: RadiographSet, judge: Classifier, fingerprints: Mapping[str, str], on_status: OnStatus
) -> Reference:
    from xrarchive.features import IMAGENET, imagenet_features
    from xrarchive.gan.realism import HELD_OUT_SPLITS
    from xrarchive.gan.training import TRAINING_SPLITS
    from xrarchive.validation.reference import make_reference

    split = next((name for name in HELD_OUT_SPLITS if len(real.rows(name))), None)
    if split is None:
        raise InputDataError(
            f"{real.folder} has no radiographs in the splits {', '.join(HELD_OUT_SPLITS)}; an archive cannot be "
            "measured against films its generator was trained on.",
            fix="Ingest a set with held-out films, or leave --radiographs out.",
            path=real.folder,
        )
    if real.size_px != judge.size_px:
        raise InputDataError(
            f"{real.folder} holds {real.size_px} px images, the archive's are {judge.size_px} px.",
            fix=f"Ingest the radiographs again with --size {judge.size_px}.",
            path=real.folder,
        )
    rows = real.unseen_rows(split, seen=TRAINING_SPLITS)
    pixels = real.pixels[rows]
    return make_reference(
        f"{real.folder.name}, {split}",
        {IMAGENET: imagenet_features(pixels, on_status=on_status), "judge": judge.features(pixels)},
        fingerprints=fingerprints,
        patients=real.patients[rows],
        source=f"The {len(rows)} radiographs of the split {split!r} of the radiograph set {real.sha256[:12]} that "
        "have no identical twin among the films a generator is trained on.",
    )


def _trained_on(real: RadiographSet, manifest: Manifest) -> Any:
    from xrarchive.gan.training import TRAINING_SPLITS

    rows = real.rows(*TRAINING_SPLITS)
    return real.pixels[rows] if len(rows) and real.size_px == manifest.size_px else None


def model_card(paths: Mapping[str, Path], *, dataset: str | None = None) -> str:
    """The card of `generator`, `guide`, `judge` and, if it is there, `referee`, given by path.

    Args:
        paths: Weight files by role.
        dataset: Repository of the archive made with them.
    """
    from xrarchive.cards import render_model_card
    from xrarchive.weights import read_meta

    metas = {
        role: read_meta(path, kind="generator" if role == "generator" else "classifier") for role, path in paths.items()
    }
    return render_model_card(
        metas["generator"], metas["guide"], metas["judge"], dataset=dataset, referee=metas.get("referee")
    )


def _terms(studio: Studio) -> list[str]:
    metas = (studio.snapshot.meta, studio.guide.meta, studio.judge.meta)
    return sorted({name for meta in metas for name in meta["terms"]})


def _versions() -> dict[str, str]:
    import torch

    versions = {name: metadata.version(name) for name in _BYTE_DECIDING}
    return {**versions, "python": platform.python_version(), "processor": torch.backends.cpu.get_cpu_capability()}


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _write_contact_sheet(archive_dir: Path, manifest: Manifest, path: Path) -> None:
    labels = read_table(archive_dir, ["label"])["label"].to_numpy()
    indices = [manifest.findings.index(name) for name in manifest.labels]
    rows = [np.flatnonzero(labels == index)[:CONTACT_SHEET_COLUMNS] for index in indices]
    pixels = iter(read_pixels(archive_dir, np.concatenate(rows)))
    sheet = np.zeros((len(rows), CONTACT_SHEET_COLUMNS, manifest.size_px, manifest.size_px), np.uint8)
    for line, found in enumerate(rows):
        for column in range(len(found)):
            sheet[line, column] = next(pixels)
    with atomic_path(path) as temporary:
        write_grid(temporary, sheet.reshape(-1, *sheet.shape[2:]), columns=CONTACT_SHEET_COLUMNS)
