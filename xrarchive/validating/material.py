"""What a validation measures with: subject, radiographs, classifiers, features. Gathered once, for all parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xrarchive.archive.manifest import Manifest, read_manifest
from xrarchive.archive.reader import read_table
from xrarchive.archive.schema import GUIDE_PREFIX, JUDGE_PREFIX, PROVENANCE
from xrarchive.bundled import bundled_reference, weights_path
from xrarchive.errors import InputDataError
from xrarchive.estimates import RESAMPLES
from xrarchive.files import sha256_file
from xrarchive.kernel import IMAGES_NEEDED
from xrarchive.pixels import Pixels
from xrarchive.plan import SearchSettings
from xrarchive.radiographs import RadiographSet, open_set
from xrarchive.records import OnStatus
from xrarchive.validating.scoring import (
    FEWEST_DRAWS,
    MOST_DRAWS,
    MOST_FILMS,
    QUICK_FILMS,
    FilmPools,
    draw_pixels,
    score,
)
from xrarchive.validation.columns import PROVENANCE_COLUMNS, needed_columns, to_images
from xrarchive.validation.degrading import blur_slightly
from xrarchive.validation.raters import Rater
from xrarchive.validation.reference import Reference, load_reference, make_reference
from xrarchive.validation.scored import Scored
from xrarchive.validation.subject import Subject, archive_subject

if TYPE_CHECKING:
    from xrarchive.classifier.classifier import Classifier
    from xrarchive.features.sharing import Crew

# Of an interval that is for a first look.
QUICK_RESAMPLES = 200


@dataclass(frozen=True, kw_only=True)
class Material:
    """Everything a part may measure with.

    Attributes:
        subject: What is validated.
        archive: Folder of the archive; None if the subject is no archive.
        films: Radiograph sets given, in the order given; empty = the bundled reference statistics alone.
        judge: The classifier the subject's labels are measured by.
        referee: A third one, or None.
        guide: The classifier that steered the search; else why it is not at hand, as a sentence.
        generator: Weight file of the generator; else why it is not at hand, as a sentence.
        reference: Features of held-out radiographs.
        crew: Computes features: ``crew.extract(space, pixels)``.
        blurred: By feature space float32 [M, D] of the reference's films made worse, in its order; empty without films.
        workers: Processes or threads a part may use.
        strip: Where to show the images beside their nearest training films, for the publisher's eyes only; None =
            nowhere.
        quick: Fewer resamples and trials, said in the report.
        on_status: Told what is being measured.
    """

    subject: Subject
    archive: Path | None
    films: tuple[RadiographSet, ...]
    judge: Classifier
    referee: Classifier | None
    guide: Classifier | str
    generator: Path | str
    reference: Reference
    crew: Crew
    blurred: Mapping[str, NDArray[np.float32]]
    workers: int
    quick: bool
    on_status: OnStatus
    strip: Path | None = None

    @property
    def classifiers(self) -> dict[str, Classifier]:
        """By role those that are at hand."""
        guide = {} if isinstance(self.guide, str) else {"guide": self.guide}
        return {**guide, "judge": self.judge, **({} if self.referee is None else {"referee": self.referee})}

    @cached_property
    def features(self) -> dict[str, NDArray[np.float32]]:
        """By feature space float32 [N, D] of the subject's images."""
        return _features(self.subject.images.pixels, self.crew, self.on_status)

    @cached_property
    def searches(self) -> tuple[SearchSettings, ...]:
        """What the guide had to see, of every build; of images that another tool made, the default."""
        if self.archive is None:
            return (SearchSettings(),)
        return tuple(SearchSettings(**build.settings) for build in read_manifest(self.archive).builds)

    @cached_property
    def scored(self) -> Scored:
        """The subject's images, scored anew."""
        return self._score(self.subject.images.pixels, "images")

    @cached_property
    def draws(self) -> Scored | str:
        """Random draws of the generator, scored; a sentence if it is not at hand."""
        if isinstance(self.generator, str):
            return self.generator
        most = FEWEST_DRAWS if self.quick else MOST_DRAWS
        count = min(max(2 * len(self.subject.images.pixels), FEWEST_DRAWS), most)
        pixels = draw_pixels(self.generator, count, seed=self.subject.seed, on_status=self.on_status)
        return self._score(pixels, "random draws")

    @cached_property
    def real(self) -> FilmPools:
        """The films of all sets given, scored where they are needed."""
        return FilmPools(
            self.films,
            self.classifiers,
            self.subject.findings,
            self.searches[-1],
            seed=self.subject.seed,
            most=QUICK_FILMS if self.quick else MOST_FILMS,
            on_status=self.on_status,
        )

    def _score(self, pixels: Pixels, text: str) -> Scored:
        return score(self.classifiers, self.subject.findings, pixels, on_status=self.on_status, text=text)

    @property
    def rater(self) -> Rater:
        """Who measures the labels: the judge, or the referee where the judge chose the images."""
        judge, referee = self.raters
        return referee if self.subject.judge_filtered and referee is not None else judge

    @property
    def label_resamples(self) -> int:
        """Of the intervals of label and diversity measures."""
        return QUICK_RESAMPLES if self.quick else RESAMPLES

    @property
    def fingerprints(self) -> dict[str, str]:
        """By feature space the sha256 of the weights behind it."""
        return fingerprints(self.crew)

    @property
    def raters(self) -> tuple[Rater, Rater | None]:
        """Judge and referee, as the labels part knows them."""
        subject = self.subject
        referee = self.referee
        return (
            make_rater("judge", self.judge, subject.findings, subject.images.judge),
            None
            if referee is None
            else make_rater(
                "referee", referee, subject.findings, known_scores(referee, subject.findings, subject.images.pixels)
            ),
        )


@contextmanager
def open_features(spaces: Sequence[str], judge: Path | None, *, cache: Path | None, workers: int) -> Iterator[Crew]:
    """The feature spaces of a validation, with whoever computes them; arguments as `xrarchive.validating.validate`."""
    from xrarchive.classifier.classifier import load_classifier
    from xrarchive.features import open_space
    from xrarchive.features.cache import FeatureCache
    from xrarchive.features.sharing import open_crew

    measuring = load_classifier(weights_path("judge", judge), role="judge")
    opened = [open_space(wanted, judge=measuring) for wanted in dict.fromkeys(spaces)]
    kept = None if cache is None else FeatureCache(cache)
    with open_crew({space.name: space for space in opened}, workers=workers, cache=kept) as crew:
        yield crew
    if kept and crew.devices.first:
        kept.tidy()


def fingerprints(crew: Crew) -> dict[str, str]:
    """By feature space the sha256 of the weights behind it."""
    return {name: space.fingerprint for name, space in crew.spaces.items()}


def _features(pixels: Pixels, crew: Crew, on_status: OnStatus) -> dict[str, NDArray[np.float32]]:
    return {name: crew.extract(name, pixels, on_status=on_status) for name in crew.spaces}


def gather(
    archive_dir: Path,
    *,
    radiographs: tuple[Path, ...],
    generator: Path | None,
    guide: Path | None,
    judge: Path | None,
    referee: Path | None,
    crew: Crew,
    quick: bool,
    on_status: OnStatus,
) -> Material:
    """Open everything a validation of an archive needs; arguments as `xrarchive.validating.validate`."""
    manifest = read_manifest(archive_dir)
    measuring = _load_judge(weights_path("judge", judge), archive_dir, manifest)
    third = None if referee is None else _load_referee(weights_path("referee", referee), manifest)
    return equip(
        open_subject(archive_dir, manifest),
        archive=archive_dir,
        radiographs=radiographs,
        judge=measuring,
        referee=third,
        guide=_guide_at_hand(guide, manifest),
        generator=_weights_at_hand("generator", generator, manifest),
        crew=crew,
        quick=quick,
        on_status=on_status,
    )


def equip(
    subject: Subject,
    *,
    archive: Path | None,
    radiographs: tuple[Path, ...],
    judge: Classifier,
    referee: Classifier | None,
    guide: Classifier | str,
    generator: Path | str,
    crew: Crew,
    quick: bool,
    on_status: OnStatus,
) -> Material:
    """A subject with what it is measured against: sets opened, features of the reference taken.

    Args:
        subject: What is validated.
        archive: Its folder, if it is an archive.
        radiographs: Sets to compare with; the first is the reference, none = the bundled statistics.
        judge: See `Material`, as all that follow.
        referee: A classifier, or None.
        guide: A classifier, or why there is none.
        generator: A weight file, or why there is none.
        crew: Computes features.
        quick: Fewer resamples and trials.
        on_status: Told what is being measured.
    """
    films = tuple(open_set(folder) for folder in radiographs)
    reference, blurred = (
        _reference(films[0], judge, crew, on_status) if films else (load_reference(bundled_reference()), {})
    )
    return Material(
        subject=subject,
        archive=archive,
        films=films,
        judge=judge,
        referee=referee,
        guide=guide,
        generator=generator,
        reference=reference,
        crew=crew,
        blurred=blurred,
        workers=crew.workers,
        quick=quick,
        on_status=on_status,
    )


def open_subject(archive_dir: Path, manifest: Manifest) -> Subject:
    """An archive as every part sees it.

    Raises:
        DamageError: If a shard cannot be read.
    """
    scored = [prefix + name for prefix in (GUIDE_PREFIX, JUDGE_PREFIX) for name in manifest.findings]
    images = to_images(
        read_table(archive_dir, needed_columns(manifest.findings, scored)),
        read_table(archive_dir, list(PROVENANCE_COLUMNS), PROVENANCE),
        manifest.findings,
        manifest.nuisances,
    )
    return archive_subject(archive_dir.resolve().name, manifest, images)


def known_scores(classifier: Classifier, findings: tuple[str, ...], pixels: Pixels) -> NDArray[np.float32]:
    """Scores [N, K] in the order of `findings`; NaN where the classifier does not know one."""
    scores = np.full((len(pixels), len(findings)), np.nan, np.float32)
    known = [name for name in findings if name in classifier.vocabulary]
    columns = [classifier.vocabulary.index(name) for name in known]
    scores[:, [findings.index(name) for name in known]] = classifier.scores(pixels)[:, columns]
    return scores


def make_rater(role: str, classifier: Classifier, findings: tuple[str, ...], scores: NDArray[np.float32]) -> Rater:
    """A classifier as the labels part knows it; thresholds NaN where it does not know a finding."""
    thresholds = [classifier.threshold(name) if name in classifier.vocabulary else math.nan for name in findings]
    return Rater(role, classifier.sha256, scores, np.array(thresholds, np.float32), classifier.meta["figures"])


def _weights_at_hand(role: str, given: Path | None, manifest: Manifest) -> Path | str:
    """The weight file the archive was built with, or why there is none.

    Raises:
        InputDataError: If a file was given and is another one.
    """
    path, expected = weights_path(role, given), manifest.weights[role].sha256
    found = sha256_file(path)
    if found == expected:
        return path
    reason = f"The {role} this archive was built with ({expected[:12]}) is not at hand: name it with --{role} FILE."
    if given is None:
        return reason
    raise InputDataError(
        f"{path} is not the {role} this archive was built with: expected sha256 {expected[:12]}, found {found[:12]}.",
        fix=f"Name the {role} of that build with --{role}, or leave the option out.",
        path=path,
    )


def _guide_at_hand(given: Path | None, manifest: Manifest) -> Classifier | str:
    from xrarchive.classifier.classifier import load_classifier

    found = _weights_at_hand("guide", given, manifest)
    return found if isinstance(found, str) else load_classifier(found, role="guide")


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


def _reference(
    real: RadiographSet, judge: Classifier, crew: Crew, on_status: OnStatus
) -> tuple[Reference, dict[str, NDArray[np.float32]]]:
    """Features of held-out films, and of the same films blurred."""
    from xrarchive.gan.realism import HELD_OUT_SPLITS
    from xrarchive.gan.training import TRAINING_SPLITS

    sizes = {name: len(real.rows(name)) for name in HELD_OUT_SPLITS if len(real.rows(name))}
    split = next((name for name, size in sizes.items() if size >= IMAGES_NEEDED), next(iter(sizes), None))
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
    reference = make_reference(
        f"{real.folder.name}, {split}",
        _features(pixels, crew, on_status),
        fingerprints=fingerprints(crew),
        patients=real.patients[rows],
        source=f"The {len(rows)} radiographs of the split {split!r} of the radiograph set {real.sha256[:12]} that "
        "have no identical twin among the films a generator is trained on.",
    )
    return reference, _features(blur_slightly(pixels), crew, on_status)
