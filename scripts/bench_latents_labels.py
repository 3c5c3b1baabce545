"""Do the labels hold before a classifier that had no part in making them, and are the images as varied as others?

Everything is measured on an archive that `pipeline.build` made, as `validate` measures it. Beside it stand random draws
of the same generator, random draws that reach the guide's bar (rejection sampling), and real films that reach it (the
control). Part of `bench_latents.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xrarchive import pipeline
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.estimates import Estimate
from xrarchive.features import imagenet_features
from xrarchive.plan import SearchSettings
from xrarchive.radiographs import RadiographSet
from xrarchive.records import ignore_status
from xrarchive.statistics import to_logit, to_probability
from xrarchive.synthesis import Studio
from xrarchive.validating.material import make_rater
from xrarchive.validating.scoring import MOST_FILMS, FilmPools, draw_pixels, score
from xrarchive.validation.coverage import macro_coverage_ratio, manifold
from xrarchive.validation.duplicates import measure_repeats
from xrarchive.validation.purity import rogan_gladen, score_mixture
from xrarchive.validation.scored import Scored
from xrarchive.validation.sides import Evidence, Sides
from xrarchive.validation.similarity import mean_intra_class, nearest_latent_deg
from xrarchive.validation.steering import measure_steering

# Images nearer than this on the sphere count as one; two random latents of 128 numbers lie 90 +- 5 degrees apart.
DUPLICATE_DEG = 10.0
SSIM_PAIRS = 400
MOST_COMPARED = 400  # of a finding's real films, for coverage
_DRAW_SEED = 900


@dataclass(frozen=True)
class Archive:
    """An archive's images with what was asked; `latents` float32 [N, Z]."""

    images: Scored
    label: npt.NDArray[np.str_]
    soft: npt.NDArray[np.float32]
    latents: npt.NDArray[np.float32]
    search: SearchSettings


def see(studio: Studio, pixels: npt.NDArray[np.uint8]) -> Scored:
    """What guide and judge say of pixels."""
    return score(raters(studio), studio.guide.vocabulary, pixels, on_status=ignore_status, text="")


def draw_images(studio: Studio, generator: Path, count: int) -> Scored:
    """Random draws as they would be stored."""
    return see(studio, draw_pixels(generator, count, seed=_DRAW_SEED, on_status=ignore_status))


def raters(studio: Studio) -> dict[str, Any]:
    return {"guide": studio.guide, "judge": studio.judge}


def build_archive(
    studio: Studio, out: Path, weights: Mapping[str, Path], findings: Sequence[str], per_class: int, **search: Any
) -> Archive:
    """Build an archive and read it back."""
    settings = SearchSettings(**search)
    pipeline.build(out, per_class=per_class, findings=list(findings), search=settings, **weights)  # type: ignore[arg-type]
    table = read_table(out, ["label", "soft_label"])
    latents = read_table(out, ["latent"], config="provenance")["latent"].to_pylist()
    return Archive(
        see(studio, read_pixels(out)),
        np.array(studio.guide.vocabulary)[table["label"].to_numpy()],
        table["soft_label"].to_numpy(),
        np.array(latents, np.float32),
        settings,
    )


def measure_labels(
    studio: Studio, archive: Archive, draws: Scored, sets: Sequence[RadiographSet]
) -> dict[str, dict[str, Any]]:
    """What steering did to every finding in the archive, and how pure it is; prints a line for each.

    Where the archive was matched by view the control is matched too: films accepted at the bar of their own view.
    """
    findings = studio.guide.vocabulary
    films = FilmPools(sets, raters(studio), findings, archive.search, seed=0, most=MOST_FILMS, on_status=ignore_status)
    control, labelled = films.unseen("guide", "judge"), films.labelled("judge")
    asked = archive.label[:, None] == np.array(findings)
    rater = make_rater("judge", studio.judge, findings, to_probability(archive.images.by["judge"].findings))
    evidence = Evidence(asked, archive.images, draws, control, labelled)
    found = {}
    for column in np.flatnonzero(asked.any(axis=0)).tolist():
        one = Sides(findings[column], column, findings, evidence, rater, seed=0, resamples=1_000)
        reach = float((draws.by["guide"].findings[:, column] >= archive_bar(studio, archive, column)).mean())
        found[one.name] = {
            "images": int(one.asked.sum()),
            "reach_the_bar": {"random draws": reach, "real films": float(control.accepted[:, column].mean())},
            **measure_steering(one),
            "purity": _purity(one),
            "soft_label_mean": float(archive.soft[one.asked].mean()),
        }
        _print_finding(one.name, found[one.name])
    return found


def archive_bar(studio: Studio, archive: Archive, column: int) -> float:
    """The guide's logit that an image was accepted with, if no view was matched."""
    return studio.guide.bar(studio.guide.vocabulary[column], archive.search.strictness)


def measure_diversity(
    studio: Studio, archive: Archive, draws: Scored, labelled: RadiographSet, *, seed: int = 0
) -> dict[str, Any]:
    """Coverage beside rejection sampling and random draws, duplicates, and how alike images of one finding are."""
    rng = np.random.default_rng(seed)
    sides: dict[str, list[npt.NDArray[np.uint8]]] = {"real": [], "ours": [], "rejection": [], "random": []}
    findings, patients = [], []
    for finding in [name for name in studio.guide.vocabulary if name in set(archive.label)]:
        column = studio.guide.vocabulary.index(finding)
        films = np.flatnonzero(labelled.labels[:, column] == 1)
        own = np.flatnonzero(archive.label == finding)
        reached = np.flatnonzero(draws.by["guide"].findings[:, column] >= archive_bar(studio, archive, column))
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


def _purity(one: Sides) -> dict[str, Any]:
    """From calls corrected on labelled films whose patients are drawn whole, and from scores."""
    labelled = one.evidence.labelled
    asked, labels = one.logits(one.images)[one.asked], labelled.labels[:, one.column]
    bar = float(to_logit(one.rater.thresholds[one.column]))
    calls = {
        "asked_calls": asked >= bar,
        "real_calls": one.logits(labelled.scored) >= bar,
        "real_labels": labels,
        "groups": labelled.patients,
        "seed": one.seed,
    }
    prevalence = float(labels[~np.isnan(labels)].mean())
    return {
        "real_prevalence": prevalence,
        "rogan_gladen": as_dict(rogan_gladen(**calls)),
        "rogan_gladen_10pct_label_noise": as_dict(rogan_gladen(**calls, label_noise=0.1)),
        "score_mixture": as_dict(score_mixture(to_probability(asked), prevalence, seed=one.seed)),
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
    if found.get("low") is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _print_finding(finding: str, found: Mapping[str, Any]) -> None:
    reach = ", ".join(f"{100 * share:.1f} % of {name}" for name, share in found["reach_the_bar"].items())
    transfer, dose = found["transfer"], found["dose"]
    numbers = [
        f"transfer {told(transfer)}: asked {told(transfer.get('auroc'))}",
        f"films {told(transfer.get('auroc', {}).get('ceiling'))}",
        f"dose {told(dose)}, films {told(dose.get('ceiling'))}",
        f"exaggeration excess {told(found['exaggeration'].get('excess'))}",
        f"view {told(found['view'])}",
        f"P(present) {told(found['purity']['score_mixture'])}, soft label {found['soft_label_mean']:.2f}",
    ]
    print(f"  {finding:20} {'; '.join(numbers)}; the bar is reached by {reach}", flush=True)
