from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xrarchive.errors import InputDataError, XrArchiveError
from xrarchive.files import sha256_bytes
from xrarchive.plan import Plan, SearchSettings
from xrarchive.records import ImageRequest
from xrarchive.synthesis import Studio, open_studio
from xrarchive.units import Unit, make_units, own_share, pinned_threads, torchrun_place
from xrarchive.weights import load_weights, save_weights

PLAN = Plan(
    (ImageRequest(("No Finding",), 4), ImageRequest(("Mass",), 4)),
    {},
    0,
    SearchSettings(strictness=0.3, targets=False, attempts=2, slots=4, unit_images=3, dtype="float32"),
)
Paths = tuple[Path, Path, Path]


@pytest.fixture
def paths(tiny_generator: Path, tiny_guide: Path, tiny_judge: Path) -> Paths:
    return tiny_generator, tiny_guide, tiny_judge


@pytest.fixture
def studio(paths: Paths) -> Studio:
    return open_studio(*paths)


def digest(unit: Unit) -> str:
    index, images, tallies = unit
    plain = [dataclasses.astuple(dataclasses.replace(image, latent=None, pixels=None)) for image in images]  # type: ignore[arg-type]
    arrays = b"".join(image.latent.tobytes() + image.pixels.tobytes() for image in images)
    return sha256_bytes(repr((index, plain, tallies)).encode() + arrays)


def test_units_still_missing_are_made_and_no_others(studio: Studio, paths: Paths) -> None:
    whole = {unit[0]: digest(unit) for unit in make_units(PLAN, range(PLAN.units), studio, paths, workers=1)}
    assert sorted(whole) == list(range(PLAN.units)) == [0, 1, 2]
    rest = {unit[0]: digest(unit) for unit in make_units(PLAN, [2, 0], studio, paths, workers=1)}
    assert rest == {index: whole[index] for index in (0, 2)}
    assert list(make_units(PLAN, [], studio, paths, workers=2)) == []


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(1, 9))
def test_every_unit_is_some_process_s_own_and_no_other_s(missing: set[int], also: set[int], places: int) -> None:
    shares = [own_share(sorted(missing), place, places) for place in range(places)]
    assert sorted(index for share in shares for index in share) == sorted(missing)
    for place, share in enumerate(shares):  # whatever else a process believes to be missing
        assert set(share) <= set(own_share(sorted(missing | also), place, places))


def test_a_process_knows_its_place_in_a_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert torchrun_place() == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert torchrun_place() == (2, 4)


def test_threads_are_pinned_while_working_and_given_back() -> None:
    before = torch.get_num_threads()
    with pinned_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(studio: Studio, paths: Paths) -> None:
    alone = sorted(digest(unit) for unit in make_units(PLAN, range(PLAN.units), studio, paths, workers=1))
    together = sorted(digest(unit) for unit in make_units(PLAN, range(PLAN.units), studio, paths, workers=2))
    assert together == alone


@pytest.mark.parametrize("kind", XrArchiveError.__subclasses__())
def test_errors_cross_processes_whole(kind: type[XrArchiveError]) -> None:
    found = pickle.loads(pickle.dumps(kind("what", fix="next", path="here")))
    assert type(found) is kind
    assert (str(found), found.as_dict()) == ("what", kind("what", fix="next", path="here").as_dict())


@pytest.mark.slow
def test_an_error_in_a_worker_arrives_as_itself(studio: Studio, paths: Paths, tmp_path: Path) -> None:
    """Logits overflow: found by the worker, told by the parent, with its fix."""
    weights = load_weights(paths[1], kind="classifier")
    tensors = weights.tensors | {"member0.head.weight": weights.tensors["member0.head.weight"] * 0 + 3e38}
    meta = {key: value for key, value in weights.meta.items() if key not in ("kind", "format")}
    save_weights(tmp_path / "guide", tensors, kind="classifier", meta=meta, dtype=torch.float32)
    broken = (paths[0], tmp_path / "guide", paths[2])
    with pytest.raises(InputDataError, match=r"NaN|infinity") as caught:
        list(make_units(PLAN, range(PLAN.units), studio, broken, workers=2))
    assert "Train" in caught.value.fix
