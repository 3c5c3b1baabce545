"""Two films of one person: a network trained here to tell whether they are, and what it makes of any image.

Pixels and patient ids come in, unit vectors come out; the nearer two of them, the more alike the persons. Validation
asks with them whether a synthetic image is nearer to a patient than films of strangers are. Left of the waist.

Training: batches of patients, two films of each, or one film twice where there is no second; both shifted, scaled,
recoloured, half of them mirrored or recompressed. The loss asks every film to find its partner among all others of the
batch (NT-Xent, Chen et al. 2020, eq. 1). Same radiographs and settings, same network; it is kept in a cache folder.

Why trained here and not taken from elsewhere: published networks saw 1024 px films. What can be recognised at the size
of the archive is what matters, and its power there is measured on patients it never saw.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from xrarchive.bootstrap import group_codes, make_rng
from xrarchive.classifier.fitting import augment, network_logits, to_input
from xrarchive.classifier.networks import Network, make_network
from xrarchive.classifier.settings import ClassifierSettings
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import dump_json, sha256_bytes
from xrarchive.pixels import Pixels
from xrarchive.radiographs import RadiographSet
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.weights import channels_last, load_into, load_weights, save_weights

TRAINED_SPLIT = "train"
MEASURED_SPLITS = ("validation", "test")

# Raised when the training below changes, so that networks in a cache are not taken for today's.
_VERSION = 1
_JPEG_QUALITIES = (50, 95)
_PATIENTS_NEEDED = 8
_INPUT_PX = 64


@dataclass(frozen=True)
class ReidentificationSettings:
    """What decides the network.

    Attributes:
        seed: Of weights, order and distortions.
        dimensions: Length of an embedding.
        width: Channels of the first stage.
        steps: Batches.
        batch: Patients in each.
        learning_rate: Of AdamW at its highest.
        temperature: Of the loss: what similarity counts as near.
        twice: Share of patients shown by one film twice though they have others, so that copies are learnt as well.
        shift: Largest shift, as a share of the side; four of 64 px are 0.06.
        zoom: Largest change of size.
        contrast: Largest change of contrast, and of brightness on a scale of -1 to 1.
    """

    seed: int = 0
    dimensions: int = 64
    width: int = 24
    steps: int = 600
    batch: int = 96
    learning_rate: float = 3e-3
    temperature: float = 0.05
    twice: float = 0.1
    shift: float = 0.06
    zoom: float = 0.04
    contrast: float = 0.15


@dataclass(frozen=True)
class Reidentifier:
    """A trained network.

    Attributes:
        network: Frozen, in evaluation mode.
        settings: What it was trained with.
        input_px: Side of what it sees.
        meta: What was trained on: `radiographs_sha256`, `radiographs`, `patients`.
    """

    network: Network
    settings: ReidentificationSettings
    input_px: int
    meta: dict[str, Any]

    def embed(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """uint8 [N, H, H] -> unit vectors float32 [N, dimensions]; H a multiple of `input_px`, or equal.

        Raises:
            ValueError: If the images are smaller than what the network sees, or no multiple of it.
        """
        if pixels.ndim != 3 or pixels.shape[1] < self.input_px or pixels.shape[1] % self.input_px:
            raise ValueError(f"images must be multiples of {self.input_px} px, got {pixels.shape}")
        rows = network_logits(self.network, np.asarray(pixels), self.input_px)
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def train_reidentifier(
    radiographs: RadiographSet,
    *,
    settings: ReidentificationSettings = ReidentificationSettings(),
    cache: Path | None = None,
    on_status: OnStatus = ignore_status,
) -> Reidentifier:
    """Train on the split `train`, or take what `cache` keeps for the same radiographs and settings.

    Args:
        radiographs: With patients of several films.
        settings: What decides the network.
        cache: Folder to keep the network in; None = not kept.
        on_status: Told after every batch.

    Raises:
        InputDataError: If too few patients of the split have a second film.
        StorageError: If the cache cannot be written.
    """
    input_px = min(_INPUT_PX, radiographs.size_px)
    meta = {
        "version": _VERSION,
        "radiographs_sha256": radiographs.sha256,
        "input_px": input_px,
        "settings": dataclasses.asdict(settings),
    }
    path = None if cache is None else cache / f"reidentification-{sha256_bytes(dump_json(meta))[:16]}.safetensors"
    kept = None if path is None else _load(path, meta)
    if kept is not None:
        return kept
    rows = radiographs.rows(TRAINED_SPLIT)
    codes = group_codes(radiographs.patients[rows], len(rows))
    several = int(np.count_nonzero(np.bincount(codes) > 1)) if len(rows) else 0
    if several < _PATIENTS_NEEDED:
        raise InputDataError(
            f"{radiographs.folder}: only {several} patients of the split {TRAINED_SPLIT} have more than one film; "
            f"{_PATIENTS_NEEDED} are needed to learn to recognise persons.",
            fix="Give a radiograph set with a column patient_id.",
            path=radiographs.folder,
        )
    network = _fit(radiographs.read(rows, radiographs.size_px), codes, input_px, settings, on_status)
    meta |= {"radiographs": len(rows), "patients": int(codes.max()) + 1, "patients_of_several": several}
    if path is not None:
        meta |= {"terms": list(radiographs.terms)}
        save_weights(path, network.state_dict(), kind="reidentification", meta=meta, dtype=torch.float32)
    return Reidentifier(network, settings, input_px, meta)


def same_patient_pairs(radiographs: RadiographSet, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """All pairs of different films of one patient among `rows`: int64 [P, 2], as indices of the set.

    Films with equal pixels are no pair: to find one from the other shows nothing of the person.
    """
    hashes = np.array(list(radiographs.film_hashes(rows)), dtype=str)
    codes = group_codes(radiographs.patients[rows], len(rows))
    pairs = []
    for code in np.flatnonzero(np.bincount(codes) > 1) if len(rows) else ():
        films = np.flatnonzero(codes == code)
        first, second = (films[places] for places in np.triu_indices(len(films), 1))
        different = hashes[first] != hashes[second]
        pairs.append(np.stack([rows[first[different]], rows[second[different]]], axis=1))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)


def pair_distances(
    reidentifier: Reidentifier, radiographs: RadiographSet
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.str_]]:
    """Distances of all pairs of films of one patient in `MEASURED_SPLITS`, of which the network saw nobody.

    Returns:
        float64 [P] in 0..2, and the patient of each pair, str [P].
    """
    pairs = same_patient_pairs(radiographs, radiographs.rows(*MEASURED_SPLITS))
    if not len(pairs):
        return np.empty(0), np.empty(0, np.str_)
    rows, places = np.unique(pairs, return_inverse=True)
    vectors = reidentifier.embed(radiographs.read(rows, radiographs.size_px)).astype(np.float64)
    first, second = places.reshape(pairs.shape).T
    return np.linalg.norm(vectors[first] - vectors[second], axis=1), radiographs.patients[pairs[:, 0]]


def _fit(
    pixels: Pixels,
    codes: npt.NDArray[np.int64],
    input_px: int,
    settings: ReidentificationSettings,
    on_status: OnStatus,
) -> Network:
    rng = make_rng(settings.seed, "reidentification")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network = channels_last(make_network("residual", settings.dimensions, settings.width, input_px))
        optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=1e-4)
        films_of = [np.flatnonzero(codes == code) for code in range(int(codes.max()) + 1)]
        network.train()
        for step in range(settings.steps):
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * _rate(step, settings.steps)
            rows = _draw_pairs(films_of, settings, rng)
            images = _distorted(pixels[rows.T.ravel()], input_px, settings, rng)
            loss = contrastive_loss(network(images), settings.temperature)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            on_status(
                Status(step + 1, settings.steps, "batches", f"re-identification, loss {float(loss.detach()):.2f}")
            )
    return network.eval().requires_grad_(False)


def contrastive_loss(embeddings: Tensor, temperature: float) -> Tensor:
    """NT-Xent: row i of [2B, E] is to find row i + B, and the other way round, among all other rows."""
    unit = F.normalize(embeddings, dim=1)
    alike = unit @ unit.T / temperature
    alike = alike.masked_fill(torch.eye(len(unit), dtype=torch.bool), -math.inf)
    partner = torch.arange(len(unit)).roll(len(unit) // 2)
    return F.cross_entropy(alike, partner)


def _draw_pairs(
    films_of: list[npt.NDArray[np.int64]], settings: ReidentificationSettings, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """int64 [B, 2]: two films of each of B different patients; patients of several films come up twice as often."""
    weights = np.array([1 + (len(films) > 1) for films in films_of], np.float64)
    count = min(settings.batch, len(films_of))
    chosen = rng.choice(len(films_of), count, replace=False, p=weights / weights.sum())
    pairs = []
    for patient in chosen:
        films = films_of[patient]
        again = len(films) == 1 or rng.random() < settings.twice
        pairs.append(np.repeat(rng.choice(films), 2) if again else rng.choice(films, 2, replace=False))
    return np.stack(pairs)


def _distorted(pixels: Pixels, input_px: int, settings: ReidentificationSettings, rng: np.random.Generator) -> Tensor:
    """float32 [N, 1, px, px]: a quarter recompressed, a half mirrored, all shifted, scaled and recoloured."""
    made = np.stack([_recompressed(image, rng) if rng.random() < 0.25 else image for image in pixels])
    mirrored = rng.random(len(made)) < 0.5
    made[mirrored] = made[mirrored][:, :, ::-1]
    how = ClassifierSettings(shift=settings.shift, zoom=settings.zoom, contrast=settings.contrast)
    return augment(to_input(made, input_px), how, rng).contiguous(memory_format=torch.channels_last)


def _recompressed(image: Pixels, rng: np.random.Generator) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=int(rng.integers(*_JPEG_QUALITIES)))
    return np.asarray(Image.open(stream))


def _rate(step: int, steps: int) -> float:
    """A short rise, then half a cosine down to 0."""
    return min(1.0, 10 * (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _load(path: Path, meta: dict[str, Any]) -> Reidentifier | None:
    """What is kept; None if it is not there, damaged, or of something else."""
    try:
        weights = load_weights(path, kind="reidentification")
        if {key: weights.meta.get(key) for key in meta} != json.loads(json.dumps(meta)):
            return None
        settings = ReidentificationSettings(**weights.meta["settings"])
        network = make_network("residual", settings.dimensions, settings.width, int(weights.meta["input_px"]))
        load_into(network, weights.tensors, path=path)
    except (InputDataError, DamageError):
        return None
    frozen = channels_last(network.eval().requires_grad_(False))
    return Reidentifier(frozen, settings, int(weights.meta["input_px"]), weights.meta)
