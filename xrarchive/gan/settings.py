"""Settings of a generator training. Torch-free, so that commands and cards can read them.

One dial, `resolution`, sets widths, batch and length; every number can be overridden. `PRESETS` are sets of overrides:
`balanced` (none: the defaults), `segal2020` (the recipe of the paper's released code) and `tiny` (for tests).
Up to 64 px the defaults are measured (`scripts/compare_settings.py`); above, widths are the published ones
(512 ... 16) and lengths follow the published 14 million images at 1024 px.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

RESOLUTIONS_PX = (16, 32, 64, 128, 256, 512, 1024)
BASE_PX = 4  # the networks' smallest feature map, as published
_SMALL_PX = 64
# By resolution: radiographs shown in all, per step, and the learning rate. Measured at 32 px by compare_settings.py, at
# 64 px in the trials of the bundled model; the rest continues these.
_NIMG = {16: 50_000, 32: 180_000, 64: 370_000, 128: 1_500_000, 256: 4_000_000, 512: 8_000_000, 1024: 14_000_000}
_BATCH = {16: 16, 32: 16, 64: 32, 128: 32, 256: 32, 512: 16, 1024: 16}
_LEARNING_RATE = {16: 3e-3, 32: 3e-3, 64: 1.5e-3, 128: 1.5e-3, 256: 1.5e-3, 512: 1.5e-3, 1024: 1.5e-3}


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """Everything that decides the weights besides the radiographs. Zeros are replaced by what `resolution` asks for.

    Attributes:
        resolution: Final size in px, a power of two from 16 to 1024.
        channels: 1 = grey, 3 = colour; a radiograph's grey is repeated.
        nimg: Radiographs shown in all; a finished run goes on when it is raised; 0 = by resolution.
        growth_nimg: Radiographs shown before the last stage; 0 = a little under half of
            `nimg`. Stages double in length.
        stage_nimg: Radiographs per stage, the first stage first, instead of `growth_nimg`. Entries beyond
            the last stage are dropped; a `nimg` that differs from their sum shortens or prolongs the end.
        fade_nimg: Radiographs over which every stage but the first fades in; 0 = by `fade_share`.
        fade_share: Share of each stage but the first spent fading in.
        start_px: Resolution of the first stage.
        latent_size: Z; 0 = by resolution.
        width_max: Channels are min(width_max, width_base // resolution of the block); 0 = by resolution.
        width_base: See `width_max`; 0 = by resolution.
        dense_norm: Whether the features right after the dense layer are pixel-normalised, as published.
        batch: Radiographs per step over all devices; 0 = by resolution.
        batches: Radiographs per step of each stage, instead of `batch`; entries beyond the last stage are dropped.
        group: Consecutive images over which the minibatch standard deviation is taken.
        groups: Number of such groups in a batch, instead of `group`; 0 = by `group`.
        loss: `logistic` (non-saturating, lazy R1) or `wgan-gp` (as published).
        r1_gamma: Weight of R1, for `logistic`.
        r1_interval: Steps between two R1 penalties (Karras et al. 2020).
        gp_lambda: Weight of the gradient penalty, for `wgan-gp`.
        drift: Weight of the squared critic output, for `wgan-gp`.
        shift: Largest random shift of a radiograph, as a share of its side, its edge repeated; 0 = none. What the
            generator makes is shifted like this too.
        contrast: Largest random change of a radiograph's contrast around middle grey, as a share; 0 = none.
        black: What black is to the networks, white being 1; snapshots always speak [-1, 1].
        learning_rate: Adam's, for both networks; 0 = by resolution.
        beta2: Adam's second moment decay; the first is 0.
        epsilon: Adam's.
        averaging_nimg: Half-life of the averaged generator, in images.
        averaging_share: The half-life is at most this share of the images shown so far (Karras et al. 2020, ADA:
            0.05), so that the average of a short training does not lag behind; 0 = no such limit.
        averaging: Decay of the averaged generator per step, instead of `averaging_nimg`; 0 = by `averaging_nimg`.
        checkpoint_nimg: Radiographs between checkpoints.
        precision: `auto` = bf16 where the device computes in it, else float32; a run records which.
        seed: Of weights, data order and latents.
    """

    resolution: int = 64
    channels: Literal[1, 3] = 1
    nimg: int = 0
    growth_nimg: int = 0
    stage_nimg: tuple[int, ...] = ()
    fade_nimg: int = 0
    fade_share: float = 0.5
    start_px: int = 8
    latent_size: int = 0
    width_max: int = 0
    width_base: int = 0
    dense_norm: bool = True
    batch: int = 0
    batches: tuple[int, ...] = ()
    group: int = 4
    groups: int = 0
    loss: Literal["logistic", "wgan-gp"] = "logistic"
    r1_gamma: float = 1.0
    r1_interval: int = 8
    gp_lambda: float = 10.0
    drift: float = 1e-3
    shift: float = 0.0
    contrast: float = 0.0
    black: float = -1.0
    learning_rate: float = 0.0
    beta2: float = 0.99
    epsilon: float = 1e-8
    averaging_nimg: int = 22_000
    averaging_share: float = 0.05
    averaging: float = 0.0
    checkpoint_nimg: int = 10_000
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Fill in what `resolution` decides, and refuse settings no network can be built from."""
        if self.resolution not in RESOLUTIONS_PX:
            raise ValueError(f"resolution must be one of {RESOLUTIONS_PX}, got {self.resolution}")
        if self.start_px not in (BASE_PX, 8, *RESOLUTIONS_PX) or self.start_px > self.resolution:
            raise ValueError(f"start_px must be a power of two from 4 to {self.resolution}, got {self.start_px}")
        self._fill_in()
        _require(self.channels in (1, 3), f"channels must be 1 or 3, got {self.channels}")
        whole = (self.latent_size, self.group, self.r1_interval, self.checkpoint_nimg, self.averaging_nimg)
        _require(
            min(whole) >= 1,
            "latent_size, group, r1_interval, checkpoint_nimg and averaging_nimg must be at least 1",
        )
        _require(min(self.growth_nimg, self.fade_nimg, self.groups) >= 0, "counts must not be negative")
        _require(0 <= self.fade_share <= 1, f"fade_share must lie between 0 and 1, got {self.fade_share}")
        for name in ("averaging", "averaging_share", "shift", "contrast"):
            _require(0 <= getattr(self, name) < 1, f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        _require(self.black in (-1, 0), f"black must be -1 or 0, got {self.black}")
        for name in ("stage_nimg", "batches"):
            found = getattr(self, name)
            _require(
                not found or (len(found) == self.stages and min(found) > 0),
                f"{name} must have {self.stages} positive numbers, one for each stage, got {found}",
            )
        for batch in self.batches or (self.batch,):
            _require(
                batch >= 1 and batch % (self.groups or self.group) == 0,
                f"batch must be a multiple of {'groups' if self.groups else 'group'} "
                f"({self.groups or self.group}), got {batch}",
            )
        _require(
            self.nimg >= self.batch_at(0), f"nimg must be at least one batch ({self.batch_at(0)}), got {self.nimg}"
        )
        _require(
            not self.stages > 1 or self.growth_nimg < self.nimg,
            f"growth_nimg must lie below nimg ({self.nimg}), got {self.growth_nimg}",
        )
        _require(self.loss in ("logistic", "wgan-gp"), f"loss must be logistic or wgan-gp, got {self.loss!r}")
        _require(
            self.precision in ("auto", "float32", "bfloat16"),
            f"precision must be auto, float32 or bfloat16, got {self.precision!r}",
        )

    def _fill_in(self) -> None:
        """Replace zeros; tuples come back from JSON as lists, and may be longer than there are stages."""
        small = self.resolution <= _SMALL_PX
        stage_nimg = tuple(self.stage_nimg)[: self.stages]
        defaults: dict[str, int | float] = {
            "nimg": sum(stage_nimg) or _NIMG[self.resolution],
            "latent_size": 128 if small else 512,
            "width_max": 128 if small else 512,
            "width_base": 1536 if small else 16_384,
            "batch": _BATCH[self.resolution],
            "learning_rate": _LEARNING_RATE[self.resolution],
        }
        filled = {name: getattr(self, name) or value for name, value in defaults.items()}
        for name, value in {**filled, "stage_nimg": stage_nimg, "batches": tuple(self.batches)[: self.stages]}.items():
            object.__setattr__(self, name, value)

    @property
    def stages(self) -> int:
        """How many resolutions are trained at, from `start_px` to `resolution`."""
        return (self.resolution // self.start_px).bit_length()

    def width(self, px: int) -> int:
        """Channels of the block that works at `px`."""
        return max(1, min(self.width_max, self.width_base // px))

    def batch_at(self, stage: int) -> int:
        """Radiographs per step of the stage with this index."""
        return self.batches[stage] if self.batches else self.batch

    def decay_at(self, nimg: int, batch: int) -> float:
        """How much of the averaged generator stays in the step that brings the images shown to `nimg`."""
        half_life = min(self.averaging_nimg, self.averaging_share * nimg or self.averaging_nimg)
        return self.averaging or 0.5 ** (batch / half_life)

    def group_of(self, batch: int) -> int:
        """Images in a minibatch standard deviation group of a batch."""
        return batch // self.groups if self.groups else self.group


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "balanced": {},
        # BradSegal/CXR_PGGAN, PGGAN/configuration.py; four devices, of which each took its own minibatch deviation.
        "segal2020": {
            "resolution": 1024,
            "channels": 3,
            "start_px": 4,
            "stage_nimg": (800_000, *(1_600_000,) * 7, 2_000_000),
            "fade_nimg": 800_000,
            "latent_size": 512,
            "width_max": 512,
            "width_base": 16_384,
            "batches": (64, 64, 64, 64, 64, 64, 56, 32, 12),
            "groups": 4,
            "loss": "wgan-gp",
            "gp_lambda": 10.0,
            "drift": 1e-3,
            "black": 0.0,
            "learning_rate": 1e-3,
            "beta2": 0.99,
            "epsilon": 1e-7,
            "averaging": 0.999,
            "checkpoint_nimg": 100_000,
            "precision": "float32",
        },
        "tiny": {
            "resolution": 16,
            "nimg": 2_000,
            "latent_size": 16,
            "width_max": 8,
            "width_base": 128,
            "batch": 8,
            "averaging_nimg": 200,
            "checkpoint_nimg": 400,
            "precision": "float32",
        },
    }
)
