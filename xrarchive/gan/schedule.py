"""The growth schedule: images shown so far -> resolution, fade weight and batch. Pure functions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from xrarchive.gan.settings import GeneratorSettings


@dataclass(frozen=True)
class Stage:
    """One resolution: shown from `start_nimg` up to `end_nimg`, fading in for the first `fade_nimg` of them."""

    px: int
    start_nimg: int
    end_nimg: int
    fade_nimg: int
    batch: int


def stages(settings: GeneratorSettings) -> tuple[Stage, ...]:
    """The stages of a training; the last one takes as many images as there are, up to `nimg`.

    By default each is twice as long as the one before, and fades depend on the doubled lengths alone, so that raising
    `nimg` changes nothing that was shown before.
    """
    lengths = settings.stage_nimg or _doubling(settings)
    found, start = [], 0
    for index, length in enumerate(lengths):
        last = index == len(lengths) - 1
        fade = settings.fade_nimg or int(length * settings.fade_share)
        found.append(
            Stage(
                px=settings.start_px << index,
                start_nimg=start,
                end_nimg=max(settings.nimg, start) if last else start + length,
                fade_nimg=fade if index else 0,
                batch=settings.batch_at(index),
            )
        )
        start += length
    return tuple(found)


def resolved_growth(settings: GeneratorSettings) -> int:
    """Images shown before the last stage: `growth_nimg`, or what gives the last stage a little over half of all."""
    growing = settings.stages - 1
    if settings.stage_nimg:
        return sum(settings.stage_nimg[:-1])
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


def _doubling(settings: GeneratorSettings) -> list[int]:
    count = settings.stages
    parts = 2 ** (count - 1) - 1
    growth = resolved_growth(settings)
    starts = [growth * (2**index - 1) // max(parts, 1) for index in range(count)]
    lengths = [after - before for before, after in itertools.pairwise(starts)]
    return [*lengths, growth * 2 ** (count - 1) // max(parts, 1)]
