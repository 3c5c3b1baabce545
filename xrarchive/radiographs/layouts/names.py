"""Names of findings in the public sets -> ours, one explicit table a set.

Never by parts of words: in PadChest "mass" stands alone 56 times, and 1,508 times inside "breast mass" and others;
"effusion" is part of "pericardial effusion". A word that no table holds keeps its own name and is left out unless
--findings asks for it by that name; what is left out is counted.

Why some look-alikes are missing: CheXpert's "Lung Lesion" and VinDr's "Nodule/Mass" are nodules and masses in one word,
"Lung Opacity" is the parent of half a dozen findings. They are no label of ours until somebody says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xrarchive.findings import NIH_FINDINGS, NO_FINDING

ALL = "all"


@dataclass(frozen=True)
class Names:
    """Findings of one layout.

    Attributes:
        table: The source's word -> our name.
        default: Findings taken where nobody asks for others; without it NIH's fourteen as far as the table holds them.
        remarks: Words of the source that are no findings: they say nothing about the patient.
    """

    table: Mapping[str, str]
    default: tuple[str, ...] = ()
    remarks: frozenset[str] = frozenset()

    def name_of(self, word: str) -> str:
        """Our name for the source's word."""
        return self.table.get(word, word)

    @property
    def usual(self) -> tuple[str, ...]:
        """Findings taken where nobody asks for others, in NIH's order."""
        held = set(self.table.values())
        return self.default or tuple(name for name in NIH_FINDINGS if name in held)

    @property
    def known(self) -> tuple[str, ...]:
        """All our names in the table, each once, `No Finding` apart."""
        return tuple(dict.fromkeys(name for name in self.table.values() if name != NO_FINDING))


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# The bounding boxes say "Infiltrate"; the first edition's Kaggle copies "Pleural Thickening".
NIH = Names(
    {**_same(NO_FINDING, *NIH_FINDINGS), "Infiltrate": "Infiltration", "Pleural Thickening": "Pleural_Thickening"},
    default=NIH_FINDINGS,
)

# Irvin et al., AAAI 2019, table 1.
CHEXPERT = Names(
    {
        **_same(NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
        **_same("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax"),
        "Pleural Effusion": "Effusion",
        **_same("Pleural Other", "Fracture", "Support Devices"),
    },
)

# Nguyen et al., Scientific Data 2022.
VINDR = Names(
    {
        "No finding": NO_FINDING,
        "Aortic enlargement": "Aortic enlargement",
        "Atelectasis": "Atelectasis",
        "Calcification": "Calcification",
        "Cardiomegaly": "Cardiomegaly",
        "Consolidation": "Consolidation",
        "Edema": "Edema",
        "Emphysema": "Emphysema",
        "ILD": "ILD",
        "Infiltration": "Infiltration",
        "Lung Opacity": "Lung Opacity",
        "Nodule/Mass": "Nodule or Mass",
        "Other lesion": "Other lesion",
        "Pleural effusion": "Effusion",
        "Pleural thickening": "Pleural_Thickening",
        "Pleural_thickening": "Pleural_Thickening",
        "Pneumonia": "Pneumonia",
        "Pneumothorax": "Pneumothorax",
        "Pulmonary fibrosis": "Fibrosis",
    }
)
# The competition asked for fourteen of them.
_NOT_ASKED = ("Edema", "Emphysema", "Pneumonia", "Pleural_thickening")
VINDR_KAGGLE = Names({word: name for word, name in VINDR.table.items() if word not in _NOT_ASKED})

# Bustos et al., Medical Image Analysis 2020, appendix: labels form trees, and a child is its parent. Only children
# that are surely the parent finding are taken: "fibrotic band" is a scar, "hiatal hernia" is NIH's Hernia.
PADCHEST = Names(
    {
        "normal": NO_FINDING,
        **dict.fromkeys(
            ("atelectasis", "laminar atelectasis", "lobar atelectasis", "segmental atelectasis", "total atelectasis"),
            "Atelectasis",
        ),
        **dict.fromkeys(("atelectasis basal", "round atelectasis"), "Atelectasis"),
        "cardiomegaly": "Cardiomegaly",
        **dict.fromkeys(
            ("pleural effusion", "loculated pleural effusion", "loculated fissural effusion"),
            "Effusion",
        ),
        "infiltrates": "Infiltration",
        **dict.fromkeys(("mass", "pulmonary mass"), "Mass"),
        **dict.fromkeys(("nodule", "multiple nodules"), "Nodule"),
        **dict.fromkeys(("pneumonia", "atypical pneumonia"), "Pneumonia"),
        "pneumothorax": "Pneumothorax",
        "consolidation": "Consolidation",
        "pulmonary edema": "Edema",
        "emphysema": "Emphysema",
        "pulmonary fibrosis": "Fibrosis",
        **dict.fromkeys(
            ("pleural thickening", "apical pleural thickening", "calcified pleural thickening"), "Pleural_Thickening"
        ),
        "hiatal hernia": "Hernia",
    },
    remarks=frozenset({"", "unchanged", "suboptimal study", "exclude"}),
)

# "Target" is lung opacity that suggests pneumonia (Shih et al., Radiology: Artificial Intelligence 2019).
RSNA = Names({"Normal": NO_FINDING, "Target": "Pneumonia"})
SIIM = Names({NO_FINDING: NO_FINDING, "EncodedPixels": "Pneumothorax"})

# Headings of Demner-Fushman et al., JAMIA 2016: what stands before the first '/' of a manual (major) code.
OPENI = Names(
    {
        "normal": NO_FINDING,
        "Pulmonary Atelectasis": "Atelectasis",
        "Cardiomegaly": "Cardiomegaly",
        **dict.fromkeys(("Pleural Effusion", "Hemothorax"), "Effusion"),
        "Infiltrate": "Infiltration",
        "Mass": "Mass",
        "Nodule": "Nodule",
        "Pneumonia": "Pneumonia",
        "Pneumothorax": "Pneumothorax",
        "Consolidation": "Consolidation",
        "Pulmonary Edema": "Edema",
        **dict.fromkeys(("Emphysema", "Pulmonary Emphysema", "Bullous Emphysema"), "Emphysema"),
        **dict.fromkeys(("Pulmonary Fibrosis", "Fibrosis"), "Fibrosis"),
        **dict.fromkeys(("Hernia, Hiatal", "Hernia, Diaphragmatic"), "Hernia"),
    },
    remarks=frozenset({"No Indexing", "Technical Quality of Image Unsatisfactory"}),
)

# The order of ChestMNIST's 14 columns is that of NIH ChestX-ray14 (MedMNIST v2, info.json), its words are lower case.
CHESTMNIST = Names(_same(NO_FINDING, *NIH_FINDINGS), default=NIH_FINDINGS)
PNEUMONIAMNIST = Names(_same(NO_FINDING, "Pneumonia"))

# Words for two findings at once, in PadChest and Open-i: the words they stand for.
PAIRS: Mapping[str, tuple[str, ...]] = {
    "hydropneumothorax": ("pleural effusion", "pneumothorax"),
    "Hydropneumothorax": ("Pleural Effusion", "Pneumothorax"),
    "Hemopneumothorax": ("Pleural Effusion", "Pneumothorax"),
}

# Tables and folders that are nobody's but the user's: names as they are, in their own spelling.
OWN = Names(_same(NO_FINDING, *NIH_FINDINGS), default=NIH_FINDINGS)
