"""The stages, wired: what each command does, as a function a notebook can call.

The only module on both sides of the waist; torch is imported inside the functions that need it.

    ingest -> train_generator, train_classifier -> build -> validate -> write_card -> publish
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xrarchive.archive.manifest import (
    CHANGELOG_NAME,
    MANIFEST_NAME,
    README_NAME,
    SIGNATURE_NAME,
    VALIDATION_NAME,
    Manifest,
    read_manifest,
)
from xrarchive.archive.reader import CheckReport, Problem, check_archive, read_pixels, read_table
from xrarchive.archive.sums import write_sums
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import atomic_path, is_locked, read_json, write_bytes, write_json
from xrarchive.pixels import write_grid
from xrarchive.records import OnStatus, ignore_status

if TYPE_CHECKING:
    from xrarchive.archive.changing import find_leftovers, remove_leftovers, split, withdraw
    from xrarchive.archive.diffing import ArchiveDiff
    from xrarchive.archive.exporting import ArchiveExport, Format
    from xrarchive.archive.loading import Filter
    from xrarchive.archive.merging import merge
    from xrarchive.browsing.page import BrowseReport
    from xrarchive.building import BuildReport, build, extend
    from xrarchive.classifier.settings import ClassifierSettings, Role
    from xrarchive.classifier.training import ClassifierReport
    from xrarchive.classifier.xrv_import import XrvReport
    from xrarchive.gan.adopt.adopting import AdoptionReport
    from xrarchive.gan.adopt.layouts import Kind
    from xrarchive.gan.cost import CostEstimate
    from xrarchive.gan.exporting import ExportReport
    from xrarchive.gan.settings import GeneratorSettings
    from xrarchive.gan.training import TrainingReport
    from xrarchive.hub import Publication, Receipt, RetractionReceipt
    from xrarchive.radiographs import ingest, survey
    from xrarchive.regenerating import Regenerated
    from xrarchive.study.coverage import SimulationReport
    from xrarchive.study.making import StudyPlan, StudyReport
    from xrarchive.study.models import ReaderModel
    from xrarchive.study.protocol import Protocol
    from xrarchive.study.scoring import ScoreReport
    from xrarchive.validating.audit import audit, report_path
    from xrarchive.validating.validate import validate
    from xrarchive.validating.waiving import waive

__all__ = [
    "BuildReport",
    "audit",
    "browse",
    "build",
    "check",
    "diff",
    "export_archive",
    "export_weights",
    "extend",
    "find_leftovers",
    "import_weights",
    "import_xrv",
    "ingest",
    "load",
    "log",
    "make_study",
    "merge",
    "publish",
    "remove_leftovers",
    "report_path",
    "retract",
    "score_study",
    "show",
    "show_radiographs",
    "show_weights",
    "simulate_study",
    "split",
    "status",
    "survey",
    "train_classifier",
    "train_generator",
    "validate",
    "waive",
    "withdraw",
    "write_card",
]

# Stages that are called as they are, by the module they come from. Imported when they are asked for: what one command
# needs would keep the others waiting, scipy and pandas above all.
_STAGES = {
    "xrarchive.radiographs": ("ingest", "survey"),
    "xrarchive.building": ("BuildReport", "build", "extend", "weights_path"),
    "xrarchive.validating": ("audit", "report_path", "validate", "waive"),
    "xrarchive.archive.changing": ("find_leftovers", "remove_leftovers", "split", "withdraw"),
    "xrarchive.archive.merging": ("merge",),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        for module, names in _STAGES.items():
            if name in names:
                return getattr(importlib.import_module(module), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


CONTACT_SHEET_COLUMNS = 10


@dataclass(frozen=True)
class Checked(CheckReport):
    """The outcome of a check.

    Attributes:
        regenerated: What came of making images again, None = not asked or not sound.
        signed_by: Who signed the manifest, None = not asked.
    """

    regenerated: Regenerated | None
    signed_by: str | None = None


def user_cache() -> Path:
    """This user's folder of features that were computed before; see `xrarchive.features.cache`."""
    from xrarchive.features.cache import user_cache

    return user_cache()


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
    from xrarchive.radiographs import open_set

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
    from xrarchive.radiographs import open_set

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
    from xrarchive.radiographs import open_set

    return training.train_classifier(
        open_set(set_dir), out, role=role, settings=settings, guide=guide, on_status=on_status
    )


def write_card(
    archive_dir: Path,
    *,
    study: Path | None = None,
    templates: Path | None = None,
    date: str | None = None,
    facts: Path | None = None,
) -> Path:
    """Write README.md and what goes with it: scorecard, citation, croissant.json and pictures.

    Args:
        archive_dir: Of the archive.
        study: score.json of a reader study of this archive, for a section of its own.
        templates: Folder of the publisher's own templates; one that is not there is ours.
        date: `YYYY-MM-DD` of the card; None = that of a card of the same manifest, else today, UTC.
        facts: File that gets all that templates may use, as JSON.

    Raises:
        InputDataError: If there is no archive, no validation or no such score, or a template cannot be filled.
        GateError: If the validation or the score belongs to another manifest.
    """
    from xrarchive.cards.writing import write_cards
    from xrarchive.study.scoring import read_card_section

    section = "" if study is None else read_card_section(study, read_manifest(archive_dir).sha256)
    told = write_cards(archive_dir, study=section, templates=templates, date=date)
    if facts is not None:
        write_json(facts, told)
    return archive_dir / README_NAME


def publish(
    archive_dir: Path,
    repo: str,
    *,
    version: str | None = None,
    model_repo: str | None = None,
    no_weights: bool = False,
    generator: Path | None = None,
    guide: Path | None = None,
    judge: Path | None = None,
    private: bool = False,
    gated: Literal["auto", "manual"] | None = None,
    permission: str = "",
    to: Path | None = None,
    sign: Path | None = None,
    radiographs: Sequence[Path] = (),
    dry_run: bool = False,
    confirm: Callable[[Publication], bool] = lambda _plan: True,
    on_status: OnStatus = ignore_status,
) -> Publication | Receipt | None:
    """Publish an archive, and its weights if they may be, under one version.

    Args:
        archive_dir: Built, validated, with its card.
        repo: ``owner/name`` of the dataset.
        version: ``X.Y.Z``, no lower than the archive's own, nor than the change since the last release demands; None =
            the lowest that is neither.
        model_repo: ``owner/name`` of the model repository; None = the dataset's own name, provided that the weights
            are at hand. Closed gates of the weights keep them back either way.
        no_weights: Publish none.
        generator: The weights the archive was built with; None = bundled.
        guide: As `generator`.
        judge: As `generator`.
        private: Whether new repositories are private.
        gated: Whether whoever asks is let in at once ("auto") or by hand ("manual"); None = everybody.
        permission: Who permitted what the terms of the films alone do not, and where that is written.
        to: A folder or mounted share to publish into, instead of a Hub.
        sign: SSH key to sign the manifest with, unless this is a dry run; see `xrarchive.archive.signing`.
        radiographs: Sets at hand, whose patients and films must be named in no text that goes up.
        dry_run: Check everything, send nothing. The Hub is asked what is there if there is a token for it.
        confirm: Asked with the plan before anything is sent.
        on_status: Told about hashing and uploads.

    Returns:
        The plan on a dry run, the receipt after publishing, None if `confirm` said no.

    Raises:
        GateError, SettingsError, DamageError, AccessError, PlanChangedError, RemoteError: See `xrarchive.hub`.
    """
    from xrarchive import hub
    from xrarchive.archive import signing
    from xrarchive.building import weights_path

    if sign is not None and not dry_run:
        signing.sign(archive_dir, sign)
    weights = {"generator": generator, "guide": guide, "judge": judge}
    paths = None if no_weights else {role: weights_path(role, path) for role, path in weights.items()}
    publication = hub.plan_publication(
        archive_dir,
        repo,
        version,
        model_repo=None if no_weights else model_repo or repo,
        weights=paths,
        model_card=model_card(paths, dataset=repo, archive_dir=archive_dir) if paths else None,
        weights_needed=model_repo is not None,
        access=hub.Access(private, gated, permission, inside=to is not None),
        ids={name for folder in radiographs for name in _identifiers(folder)},
        on_status=on_status,
    )
    if to is not None:
        if dry_run:
            return hub.look_at_folder(publication, to)
        return hub.publish_to_folder(publication, to, confirm=confirm, on_status=on_status)
    if dry_run:
        return hub.preflight_if_known(publication)
    return hub.publish(publication, confirm=confirm, on_status=on_status)


def _identifiers(set_dir: Path) -> set[str]:
    """Ids of the patients of a set and of their films, blank ones left out."""
    from xrarchive.radiographs import open_set

    radiographs = open_set(set_dir)
    films = (Path(name).name for name in radiographs.table["image"].to_pylist())
    return {*radiographs.known_patients.tolist(), *films} - {""}


def retract(repo: str, version: str, *, reason: str, date: str, to: Path | None = None) -> RetractionReceipt:
    """Mark a published version of a dataset as taken back; see `xrarchive.hub.retracting`.

    Args:
        repo: ``owner/name``.
        version: ``vX.Y.Z``.
        reason: Shown wherever the version is looked for.
        date: ``YYYY-MM-DD``.
        to: The folder it was published into; None = the Hub.
    """
    from xrarchive import hub

    if to is not None:
        return hub.retract_in_folder(to, repo, version, reason=reason, date=date)
    return hub.retract(repo, version, reason=reason, date=date)


def show(archive_dir: Path, *, contact_sheet: Path | None = None) -> dict[str, Any]:
    """What an archive holds, from its manifest; `contact_sheet` also gets a PNG, a row of ten for each label."""
    manifest = read_manifest(archive_dir)
    if contact_sheet is not None:
        _write_contact_sheet(archive_dir, manifest, contact_sheet)
    return {
        "archive": str(archive_dir),
        "version": manifest.version,
        "manifest_sha256": manifest.sha256,
        **manifest.as_dict(),
    }


def show_radiographs(
    set_dir: Path, *, html: Path | None = None, sheet: Path | None = None, on_status: OnStatus = ignore_status
) -> dict[str, Any]:
    """What a radiograph set holds; see `xrarchive.radiographs.overview.describe_set`.

    Args:
        set_dir: The set's folder.
        html: Also write a page of it, which holds no film.
        sheet: Also write a PNG with a row of films for each finding.
        on_status: Told how many films have been compared with all others.
    """
    from xrarchive.radiographs import open_set
    from xrarchive.radiographs.overview import SHEET_COLUMNS, contact_sheet, describe_set
    from xrarchive.reporting.radiographs import render_set

    radiographs = open_set(set_dir)
    found = describe_set(radiographs, on_status=on_status)
    if html is not None:
        write_bytes(html, render_set(found, title=f"Radiograph set {set_dir.name}").encode())
    if sheet is not None:
        tiles, found["sheet_rows"] = contact_sheet(radiographs)
        with atomic_path(sheet) as temporary:
            write_grid(temporary, tiles, columns=SHEET_COLUMNS)
    return found


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


def browse(
    source: Path | str,
    out: Path | None = None,
    *,
    where: str | None = None,
    images: int | None = None,
    seed: int = 0,
    on_status: OnStatus = ignore_status,
) -> BrowseReport:
    """Write a page to look through an archive, a folder or ``owner/name@revision``, with any browser, offline.

    Args:
        source: The archive.
        out: The HTML file; None = the archive's name with ``.html``, in this folder.
        where: See `xrarchive.browsing.page.write_page`, as for the rest.
        images: At most so many; None = as many as make a page of about 85 MB.
        seed: Of the draw, if not all fit.
        on_status: Told of each shard.
    """
    from xrarchive.browsing.page import write_page
    from xrarchive.hub.fetching import open_source

    path = out or Path(
        re.sub(r"[^\w.-]+", "-", Path(source).resolve().name if Path(source).is_dir() else str(source)) + ".html"
    )
    with open_source(source) as opened:
        return write_page(opened, path, where=where, images=images, seed=seed, on_status=on_status)


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
    from xrarchive.building import weights_path

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
    from xrarchive.radiographs import open_set

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


def export_archive(archive_dir: Path, out: Path, *, to: Format, on_status: OnStatus = ignore_status) -> ArchiveExport:
    """Write an archive in a format of other tools; see `xrarchive.archive.exporting.export_archive`."""
    from xrarchive.archive import exporting

    return exporting.export_archive(archive_dir, out, to=to, on_status=on_status)


def make_study(
    archive_dir: Path,
    set_dir: Path,
    out: Path,
    protocol: Protocol,
    *,
    sizes_px: Sequence[int] = (),
    confirm: Callable[[StudyPlan], bool],
    on_status: OnStatus = ignore_status,
) -> StudyReport | None:
    """Make a blinded reader study; see `xrarchive.study.making.make_study`."""
    from xrarchive.study import making

    return making.make_study(
        archive_dir, set_dir, out, protocol, sizes_px=sizes_px, confirm=confirm, on_status=on_status
    )


def score_study(
    study_dir: Path, results: Sequence[Path], *, out: Path | None = None, accept: Sequence[str] = (), seed: int = 0
) -> ScoreReport:
    """Score a reader study; see `xrarchive.study.scoring.score_study`."""
    from xrarchive.study import scoring

    return scoring.score_study(study_dir, results, out=out, accept=accept, seed=seed)


def simulate_study(
    study_dir: Path,
    out: Path,
    model: ReaderModel,
    *,
    studies: int | None = None,
    seed: int = 0,
    on_status: OnStatus = ignore_status,
) -> SimulationReport:
    """Write results of simulated readers of a study; see `xrarchive.study.coverage.simulate_study`.

    Args:
        study_dir: Folder of the study.
        out: Folder for the results, made if needed.
        model: What the readers are like.
        studies: Also simulate and score so many studies of this size, and say how often the intervals held the truth.
        seed: Same seed, same results.
        on_status: Told of every study.
    """
    from xrarchive.study import coverage

    return coverage.simulate_study(study_dir, out, model, studies=studies, seed=seed, on_status=on_status)


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


def model_card(paths: Mapping[str, Path], *, dataset: str | None = None, archive_dir: Path | None = None) -> str:
    """The card of `generator`, `guide`, `judge` and, if it is there, `referee`, given by path.

    Args:
        paths: Weight files by role.
        dataset: Repository of the archive made with them.
        archive_dir: That archive, for what its validation says of the generator's images.
    """
    from xrarchive.cards.model import render_model_card
    from xrarchive.weights import read_meta

    metas = {
        role: read_meta(path, kind="generator" if role == "generator" else "classifier") for role, path in paths.items()
    }
    validation = None if archive_dir is None else archive_dir / VALIDATION_NAME
    report = (
        read_json(validation, what="validation", fix="Run `xrarchive validate` again.")
        if validation and validation.is_file()
        else None
    )
    return render_model_card(
        metas["generator"],
        metas["guide"],
        metas["judge"],
        dataset=dataset,
        referee=metas.get("referee"),
        report=report,
    )


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
