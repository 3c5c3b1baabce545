"""An archive for users of torchxrayvision: its findings, its order, its labels, its range of pixels.

In: an archive, by folder or name. Out: a dataset as those of `torchxrayvision.datasets`, for their models, their
`MergeDataset`, `SubsetDataset` and `relabel_dataset`, and torch's `DataLoader`. Needs neither torch nor their package.

Source: torchxrayvision 1.5.7, datasets.py (`default_pathologies`, `Dataset`) and utils.py (`normalize`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from xrarchive.errors import InputDataError
from xrarchive.findings import NO_FINDING

if TYPE_CHECKING:
    import pandas as pd

# torchxrayvision's `default_pathologies`: the outputs of its "all" models, in their order.
PATHOLOGIES = (
    "Atelectasis",
    "Consolidation",
    "Infiltration",
    "Pneumothorax",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Effusion",
    "Pneumonia",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Nodule",
    "Mass",
    "Hernia",
    "Lung Lesion",
    "Fracture",
    "Lung Opacity",
    "Enlarged Cardiomediastinum",
)
_WHITE = 1024.0
_WHITE_LEVEL = {"L": 255, "I;16": 65535}


class ArchiveDataset:
    """An archive as torchxrayvision has its datasets.

    Attributes:
        pathologies: Names of the columns of `labels`.
        labels: float32 [N, len(pathologies)], 1 = asked for, 0 = its absence asked for, NaN = nobody asked.
        csv: Metadata, a row an image: `image_id`, `label`, `soft_label`, `split`.
        transform: Applied to images, float32 [1, H, W] in [-1024, 1024], such as their `XRayResizer`.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        revision: str | None = None,
        split: str | None = None,
        transform: Callable[[Any], Any] | None = None,
        pathologies: Sequence[str] = PATHOLOGIES,
        no_finding: Literal["absent", "unknown"] = "absent",
    ) -> None:
        """Load an archive, every byte verified.

        Args:
            source: As `xrarchive.load` takes it.
            revision: As `xrarchive.load` takes it.
            split: One of the archive's; None = all, one after another.
            transform: See the attribute.
            pathologies: Columns wanted; findings of the archive that are not among them are left out.
            no_finding: What images of `No Finding` say of the archive's other findings: 0, as in torchxrayvision's own
                datasets, or NaN.

        Raises:
            InputDataError: If there is no such archive or split, none of its findings is among `pathologies`, or its
                images are in colour.
            AccessError, RemoteError, DamageError: As `xrarchive.load`.
        """
        from datasets import concatenate_datasets

        from xrarchive.pipeline import load

        loaded = load(source, revision=revision, split=split)
        parts = {split: loaded} if split else dict(loaded)
        self._images = concatenate_datasets([*parts.values()])
        self._white = _white_level(self._images.features["image"].mode, source)
        self.pathologies = list(pathologies)
        self.labels = _labels(self._images, self.pathologies, no_finding, source)
        self.csv = _metadata(parts)
        self.transform = transform

    def __len__(self) -> int:
        """Images."""
        return len(self._images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`idx`, `lab` (float32 [len(pathologies)]) and `img` (float32 [1, H, W] in [-1024, 1024], or transformed)."""
        levels = np.asarray(self._images[int(index)]["image"], np.float32)[None]
        image: Any = (2 * (levels / self._white) - 1) * _WHITE
        if self.transform is not None:
            image = self.transform(image)
        return {"idx": index, "lab": self.labels[index], "img": image}

    def totals(self) -> dict[str, dict[float, int]]:
        """How many images have each label, by pathology; NaN is left out."""
        counts = [dict(Counter(column[~np.isnan(column)].tolist()).most_common()) for column in self.labels.T]
        return dict(zip(self.pathologies, counts, strict=True))

    def string(self) -> str:
        """One line, as torchxrayvision prints its datasets."""
        return f"{type(self).__name__} num_samples={len(self)}"

    def __repr__(self) -> str:
        """As `string`."""
        return self.string()


def _white_level(mode: str, source: str | Path) -> int:
    if mode not in _WHITE_LEVEL:
        raise InputDataError(
            f"The images of {source} are in colour (mode {mode}); torchxrayvision's are grey.",
            fix="Use xrarchive.load.",
        )
    return _WHITE_LEVEL[mode]


def _labels(images: Any, pathologies: Sequence[str], no_finding: str, source: str | Path) -> npt.NDArray[np.float32]:
    vocabulary = images.features["label"].names
    known = [name for name in pathologies if name in vocabulary]
    if not known:
        raise InputDataError(
            f"None of the findings of {source} is among the pathologies: {', '.join(vocabulary)}.",
            fix="Give names of the archive's findings as pathologies.",
        )
    labels = np.full((len(images), len(pathologies)), np.nan, np.float32)
    for name in known:
        column = images[name][:]
        labels[:, pathologies.index(name)] = [np.nan if value is None else float(value) for value in column]
    if no_finding == "absent" and NO_FINDING in vocabulary:
        normal = np.array([value is True for value in images[NO_FINDING][:]], bool)
        for name in known:
            if name != NO_FINDING:
                labels[normal, pathologies.index(name)] = 0
    return labels


def _metadata(parts: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    frames = [
        pd.DataFrame(
            {
                "image_id": part["image_id"][:],
                "label": [part.features["label"].names[label] for label in part["label"][:]],
                "soft_label": part["soft_label"][:],
                "split": name,
            }
        )
        for name, part in parts.items()
    ]
    return pd.concat(frames, ignore_index=True)
