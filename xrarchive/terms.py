"""Terms under which radiographs were given, carried by everything made from them: sets, weights, archives, cards.

A radiograph set names its terms; weights and archives inherit the names. The texts live here once. Two questions are
kept apart, since their answers differ: may the films themselves be shown to others (`Terms.may_leave`), and may what
was made from them be given on (`Terms.release`). Each answer has the words of the source that decide it.

Sources: `Terms.clause_url`, November 2026; those of CheXpert, PadChest and SIIM-ACR as others quote them, since their
pages ask for registration (SIIM-ACR: the clause common to Kaggle's competitions). Where a clause speaks of copies only,
the careful reading is taken: what is made from the films is given on as whoever holds the films says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from xrarchive.errors import SettingsError
from xrarchive.findings import nearest

Release = Literal["open", "gated", "forbidden"]


@dataclass(frozen=True)
class Terms:
    """The terms of one source of radiographs.

    Attributes:
        name: The word used with ``--terms`` and stored in files.
        title: The source as written in a card.
        licence: Hub licence id, or "other" where the source's own words are the licence.
        notice: What must be said wherever things made from the source are given on.
        url: Where the source is to be found.
        citation: The publication to cite.
        release: Whether images and weights made from the films may be published: "open" = to anybody, "gated" = only to
            persons the publisher lets in one by one, "forbidden" = only with the holder's written permission.
        clause: The source's words that decide `release`.
        clause_url: Where they stand.
        may_leave: Whether the films themselves may be shown to others; False where whoever got them must keep them.
    """

    name: str
    title: str
    licence: str
    notice: str
    url: str
    citation: str
    release: Release
    clause: str
    clause_url: str
    may_leave: bool = True


_WANG = (
    "X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers. ChestX-ray8: Hospital-scale Chest X-ray Database "
    "and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases. CVPR 2017."
)
_NIH_URL = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
_NIH_CLAUSE = (
    "There are no restrictions on the use of the NIH chest x-ray images. However, the dataset has the following "
    "attribution requirements: Provide a link to the NIH download site; Include a citation to the CVPR 2017 paper; "
    "Acknowledge that the NIH Clinical Center is the data provider."
)

_NIH = Terms(
    name="nih-chestxray14",
    title="NIH ChestX-ray14",
    licence="other",
    notice=(
        "Made from NIH ChestX-ray14, provided by the NIH Clinical Center, which puts no restriction on use and asks "
        "to be acknowledged, to be linked to at its download site, and that Wang et al. be cited."
    ),
    url=_NIH_URL,
    citation=_WANG,
    release="open",
    clause=_NIH_CLAUSE,
    clause_url="https://cloud.google.com/healthcare-api/docs/resources/public-datasets/nih-chest",
)

_MEDNIST = Terms(
    name="mednist",
    title="MedNIST",
    licence="cc-by-sa-4.0",
    notice=(
        "Made from MedNIST, assembled by B. J. Erickson (Department of Radiology, Mayo Clinic) and shared under "
        "Creative Commons Attribution-ShareAlike 4.0; what is made from it is shared under the same licence."
    ),
    url="https://creativecommons.org/licenses/by-sa/4.0/",
    citation="B. J. Erickson. MedNIST. Department of Radiology, Mayo Clinic.",
    release="open",
    clause=(
        "ShareAlike: the Adapter's License You apply must be a Creative Commons license with the same License "
        "Elements, this version or later, or a BY-SA Compatible License (section 3.b)."
    ),
    clause_url="https://creativecommons.org/licenses/by-sa/4.0/legalcode",
)

_PHYSIONET = Terms(
    name="physionet-credentialed",
    title="PhysioNet, credentialed access (MIMIC-CXR, MIMIC-CXR-JPG, VinDr-CXR)",
    licence="other",
    notice=(
        "Made from data of PhysioNet under its Credentialed Health Data License and Use Agreement, which forbids "
        "sharing access to the data with anyone else, and asks that what is derived be shared under the same "
        "agreement."
    ),
    url="https://physionet.org/about/licenses/physionet-credentialed-health-data-license-150/",
    citation="A. L. Goldberger et al. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23), 2000.",
    release="gated",
    clause=(
        "Any derived datasets or models should be treated as containing sensitive information. If you wish to share "
        "these resources, they should be shared on PhysioNet under the same agreement as the source data."
    ),
    clause_url="https://physionet.org/content/mimiciv/3.1/",
    may_leave=False,
)

_CHEXPERT = Terms(
    name="chexpert",
    title="CheXpert",
    licence="other",
    notice=(
        "Made from CheXpert under Stanford's Research Use Agreement, which is for personal, non-commercial research, "
        "forbids sharing any portion of the data and making derivative works without written permission."
    ),
    url="https://stanfordmlgroup.github.io/competitions/chexpert/",
    citation=(
        "J. Irvin, P. Rajpurkar, M. Ko, Y. Yu, et al. CheXpert: A Large Chest Radiograph Dataset with Uncertainty "
        "Labels and Expert Comparison. AAAI 2019."
    ),
    release="forbidden",
    clause=(
        "You may not distribute, publish, or reproduce a copy of any portion or all of the CheXpert Dataset to others "
        "without specific prior written permission from the School of Medicine."
    ),
    clause_url="https://stanfordmlgroup.github.io/competitions/chexpert/",
    may_leave=False,
)

_PADCHEST = Terms(
    name="padchest",
    title="PadChest",
    licence="other",
    notice=(
        "Made from PadChest under BIMCV's Research Use Agreement, which is for research, and forbids sharing any "
        "portion of the data without written permission."
    ),
    url="https://bimcv.cipf.es/bimcv-projects/padchest/",
    citation=(
        "A. Bustos, A. Pertusa, J.-M. Salinas, M. de la Iglesia-Vayá. PadChest: A large chest x-ray image dataset with "
        "multi-label annotated reports. Medical Image Analysis 66, 2020."
    ),
    release="forbidden",
    clause=(
        "You may not distribute, publish, or reproduce a copy of any portion or all of the PadChest Dataset to others "
        "without specific prior written permission (clause 5)."
    ),
    clause_url="https://bimcv.cipf.es/bimcv-projects/padchest/padchest-dataset-research-use-agreement/",
    may_leave=False,
)

_RSNA = Terms(
    name="rsna-pneumonia",
    title="RSNA Pneumonia Detection Challenge (2018)",
    licence="other",
    notice=(
        "Made from the RSNA Pneumonia Detection Challenge: films of NIH ChestX-ray14, provided by the NIH Clinical "
        "Center, with annotations of the RSNA and the Society of Thoracic Radiology; both ask to be acknowledged."
    ),
    url=(
        "https://www.rsna.org/education/ai-resources-and-training/ai-image-challenge/"
        "rsna-pneumonia-detection-challenge-2018"
    ),
    citation=(
        "G. Shih, C. C. Wu, S. S. Halabi, et al. Augmenting the National Institutes of Health Chest Radiograph Dataset "
        f"with Expert Annotations of Possible Pneumonia. Radiology: Artificial Intelligence 1(1), 2019. {_WANG}"
    ),
    release="open",
    clause=(
        "You may access and use the imaging datasets and annotations for the purposes of academic research and "
        "education, and other commercial or non-commercial purposes as long as you meet the attribution requirements."
    ),
    clause_url=(
        "https://www.rsna.org/education/ai-resources-and-training/ai-image-challenge/"
        "rsna-pneumonia-detection-challenge-2018"
    ),
)

_SIIM = Terms(
    name="siim-acr",
    title="SIIM-ACR Pneumothorax Segmentation",
    licence="other",
    notice=(
        "Made from the SIIM-ACR Pneumothorax Segmentation competition, which forbids sharing its data with "
        "anybody who takes no part in it. Its films are of NIH ChestX-ray14, provided by the NIH Clinical Center."
    ),
    url="https://www.kaggle.com/competitions/siim-acr-pneumothorax-segmentation",
    citation=f"SIIM-ACR Pneumothorax Segmentation. Kaggle, 2019. {_WANG}",
    release="forbidden",
    clause=(
        "You agree not to transmit, duplicate, publish, redistribute or otherwise provide or make available the "
        "Competition Data to any party not participating in the Competition."
    ),
    clause_url="https://www.kaggle.com/competitions/siim-acr-pneumothorax-segmentation/rules",
    may_leave=False,
)

_OPEN_I = Terms(
    name="open-i",
    title="Open-i, Indiana University chest X-ray collection",
    licence="cc-by-nc-nd-4.0",
    notice=(
        "Made from the Indiana University chest X-ray collection of Open-i (U.S. National Library of Medicine) under "
        "Creative Commons Attribution-NonCommercial-NoDerivatives 4.0, which forbids sharing what is adapted from it."
    ),
    url="https://openi.nlm.nih.gov/",
    citation=(
        "D. Demner-Fushman, M. D. Kohli, M. B. Rosenman, et al. Preparing a collection of radiology examinations for "
        "distribution and retrieval. Journal of the American Medical Informatics Association 23(2), 2016."
    ),
    release="forbidden",
    clause=(
        "The licence is to reproduce and Share the Licensed Material, in whole or in part, for NonCommercial purposes "
        "only; and produce and reproduce, but not Share, Adapted Material (section 2.a.1)."
    ),
    clause_url="https://creativecommons.org/licenses/by-nc-nd/4.0/legalcode",
)

_CHESTMNIST = Terms(
    name="chestmnist",
    title="ChestMNIST of MedMNIST v2",
    licence="cc-by-4.0",
    notice=(
        "Made from ChestMNIST of MedMNIST v2, shared under Creative Commons Attribution 4.0: films of NIH "
        "ChestX-ray14, provided by the NIH Clinical Center, made smaller. Both ask to be acknowledged and cited, and "
        f"the NIH to be linked to: {_NIH_URL}."
    ),
    url="https://medmnist.com/",
    citation=(
        "J. Yang, R. Shi, D. Wei, et al. MedMNIST v2: A large-scale lightweight benchmark for 2D and 3D biomedical "
        f"image classification. Scientific Data 10, 41, 2023. {_WANG}"
    ),
    release="open",
    clause="You are free to share and adapt the material for any purpose, even commercially, with attribution.",
    clause_url="https://creativecommons.org/licenses/by/4.0/",
)

TERMS: Mapping[str, Terms] = MappingProxyType(
    {
        terms.name: terms
        for terms in (
            *(_NIH, _MEDNIST, _PHYSIONET, _CHEXPERT, _PADCHEST),
            *(_RSNA, _SIIM, _OPEN_I, _CHESTMNIST),
        )
    }
)


def require_terms(names: Iterable[str]) -> tuple[Terms, ...]:
    """The terms called `names`, each once, in the order of `TERMS`.

    Raises:
        SettingsError: If a name is unknown, naming the nearest known one.
    """
    wanted = set(names)
    for name in sorted(wanted):
        if name not in TERMS:
            near = nearest(name, TERMS)
            hint = f" The nearest known one is {near!r}." if near else ""
            raise SettingsError(f"Unknown terms {name!r}.{hint}", fix=f"Give --terms one of: {', '.join(TERMS)}.")
    return tuple(terms for terms in TERMS.values() if terms.name in wanted)


def licence_of(names: Iterable[str]) -> str:
    """The Hub licence id for things made from sources under these terms.

    "other" where one source does not let them go to anybody; else share-alike wins; else the licence all agree on, or
    "other".

    Raises:
        SettingsError: If a name is unknown.
    """
    found = require_terms(names)
    licences = {terms.licence for terms in found}
    if any(terms.release != "open" for terms in found):
        return "other"
    if "cc-by-sa-4.0" in licences:
        return "cc-by-sa-4.0"
    return licences.pop() if len(licences) == 1 else "other"
