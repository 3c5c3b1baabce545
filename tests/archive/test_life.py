"""A whole life at random against a dict: what an archive holds is always what the model holds, whatever dies."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from life_world import (
    DATE,
    assert_sound,
    dies_at,
    extend_made,
    files_below,
    plan_extension,
    rows_by_readme,
    rows_of,
    rows_of_plan,
)
from made_archive import make_archive, small_shards

from xrarchive.archive import shards
from xrarchive.archive.changing import find_leftovers, remove_leftovers, split, withdraw
from xrarchive.archive.content import hash_content
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.splits import assign_split
from xrarchive.errors import InputDataError, PlanChangedError

SHARES = ({"train": 1.0}, {"train": 0.5, "test": 0.5}, {"train": 0.4, "validation": 0.3, "test": 0.3})
STEPS = st.one_of(st.none(), st.integers(0, 70))
MOST = 12


class Life(RuleBasedStateMachine):
    """The model is `rows`; a command that died may have happened or not, which the manifest tells."""

    @initialize()
    def build(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="life-")) / "archive"
        self.shards = small_shards(4)
        self.shards.__enter__()
        make_archive(self.folder, rows_per_shard=4)
        self.rows, self.gone, self.shares = rows_of(self.folder), set(), SHARES[0]
        self.waiting, self.total, self.torn = None, 4, False

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.shards.__exit__(None, None, None)
            shutil.rmtree(self.folder.parent)

    def do(self, command, step, after) -> bool:
        """Run a command, perhaps to its death; whether its effect is there, and with it the model `after`."""
        before = len(read_manifest(self.folder).history)
        died = step is not None and dies_at(step, self.folder, command)
        if step is None:
            command()
        self.torn = died
        happened = len(read_manifest(self.folder).history) > before
        assert died or happened or after == self.rows
        if happened:
            self.rows = after
        return happened

    def dealt(self, rows):
        return {name: (assign_split(name, self.shares), *row[-2:]) for name, row in rows.items()}

    @precondition(lambda self: self.waiting is None and self.total < MOST)
    @rule(more=st.integers(1, 2), units=st.integers(0, 2))
    def begin_extension(self, more: int, units: int) -> None:
        plan = plan_extension(self.folder, self.total + more)
        if plan is not None and units < plan.units:
            extend_made(self.folder, self.total + more, units=units)
            self.waiting = self.total + more

    @precondition(lambda self: self.waiting is not None or self.total < MOST)
    @rule(step=STEPS)
    def extend(self, step) -> None:
        total = self.waiting or self.total + 1
        plan = plan_extension(self.folder, total)
        after = self.rows | self.dealt(rows_of_plan(plan)) if plan else self.rows
        if self.do(lambda: extend_made(self.folder, total), step, after) or plan is None:
            self.total, self.waiting = total, None
        else:
            self.waiting = total if (self.folder / shards.WORK / "plan.json").exists() else None

    @rule(unfinished=st.booleans())
    def clean(self, unfinished: bool) -> None:
        remove_leftovers(self.folder, unfinished=unfinished)
        assert find_leftovers(self.folder, unfinished=unfinished) == ()
        self.torn = False
        if unfinished:
            self.waiting = None

    @precondition(lambda self: len(self.rows) > 3)
    @rule(data=st.data(), step=STEPS)
    def withdraw(self, data, step) -> None:
        ids = data.draw(st.sets(st.sampled_from(sorted(self.rows)), min_size=1, max_size=3))
        if self.waiting is not None:
            with pytest.raises(InputDataError, match="begun and not finished"):
                withdraw(self.folder, ids=sorted(ids), reason="x", date=DATE)
            return
        after = {name: row for name, row in self.rows.items() if name not in ids}
        command = lambda: withdraw(self.folder, ids=sorted(ids), reason="x", date=DATE)  # noqa: E731
        if self.do(command, step, after):
            self.gone |= ids

    @precondition(lambda self: self.waiting is None)
    @rule(shares=st.sampled_from(SHARES), step=STEPS)
    def deal(self, shares, step) -> None:
        before, self.shares = self.shares, shares
        after = self.dealt(self.rows)
        if len({row[0] for row in after.values()}) < len(shares):
            self.shares = before
            with pytest.raises(InputDataError, match="would be empty"):
                split(self.folder, shares)
            self.torn = False
            return
        if not self.do(lambda: split(self.folder, shares), step, after):
            self.shares = dict(read_manifest(self.folder).splits)

    @precondition(lambda self: self.waiting is not None)
    @rule()
    def another_extension_is_refused(self) -> None:
        if plan_extension(self.folder, self.waiting + 1) != plan_extension(self.folder, self.waiting):
            with pytest.raises(PlanChangedError):
                extend_made(self.folder, self.waiting + 1)

    @invariant()
    def the_archive_is_the_model(self) -> None:
        if not hasattr(self, "folder"):
            return
        manifest = read_manifest(self.folder)
        assert rows_of(self.folder) == self.rows
        assert {item.image_id for item in manifest.withdrawn} == self.gone
        assert not self.gone & set(self.rows)
        assert hash_content(self.folder, manifest) == manifest.content_sha256
        if not self.torn:
            assert_sound(self.folder)
            named = b"".join(content for name, content in files_below(self.folder).items() if name != "manifest.json")
            assert [image_id for image_id in self.gone if image_id.encode() in named] == []
            assert rows_by_readme(self.folder) == self.rows
        else:
            rows_by_readme(self.folder)  # every shard it names is there


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


def test_a_few_lives() -> None:
    run_state_machine_as_test(Life, settings=settings(max_examples=4, stateful_step_count=6, derandomize=True, **QUIET))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_lives() -> None:
    run_state_machine_as_test(Life, settings=settings(max_examples=60, stateful_step_count=12, **QUIET))


IDS = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())
PARTS = st.lists(st.floats(0.01, 1), min_size=1, max_size=3)


@given(image_id=IDS, parts=PARTS)
@settings(deadline=None)
def test_every_id_falls_to_one_split_and_only_shares_decide(image_id: str, parts: list[float]) -> None:
    shares = dict(zip(("train", "validation", "test"), (part / sum(parts) for part in parts), strict=False))
    assert assign_split(image_id, shares) == assign_split(image_id, dict(shares)) in shares
