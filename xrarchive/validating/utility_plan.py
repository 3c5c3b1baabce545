"""Who learns from what in the utility part, and on which films it is tested: arrays of rows, nothing trained yet.

Real side: the labelled films of the set that has most of them, in patient folds; synthetic side: the images with what
was asked for.

*Who is tested on*: films of patients whom the guide did not learn from, where its weights name its patients: the guide
chose the images, and would hand on what it knows of its own patients. Networks may learn from those films.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import make_rng
from xrarchive.radiographs import RadiographSet, patient_folds
from xrarchive.validating.material import Material

# Below this many on either side, networks learn next to nothing and the test has no power.
MINIMUM_IMAGES = 100
# Images, and films, with and without a finding.
MINIMUM_EACH = 20
FOLDS = 3
# Images an arm learns from, and films in all: time grows with the first, memory with the second.
MOST_IMAGES, MOST_QUICK = 4_000, 1_000
MOST_FILMS = 8_000

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class UtilityPlan:
    """Who learns from what and is tested on what.

    Attributes:
        films: The radiograph set.
        findings: Those measured [K].
        rows: Labelled rows of the set [M].
        fold: Of those, the fold each is tested in [M]; -1 = learned from only.
        images: Rows of the subject that are learned from [n].
        learned: For each fold the places in `rows` that are learned from, [FOLDS, n].
        unmeasured: Why a finding that was asked for is not measured.
        caveat: What the guide knows of the patients tested on.
    """

    films: RadiographSet
    findings: tuple[str, ...]
    rows: Rows
    fold: Rows
    images: Rows
    learned: Rows
    unmeasured: Mapping[str, str]
    caveat: str

    @property
    def tested(self) -> Rows:
        """Places in `rows` that are tested on, fold after fold [T]."""
        return np.concatenate([np.flatnonzero(self.fold == number) for number in range(FOLDS)])


def plan_utility(material: Material) -> UtilityPlan | str:
    """The plan, or the sentence that says why utility cannot be measured."""
    subject, films = material.subject, _most_labelled(material)
    if len(subject.images.pixels) < MINIMUM_IMAGES:
        return f"Utility needs {MINIMUM_IMAGES} images to learn from; there are {len(subject.images.pixels)}."
    if isinstance(films, str):
        return films
    rows = _some_patients(films, labelled_rows(films), subject.seed)
    known, caveat = _known_to_guide(material, films.patients[rows])
    open_places = np.flatnonzero(~known)
    patients = films.patients[rows[open_places]]
    if len(open_places) < MINIMUM_IMAGES or len(np.unique(patients)) < MINIMUM_EACH:
        return (
            f"Utility is measured on films of patients the guide did not learn from: {MINIMUM_IMAGES} films of "
            f"{MINIMUM_EACH} patients are needed, {films.folder.name} has {len(open_places)} of "
            f"{len(np.unique(patients))}."
        )
    fold = np.full(len(rows), -1, np.int64)
    fold[open_places] = patient_folds(patients, FOLDS, subject.seed)
    images, learned = _equal_numbers(material, fold)
    if len(images) < MINIMUM_IMAGES:
        return f"Utility needs {MINIMUM_IMAGES} films to learn from; {films.folder.name} leaves {len(images)} a fold."
    findings, unmeasured = _findings(material, films, rows[fold >= 0], images)
    if not findings:
        return "No finding can be measured: " + " ".join(dict.fromkeys(unmeasured.values()))
    return UtilityPlan(
        films=films,
        findings=findings,
        rows=rows,
        fold=fold,
        images=images,
        learned=learned,
        unmeasured=unmeasured,
        caveat=caveat,
    )


def labelled_rows(films: RadiographSet) -> Rows:
    """Rows with a label, of all splits that have any."""
    from xrarchive.classifier.training import LABELLED_SPLITS

    rows = films.rows(*LABELLED_SPLITS)
    return rows[~np.isnan(films.labels[rows]).all(axis=1)]


def _most_labelled(material: Material) -> RadiographSet | str:
    """The set with most labelled films of the images' size, or why there is none."""
    size_px = material.subject.images.pixels.shape[1]
    if not material.films:
        return "No radiographs were given to learn from and to test on: validate with --radiographs SET."
    fitting = [films for films in material.films if films.size_px == size_px]
    best = max(fitting, key=lambda films: len(labelled_rows(films)), default=None)
    if best is None or not len(labelled_rows(best)):
        return (
            f"None of the radiograph sets given has labelled films of {size_px} px: validate with --radiographs SET, a "
            f"set with labels, ingested with --size {size_px}."
        )
    return best


def _some_patients(films: RadiographSet, rows: Rows, seed: int) -> Rows:
    """`rows`, or those of patients drawn at random until `MOST_FILMS` are reached."""
    if len(rows) <= MOST_FILMS:
        return rows
    codes = np.unique(films.patients[rows], return_inverse=True)[1]
    order = make_rng(seed, "utility", "patients").permutation(codes.max() + 1)
    taken = order[np.cumsum(np.bincount(codes)[order]) <= MOST_FILMS]
    return rows[np.isin(codes, taken)]


def _known_to_guide(material: Material, patients: npt.NDArray[np.str_]) -> tuple[npt.NDArray[np.bool_], str]:
    """Which films [M] are of patients the guide learned from, and a clause that says what is known of it."""
    from xrarchive.classifier.training import patient_prefixes

    unknown = np.zeros(len(patients), np.bool_)
    if isinstance(material.guide, str):
        return unknown, "the guide is not at hand, so films of its patients could not be left out, which favours images"
    named = set(material.guide.meta["patients"])
    if not named:
        return unknown, "the guide's weights do not name its patients, so that some of these films may have taught it"
    names, place = np.unique(patients, return_inverse=True)
    learned = np.array([patient_prefixes([name])[0] in named for name in names.tolist()], np.bool_)
    known = learned[place]
    if material.subject.kind == "folder":
        told = "from whom the makers of this set learned is not known"
    elif known.any():
        told = "films of patients the guide learned from are left out"
    else:
        told = "the guide learned from none of these patients"
    return known, told


def _equal_numbers(material: Material, fold: Rows) -> tuple[Rows, Rows]:
    """Rows of the images [n], and for each fold places of films [FOLDS, n]: the smaller side decides on n."""
    subject, most = material.subject, MOST_QUICK if material.quick else MOST_IMAGES
    pools = [np.flatnonzero(fold != number) for number in range(FOLDS)]
    count = min(most, len(subject.images.pixels), *map(len, pools))
    rng = make_rng(subject.seed, "utility", "films")
    learned = np.stack([np.sort(rng.choice(places, count, replace=False)) for places in pools])
    chosen = make_rng(subject.seed, "utility", "images").choice(len(subject.images.pixels), count, replace=False)
    return np.sort(chosen), learned


def _findings(
    material: Material, films: RadiographSet, tested: Rows, images: Rows
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Which findings that were asked for can be measured, and why the others cannot."""
    subject, measured, unmeasured = material.subject, [], {}
    for k, name in enumerate(subject.findings):
        if not subject.images.asked[:, k].any():
            continue
        if name not in films.vocabulary:
            unmeasured[name] = f"The films of {films.folder.name} have no labels for {name}."
            continue
        real, asked = films.labels[tested, films.vocabulary.index(name)], subject.images.asked[images, k]
        sides = [int(count) for count in ((real == 1).sum(), (real == 0).sum(), asked.sum(), (~asked).sum())]
        if min(sides) < MINIMUM_EACH:
            unmeasured[name] = (
                f"Utility needs {MINIMUM_EACH} films and images with and without {name}: there are {sides[0]} and "
                f"{sides[1]} films to test on, {sides[2]} and {sides[3]} images asked for it and not."
            )
            continue
        measured.append(name)
    return tuple(measured), unmeasured
