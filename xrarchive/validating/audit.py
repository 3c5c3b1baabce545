"""`audit`: measure a folder of labelled synthetic images that some other tool made, as an archive is measured.

A folder and a table come in, the report goes out; nothing is written into the folder. What only an archive can say (its
hashes, draws, nuisances, soft labels, its generator) is reported as not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xrarchive.bundled import weights_path
from xrarchive.errors import InputDataError
from xrarchive.files import read_json, write_json
from xrarchive.findings import make_vocabulary
from xrarchive.radiographs.folder import read_folder
from xrarchive.records import OnStatus, ignore_status
from xrarchive.settings import DEFAULT_SPACES
from xrarchive.validating.material import Material, equip, known_scores, open_features
from xrarchive.validating.validate import measure_parts, require_parts, write_page
from xrarchive.validation import SCHEMA
from xrarchive.validation.gates import GateSettings
from xrarchive.validation.names import peer_names
from xrarchive.validation.subject import folder_subject

if TYPE_CHECKING:
    from xrarchive.classifier.classifier import Classifier
    from xrarchive.features.sharing import Crew

_NO_GENERATOR = (
    "These images came as a folder, without their generator: only an archive names the weights it was made with."
)


def audit(
    images: Path,
    labels: Path,
    *,
    findings: Sequence[str] | None = None,
    out: Path | None = None,
    radiographs: Sequence[Path] = (),
    guide: Path | None = None,
    judge: Path | None = None,
    referee: Path | None = None,
    spaces: Sequence[str] = DEFAULT_SPACES,
    cache: Path | None = None,
    only: Sequence[str] = (),
    quick: bool = False,
    gates: GateSettings | None = None,
    waivers: Mapping[str, str] | None = None,
    workers: int = 1,
    on_status: OnStatus = ignore_status,
) -> dict[str, Any]:
    """Measure any folder of labelled synthetic images and write the report; returns its content.

    Args:
        images: Folder with PNG, JPEG or TIFF files of one size, which are brought to the judge's.
        labels: CSV file that says what each was asked to show (see `xrarchive.radiographs.folder`).
        findings: Names the table may use; None = those the judge knows.
        out: File to write; None = `report_path`. It may lie inside `images` only if it is named.
        radiographs: As `xrarchive.validating.validate`.
        guide: A classifier for the controls of utility; None = bundled. It had no part in these images.
        judge: Who measures the labels; None = bundled.
        referee: Who measures them too; None = nobody does.
        spaces: As `xrarchive.validating.validate`, as all that follow.
        cache: Folder of features that were computed before.
        only: Names of the parts to measure.
        quick: Fewer resamples and trials.
        gates: Bars; None = the defaults.
        waivers: Reason by closed gate.
        workers: Processes or threads a part may use.
        on_status: Told what is being measured.

    Raises:
        InputDataError: If the folder or the table is not what it must be (see `read_folder`), weights do not fit, or
            the default report would overwrite something else.
        ValueError: If `only` names no part.
    """
    require_parts(only)
    target = out or report_path(images)
    if out is None:
        _require_free(target, images)
    with open_features(spaces, judge, cache=cache, workers=workers) as crew:
        if not crew.devices.first:
            crew.serve()
            return {}
        material = gather_folder(
            images,
            labels,
            findings=None if findings is None else tuple(findings),
            radiographs=tuple(radiographs),
            guide=guide,
            judge=judge,
            referee=referee,
            crew=crew,
            quick=quick,
            on_status=on_status,
        )
        report = measure_parts(material, only, gates=gates, waivers=waivers)
        report["names"] = peer_names(report)
        write_json(target, report)
        write_page(target.with_suffix(".html"), material.subject, report)
        return report


def report_path(images: Path) -> Path:
    """Where the report goes by default: the current folder, named after the audited one."""
    return Path(f"{images.resolve().name or 'images'}.validation.json")


def gather_folder(
    images: Path,
    labels: Path,
    *,
    findings: tuple[str, ...] | None,
    radiographs: tuple[Path, ...],
    guide: Path | None,
    judge: Path | None,
    referee: Path | None,
    crew: Crew,
    quick: bool,
    on_status: OnStatus,
) -> Material:
    """Open everything an audit needs; arguments as `audit`."""
    from xrarchive.classifier.classifier import load_classifier

    measuring = load_classifier(weights_path("judge", judge), role="judge")
    steering = load_classifier(weights_path("guide", guide), role="guide")
    third = None if referee is None else load_classifier(weights_path("referee", referee), role="referee")
    _require_size(measuring, steering, third)
    vocabulary = measuring.vocabulary if findings is None else make_vocabulary(findings)
    found = read_folder(
        images, labels, vocabulary=vocabulary, declared=findings or (), size_px=measuring.size_px, on_status=on_status
    )
    scores = {
        role: known_scores(classifier, vocabulary, found.pixels)
        for role, classifier in (("guide", steering), ("judge", measuring))
    }
    return equip(
        folder_subject(found, vocabulary, scores),
        archive=None,
        radiographs=radiographs,
        judge=measuring,
        referee=third,
        guide=steering,
        generator=_NO_GENERATOR,
        crew=crew,
        quick=quick,
        on_status=on_status,
    )


def _require_size(judge: Classifier, guide: Classifier, referee: Classifier | None) -> None:
    for role, other in (("guide", guide), ("referee", referee)):
        if other is not None and other.size_px != judge.size_px:
            raise InputDataError(
                f"The judge sees images of {judge.size_px} px, the {role} of {other.size_px} px.",
                fix=f"Give a {role} for {judge.size_px} px with --{role}: all look at the same images.",
            )


def _require_free(target: Path, images: Path) -> None:
    """A report that nobody named a place for must neither change the audited folder nor overwrite anything else."""
    fix = "Say where the report is to go: --out FILE."
    if target.resolve().is_relative_to(images.resolve()):
        raise InputDataError(f"The report would lie inside the folder {images}.", fix=fix, path=target)
    if target.exists():
        found = read_json(target, what="report", fix=fix)
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise InputDataError(f"{target} exists and is no report of this kind.", fix=fix, path=target)
