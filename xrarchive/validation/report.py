"""The content of validation.json: everything measured about one archive, and what it means for publishing.

Arrays come in, one JSON-safe dict goes out; the same input and seed give the same bytes, so it holds no date and no
path. It names the manifest's sha256: a report belongs to those bytes and no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import LEVEL, RESAMPLES
from xrarchive.errors import InputDataError
from xrarchive.estimates import RESAMPLES as LABEL_RESAMPLES
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.validation.columns import ArchiveImages
from xrarchive.validation.duplicates import measure_duplicates
from xrarchive.validation.fidelity import FLOOR_DRAWS, METRICS, measure_fidelity
from xrarchive.validation.measures import Measure, not_measured
from xrarchive.validation.nuisances import measure_nuisances
from xrarchive.validation.problems import Problem, Severity
from xrarchive.validation.raters import LABEL_NOISE, Rater, measure_labels
from xrarchive.validation.reference import Reference, require_finite

if TYPE_CHECKING:
    from xrarchive.archive.manifest import Manifest

SCHEMA = "xrarchive.validation/1"

_EVEN_ODDS = 0.5


def make_report(
    manifest: Manifest,
    images: ArchiveImages,
    *,
    synthetic: Mapping[str, npt.NDArray[np.floating]],
    fingerprints: Mapping[str, str],
    reference: Reference,
    judge: Rater,
    referee: Rater | None = None,
    radiographs: npt.NDArray[np.uint8] | None = None,
    seed: int = 0,
    on_status: OnStatus = ignore_status,
) -> dict[str, Any]:
    """Measure an archive and say what was found.

    Args:
        manifest: Of the archive; its sha256 ties the report to it.
        images: The archive's rows.
        synthetic: Features float [N, D] of the archive's images per feature space.
        fingerprints: sha256 of the weights behind each of those spaces.
        reference: Features of real radiographs.
        judge: Who measures `labels`, unless it chose the images; its scores are those of the archive.
        referee: Who measures `labels_referee`, and `labels` too if the judge may not; None = nobody.
        radiographs: uint8 [M, H, W] the generator was trained on, to look for copies; None if not at hand.
        seed: Of every bootstrap and draw.
        on_status: Told what is being measured.

    Raises:
        InputDataError: If the archive is empty, disagrees with its manifest, lacks judge scores or has NaN features.
        ValueError: If the arrays do not belong together.
    """
    _require_consistent(manifest, images, synthetic, fingerprints)
    _require_scores(manifest, judge, referee, images.image_ids)
    jobs = [(space, metric) for space in sorted({*synthetic, *reference.spaces}) for metric in METRICS]
    total = len(jobs) + 3
    fidelity: dict[str, dict[str, Measure]] = {}
    for done, (space, metric) in enumerate(jobs):
        on_status(Status(done, total, "measures", f"{metric.title}, {space}"))
        reason = _unusable(space, synthetic, fingerprints, reference)
        fidelity.setdefault(space, {})[metric.name] = (
            not_measured(reason)
            if reason
            else measure_fidelity(
                metric, synthetic[space], reference.spaces[space], patients=reference.patients, seed=seed, space=space
            )
        )
    on_status(Status(total - 3, total, "measures", "labels"))
    filtered = manifest.judge_filtered
    by_rater = {
        rater.role: measure_labels(manifest.findings, images, rater, filtered=filtered, seed=seed)
        for rater in (judge, referee)
        if rater is not None
    }
    labels_by = "referee" if filtered and referee is not None else "judge"
    on_status(Status(total - 2, total, "measures", "nuisances"))
    nuisances = measure_nuisances(manifest.nuisances, manifest.findings, images, seed=seed)
    on_status(Status(total - 1, total, "measures", "duplicates"))
    duplicates = measure_duplicates(images.image_ids, images.pixels, radiographs)
    on_status(Status(total, total, "measures", "done"))
    return {
        "schema": SCHEMA,
        "manifest_sha256": manifest.sha256,
        "images": len(images.pixels),
        "settings": {
            "seed": seed,
            "resamples": RESAMPLES,
            "label_resamples": LABEL_RESAMPLES,
            "label_noise": LABEL_NOISE,
            "level": LEVEL,
            "floor_draws": FLOOR_DRAWS,
        },
        "reference": _describe(reference),
        "fidelity": fidelity,
        "raters": {rater.role: {"sha256": rater.sha256} for rater in (judge, referee) if rater is not None},
        "labels_by": labels_by,
        "labels": by_rater[labels_by],
        **({"labels_referee": by_rater["referee"]} if "referee" in by_rater else {}),
        "nuisances": nuisances,
        "duplicates": duplicates,
        "problems": [problem.as_dict() for problem in find_problems(fidelity, by_rater, duplicates)],
    }


def find_problems(
    fidelity: Mapping[str, Mapping[str, Measure]],
    labels: Mapping[str, Mapping[str, Measure]],
    duplicates: Mapping[str, Measure],
) -> list[Problem]:
    """What a publisher must know, worst first; `labels` by role of who measured them."""
    problems = _duplicate_problems(duplicates)
    for role, rated in labels.items():
        problems += _label_problems(role, rated)
    for space, metrics in fidelity.items():
        for name, found in metrics.items():
            if found["value"] is None:
                problems.append(Problem(f"fidelity.{space}.{name}", "note", str(found["reason"])))
    rank = {"error": 0, "warning": 1, "note": 2}
    return sorted(problems, key=lambda problem: rank[problem.severity])


def _duplicate_problems(duplicates: Mapping[str, Measure]) -> list[Problem]:
    severities: dict[str, Severity] = {"exact": "error", "near": "warning", "copies": "error"}
    problems = []
    for kind, found in duplicates.items():
        if found["value"] is None:
            problems.append(Problem(f"duplicates.{kind}", "note", str(found["reason"])))
        elif found["value"]:
            ids: Any = found["image_ids"]
            message = f"{found['value']} of {found['n']}: {found['note']} The first is {ids[0]}."
            problems.append(Problem(f"duplicates.{kind}", severities[kind], message))
    return problems


def _label_problems(role: str, labels: Mapping[str, Measure]) -> list[Problem]:
    kind = "labels.agreement" if role == "judge" else f"labels_{role}.agreement"
    problems = []
    for name, found in labels.items():
        value, low, high = (found.get(key) for key in ("value", "low", "high"))
        if value is None:
            problems.append(Problem(kind, "note", f"{name}: {found['reason']}"))
        elif isinstance(low, float) and low <= _EVEN_ODDS:
            problems.append(
                Problem(
                    kind,
                    "warning",
                    f"{name}: the {role} cannot tell the {found['n']} images asked to show it from the others "
                    f"(AUROC {value}, interval {low} to {high}).",
                )
            )
    return problems


def _describe(reference: Reference) -> dict[str, object]:
    patients = reference.patients
    return {
        "name": reference.name,
        "source": reference.source,
        "n": reference.rows,
        "patients": None if patients is None else int(np.unique(patients).size),
        "spaces": {
            space: {"dim": int(values.shape[1]), "fingerprint": reference.fingerprints[space]}
            for space, values in sorted(reference.spaces.items())
        },
    }


def _unusable(
    space: str,
    synthetic: Mapping[str, npt.NDArray[np.floating]],
    fingerprints: Mapping[str, str],
    reference: Reference,
) -> str | None:
    """Why a feature space cannot be compared, None if it can."""
    if space not in synthetic:
        return f"The archive's images have no features in the space {space!r}, though the reference has."
    if space not in reference.spaces:
        return f"The reference {reference.name!r} holds no features in the space {space!r}."
    ours, theirs = fingerprints[space], reference.fingerprints[space]
    if ours != theirs:
        return (
            f"In the space {space!r}, the reference {reference.name!r} was made with weights {theirs[:12]} and the "
            f"features of the archive with {ours[:12]}: validate with --radiographs SET to compare them."
        )
    return None


def _require_consistent(
    manifest: Manifest,
    images: ArchiveImages,
    synthetic: Mapping[str, npt.NDArray[np.floating]],
    fingerprints: Mapping[str, str],
) -> None:
    count, width = len(images.pixels), len(manifest.findings)
    if images.asked.shape != (count, width) or len(images.image_ids) != count:
        raise ValueError(
            f"expected {count} rows and {width} findings, got asked {images.asked.shape}, {len(images.image_ids)} ids"
        )
    if set(synthetic) != set(fingerprints):
        raise ValueError(f"spaces {sorted(synthetic)} need fingerprints, got {sorted(fingerprints)}")
    if count != manifest.rows or not count:
        raise InputDataError(
            f"The manifest names {manifest.rows} images and {count} were read.",
            fix="Run `xrarchive check`, and build the archive again if it is empty or damaged.",
        )
    for space, features in synthetic.items():
        if len(features) != count:
            raise ValueError(f"{space}: {len(features)} feature rows for {count} images")
        require_finite(features, what=f"The archive's images in feature space {space!r}")


def _require_scores(manifest: Manifest, judge: Rater, referee: Rater | None, image_ids: Sequence[str]) -> None:
    expected = len(image_ids), len(manifest.findings)
    for rater in (judge, referee):
        if rater is not None and (rater.scores.shape != expected or rater.thresholds.shape != expected[1:]):
            raise ValueError(
                f"expected scores {expected} of the {rater.role} and a threshold for each finding, got "
                f"{rater.scores.shape} and {rater.thresholds.shape}"
            )
    missing = np.isnan(judge.scores)
    holes = missing.any(axis=0) & ~missing.all(axis=0)
    if holes.any():
        column = int(np.flatnonzero(holes)[0])
        rows = missing[:, column]
        raise InputDataError(
            f"judge_{manifest.findings[column]} is empty in {int(rows.sum())} of {rows.size} images, the first is "
            f"{image_ids[int(np.flatnonzero(rows)[0])]}.",
            fix="Build the archive again; the judge scores every image or knows nothing of the finding.",
        )
