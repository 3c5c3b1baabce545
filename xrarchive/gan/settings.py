"""Settings of a generator training. Torch-free, so that commands and cards can read them.

One dial, `resolution`, sets the rest; every number can be overridden. Defaults up to 64 px are those of a measured
trial (batch 32, non-saturating loss, R1 gamma 1 every 8th step, Adam 1.5e-3, averaging .999, no 4 px stage); above
64 px the widths are the published ones (512 ... 16).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RESOLUTIONS_PX = (16, 32, 64, 128, 256, 512, 1024)
BASE_PX = 4  # the networks' smallest feature map, as published
_SMALL_PX = 64


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """Everything that decides the weights besides the radiographs.

    Attributes:
        resolution: Final size in px, a power of two from 16 to 1024.
        nimg: Radiographs shown in all; a finished run goes on when it is raised.
        growth_nimg: Radiographs shown before the last stage; 0 = a little under half of
            `nimg`. Stages double in length.
        start_px: Resolution of the first stage.
        latent_size: Z.
        width_max: Channels are min(width_max, width_base // resolution of the block); 0 = by resolution.
        width_base: See `width_max`; 0 = by resolution.
        batch: Radiographs per step, a multiple of `group`.
        group: Images over which the minibatch standard deviation is taken.
        loss: `logistic` (non-saturating, lazy R1) or `wgan-gp` (as published).
        r1_gamma: Weight of R1, for `logistic`.
        r1_interval: Steps between two R1 penalties (Karras et al. 2020).
        gp_lambda: Weight of the gradient penalty, for `wgan-gp`.
        drift: Weight of the squared critic output, for `wgan-gp`.
        learning_rate: Adam's, for both networks.
        beta2: Adam's second moment decay; the first is 0.
        averaging: Decay of the averaged generator per step.
        fade_share: Share of each stage but the first spent fading in.
        checkpoint_nimg: Radiographs between checkpoints.
        precision: `auto` = bf16 where the processor computes in it, else float32.
        seed: Of weights, data order and latents.
    """

    resolution: int = 64
    nimg: int = 370_000
    growth_nimg: int = 0
    start_px: int = 8
    latent_size: int = 128
    width_max: int = 0
    width_base: int = 0
    batch: int = 32
    group: int = 4
    loss: Literal["logistic", "wgan-gp"] = "logistic"
    r1_gamma: float = 1.0
    r1_interval: int = 8
    gp_lambda: float = 10.0
    drift: float = 1e-3
    learning_rate: float = 1.5e-3
    beta2: float = 0.99
    averaging: float = 0.999
    fade_share: float = 0.5
    checkpoint_nimg: int = 10_000
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings no network can be built from."""
        if self.resolution not in RESOLUTIONS_PX:
            raise ValueError(f"resolution must be one of {RESOLUTIONS_PX}, got {self.resolution}")
        if self.start_px not in (BASE_PX, 8, *RESOLUTIONS_PX) or self.start_px > self.resolution:
            raise ValueError(f"start_px must be a power of two from 4 to {self.resolution}, got {self.start_px}")
        if min(self.latent_size, self.group, self.r1_interval, self.checkpoint_nimg) < 1:
            raise ValueError("latent_size, group, r1_interval and checkpoint_nimg must be at least 1")
        if not 0 <= self.fade_share <= 1:
            raise ValueError(f"fade_share must lie between 0 and 1, got {self.fade_share}")
        if self.batch < 1 or self.batch % self.group:
            raise ValueError(f"batch must be a multiple of group ({self.group}), got {self.batch}")
        if self.nimg < self.batch:
            raise ValueError(f"nimg must be at least one batch ({self.batch}), got {self.nimg}")
        if not 0 <= self.growth_nimg < self.nimg:
            raise ValueError(f"growth_nimg must lie between 0 and nimg ({self.nimg}), got {self.growth_nimg}")
        if self.loss not in ("logistic", "wgan-gp"):
            raise ValueError(f"loss must be logistic or wgan-gp, got {self.loss!r}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"precision must be auto, float32 or bfloat16, got {self.precision!r}")

    def width(self, px: int) -> int:
        """Channels of the block that works at `px`."""
        small = self.resolution <= _SMALL_PX
        most = self.width_max or (128 if small else 512)
        base = self.width_base or (1536 if small else 16_384)
        return max(1, min(most, base // px))
