"""Weights to use, by name: `Generator` makes images, `Classifier` scores them.

In: ``"bundled"``, a weight file, a folder or run that holds one, a version in a folder that `publish --to` filled, or a
model repository of the Hub. Out: objects that take and give numpy arrays. torch is imported when one is made.
What a file says of itself is checked when it is read (kind, role, shapes, no NaN); ``sha256=`` pins its very bytes.

On both sides of the waist, as `pipeline` is: an image is made again from its row in an archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from xrarchive.bundled import bundled_weights
from xrarchive.errors import DamageError, InputDataError
from xrarchive.hub.locating import locate, weights_beside
from xrarchive.pixels import Pixels

if TYPE_CHECKING:
    from xrarchive.archive.source import Source
    from xrarchive.classifier.classifier import Classifier as Ensemble
    from xrarchive.gan.snapshots import GeneratorSnapshot

BUNDLED = "bundled"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Generator:
    """A generator; get one from `from_pretrained`.

    Attributes:
        snapshot: The network and what is recorded of it.
        path: The file it was read from.
    """

    snapshot: GeneratorSnapshot
    path: Path

    @classmethod
    def from_pretrained(
        cls, source: str | Path = BUNDLED, *, revision: str | None = None, sha256: str | None = None
    ) -> Generator:
        """Load a generator.

        Args:
            source: ``bundled``, a file, a folder with generator.safetensors, or ``OWNER/NAME`` on the Hub.
            revision: Tag, branch or commit on the Hub, or version in a folder that `publish --to` filled.
            sha256: What the file must hash to; None = any.

        Raises:
            InputDataError: If there are no such weights, or they are of another kind or make colour.
            DamageError: If the file is not readable, or not the one that `sha256` names.
            AccessError, RemoteError: If the Hub does not give it; see `xrarchive.hub.weights`.
        """
        from xrarchive.gan.snapshots import load_snapshot

        path = find_weights(source, "generator", revision)
        snapshot = load_snapshot(path)
        _require_sha256(path, snapshot.sha256, sha256)
        if snapshot.settings.channels != 1:
            raise InputDataError(
                f"{path} makes colour; archives and these methods are for grey images.",
                fix="Use xrarchive.gan.snapshots.load_snapshot for the network itself.",
                path=path,
            )
        return cls(snapshot, path)

    @property
    def sha256(self) -> str:
        """Of the file: the identity of the weights, as manifests name it."""
        return self.snapshot.sha256

    @property
    def size_px(self) -> int:
        """Side of its images."""
        return self.snapshot.settings.resolution

    @property
    def latent_size(self) -> int:
        """Z."""
        return self.snapshot.settings.latent_size

    @property
    def meta(self) -> Mapping[str, Any]:
        """What is recorded of it: settings, images shown, radiographs, terms."""
        return self.snapshot.meta

    def generate(self, what: int | Iterable[int], *, seed: int = 0) -> Pixels:
        """Random draws, without labels: one image a seed, whatever stands beside it.

        Args:
            what: How many, for the seeds `seed`, `seed` + 1, …; or the seeds themselves, 0 or more.
            seed: First seed, if `what` is a number.

        Returns:
            uint8 [N, H, W], 0 = black. The same on the same processor and torch; else within about a grey level.

        Raises:
            ValueError: If there is nothing to make, or a seed is negative.
        """
        seeds = range(seed, seed + what) if isinstance(what, int) else what
        return self.images(np.stack([self.latent(number) for number in seeds]))

    def latent(self, seed: int) -> Floats:
        """float32 [Z], standard normal: the latent of a seed."""
        return np.random.default_rng(seed).standard_normal(self.latent_size, dtype=np.float32)

    def images(self, latents: Floats) -> Pixels:
        """The images of some latents, as an archive stores them.

        Args:
            latents: float32 [N, Z], of which only the direction matters: drawn, or the column `latent` of an archive.

        Returns:
            uint8 [N, H, W], 0 = black.

        Raises:
            ValueError: If they are of another shape, or not finite.
        """
        import torch

        from xrarchive.gan.layers import kernels_ready
        from xrarchive.synthesis import render

        values = np.asarray(latents, np.float32)
        if values.ndim != 2 or values.shape[1] != self.latent_size or not len(values) or not np.isfinite(values).all():
            raise ValueError(
                f"latents must be finite float32 [N, {self.latent_size}], N at least 1, got {values.shape}"
            )
        with kernels_ready(self.snapshot.generator, torch.float32):
            return render(self.snapshot.generator, torch.from_numpy(values))

    def remake(self, archive: str | Path, image_ids: Sequence[str], *, revision: str | None = None) -> Pixels:
        """Images of an archive, made again from their latents.

        Args:
            archive: A folder, or ``OWNER/NAME`` on the Hub; of it only the provenance is read.
            image_ids: Which, in the order wanted.
            revision: As in `from_pretrained`.

        Returns:
            uint8 [N, H, W]: the archive's own pixels, or within about a grey level on another processor.

        Raises:
            InputDataError: If an image is not there, was withdrawn, or is of another generator.
        """
        from xrarchive.archive.loading import find_rows
        from xrarchive.hub.fetching import open_source

        with open_source(archive, revision=revision) as source:
            rows = find_rows(source, image_ids)
            self._require_own(source, rows)
        return self.images(np.array([row["latent"] for row in rows], np.float32))

    def _require_own(self, source: Source, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            made_by = source.manifest.builds[row.get("build", 0)].weights["generator"].sha256
            if made_by != self.sha256:
                raise InputDataError(
                    f"{row['image_id']} of {source.name} was made by the generator {made_by[:12]}…, "
                    f"this is {self.sha256[:12]}….",
                    fix="Load the generator with that sha256: the archive's card names where its weights are.",
                    path=self.path,
                )


@dataclass(frozen=True)
class Classifier:
    """A guide, judge or referee; get one from `from_pretrained`. Not for clinical use.

    Attributes:
        ensemble: The networks with calibration and thresholds.
        path: The file it was read from.
    """

    ensemble: Ensemble
    path: Path

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = BUNDLED,
        *,
        role: Literal["guide", "judge", "referee"] = "judge",
        revision: str | None = None,
        sha256: str | None = None,
    ) -> Classifier:
        """Load a classifier.

        Args:
            source: ``bundled``, a file, a folder with ROLE.safetensors, or ``OWNER/NAME`` on the Hub.
            role: The judge steered nothing: its word on images of an archive is worth more than the guide's.
            revision: As in `Generator.from_pretrained`.
            sha256: What the file must hash to; None = any.

        Raises:
            InputDataError: If there are no such weights, or they are of another kind or role.
            DamageError, AccessError, RemoteError: As `Generator.from_pretrained`.
        """
        from xrarchive.classifier.classifier import load_classifier

        path = find_weights(source, role, revision)
        ensemble = load_classifier(path, role=role)
        _require_sha256(path, ensemble.sha256, sha256)
        return cls(ensemble, path)

    @property
    def sha256(self) -> str:
        """Of the file: the identity of the weights, as manifests name it."""
        return self.ensemble.sha256

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The K findings, in the order of all results."""
        return self.ensemble.vocabulary

    @property
    def thresholds(self) -> dict[str, float]:
        """Probability from which on each finding is called; NaN = it cannot be called."""
        return dict(zip(self.vocabulary, self.ensemble.thresholds.tolist(), strict=True))

    @property
    def size_px(self) -> int:
        """Side of the images it takes."""
        return self.ensemble.size_px

    @property
    def meta(self) -> Mapping[str, Any]:
        """What is recorded of it: role, figures by finding, settings, radiographs, terms."""
        return self.ensemble.meta

    def scores(self, images: Pixels | Iterable[Any]) -> Floats:
        """Calibrated probabilities.

        Args:
            images: uint8 [N, H, W], 0 = black, of side `size_px`; or as many grey Pillow images, such as the column
                `image` of a dataset.

        Returns:
            float32 [N, K] in `vocabulary` order.

        Raises:
            ValueError: If the images are of another form or size.
        """
        pixels = images if isinstance(images, np.ndarray) else np.array([np.asarray(image) for image in images])
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (self.size_px, self.size_px) or not len(pixels):
            raise ValueError(
                f"images must be uint8 [N, {self.size_px}, {self.size_px}], N at least 1, got {pixels.dtype} "
                f"{list(pixels.shape)}; xrarchive.pixels.fit_square resizes"
            )
        return self.ensemble.scores(pixels)

    def score(self, images: Pixels | Iterable[Any]) -> dict[str, Floats]:
        """The same by finding: float32 [N] each."""
        return dict(zip(self.vocabulary, self.scores(images).T, strict=True))

    def calls(self, images: Pixels | Iterable[Any]) -> Floats:
        """float32 [N, K]: 1 = called, 0 = not, NaN = a finding that cannot be called."""
        scores, thresholds = self.scores(images), self.ensemble.thresholds
        return np.where(np.isnan(thresholds), np.nan, scores >= thresholds).astype(np.float32)


def find_weights(source: str | Path, role: str, revision: str | None = None) -> Path:
    """The weight file of a role, fetched if it is on the Hub.

    Raises:
        InputDataError: If there is none.
        AccessError, RemoteError, DamageError: See `xrarchive.hub.weights.fetch_weights`.
    """
    from xrarchive.hub.weights import fetch_weights

    file = f"{role}.safetensors"
    alone = bundled_weights(role) if str(source) == BUNDLED else Path(source)
    if alone.is_file():
        _require_no_revision(source, revision)
        return alone
    found = locate(source, revision)
    if not isinstance(found, Path):
        return fetch_weights(found, file)
    if not (found / file).is_file() and revision is not None:
        found = weights_beside(found)
    if not (found / file).is_file():
        raise InputDataError(
            f"{found} holds no {file}.",
            fix="Give a weight file, a run folder, or what `publish` made of weights; xrarchive.load is for archives, "
            "xrarchive.gan.pretrained.PretrainedGenerator for what `weights export` wrote.",
            path=found,
        )
    return found / file


def _require_no_revision(source: str | Path, revision: str | None) -> None:
    if revision is not None:
        raise InputDataError(f"{source} is one file: it has no revision {revision!r}.", fix="Leave the revision out.")


def _require_sha256(path: Path, found: str, expected: str | None) -> None:
    if expected not in (None, found):
        raise DamageError(
            f"{path} has sha256 {found}, expected {expected}.",
            fix="Get the file again, or ask its publisher which one is right.",
            path=path,
        )
