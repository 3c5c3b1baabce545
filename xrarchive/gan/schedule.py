"""The growth schedule: images shown so far -> resolution and fade weight. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from xrarchive.gan.settings import GeneratorSettings


@dataclass(frozen=True)
class Stage:
    """One resolution: shown from `start_nimg` up to `end_nimg`, fading in for the first `fade_nimg` of them."""

    px: int
    start_nimg: int
    end_nimg: int
    fade_nimg: int


def stages(settings: GeneratorSettings) -> tuple[Stage, ...]:
    """The stages of a training: each twice as long as the one before, the last one as long as there are images.

    Fades depend on the doubled lengths alone, so that raising `nimg` changes nothing that was shown before.
    """
    sizes = [settings.start_px]
    while sizes[-1] < settings.resolution:
        sizes.append(sizes[-1] * 2)
    parts = 2 ** (len(sizes) - 1) - 1
    growth = resolved_growth(settings)
    starts = [growth * (2**index - 1) // max(parts, 1) for index in range(len(sizes))]
    ends = [*starts[1:], settings.nimg]
    lengths = [growth * 2**index // max(parts, 1) for index in range(len(sizes))]
    return tuple(
        Stage(px, start, end, int(length * settings.fade_share) if start else 0)
        for px, start, end, length in zip(sizes, starts, ends, lengths, strict=True)
    )


def resolved_growth(settings: GeneratorSettings) -> int:
    """Images shown before the last stage: `growth_nimg`, or what gives the last stage a little over half of all."""
    growing = (settings.resolution // settings.start_px).bit_length() - 1
    if not growing:
        return 0
    parts = 2**growing - 1
    return settings.growth_nimg or settings.nimg * parts // (2 * parts + 1)


def stage_at(settings: GeneratorSettings, nimg: int) -> tuple[Stage, float]:
    """Stage and fade weight after `nimg` images: alpha in (0, 1], 1 = the new block alone.

    Past the end the last stage stays.
    """
    plan = stages(settings)
    stage = next((item for item in plan if nimg < item.end_nimg), plan[-1])
    into = nimg - stage.start_nimg
    alpha = 1.0 if into >= stage.fade_nimg else max(into, 1) / stage.fade_nimg
    return stage, alpha
