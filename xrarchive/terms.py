"""Terms under which radiographs were given, carried by everything made from them: sets, weights, archives, cards.

A radiograph set names its terms; weights and archives inherit the names. The texts live here once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from xrarchive.errors import SettingsError
from xrarchive.findings import nearest


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
        may_leave: Whether the films themselves may be shown to others; False where whoever got them must keep them.
    """

    name: str
    title: str
    licence: str
    notice: str
    url: str
    citation: str
    may_leave: bool = True


_NIH = Terms(
    name="nih-chestxray14",
    title="NIH ChestX-ray14",
    licence="other",
    notice=(
        "Made from NIH ChestX-ray14, provided by the NIH Clinical Center, which puts no restriction on use and asks "
        "to be acknowledged, to be linked to at its download site, and that Wang et al. be cited."
    ),
    url="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    citation=(
        "X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers. ChestX-ray8: Hospital-scale Chest X-ray Database "
        "and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases. CVPR 2017."
    ),
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
)

_PHYSIONET = Terms(
    name="physionet-credentialed",
    title="PhysioNet, credentialed access",
    licence="other",
    notice=(
        "Made from data of PhysioNet under its Credentialed Health Data License and Use Agreement, which forbids "
        "sharing access to the data with anyone else."
    ),
    url="https://physionet.org/about/licenses/physionet-credentialed-health-data-license-150/",
    citation="A. L. Goldberger et al. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23), 2000.",
    may_leave=False,
)

TERMS: Mapping[str, Terms] = MappingProxyType({terms.name: terms for terms in (_NIH, _MEDNIST, _PHYSIONET)})


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
    """The Hub licence id for things made from sources under these terms: share-alike wins, else "other".

    Raises:
        SettingsError: If a name is unknown.
    """
    licences = {terms.licence for terms in require_terms(names)}
    return "cc-by-sa-4.0" if "cc-by-sa-4.0" in licences else "other"
