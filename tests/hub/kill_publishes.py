"""Kill publishing, by SIGKILL, at every call it makes of the Hub, and look at what is left; tells it as JSON.

    python tests/hub/kill_publishes.py every-call --transport lfs      # each call once, at three moments
    python tests/hub/kill_publishes.py polled --kills 200              # with a reader that never stops

The Hub runs in this process and does the killing: when a call arrives, before it is carried out; after that, before the
reply; or a moment after the reply. Publishing runs in forks of a warm process.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fault_world import (
    MODEL_REPO,
    REPO,
    TAG,
    VERSION,
    Transport,
    World,
    check_canary,
    check_never_half,
    check_released,
    holds,
    make_world,
    repository_of,
)
from loopback import READ_ONLY_TOKEN, TOKEN, LoopbackHub, serve
from tiny_archive import TinyArchive, make_archive
from wire import Fault, Request, serve_http
from xet_store import XetStore

from xrarchive.hub import Publication, plan_publication

HERE = Path(__file__).parent
Moment = Literal["before", "after", "later"]
# A client writes a `local://` store itself: killed at work, it would leave the store damaged, which no Hub lets happen.
MOMENTS: dict[Transport, tuple[Moment, ...]] = {"lfs": ("before", "after", "later"), "xet": ("before", "after")}
LATER_AT_MOST_S = 0.03
PATIENCE_S = 60.0
Json = dict[str, Any]


@dataclass
class Publisher:
    """The warm process, and the one fork of it that runs."""

    process: subprocess.Popen[str]
    endpoint: str
    said: Path
    _pid: int = 0
    _started: threading.Event = field(default_factory=threading.Event)

    def start(self, job: Json) -> None:
        self._started.clear()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({**job, "endpoint": self.endpoint, "said": str(self.said)}) + "\n")
        self.process.stdin.flush()
        self._pid = int(self._told()["pid"])
        self._started.set()

    def wait(self) -> int:
        """The exit code; minus the signal if it was killed."""
        return int(self._told()["status"])

    def run(self, job: Json) -> int:
        self.start(job)
        return self.wait()

    def kill(self, after_s: float = 0.0) -> None:
        """Kill what runs now, at once or in a moment."""
        assert self._started.wait(PATIENCE_S)
        pid = self._pid
        if not after_s:
            os.kill(pid, signal.SIGKILL)
            return

        def kill_if_there() -> None:
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
                os.kill(pid, signal.SIGKILL)

        threading.Timer(after_s, kill_if_there).start()

    def _told(self) -> Json:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the warm publisher died"
        told: Json = json.loads(line)
        return told


@contextlib.contextmanager
def warm_publisher(folder: Path, endpoint: str, transport: Transport) -> Iterator[Publisher]:
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, str(HERE / "warm_publisher.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=client_environment(endpoint, folder / "home", transport),
    )
    with process:
        try:
            yield Publisher(process, endpoint, folder / "said.txt")
        finally:
            process.kill()


def client_environment(endpoint: str, home: Path, transport: Transport) -> dict[str, str]:
    return {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": str(int(transport == "lfs")),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DEBUG": "1",  # the library tells every request it makes
        "OMP_NUM_THREADS": "1",
        "USE_TORCH": "0",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


class Killer:
    """Kills the publisher at the `at`-th call since it was armed; 0 = never. Counts the calls."""

    def __init__(self, publisher: Publisher, at: int = 0, moment: Moment = "before", later_s: float = 0.0) -> None:
        self.publisher, self.at, self.moment, self.later_s = publisher, at, moment, later_s
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Fault | None:
        if request.token == READ_ONLY_TOKEN:
            return None  # the reader's
        with self._lock:
            self.calls += 1
            if self.calls != self.at:
                return None
        if self.moment == "before":
            self.publisher.kill()
            return Fault("", "")
        if self.moment == "after":
            return Fault("", "", meanwhile=self.publisher.kill)
        self.publisher.kill(self.later_s)
        return None


def release_job(archive: TinyArchive) -> Json:
    """A release with weights."""
    weights = {role: str(path) for role, path in archive.weights.items()}
    return {
        "archive": str(archive.folder),
        "repo": REPO,
        "version": VERSION,
        "model_repo": MODEL_REPO,
        "weights": weights,
    }


def kill_at_every_call(folder: Path, transport: Transport, *, every: int = 1) -> Json:
    """Kill a release at each of its calls, at each moment, or at every n-th of those; run it again, and look.

    Returns:
        `calls` of an undisturbed release, `kills`, and how often what was `left` after a kill.
    """
    world = make_world(folder, transport)
    job = release_job(world.archive)
    left: Counter[str] = Counter()
    rng = random.Random(0)
    home = folder / "publisher"
    with switched_hub(world, transport) as (switch, url), warm_publisher(home, url, transport) as publisher:
        hub = switch.fresh()
        hub.choose_fault = killer = Killer(publisher)
        assert publisher.run({**job, "cache": str(home / "cache")}) == 0, publisher.said.read_text()
        check_released(hub, world)
        for at, moment in list(itertools.product(range(1, killer.calls + 1), MOMENTS[transport]))[::every]:
            hub = switch.fresh()
            hub.choose_fault = Killer(publisher, at, moment, rng.uniform(0, LATER_AT_MOST_S))
            job["cache"] = str(home / f"cache-{at}-{moment}")  # with nothing in it the calls are those counted
            killed = publisher.run(job)
            assert killed == -signal.SIGKILL or (moment == "later" and killed == 0), f"ended with {killed}"
            check_never_half(hub, world)
            left[state(hub, world)] += 1
            hub.choose_fault = lambda _: None
            assert publisher.run(job) == 0, publisher.said.read_text()
            check_released(hub, world)
        check_canary(folder)
    return {"calls": killer.calls, "kills": left.total(), "left": dict(left)}


def state(hub: LoopbackHub, world: World) -> str:
    """How far each repository is, for the count."""
    found = []
    for content in world.plan.contents:
        repository = repository_of(hub, content)
        if repository is None:
            found.append(f"no {content.kind}")
        elif TAG in repository.tags:
            found.append(f"{content.kind} tagged")
        else:
            committed = holds(repository, repository.branches["main"], content)
            found.append(f"{content.kind} {'committed' if committed else 'as before'}")
    return ", ".join(found)


class Switch:
    """One address behind which the Hub is a new one, with version 1, whenever asked for."""

    def __init__(self, world: World, transport: Transport) -> None:
        self._before = world.before[transport]
        self._folders = (world.folder / f"switched-{number}" for number in itertools.count())
        self.fresh()

    def fresh(self) -> LoopbackHub:
        self.hub = LoopbackHub(next(self._folders))
        self.hub.copy_from(self._before)
        return self.hub


@contextlib.contextmanager
def switched_hub(world: World, transport: Transport) -> Iterator[tuple[Switch, str]]:
    switch = Switch(world, transport)
    with serve_http(lambda request: switch.hub.answer(request)) as url:
        yield switch, url


def kill_polled(folder: Path, transport: Transport, kills: int, rng: random.Random) -> Json:
    """Release after release by the real command, killed so often in all, while somebody reads.

    Returns:
        `kills`, `releases`, `reads` of main and of tags, and `bad` ones: neither an old release nor the new one.
    """
    archives = (make_archive(folder / "a"), make_archive(folder / "b", seed=1, shards=1))
    for archive in archives:
        close_weights_gate(archive)
    plans = [plan_publication(archive.folder, REPO, "1.0.0") for archive in archives]
    wanted = [expected_digest(archive) for archive in archives]
    done = releases = 0
    with serve(folder / "hub") as (hub, url), warm_publisher(folder / "publisher", url, transport) as publisher:
        hub.choose_fault = killer = Killer(publisher)
        assert publisher.run(command(archives[0], 1)) == 0, publisher.said.read_text()
        calls = killer.calls
        with polling(folder / "reader", url, transport) as reads:
            while done < kills:
                releases += 1
                job = command(archives[releases % 2], releases + 1)
                for _ in range(min(rng.randint(1, 4), kills - done)):
                    moment, later_s = rng.choice(MOMENTS[transport]), rng.uniform(0, LATER_AT_MOST_S)
                    hub.choose_fault = Killer(publisher, rng.randint(1, calls), moment, later_s)
                    ended = publisher.run(job)
                    assert ended in (0, -signal.SIGKILL), f"{ended}: {publisher.said.read_text()[-2000:]}"
                    done += ended != 0
                    check_history(hub, plans)
                hub.choose_fault = lambda _: None
                assert publisher.run(job) == 0, publisher.said.read_text()[-2000:]
                check_history(hub, plans)
                assert hub.dataset(REPO).tags.keys() == {f"v{number}.0.0" for number in range(1, releases + 2)}
            found = reads()
        check_canary(folder)
    return {"kills": done, "releases": releases + 1, **judge(found, wanted)}


def command(archive: TinyArchive, number: int) -> Json:
    return {"arguments": ["publish", str(archive.folder), REPO, "--version", f"{number}.0.0", "--yes", "--json"]}


def close_weights_gate(archive: TinyArchive) -> None:
    """The weights of a tiny archive are no networks; a closed gate keeps them back."""
    path = archive.folder / "validation.json"
    told = json.loads(path.read_text())
    closed = {"name": "privacy.weights", "status": "not measured", "weights": True, "value": None, "message": "none"}
    told["gates"] |= {"weights_open": False, "list": [closed]}
    path.write_text(json.dumps(told))
    archive.write_card(f"Made from the manifest `{archive.manifest_sha256}`.")


def check_history(hub: LoopbackHub, plans: list[Publication]) -> None:
    """Every commit but the first is one archive whole; every tag is on the archive of its number."""
    repository = hub.dataset(REPO)
    for commit, found in repository.commits.items():
        whole = [holds(repository, commit, plan.dataset) for plan in plans]
        assert any(whole) or found.parent is None, "a commit is half a release"
    for tag, commit in repository.tags.items():
        number = int(tag[1:].split(".")[0])
        assert holds(repository, commit, plans[(number - 1) % 2].dataset), f"{tag} is on another release"
    titles = Counter(repository.history)
    assert all(count == 1 for count in titles.values()), f"a version was committed twice: {titles}"


def expected_digest(archive: TinyArchive) -> str:
    found = hashlib.sha256()
    for row, image in enumerate(archive.pixels):
        found.update(f"syn-{row:06d}".encode() + image.tobytes())
    return found.hexdigest()


@contextlib.contextmanager
def polling(folder: Path, url: str, transport: Transport) -> Iterator[Any]:
    """A reader at work; gives a function that stops it and tells its reads."""
    folder.mkdir(parents=True)
    told = folder / "reads.jsonl"
    with (folder / "stderr.txt").open("w") as stderr:
        reader = subprocess.Popen(
            [sys.executable, str(HERE / "poll_published.py"), REPO, str(told)],
            env={**client_environment(url, folder / "home", transport), "HF_TOKEN": READ_ONLY_TOKEN},
            stderr=stderr,
            cwd=folder,
        )

    def stop() -> list[Json]:
        assert reader.poll() is None, (folder / "stderr.txt").read_text()[-2000:]
        reader.kill()
        reader.wait()
        return [json.loads(line) for line in told.read_text().split("\n")[:-1]]

    try:
        until = time.monotonic() + PATIENCE_S
        while not (told.exists() and told.read_text()):
            assert reader.poll() is None, (folder / "stderr.txt").read_text()[-2000:]
            assert time.monotonic() < until, "the reader reads nothing"
            time.sleep(0.05)
        yield stop
    finally:
        reader.kill()
        reader.wait()


def judge(reads: list[Json], wanted: list[str]) -> Json:
    """How many reads there were, and which were bad."""

    def is_good(read: Json) -> bool:
        if read["revision"] == "main":
            return read.get("digest") in wanted
        number = int(read["revision"][1:].split(".")[0])
        return bool(read.get("digest") == wanted[(number - 1) % 2])

    by_main = sum(read["revision"] == "main" for read in reads)
    bad = [read for read in reads if not is_good(read)]
    return {"reads_of_main": by_main, "reads_of_tags": len(reads) - by_main, "bad": bad}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["every-call", "polled"])
    parser.add_argument("--transport", choices=["lfs", "xet"], default="lfs")
    parser.add_argument("--kills", type=int, default=200, metavar="N")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every n-th call and moment")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xrarchive-kills-") as made:
        folder, transport = Path(made), arguments.transport
        assert transport == "lfs" or XetStore(folder / "probe").works(), "hf_xet has no local:// stores"
        if arguments.what == "every-call":
            told = kill_at_every_call(folder, transport, every=arguments.every)
        else:
            told = kill_polled(folder, transport, arguments.kills, random.Random(arguments.seed))
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
