"""A generator as others load one: `PretrainedGenerator.from_pretrained(FOLDER or "owner/name")`.

In: the folder that `xrarchive weights export` writes, model.safetensors and config.json. Out: a torch module whose
images are, bit for bit, those of the snapshot it was exported from.
"""

from __future__ import annotations

from typing import Literal

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from xrarchive.gan.networks import Generator
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.weights import channels_last


class PretrainedGenerator(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="xrarchive",
    pipeline_tag="unconditional-image-generation",
    tags=["synthetic", "medical", "radiology", "chest-x-ray", "progressive-gan", "xrarchive"],
):
    """A progressive generator, described by what decides its images and nothing else; config.json holds just this.

    Args:
        resolution: px of its images.
        channels: 1 = grey, 3 = colour.
        latent_size: Z.
        width_max: As in `GeneratorSettings`.
        width_base: As in `GeneratorSettings`.
        dense_norm: As in `GeneratorSettings`.
    """

    def __init__(
        self,
        *,
        resolution: int,
        channels: Literal[1, 3],
        latent_size: int,
        width_max: int,
        width_base: int,
        dense_norm: bool,
    ) -> None:
        super().__init__()
        settings = GeneratorSettings(
            resolution=resolution,
            channels=channels,
            latent_size=latent_size,
            width_max=width_max,
            width_base=width_base,
            dense_norm=dense_norm,
        )
        self.generator = channels_last(Generator(settings))  # as snapshots are: another layout gives other last bits

    @classmethod
    def of(cls, generator: Generator) -> PretrainedGenerator:
        """The same weights in this form."""
        settings = generator.settings
        made = cls(
            resolution=settings.resolution,
            channels=settings.channels,
            latent_size=settings.latent_size,
            width_max=settings.width_max,
            width_base=settings.width_base,
            dense_norm=settings.dense_norm,
        )
        made.generator.load_state_dict(generator.state_dict())
        return made.eval()

    def forward(self, latents: Tensor) -> Tensor:
        """float32 [N, Z], of which only the direction matters -> float32 [N, C, px, px], nominally in [-1, 1]."""
        images: Tensor = self.generator(latents)
        return images
