"""Every call of a release and of a reader, spoiled in every way: one cell each, of one table.

    python tests/hub/fault_matrix.py                          # all of it; prints the table
    python tests/hub/fault_matrix.py --transport xet --endpoint commit --kind 503

A cell publishes version 2 of a tiny dataset, with weights, to a loopback Hub, in this process, with a fault at the
first or the last call of an endpoint, or at every call while the fault lasts. It then publishes once more without it.
What must hold: a fault that passes is survived at once; every other ends with an exit code that README calls resumable,
and the same command then ends in one commit and one tag per repository whose files are the archive's; at no time is a
commit half ours, or a tag on anything but the whole; what was refused is not asked again; no token is in anything said
or written. A reader ends with the archive's bytes, or is told why not.

Over Xet only the endpoints of its own get every kind unless --full is given: all else is the same code as over LFS.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import logging
import re
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fault_world import (
    CANARY,
    Transport,
    World,
    attempt,
    check_canary,
    check_never_half,
    check_released,
    fresh_hub,
    heard,
    make_world,
    read_release,
)
from loopback import LoopbackHub
from wire import Fault, Request

from xrarchive.errors import AccessError, DamageError, InputDataError, RemoteError, XrArchiveError
from xrarchive.hub import publish

When = Literal["first", "last", "lasting"]

RESUMABLE = (RemoteError, AccessError)
# What a reader may be told besides: a 404 may mean that there is no such file.
TOLD_TO_READERS = (*RESUMABLE, InputDataError, DamageError)
# A commit that was refused because main had moved is made again on top of the new head, this often at most.
MOVES = 3
HANG_S, PATIENCE_S, LONG_S = 1.6, 0.8, 60.0


@dataclass(frozen=True)
class Endpoint:
    name: str
    method: str
    path: str  # a regular expression for all of it
    transports: tuple[Transport, ...] = ("lfs", "xet")
    reading: bool = False

    def matches(self, request: Request) -> bool:
        return self.method == request.method and re.fullmatch(self.path, request.path) is not None


_API = r"/api/(datasets|models)/[^/]+/[^/]+"
ENDPOINTS = (
    Endpoint("whoami", "GET", r"/api/whoami-v2"),
    Endpoint("create", "POST", r"/api/repos/create"),
    Endpoint("refs", "GET", rf"{_API}/refs"),
    Endpoint("info", "GET", rf"{_API}(/revision/[^/]+)?"),
    Endpoint("manifest-head", "HEAD", r".+/resolve/.+"),
    Endpoint("manifest-content", "GET", r".+/resolve/.+"),
    Endpoint("tree", "GET", rf"{_API}/tree/.+"),
    Endpoint("preupload", "POST", rf"{_API}/preupload/.+"),
    Endpoint("xet-write-token", "GET", rf"{_API}/xet-write-token/.+", transports=("xet",)),
    Endpoint("lfs-batch", "POST", r".+\.git/info/lfs/objects/batch", transports=("lfs",)),
    Endpoint("lfs-put", "PUT", r"/lfs/[0-9a-f]+", transports=("lfs",)),
    Endpoint("lfs-verify", "POST", r"/lfs/verify", transports=("lfs",)),
    Endpoint("validate-yaml", "POST", r"/api/validate-yaml"),
    Endpoint("commit", "POST", rf"{_API}/commit/.+"),
    Endpoint("tag", "POST", rf"{_API}/tag/.+"),
    Endpoint("read-info", "GET", rf"{_API}/revision/[^/]+", reading=True),
    Endpoint("read-head", "HEAD", r".+/resolve/.+", reading=True),
    Endpoint("read-content", "GET", r".+/resolve/.+", reading=True),
    Endpoint("xet-read-token", "GET", rf"{_API}/xet-read-token/.+", transports=("xet",), reading=True),
)


@dataclass(frozen=True)
class Kind:
    """A way to spoil a call. `passes`: trying again is right; else it is refused, and asking again is wrong."""

    name: str
    passes: bool
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    applied: bool = False
    half: bool = False
    hang_s: float = 0.0
    lasting: bool = True  # whether it is tried as a fault that stays, too

    def fault(self) -> Fault:
        return Fault(
            "", "", self.status, dict(self.headers), applied=self.applied, half=self.half, hang_s=self.hang_s
        )  # fmt: skip


RETRY_AFTER_S = 7
KINDS = (
    *(Kind(str(status), True, status, lasting=status == 503) for status in (408, 500, 502, 503, 504)),
    Kind("429", True, 429, (("Retry-After", str(RETRY_AFTER_S)),)),
    Kind("reset-before", True),
    Kind("reset-after", True, applied=True),
    Kind("503-after", True, 503, applied=True, lasting=False),
    Kind("half-body", True, half=True, lasting=False),
    Kind("hang", True, hang_s=HANG_S, lasting=False),
    *(Kind(str(status), False, status) for status in (401, 403, 404, 409, 412, 413)),
)

OF_EACH_SORT = ("503", "reset-after", "403")


@dataclass(frozen=True)
class Cell:
    transport: Transport
    endpoint: Endpoint
    kind: Kind
    when: When

    @property
    def name(self) -> str:
        return f"{self.transport}-{self.endpoint.name}-{self.kind.name}-{self.when}"


def all_cells(*, full: bool = False) -> Iterator[Cell]:
    """The table, in the order of a release."""
    transports: tuple[Transport, ...] = ("lfs", "xet")
    whens: tuple[When, ...] = ("first", "last", "lasting")
    for transport, endpoint, kind, when in itertools.product(transports, ENDPOINTS, KINDS, whens):
        if transport not in endpoint.transports or (when == "lasting" and not kind.lasting):
            continue
        if (
            full
            or transport == "lfs"
            or len(endpoint.transports) == 1
            or (when == "last" and kind.name in OF_EACH_SORT)
        ):
            yield Cell(transport, endpoint, kind, when)


@dataclass
class Outcome:
    """What came of a cell."""

    first: str  # "done", or what was raised
    requests: int  # of the endpoint, before the fault was lifted
    waited_s: float  # what a user would have waited between tries


def count_calls(world: World, transport: Transport) -> Counter[str]:
    """How often an undisturbed release calls each endpoint, and a reading those for readers."""
    asked: list[Request] = []
    with fresh_hub(world, transport) as (hub, waits):
        hub.choose_fault = asked.append
        publish(world.plan, sleep=waits.append)
        published = len(asked)
        read_release(world, waits)
    return Counter(
        endpoint.name
        for at, request in enumerate(asked)
        for endpoint in ENDPOINTS
        if endpoint.matches(request) and endpoint.reading == (at >= published)
    )


class Spoiler:
    """Spoils the calls a cell names, and keeps what was asked."""

    def __init__(self, cell: Cell, calls: int) -> None:
        self.cell, self.at = cell, {"first": 1, "last": calls, "lasting": 0}[cell.when]
        self.asked: list[tuple[str, bool, int]] = []  # request, whether it was spoiled, how many reads came before
        self._reads = 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Fault | None:
        with self._lock:
            self._reads += request.method == "GET"
            if not self.cell.endpoint.matches(request):
                return None
            spoiled = self.at in (0, len(self.asked) + 1)
            told = hashlib.sha256(request.body).hexdigest()[:12]
            self.asked.append((f"{request.method} {request.path} {request.query} {told}", spoiled, self._reads))
            return self.cell.kind.fault() if spoiled else None

    def repeats(self) -> list[str]:
        """Requests that were refused and then asked again, without a look at the Hub in between."""
        refused: dict[str, int] = {}
        found = []
        for request, spoiled, reads in self.asked:
            if refused.get(request, -1) == reads:
                found.append(request)
            if spoiled:
                refused[request] = reads
        return found


def run_cell(world: World, cell: Cell, calls: int) -> Outcome:
    """Carry out a cell whose endpoint is called so often; an `AssertionError` says what did not hold."""
    run = run_reading if cell.endpoint.reading else run_release
    with fresh_hub(world, cell.transport, patience_s=PATIENCE_S if cell.kind.hang_s else LONG_S) as (hub, waits):
        spoiler = Spoiler(cell, calls)
        said = io.StringIO()
        with heard(said):
            raised = run(hub, world, spoiler, waits, said)
        assert CANARY not in said.getvalue(), "a token was said"
        assert spoiler.asked, "the call was never made"
        check_manners(cell, spoiler, raised, waits)
        return Outcome("done" if raised is None else type(raised).__name__, len(spoiler.asked), sum(waits))


def run_release(
    hub: LoopbackHub, world: World, spoiler: Spoiler, waits: list[float], said: io.StringIO
) -> XrArchiveError | None:
    """Publish with the fault, then without; gives what the first ended with."""
    hub.choose_fault = spoiler
    raised = attempt(lambda: publish(world.plan, sleep=waits.append), RESUMABLE, said)
    hub.choose_fault = lambda _: None
    check_never_half(hub, world)
    if raised is None:
        check_released(hub, world)
    receipt = publish(world.plan, sleep=waits.append)
    assert receipt is not None
    assert receipt.already_published or raised is not None, "what was published is not found to be so"
    check_released(hub, world)
    check_canary(world.archive.folder)
    return raised


def run_reading(
    hub: LoopbackHub, world: World, spoiler: Spoiler, waits: list[float], said: io.StringIO
) -> XrArchiveError | None:
    """Read a release with the fault, then without."""
    publish(world.plan, sleep=waits.append)
    hub.choose_fault = spoiler
    raised = attempt(lambda: read_release(world, waits), TOLD_TO_READERS, said)
    hub.choose_fault = lambda _: None
    read_release(world, waits)
    check_canary(world.folder)
    return raised


def check_manners(cell: Cell, spoiler: Spoiler, raised: XrArchiveError | None, waits: Sequence[float]) -> None:
    """Faults that pass are survived; what is refused is not asked again; a Hub that names a wait gets it."""
    spoiled = sum(spoiled for _, spoiled, _ in spoiler.asked)
    if cell.kind.passes:
        assert raised is None or cell.when == "lasting", f"a single {cell.kind.name} was not survived: {raised}"
    else:
        assert not spoiler.repeats(), f"refused, and asked again: {spoiler.repeats()[0]}"
        assert spoiled <= 2 * (MOVES + 1), f"refused {spoiled} times"  # two repositories
    # Of a token for Xet the wait is in Rust, where we do not see it; a HEAD the library repeats once without a wait.
    if cell.kind.name == "429" and not cell.endpoint.name.startswith(("xet-", "read-head", "manifest-head")):
        assert max(waits, default=0.0) >= RETRY_AFTER_S, f"waited {waits}, the Hub asked for {RETRY_AFTER_S} s"


def render(outcomes: Mapping[Cell, Outcome | str]) -> str:
    """A line for each endpoint and transport: by kind what came of it at first / last call / while it lasts."""
    lines = []
    kinds = list(dict.fromkeys(cell.kind.name for cell in outcomes))
    lines.append(" ".join([f"{'':22}", *(f"{kind:>12}" for kind in kinds)]))
    for transport, endpoint in dict.fromkeys((cell.transport, cell.endpoint.name) for cell in outcomes):
        row = [f"{transport} {endpoint:18}"]
        for kind in kinds:
            found = [
                outcome
                for cell, outcome in outcomes.items()
                if (cell.transport, cell.endpoint.name, cell.kind.name) == (transport, endpoint, kind)
            ]
            row.append(f"{'/'.join(_shown(outcome) for outcome in found):>12}")
        lines.append(" ".join(row))
    return "\n".join(lines)


def _shown(outcome: Outcome | str) -> str:
    if isinstance(outcome, str):
        return "MISS"
    codes = {"done": "ok", "RemoteError": "7", "TransientError": "7", "ConflictError": "7", "AccessError": "8"}
    codes |= {"InputDataError": "3", "DamageError": "6"}
    return codes[outcome.first]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every kind over Xet, too")
    for option in ("transport", "endpoint", "kind", "when"):
        parser.add_argument(f"--{option}")
    arguments = vars(parser.parse_args())
    full, chosen = arguments.pop("full"), {key: value for key, value in arguments.items() if value}
    logging.getLogger().addHandler(logging.NullHandler())  # else warnings go to stderr
    outcomes: dict[Cell, Outcome | str] = {}
    with tempfile.TemporaryDirectory(prefix="xrarchive-matrix-") as folder:
        world = make_world(Path(folder))
        calls = {transport: count_calls(world, transport) for transport in world.before}
        for cell in all_cells(full=full):
            named = {**vars(cell), "endpoint": cell.endpoint.name, "kind": cell.kind.name}
            if cell.transport not in calls or any(named[key] != value for key, value in chosen.items()):
                continue
            try:
                outcomes[cell] = run_cell(world, cell, calls[cell.transport][cell.endpoint.name])
            except AssertionError as err:
                outcomes[cell] = str(err)
                sys.stdout.write(f"MISS {cell.name}: {err}\n")
    worst = max((outcome.waited_s for outcome in outcomes.values() if isinstance(outcome, Outcome)), default=0.0)
    misses = sum(isinstance(outcome, str) for outcome in outcomes.values())
    sys.stdout.write(f"{render(outcomes)}\n{len(outcomes)} cells, {misses} missed; longest wait {worst:.0f} s\n")
    return int(misses > 0)


if __name__ == "__main__":
    sys.exit(main())
