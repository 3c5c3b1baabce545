"""Gates: measures in, open or closed out. What applies and was not shown is closed.

A gate holds one measure against one bar. Which gates apply depends on how many images there are and whether real
radiographs are at hand: integrity always, labels from `label_images` of a finding, fidelity, utility and privacy from
`images` with radiographs. Weights need gates of their own besides, measured and passed however few the images: a
network may give away what its images do not.

Bars are `GateSettings`, `[gates]` of the project file. A waiver keeps a gate's finding in the report, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from xrarchive.errors import GateError, SettingsError
from xrarchive.findings import nearest
from xrarchive.trained_films import ATTACK_BAR
from xrarchive.validation.measures import not_measured, rounded

Status = Literal["passed", "failed", "waived", "not measured"]
Found = Mapping[str, Any]

# The space whose KID is held against blurred radiographs: it is there without radiographs of one's own.
KID_SPACE = "imagenet"

_EVEN_ODDS = 0.5
_MIXED_UP = ("labels.reached", "labels.stored_scores")
_COPIES = "privacy.copies"
# Measured in full whether or not somebody is in a hurry.
_NEVER_QUICK = ("integrity.", "labels.agreement.", *_MIXED_UP, _COPIES)
_NO_FILMS = "Judged with radiographs at hand: validate with --radiographs SET."


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """[gates]: bars of publishing.

    Attributes:
        images: Images from which fidelity, utility and privacy must be shown, if radiographs are at hand.
        label_images: Images of a finding from which its labels must be shown.
        near_duplicates: Largest share of images that nearly repeat another.
        reached: Smallest share of images that the guide, asked anew, still puts where the search accepted them.
        transfer: Smallest lower bound of how much of a finding the judge sees, as a share of what it sees in real films
            that the guide scores alike.
        kid: Largest upper bound of the KID, as a share of what blurred radiographs score.
        excess_retention: Smallest lower bound of (AUROC learned from the images - .5) over that learned from films.
        nearer: Largest lower bound of the share of images nearer to a training film than to a held-out one.
        reidentified: Largest lower bound of the share of images in which a patient is recognised.
        membership: Largest upper bound of the AUROC with which training films are told from held-out ones, for weights.
    """

    images: int = 500
    label_images: int = 100
    near_duplicates: float = 0.01
    reached: float = 0.99
    transfer: float = 0.8
    kid: float = 0.5
    excess_retention: float = 0.7
    nearer: float = 0.55
    reidentified: float = 0.02
    membership: float = ATTACK_BAR

    def __post_init__(self) -> None:
        """Refuse bars that cannot be met, or cannot fail.

        Raises:
            ValueError: Naming the setting.
        """
        for name, value in asdict(self).items():
            if name in ("images", "label_images"):
                if value < 1:
                    raise ValueError(f"{name} must be at least 1, got {value}")
            elif not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One bar and what came of it.

    Attributes:
        name: Dotted, as a waiver names it: ``labels.transfer.Edema``.
        part: Of the report.
        status: See `Status`.
        value: What was held against the bar: a value or the end of an interval; None if nothing was measured.
        bar: The bar.
        message: What was found, as a sentence.
        help: What would open it; empty if it is open.
        weights: Whether only weights need it.
        reason: Of a waiver.
    """

    name: str
    part: str
    status: Status
    value: float | None
    bar: float
    message: str
    help: str = ""
    weights: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class _Bar:
    """What a gate is made from: the measure, which of its numbers counts, and on which side of the bar it must be."""

    name: str
    found: Found
    key: Literal["value", "low", "high"]
    bar: float
    what: str
    help: str
    at_least: bool = False
    weights: bool = False


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """What decides which gates apply.

    Attributes:
        images: How many there are.
        asked: By finding how many of them were asked to show it.
        radiographs: Whether real radiographs were at hand.
        quick: Whether parts took fewer resamples and trials: then they open no gate that needs radiographs.
    """

    images: int
    asked: Mapping[str, int]
    radiographs: bool
    quick: bool = False


def judge_gates(
    parts: Mapping[str, Found], occasion: Occasion, settings: GateSettings, waivers: Mapping[str, str] | None = None
) -> list[Gate]:
    """Every gate of a report.

    Args:
        parts: By name what each part found, as in the report.
        occasion: What decides which gates apply.
        settings: The bars.
        waivers: Reason by name of a gate.

    Raises:
        SettingsError: If a waiver names no gate, one that is not closed, or gives no reason.
    """
    gates = [_judge(bar, _excuse(bar, occasion, settings), occasion) for bar in _bars(parts, occasion, settings)]
    return waive_gates(gates, waivers or {})


def gates_section(gates: Sequence[Gate]) -> dict[str, Any]:
    """`gates` of the report: `open`, `weights_open` and the `list`."""
    failed = [gate for gate in gates if gate.status == "failed"]
    unknown = [gate for gate in gates if gate.weights and gate.status == "not measured"]
    return {
        "open": all(gate.weights for gate in failed),
        "weights_open": not failed and not unknown,
        "list": [asdict(gate) for gate in gates],
    }


def require_open(section: Mapping[str, Any], *, where: str) -> None:
    """Refuse an archive whose gates are closed.

    Args:
        section: `gates` of its report.
        where: The archive, for the message.

    Raises:
        GateError: Naming every closed gate, and what would help.
    """
    closed = [gate for gate in section["list"] if gate["status"] == "failed" and not gate["weights"]]
    if closed:
        lines = "; ".join(f"{gate['name']}: {gate['message']}" for gate in closed)
        raise GateError(
            f"{len(closed)} gate{'s' if len(closed) > 1 else ''} of {where} closed. {lines}",
            fix=" ".join(dict.fromkeys(gate["help"] for gate in closed))
            + " Or accept it for all to read: xrarchive validate --as-measured --waive GATE --reason TEXT",
        )


def keeps_back_weights(section: Mapping[str, Any]) -> list[str]:
    """The gates that keep weights from being published, each with what was found; empty if none does.

    Args:
        section: `gates` of a report.
    """
    unmet = [gate for gate in section["list"] if gate["status"] == "failed" or (gate["weights"] and not gate["value"])]
    return [f"{gate['name']}: {gate['message']}" for gate in unmet if gate["status"] in ("failed", "not measured")]


def _bars(parts: Mapping[str, Found], occasion: Occasion, settings: GateSettings) -> Iterator[_Bar]:
    yield from _integrity(parts.get("integrity", {}), settings)
    yield from _mixed_up(parts.get("labels", {}), settings)
    yield from _labels(parts.get("labels", {}).get("findings", {}), occasion.asked, settings)
    yield from _fidelity(parts.get("fidelity", {}), settings)
    yield _Bar(
        name="utility.excess_retention",
        found=parts.get("utility", {}).get("macro", {}).get("excess_retention", {}),
        key="low",
        bar=settings.excess_retention,
        at_least=True,
        what="lower bound of the excess retention",
        help="Ask for more images, or train a better generator.",
    )
    yield from _privacy(parts.get("privacy", {}), settings)


def _integrity(part: Found, settings: GateSettings) -> Iterator[_Bar]:
    repair = "Run `xrarchive check --read-data`, and restore the files or build the archive again."
    drop = "Withdraw the repeats: xrarchive withdraw --ids ID,... --reason TEXT"
    near = part.get("near_duplicates", {})
    most = settings.near_duplicates * near.get("n", 0)
    names = {
        "files": (0.0, "problems of files", repair),
        "exact_duplicates": (0.0, "images that repeat another", drop),
        "near_duplicates": (most, "images that nearly repeat another", drop),
    }
    for kind, (bar, what, help_) in names.items():
        yield _Bar(name=f"integrity.{kind}", found=part.get(kind, {}), key="value", bar=bar, what=what, help=help_)


def _mixed_up(labels: Found, settings: GateSettings) -> Iterator[_Bar]:
    repair = "Labels, scores or pixels were changed after the build: restore the archive, or build it again."
    yield _Bar(
        name=_MIXED_UP[0],
        found=labels.get("reached", {}),
        key="value",
        bar=settings.reached,
        at_least=True,
        what="share of images that reach the bars of what was asked",
        help=repair,
    )
    yield _Bar(
        name=_MIXED_UP[1],
        found=labels.get("stored_scores", {}),
        key="value",
        bar=0,
        what="images whose stored scores are not those of their pixels",
        help=repair,
    )


def _labels(findings: Mapping[str, Found], asked: Mapping[str, int], settings: GateSettings) -> Iterator[_Bar]:
    leave = "Leave the finding out, or train guide and judge on more radiographs that show it."
    for finding in asked:
        found = findings.get(finding, {})
        numbers = {
            "agreement": (found, _EVEN_ODDS, "lower bound of the judge's AUROC"),
            "transfer": (found.get("transfer", {}), settings.transfer, "lower bound of the transfer"),
        }
        for kind, (measured, bar, what) in numbers.items():
            yield _Bar(
                name=f"labels.{kind}.{finding}",
                found=measured,
                key="low",
                bar=bar,
                at_least=True,
                what=what,
                help=leave,
            )


def _fidelity(part: Found, settings: GateSettings) -> Iterator[_Bar]:
    found = part.get(KID_SPACE, {}).get("kid", {})
    control = (found.get("control") or {}).get("value")
    if found.get("value") is not None and control is None:
        found = not_measured("What blurred radiographs score was not measured.")
    yield _Bar(
        name="fidelity.kid",
        found=found,
        key="high",
        bar=settings.kid * (control or 0),
        what=f"upper bound of the KID ({KID_SPACE})",
        help="Train the generator for longer.",
    )


def _privacy(part: Found, settings: GateSettings) -> Iterator[_Bar]:
    drop = "Look at the pairs, and withdraw the images: xrarchive withdraw --ids ID,... --reason TEXT"
    train = "Train the generator on more radiographs, or for a shorter time."
    withhold = "Publish the dataset without its weights, or train the generator on more radiographs."
    yield _Bar(name=_COPIES, found=part.get("copies", {}), key="value", bar=0, what="copies of radiographs", help=drop)
    for space, found in (part.get("share_nearer") or {"pixels": {}}).items():
        what = f"lower bound of the share nearer to training films ({space})"
        yield _Bar(
            name=f"privacy.share_nearer.{space}", found=found, key="low", bar=settings.nearer, what=what, help=train
        )
    yield _Bar(
        name="privacy.reidentification",
        found=part.get("reidentification", {}),
        key="low",
        bar=settings.reidentified,
        what="lower bound of the share recognised",
        help=drop,
    )
    for kind, found in (part.get("membership") or {"critic": {}, "inversion": {}}).items():
        what = f"upper bound of the AUROC of membership inference ({kind})"
        yield _Bar(
            name=f"privacy.membership.{kind}",
            found=found,
            key="high",
            bar=settings.membership,
            what=what,
            help=withhold,
            weights=True,
        )


def _excuse(bar: _Bar, occasion: Occasion, settings: GateSettings) -> str:
    """Why a gate does not apply; empty if it does."""
    part, _, rest = bar.name.partition(".")
    if bar.name in _MIXED_UP:  # nobody but the classifiers of the build can tell, and they may not be at hand
        return "" if bar.found.get("value") is not None else str(bar.found.get("reason", "Labels were not measured."))
    if part == "integrity" or (bar.name == _COPIES and bar.found.get("value") is not None):
        return ""
    if part == "labels":
        finding = rest.partition(".")[2]
        count = occasion.asked[finding]
        if count < settings.label_images:
            return f"Labels are judged from {settings.label_images} images of a finding; {finding} has {count}."
        # What films score alike can be known only with films at hand.
        return _NO_FILMS if rest.startswith("transfer.") and not occasion.radiographs else ""
    if occasion.images < settings.images and not bar.weights:
        return f"Judged from {settings.images} images; there are {occasion.images}."
    return "" if occasion.radiographs else _NO_FILMS


def _judge(bar: _Bar, excuse: str, occasion: Occasion) -> Gate:
    value = bar.found.get(bar.key)
    status: Status
    if excuse:
        status, message = "not measured", excuse
    elif value is None:
        status, message = "failed", bar.found.get("reason") or "It was not measured: --only left its part out."
    elif occasion.quick and not bar.name.startswith(_NEVER_QUICK):
        status, message = "failed", "It was measured with --quick, which opens no gate."
    else:
        passed = value > bar.bar if bar.at_least else value <= bar.bar
        status = "passed" if passed else "failed"
        message = f"{bar.what} {value:.4g}, must be {'above' if bar.at_least else 'at most'} {bar.bar:.4g}."
    return Gate(
        name=bar.name,
        part=bar.name.partition(".")[0],
        status=status,
        value=None if excuse else value,
        bar=rounded(bar.bar),
        message=message[:1].upper() + message[1:],
        help=bar.help if status == "failed" else "",
        weights=bar.weights,
    )


def waive_gates(gates: Sequence[Gate], waivers: Mapping[str, str]) -> list[Gate]:
    """The same gates, those waived that are named.

    Args:
        gates: Judged.
        waivers: Reason by name of a gate.

    Raises:
        SettingsError: As `judge_gates`.
    """
    names = [gate.name for gate in gates]
    closed = [gate.name for gate in gates if gate.status == "failed" or (gate.weights and gate.status != "passed")]
    for name, reason in waivers.items():
        if name not in names:
            near = nearest(name, names)
            raise SettingsError(
                f"--waive {name}: there is no such gate.{f' Did you mean {near!r}?' if near else ''}",
                fix=f"Waive one that is closed: {', '.join(closed) or 'none is'}.",
            )
        if name not in closed:
            raise SettingsError(f"--waive {name}: that gate is not closed.", fix="Leave the waiver out.")
        if not reason.strip():
            raise SettingsError(f"--waive {name} needs a reason.", fix="Say why with --reason TEXT.")
    return [
        replace(gate, status="waived", reason=waivers[gate.name]) if gate.name in waivers else gate for gate in gates
    ]
