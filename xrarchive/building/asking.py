"""What images an archive is asked for: options and weights in, requests out, or a refusal that says what can be had."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xrarchive.archive.manifest import Manifest
from xrarchive.archive.reader import read_table
from xrarchive.errors import InputDataError
from xrarchive.findings import require_known
from xrarchive.plan import read_requests, requests_like_real, requests_per_class
from xrarchive.records import ImageRequest
from xrarchive.settings import DEFAULT_PER_CLASS

if TYPE_CHECKING:
    from xrarchive.classifier.classifier import Classifier

_IMAGE_ID = re.compile(r"s(?P<seed>\d+)-(?P<slug>.+)-(?P<number>\d{6,})")


def requests_of(
    guide: Classifier,
    offered: Sequence[str],
    per_class: int | None,
    findings: Sequence[str] | None,
    requests: Path | None,
    like_real: int | None,
    boost: float,
) -> tuple[ImageRequest, ...]:
    """The requests a build is given, or makes; arguments as `building.build`, `offered` what the weights offer.

    Raises:
        InputDataError: If a finding is unknown, named twice or cannot be called, or nothing is asked for.
    """
    if requests is not None:
        asked = read_requests(requests, guide.vocabulary)
    elif like_real is not None:
        asked = requests_like_real(guide.meta.get("label_sets", {}), like_real, callable_findings=offered, boost=boost)
    else:
        names = offered if findings is None else tuple(findings)
        require_known(names, guide.vocabulary, where="--findings")
        if len(set(names)) != len(names):
            raise InputDataError(f"--findings names a finding twice: {', '.join(names)}.", fix="Name each once.")
        asked = requests_per_class(names, DEFAULT_PER_CLASS if per_class is None else per_class)
    require_callable(asked, guide)
    if not asked:
        raise InputDataError(
            "These weights offer no finding by default: guide and judge do not reach the figures the rule asks for.",
            fix="Train better classifiers, or name some with --findings "
            f"(callable: {', '.join(callable_findings(guide))}).",
        )
    return asked


def callable_findings(guide: Classifier) -> list[str]:
    """Findings that the guide has a threshold for."""
    return [name for name in guide.vocabulary if not math.isnan(guide.threshold(name))]


def require_callable(asked: Sequence[ImageRequest], guide: Classifier) -> None:
    """Refuse requests for findings that the guide cannot call.

    Raises:
        InputDataError: Naming the first, and what can be asked for.
    """
    known = callable_findings(guide)
    for name in (name for request in asked for name in (*request.findings, *request.absent)):
        if name not in known:
            raise InputDataError(
                f"The guide has no threshold for {name!r}: it saw too few examples.",
                fix=f"Ask for some of: {', '.join(known)}.",
            )


def require_judged(asked: Sequence[ImageRequest], judge: Classifier) -> None:
    """Refuse a judge as filter that cannot call what is asked for.

    Raises:
        InputDataError: Naming a finding.
    """
    for name in {name for request in asked for name in request.findings}:
        if math.isnan(judge.threshold(name)):
            raise InputDataError(
                f"The judge has no threshold for {name!r}: as a filter it would leave out every image.",
                fix="Leave out --judge-filter, or do not ask for this finding.",
            )


def still_wanted(out: Path, manifest: Manifest, wanted: Sequence[ImageRequest], seed: int) -> tuple[ImageRequest, ...]:
    """What is missing of the totals wanted, numbered after every id that is or was in the archive."""
    present = read_table(out, ["image_id"])["image_id"].to_pylist()
    there: Counter[str] = Counter()
    next_number: Counter[str] = Counter()
    for image_id in (*present, *(item.image_id for item in manifest.withdrawn)):
        if (found := _IMAGE_ID.fullmatch(image_id)) and int(found["seed"]) == seed:
            next_number[found["slug"]] = max(next_number[found["slug"]], int(found["number"]) + 1)
    there.update(found["slug"] for image_id in present if (found := _IMAGE_ID.fullmatch(image_id)))
    return tuple(
        dataclasses.replace(request, count=request.count - there[request.slug], start=next_number[request.slug])
        for request in wanted
        if request.count > there[request.slug]
    )
