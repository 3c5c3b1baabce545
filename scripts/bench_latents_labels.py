"""Do the labels hold before a classifier that had no part in making them, and are the images as varied as others?

Everything is measured on an archive that `pipeline.build` made. Beside it stand random draws of the same generator,
random draws that reach the guide's bar (rejection sampling), and real films that reach it (the control). Part of
`bench_latents.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xrarchive import pipeline
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.classifier.classifier import Classifier
from xrarchive.classifier.training import patient_prefixes
from xrarchive.estimates import Estimate
from xrarchive.features import imagenet_features
from xrarchive.gan.layers import kernels_ready
from xrarchive.latents import draw_latent
from xrarchive.plan import SearchSettings
from xrarchive.radiographs import RadiographSet
from xrarchive.statistics import bootstrap_auroc, to_logit
from xrarchive.synthesis import Studio, render
from xrarchive.validation.coverage import macro_coverage_ratio, manifold
from xrarchive.validation.duplicates import measure_repeats
from xrarchive.validation.labels import Transfer, dose, exaggeration_excess, transfer
from xrarchive.validation.purity import rogan_gladen, score_mixture
from xrarchive.validation.similarity import mean_intra_class, nearest_latent_deg

VIEWS = ("AP", "PA")
# Images nearer than this on the sphere count as one; two random latents of 128 numbers lie 90 +- 5 degrees apart.
DUPLICATE_DEG = 10.0
SSIM_PAIRS = 400
MOST_COMPARED = 400  # of a finding's real films, for coverage
_DRAW_SEED = 900


@dataclass(frozen=True)
class Scored:
    """N images with the logits of both classifiers, [N, K + J]."""

    pixels: npt.NDArray[np.uint8]
    guide: npt.NDArray[np.float32]
    judge: npt.NDArray[np.float32]

    def rows(self, chosen: npt.NDArray[Any]) -> Scored:
        """Some of them."""
        return Scored(self.pixels[chosen], self.guide[chosen], self.judge[chosen])


@dataclass(frozen=True)
class Archive:
    """An archive's images with what was asked; `latents` float32 [N, Z]."""

    images: Scored
    label: npt.NDArray[np.str_]
    soft: npt.NDArray[np.float32]
    latents: npt.NDArray[np.float32]
    tallies: Sequence[Any]


def score(studio: Studio, pixels: npt.NDArray[np.uint8]) -> Scored:
    """Both classifiers' logits of pixels."""
    return Scored(pixels, studio.guide.outputs(pixels), studio.judge.outputs(pixels))


def draw_images(studio: Studio, count: int) -> Scored:
    """Random draws as they would be stored."""
    size = studio.snapshot.settings.latent_size
    latents = torch.stack([draw_latent(_DRAW_SEED, number, size) for number in range(count)])
    with kernels_ready(studio.snapshot.generator, torch.float32):
        return score(studio, render(studio.snapshot.generator, latents))


def build_archive(
    studio: Studio, out: Path, weights: Mapping[str, Path], findings: Sequence[str], per_class: int, **search: Any
) -> Archive:
    """Build an archive and read it back."""
    settings = SearchSettings(**search)
    built = pipeline.build(out, per_class=per_class, findings=list(findings), search=settings, **weights)  # type: ignore[arg-type]
    table = read_table(out, ["label", "soft_label"])
    latents = read_table(out, ["latent"], config="provenance")["latent"].to_pylist()
    pixels = read_pixels(out)
    return Archive(
        score(studio, pixels),
        np.array(studio.guide.vocabulary)[table["label"].to_numpy()],
        table["soft_label"].to_numpy(),
        np.array(latents, np.float32),
        built.tallies,
    )


def unseen_rows(films: RadiographSet, classifier: Classifier) -> npt.NDArray[np.int64]:
    """Labelled films of patients the classifier was not trained on."""
    seen = set(classifier.meta["patients"])
    rows = films.rows("train", "validation", "test")
    new = [not seen & set(patient_prefixes([patient])) for patient in films.patients[rows].tolist()]
    return rows[np.array(new, bool)]


def measure_labels(
    studio: Studio,
    archive: Archive,
    draws: Scored,
    control: Scored,
    labelled: RadiographSet,
    *,
    strictness: float,
    matched: bool = False,
) -> dict[str, Any]:
    """Transfer, dose, exaggeration, purity and view of every finding in the archive; prints a line for each.

    For an archive `matched` by view the control is matched too: films accepted at the bar of their own view.
    """
    rows = unseen_rows(labelled, studio.judge)
    real, patients = studio.judge.outputs(labelled.pixels[rows]), labelled.patients[rows]
    found = {}
    for finding in [name for name in studio.guide.vocabulary if name in set(archive.label)]:
        column = studio.guide.vocabulary.index(finding)
        accepted = control.guide[:, column] >= _bars(studio.guide, control, finding, strictness, matched)
        asked = archive.images.rows(archive.label == finding)
        labels = labelled.labels[rows, column]
        positive, negative = labels == 1, labels == 0
        carried = _transfer(asked, draws, control, accepted, column)
        logits = asked.judge[:, column], real[positive, column], real[negative, column]
        groups = {"positive_groups": patients[positive], "negative_groups": patients[negative]}
        chosen = control.judge[accepted, column]
        excess = exaggeration_excess(logits[0], chosen, logits[1], positive_groups=patients[positive], seed=0)
        found[finding] = {
            "images": len(logits[0]),
            "reach_the_bar": {
                "random draws": float((draws.guide[:, column] >= studio.guide.bar(finding, strictness)).mean()),
                "real films": float(accepted.mean()),
            },
            "guide_mean": {
                "asked": float(asked.guide[:, column].mean()),
                "control": float(control.guide[accepted, column].mean()),
            },
            "transfer": as_dict(carried.transfer),
            "auroc_asked_vs_random": as_dict(carried.synthetic),
            "auroc_accepted_vs_all_films": as_dict(carried.control),
            "within": {view: _within(studio, asked, draws, control, accepted, column, view) for view in VIEWS},
            "dose": as_dict(dose(*logits, **groups, seed=0)),
            "dose_control": as_dict(dose(chosen, *logits[1:], **groups, seed=0)),
            "exaggeration_excess": as_dict(excess),
            "purity": _purity(studio, logits[0], real[:, column], labels, patients, finding),
            "soft_label_mean": float(archive.soft[archive.label == finding].mean()),
            "view_auroc": _view_auroc(studio, asked, draws),
        }
        _print_finding(finding, found[finding])
    return found


def measure_diversity(
    studio: Studio, archive: Archive, draws: Scored, labelled: RadiographSet, *, strictness: float, seed: int = 0
) -> dict[str, Any]:
    """Coverage beside rejection sampling and random draws, duplicates, and how alike images of one finding are."""
    rng = np.random.default_rng(seed)
    sides: dict[str, list[npt.NDArray[np.uint8]]] = {"real": [], "ours": [], "rejection": [], "random": []}
    findings, patients = [], []
    for finding in [name for name in studio.guide.vocabulary if name in set(archive.label)]:
        column = studio.guide.vocabulary.index(finding)
        films = np.flatnonzero(labelled.labels[:, column] == 1)
        own = np.flatnonzero(archive.label == finding)
        reached = np.flatnonzero(draws.guide[:, column] >= studio.guide.bar(finding, strictness))
        count = min(len(films), len(own), len(reached), MOST_COMPARED)
        films, own, reached = (np.sort(rng.choice(rows, count, replace=False)) for rows in (films, own, reached))
        drawn = np.sort(rng.choice(len(draws.pixels), count, replace=False))
        findings.append(finding)
        patients.append(labelled.patients[films])
        for side, pixels in (
            ("real", labelled.pixels[films]),
            ("ours", archive.images.pixels[own]),
            ("rejection", draws.pixels[reached]),
            ("random", draws.pixels[drawn]),
        ):
            sides[side].append(pixels)
    spaces = {"imagenet": imagenet_features, "judge": studio.judge.features}
    ratios, by_finding = {}, {finding: {"images": len(sides["real"][i])} for i, finding in enumerate(findings)}
    for space, extract in spaces.items():
        features = {side: [extract(pixels) for pixels in parts] for side, parts in sides.items()}
        real = features.pop("real")
        ratios[space] = {
            f"ours over {side}": as_dict(
                macro_coverage_ratio(real, features["ours"], features[side], groups=patients, seed=seed)
            )
            for side in ("rejection", "random")
        }
        for index, finding in enumerate(findings):
            measured = {
                side: manifold(real[index], parts[index], groups=patients[index]) for side, parts in features.items()
            }
            by_finding[finding][space] = {
                side: {"coverage": found.coverage.value, "density": found.density.value}
                for side, found in measured.items()
            }
        print(
            f"  coverage, {space:8}  " + ", ".join(f"{name} {told(ratio)}" for name, ratio in ratios[space].items()),
            flush=True,
        )
    for index, finding in enumerate(findings):
        by_finding[finding]["ms_ssim"] = {
            side: as_dict(mean_intra_class(sides[side][index], SSIM_PAIRS, seed=seed)) for side in ("ours", "real")
        }
    names = [str(number) for number in range(len(archive.label))]
    near = float((nearest_latent_deg(archive.latents) < DUPLICATE_DEG).mean())
    return {
        "coverage_ratio": ratios,
        "findings": by_finding,
        "latents_nearer_than_10_deg": near,
        "duplicates": measure_repeats(names, archive.images.pixels),
    }


def _bars(
    guide: Classifier, control: Scored, finding: str, strictness: float, matched: bool
) -> float | npt.NDArray[np.float64]:
    if not matched:
        return guide.bar(finding, strictness)
    seen = control.guide[:, len(guide.vocabulary) + guide.nuisances.index("view")] > 0
    return np.where(seen, *(guide.bar(finding, strictness, where=("view", view)) for view in (True, False)))


def _transfer(asked: Scored, draws: Scored, control: Scored, accepted: npt.NDArray[np.bool_], column: int) -> Transfer:
    return transfer(asked.judge[:, column], draws.judge[:, column], control.judge[:, column], accepted, seed=0)


def _within(
    studio: Studio,
    asked: Scored,
    draws: Scored,
    control: Scored,
    accepted: npt.NDArray[np.bool_],
    column: int,
    view: str,
) -> dict[str, Any] | None:
    """Transfer among images of one view, as the judge sees it; None where a side has fewer than 20."""
    index = len(studio.judge.vocabulary) + studio.judge.nuisances.index("view")
    sides = [(side.judge[:, index] > 0) == (view == "AP") for side in (asked, draws, control)]
    if min(sides[0].sum(), sides[1].sum(), (accepted & sides[2]).sum()) < 20:
        return None
    parts = [side.rows(chosen) for side, chosen in zip((asked, draws, control), sides, strict=True)]
    found = _transfer(*parts, accepted[sides[2]], column)
    return {"images": len(parts[0].pixels), "transfer": as_dict(found.transfer), "control": as_dict(found.control)}


def _view_auroc(studio: Studio, asked: Scored, draws: Scored) -> dict[str, float] | None:
    """How well the judge's view tells asked images from random draws; .5 = not at all."""
    if "view" not in studio.judge.nuisances:
        return None
    index = len(studio.judge.vocabulary) + studio.judge.nuisances.index("view")
    scores = np.concatenate([asked.judge[:, index], draws.judge[:, index]])
    found = bootstrap_auroc(scores, np.repeat([1, 0], [len(asked.judge), len(draws.judge)]))
    return {"value": found.value, "low": found.low, "high": found.high}


def _purity(
    studio: Studio,
    asked: npt.NDArray[np.float32],
    real: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    patients: npt.NDArray[np.str_],
    finding: str,
) -> dict[str, Any]:
    bar = float(to_logit(studio.judge.threshold(finding)))
    calls = {
        "asked_calls": asked >= bar,
        "real_calls": real >= bar,
        "real_labels": labels,
        "groups": patients,
        "seed": 0,
    }
    known = labels[~np.isnan(labels)]
    return {
        "real_prevalence": float(known.mean()),
        "rogan_gladen": as_dict(rogan_gladen(**calls)),
        "rogan_gladen_10pct_label_noise": as_dict(rogan_gladen(**calls, label_noise=0.1)),
        "score_mixture": as_dict(score_mixture(1 / (1 + np.exp(-asked)), float(known.mean()), seed=0)),
    }


def as_dict(found: Estimate) -> dict[str, float | None]:
    """For JSON: NaN is None."""
    return {
        name: None if np.isnan(value := getattr(found, name)) else float(value) for name in ("value", "low", "high")
    }


def told(found: Mapping[str, Any] | None) -> str:
    """`0.83 (0.79 to 0.88)`."""
    if not found or found["value"] is None:
        return "–"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _print_finding(finding: str, found: Mapping[str, Any]) -> None:
    reach = ", ".join(f"{100 * share:.1f} % of {name}" for name, share in found["reach_the_bar"].items())
    numbers = [
        f"transfer {told(found['transfer'])}: asked {told(found['auroc_asked_vs_random'])}",
        f"films {told(found['auroc_accepted_vs_all_films'])}",
        f"dose {told(found['dose'])}, films {told(found['dose_control'])}",
        f"exaggeration excess {told(found['exaggeration_excess'])}",
        f"view {told(found['view_auroc'])}",
        f"P(present) {told(found['purity']['score_mixture'])}, soft label {found['soft_label_mean']:.2f}",
    ]
    print(f"  {finding:20} {'; '.join(numbers)}; the bar is reached by {reach}", flush=True)
