"""A pickled DenseNet of torchxrayvision to a guide, judge or referee of ours, calibrated on a radiograph set.

In: the file torchxrayvision downloads, a whole pickled model, and a labelled set. Out: a weight file as the trainer
writes it; its thresholds, calibration and figures come from that set. Called by `xrarchive weights import --kind xrv`.

1. `gan/adopt/pickles.py` opens the pickle in a process of its own, where modules become inert stand-ins.
2. Its last layer's rows are put in the order of the set's vocabulary; findings without a head get none.
3. Calibration, thresholds and figures are the trainer's. Nothing but Platt's two numbers per finding is fitted, so that
   no folds are needed: they move neither AUROC nor which radiographs reach a threshold, both being invariant to them.
   Brier score and slope are not: what stands there as cross-fitted is in-sample, by two numbers per finding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xrarchive.classifier import xrv
from xrarchive.classifier.calibration import calibrate, operating_thresholds
from xrarchive.classifier.fitting import network_logits
from xrarchive.classifier.nuisances import Nuisances
from xrarchive.classifier.settings import XRV, ClassifierSettings, Role
from xrarchive.classifier.training import Films, calibration_tensors, make_meta, measure_figures, read_films
from xrarchive.errors import InputDataError, PlanChangedError
from xrarchive.findings import NO_FINDING, nearest
from xrarchive.gan.adopt.pickles import Opened, open_checkpoint
from xrarchive.radiographs import RadiographSet
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.weights import channels_last, require_finite, save_weights, with_prefix

# At 224 px a radiograph takes about 40 MB on its way through the network.
_BATCH = 32
_MAX_NAMED = 4
_NIH = "nih-chestxray14"

# The published DenseNets and whose radiographs they were trained on: torchxrayvision 1.5.7, models.py, and Cohen et
# al. 2020 (arXiv:2002.02497). RSNA's Pneumonia Challenge and Google's labels are of NIH's radiographs.
TRAINED_ON: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "densenet121-res224-all": (_NIH, "padchest", "chexpert", "mimic-cxr", "openi", "rsna-pneumonia"),
        "densenet121-res224-nih": (_NIH,),
        "densenet121-res224-pc": ("padchest",),
        "densenet121-res224-chex": ("chexpert",),
        "densenet121-res224-rsna": (_NIH, "rsna-pneumonia"),
        "densenet121-res224-mimic_nb": ("mimic-cxr",),
        "densenet121-res224-mimic_ch": ("mimic-cxr",),
    }
)


@dataclass(frozen=True)
class XrvReport:
    """What was imported.

    Attributes:
        out: The weight file.
        sha256: Its identity.
        role: What it is for.
        name: Which of torchxrayvision's weights they are.
        source_sha256: Of their file.
        radiographs: How many it was calibrated on.
        callable: Findings with a threshold.
        without_head: Findings the weights know nothing of, which cannot be called.
        figures: Per finding, as the trainer measures them.
    """

    out: Path
    sha256: str
    role: Role
    name: str
    source_sha256: str
    radiographs: int
    callable: tuple[str, ...]
    without_head: tuple[str, ...]
    figures: dict[str, dict[str, object]]


def import_xrv(
    path: Path,
    out: Path,
    *,
    name: str,
    role: Role,
    radiographs: RadiographSet,
    sha256: str | None = None,
    settings: ClassifierSettings | None = None,
    on_status: OnStatus = ignore_status,
) -> XrvReport:
    """Turn weights of torchxrayvision into a classifier of `role` for the vocabulary and size of a radiograph set.

    Args:
        path: Their file, a pickled `torchxrayvision.models.DenseNet` or its state dict.
        out: The weight file to write.
        name: As torchxrayvision calls the weights: one of `TRAINED_ON`.
        role: What it is for.
        radiographs: With labels; all labelled radiographs outside the holdout calibrate it.
        sha256: What their file's must be; None = any.
        settings: For `specificity`, `min_positives` and `withheld`; None = the trainer's defaults.
        on_status: Told after every batch of radiographs.

    Raises:
        InputDataError: If the name is unknown, the role would not be independent, the set has no labels, the file
            cannot be read safely or holds another network, or torchxrayvision is missing.
        PlanChangedError: If there is a file at `out`.
        StorageError: If the disk refuses.
    """
    _require_name(name)
    _require_independent(name, role, radiographs)
    if out.exists():
        raise PlanChangedError(f"{out} is there already.", fix="Give another --out, or remove it.", path=out)
    settings = settings or ClassifierSettings()
    settings = dataclasses.replace(settings, architecture=XRV, members=1, input_px=xrv.INPUT_PX)
    films = _labelled_films(radiographs, settings)
    heads, count = _heads(name, radiographs)
    opened = open_checkpoint(path, kind="xrv", sha256=sha256)
    require_finite(opened.tensors, path)
    network = _network(opened, heads, count, path)
    logits = _score(network, films, on_status)
    headless = np.array([head is None for head in heads]) & (np.array(radiographs.vocabulary) != NO_FINDING)
    without_head = np.array(radiographs.vocabulary)[headless].tolist()
    scale, offset = calibrate(logits, films.labels, settings.min_positives)
    scale[headless], offset[headless] = 1, 0
    calibrated = logits * scale + offset
    findings = len(films.radiographs.vocabulary)
    thresholds = operating_thresholds(calibrated[:, :findings], films.labels[:, :findings], settings)
    thresholds[headless] = np.nan
    tensors = calibration_tensors(calibrated, scale, offset, thresholds) | with_prefix("member0", network.state_dict())
    figures = measure_figures(films, calibrated, calibrated[films.is_test], thresholds)
    # Whom it was trained on was not published patient by patient: no prefixes, but the names of the sets.
    meta = make_meta(films, role, settings, figures, [], len(films.rows)) | {
        "origin": _origin(name, path, opened, radiographs) | {"without_head": without_head}
    }
    can_be_called = tensors["thresholds"].numpy() >= 0
    return XrvReport(
        out=out,
        sha256=save_weights(out, tensors, kind="classifier", meta=meta, dtype=torch.float32),
        role=role,
        name=name,
        source_sha256=opened.sha256,
        radiographs=len(films.rows),
        callable=tuple(np.array(radiographs.vocabulary)[can_be_called].tolist()),
        without_head=tuple(without_head),
        figures=figures,
    )


def match_heads(vocabulary: Sequence[str], pathologies: Sequence[str]) -> list[int | None]:
    """For each finding the index of torchxrayvision's head of that name, '_' for a space and case apart.

    torchxrayvision calls a head that was not trained ''.
    """

    def plain(name: str) -> str:
        return name.replace("_", " ").lower()

    known = {plain(name): index for index, name in enumerate(pathologies) if name}
    return [None if name == NO_FINDING else known.get(plain(name)) for name in vocabulary]


def _heads(name: str, radiographs: RadiographSet) -> tuple[list[int | None], int]:
    """The head of each finding, and how many heads there are."""
    pathologies = xrv.require_xrv().model_urls[name]["labels"]
    heads = match_heads(radiographs.vocabulary, pathologies)
    if all(head is None for head in heads):
        raise InputDataError(
            f"{name} has a head for none of the set's findings ({', '.join(radiographs.vocabulary)}), only for "
            f"{', '.join(filter(None, pathologies))}.",
            fix="Give a set whose --findings use these names, or other weights.",
            path=radiographs.folder,
        )
    return heads, len(pathologies)


def _origin(name: str, path: Path, opened: Opened, radiographs: RadiographSet) -> dict[str, object]:
    return {
        "kind": "xrv",
        "name": name,
        "file": path.name,
        "sha256": opened.sha256,
        "trained_on": list(TRAINED_ON[name]),
        # Then its figures and thresholds are those of films it may have learned by heart.
        "in_sample": bool(set(TRAINED_ON[name]) & set(radiographs.terms)),
    }


def _require_name(name: str) -> None:
    if name not in TRAINED_ON:
        near = nearest(name, TRAINED_ON)
        hint = f" The nearest known one is {near!r}." if near else ""
        raise InputDataError(
            f"torchxrayvision has no DenseNet called {name!r}.{hint}",
            fix=f"Give --name one of: {', '.join(TRAINED_ON)}.",
        )


def _require_independent(name: str, role: Role, radiographs: RadiographSet) -> None:
    """Refuse a judge or referee that learned from the radiographs it is to judge images of."""
    if role == "guide":
        return
    if "all" in name:
        reason = f"it was trained on all public sets at once ({', '.join(TRAINED_ON[name])})"
    elif _NIH in TRAINED_ON[name] and _NIH in radiographs.terms:
        reason = f"it was trained on {', '.join(TRAINED_ON[name])}, the radiographs of {radiographs.folder} too"
    else:
        return
    raise InputDataError(
        f"{name} cannot be a {role}, only a guide: {reason}, so that it would not be independent.",
        fix="Take densenet121-res224-pc (PadChest), which knows all of NIH's findings.",
    )


def _labelled_films(radiographs: RadiographSet, settings: ClassifierSettings) -> Films:
    films = read_films(radiographs, settings)
    if not len(films.rows):
        raise InputDataError(
            f"{radiographs.folder} has no labelled radiographs; thresholds are set on them.",
            fix="Give a set that was ingested with labels.",
            path=radiographs.folder,
        )
    return dataclasses.replace(films, nuisances=Nuisances(np.empty((len(films.rows), 0), np.float32), {}))


def _network(opened: Opened, heads: Sequence[int | None], pathologies: int, path: Path) -> xrv.XrvNetwork:
    """Their network with the rows of its last layer in our order."""
    theirs = {name: tensor for name, tensor in opened.tensors.items() if name != "op_threshs"}
    _require_theirs(theirs, pathologies, path)
    network = xrv.XrvNetwork(len(heads))
    state: dict[str, Tensor] = with_prefix("densenet", theirs)
    for part in ("weight", "bias"):
        rows = theirs[f"classifier.{part}"]
        ours = [torch.zeros_like(rows[0]) if head is None else rows[head] for head in heads]
        state[f"densenet.classifier.{part}"] = torch.stack(ours)
    state["headed"] = torch.tensor([float(head is not None) for head in heads])
    # Counters of batches seen stay 0: nothing looks at them once a network is trained.
    network.load_state_dict({**network.state_dict(), **state})
    return channels_last(network.eval().requires_grad_(False))


def _require_theirs(tensors: Mapping[str, Tensor], pathologies: int, path: Path) -> None:
    with torch.device("meta"):
        expected = xrv.require_xrv().DenseNet(num_classes=pathologies).state_dict()
    expected = {name: tensor for name, tensor in expected.items() if tensor.dim()}
    missing, unexpected = (sorted(set(a) - set(b)) for a, b in ((expected, tensors), (tensors, expected)))
    misshapen = [
        f"{name} as {list(tensors[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in sorted(expected.items())
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    listed = (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
    found = "; ".join(f"{len(names)} {word} ({_some(names)})" for word, names in listed if names)
    if found:
        raise InputDataError(
            f"{path} does not hold torchxrayvision's DenseNet-121 with {pathologies} heads: tensors {found}.",
            fix="Check the file and --name; only the unchanged DenseNets of torchxrayvision can be imported.",
            path=path,
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more


def _score(network: Any, films: Films, on_status: OnStatus) -> npt.NDArray[np.float32]:
    """Raw logits float32 [M, K] of the labelled radiographs."""
    parts = []
    for start in range(0, len(films.rows), _BATCH):
        rows = films.rows[start : start + _BATCH]
        parts.append(network_logits(network, films.radiographs.pixels[rows], xrv.INPUT_PX))
        on_status(Status(start + len(rows), len(films.rows), "radiographs"))
    return np.concatenate(parts)
