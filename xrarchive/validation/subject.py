"""What is validated: an archive, or any folder of labelled synthetic radiographs, as every part sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from xrarchive.errors import InputDataError
from xrarchive.validation.columns import ArchiveImages

if TYPE_CHECKING:
    from xrarchive.archive.manifest import Manifest
    from xrarchive.radiographs.folder import LabelledImages

Kind = Literal["archive", "folder"]
Scores = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Labelled synthetic images and what is known of their making.

    Attributes:
        kind: ``archive``, or ``folder``: images and a label table that some other tool made.
        name: For titles: the last part of the folder's path.
        sha256: Of the manifest, or of a folder's images and labels: a report belongs to those bytes and no others.
        version: Of an archive.
        findings: The vocabulary [K].
        nuisances: What the guide measured besides findings [J]; empty for a folder.
        images: The rows [N].
        judge_filtered: Whether the judge chose the images: then it cannot measure them.
        seed: Of every bootstrap and draw.
        terms: Names of the source terms; empty where they are unknown.
        details: What else the report says of it.
    """

    kind: Kind
    name: str
    sha256: str
    version: str | None
    findings: tuple[str, ...]
    nuisances: tuple[str, ...]
    images: ArchiveImages
    judge_filtered: bool
    seed: int
    terms: tuple[str, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together, and a subject without images.

        Raises:
            InputDataError: If there is no image.
            ValueError: If shapes differ.
        """
        count, width = len(self.images.pixels), len(self.findings)
        if not count:
            raise InputDataError(
                f"{self.name} holds no images.",
                fix="Run `xrarchive check`, and build the archive again if it is damaged.",
            )
        if self.images.asked.shape != (count, width) or len(self.images.image_ids) != count:
            raise ValueError(
                f"expected {count} rows and {width} findings, got asked {self.images.asked.shape}, "
                f"{len(self.images.image_ids)} ids"
            )

    @property
    def asked(self) -> dict[str, int]:
        """By finding that was asked for, how many images were asked to show it."""
        counts = self.images.asked.sum(axis=0)
        return {name: int(count) for name, count in zip(self.findings, counts, strict=True) if count}

    def describe(self) -> dict[str, object]:
        """The form the report holds."""
        return {
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "images": len(self.images.pixels),
            "findings": list(self.findings),
            **self.details,
        }


def archive_subject(name: str, manifest: Manifest, images: ArchiveImages) -> Subject:
    """An archive as a subject.

    Args:
        name: Of its folder.
        manifest: Its manifest.
        images: Its rows.

    Raises:
        InputDataError: If the rows are not as many as the manifest names.
    """
    if len(images.pixels) != manifest.rows:
        raise InputDataError(
            f"The manifest names {manifest.rows} images and {len(images.pixels)} were read.",
            fix="Run `xrarchive check`, and build the archive again if it is damaged.",
        )
    return Subject(
        kind="archive",
        name=name,
        sha256=manifest.sha256,
        version=manifest.version,
        findings=tuple(manifest.findings),
        nuisances=tuple(manifest.nuisances),
        images=images,
        judge_filtered=manifest.judge_filtered,
        seed=manifest.builds[0].seed,
        terms=tuple(manifest.terms),
    )


def folder_subject(found: LabelledImages, findings: tuple[str, ...], scores: Mapping[str, Scores]) -> Subject:
    """A folder of images that some other tool made as a subject: nothing is known of draws, seeds or nuisances.

    Args:
        found: The images and labels.
        findings: The vocabulary [K].
        scores: Of ``guide`` and ``judge``, float32 [N, K]; NaN where they do not know a finding.
    """
    asked, size_px = found.asked(findings), found.pixels.shape[1]
    nothing = np.empty((len(asked), 0), np.float32)
    images = ArchiveImages(
        image_ids=found.images,
        pixels=found.pixels,
        asked=asked,
        guide=scores["guide"],
        judge=scores["judge"],
        labels=np.array([findings.index(names[0]) if names else -1 for names in found.labels], np.int64),
        soft=np.full(len(asked), np.nan, np.float32),
        nuisances=nothing,
        start_nuisances=nothing,
    )
    return Subject(
        kind="folder",
        name=found.folder.resolve().name,
        sha256=found.sha256,
        version=None,
        findings=findings,
        nuisances=(),
        images=images,
        judge_filtered=False,
        seed=0,
        details={
            "source_px": list(found.source_px),
            "size_px": size_px,
            "resized": _resized(found.source_px, size_px),
            "unlisted": found.unlisted,
            "ignored_columns": list(found.ignored_columns),
        },
    )


def _resized(source_px: tuple[int, int], size_px: int) -> str:
    width, height = source_px
    if source_px == (size_px, size_px):
        return f"The images have {size_px} px and were measured as they are."
    cut = "" if width == height else f" cut to the square of {min(source_px)} px in their middle,"
    if min(source_px) >= size_px:
        return (
            f"The images have {width}x{height} px and were measured,{cut} averaged down to {size_px} px, the size of "
            "the judge: detail that is lost there was not measured."
        )
    return (
        f"The images have {width}x{height} px and were measured,{cut} enlarged to {size_px} px, the size of the judge: "
        "all figures also measure how blurred that made them."
    )
