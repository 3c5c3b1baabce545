from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_build import file_size_limit
from torch import nn

from xrarchive.errors import DamageError, InputDataError, StorageError
from xrarchive.files import sha256_file
from xrarchive.weights import (
    channels_last,
    load_into,
    load_weights,
    read_meta,
    save_weights,
    with_prefix,
    without_prefix,
)


def save(path: Path, *, dtype: torch.dtype = torch.float32, **tensors: torch.Tensor) -> str:
    return save_weights(path, tensors, kind="generator", meta={"terms": ["é"]}, dtype=dtype)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.safetensors"


def test_what_is_saved_is_loaded(path: Path) -> None:
    a, count = torch.randn(3, 4), torch.tensor(7)
    sha256 = save(path, a=a.T, count=count)
    weights = load_weights(path, kind="generator")
    assert weights.sha256 == sha256 == sha256_file(path)
    assert torch.equal(weights.tensors["a"], a.T)
    assert torch.equal(weights.tensors["count"], count)
    assert read_meta(path, kind="generator") == weights.meta == {"format": 1, "kind": "generator", "terms": ["é"]}


def test_the_same_weights_give_the_same_bytes_whatever_their_layout(tmp_path: Path) -> None:
    a = torch.randn(2, 3, 4, 4)
    spread = a.contiguous(memory_format=torch.channels_last)
    assert save(tmp_path / "1", a=a) == save(tmp_path / "2", a=spread)


def test_half_precision_comes_back_as_float32(path: Path) -> None:
    a = torch.randn(5)
    save(path, a=a, dtype=torch.float16)
    found = load_weights(path, kind="generator").tensors["a"]
    assert torch.equal(found, a.half().float())
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    ("value", "dtype"), [(float("nan"), torch.float32), (float("inf"), torch.float32), (1e6, torch.float16)]
)
def test_numbers_that_are_not_finite_are_not_saved(path: Path, value: float, dtype: torch.dtype) -> None:
    with pytest.raises(InputDataError, match="the tensor 'a' holds NaN or infinity"):
        save(path, a=torch.tensor([value]), dtype=dtype)
    assert not path.exists()


def test_numbers_that_are_not_finite_are_not_loaded(path: Path) -> None:
    header = json.dumps({"format": 1, "kind": "generator"})
    save_file({"a": torch.tensor([float("nan")])}, path, metadata={"xrarchive": header})
    with pytest.raises(InputDataError, match="the tensor 'a' holds NaN or infinity"):
        load_weights(path, kind="generator")


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        (None, "no xrarchive metadata"),
        ({"xrarchive": "[]"}, "no xrarchive metadata"),
        ({"xrarchive": '{"kind": "classifier", "format": 1}'}, "'classifier', format 1"),
        ({"xrarchive": '{"kind": "generator", "format": 2}'}, "'generator', format 2"),
    ],
)
def test_weights_of_another_kind_or_format_are_refused(path: Path, metadata: dict[str, str] | None, found: str) -> None:
    save_file({"a": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(InputDataError, match=f"expected weights of kind 'generator', format 1, found {found}"):
        load_weights(path, kind="generator")


def test_a_missing_file_is_said(path: Path) -> None:
    with pytest.raises(InputDataError, match="No weights at"):
        load_weights(path, kind="generator")


@pytest.mark.parametrize("kept", [0, 4, 40, -1])
def test_a_truncated_file_is_damage(path: Path, kept: int) -> None:
    save(path, a=torch.randn(50))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamageError, match="not a readable safetensors file"):
        load_weights(path, kind="generator")


def test_a_folder_is_no_weight_file(tmp_path: Path) -> None:
    with pytest.raises(DamageError, match="not a readable safetensors file"):
        read_meta(tmp_path, kind="generator")


@pytest.mark.parametrize(
    "tensors",
    [
        {"weight": torch.zeros(2, 3)},
        {"weight": torch.zeros(2, 3), "bias": torch.zeros(3)},
        {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "extra": torch.zeros(1)},
    ],
)
def test_tensors_that_do_not_fit_a_module_are_refused(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(InputDataError, match=r"do not fit the settings stored beside them: .+"):
        load_into(nn.Linear(3, 2), tensors, path=path)


def test_prefixes_come_off_as_they_went_on() -> None:
    a, b = {"x.y": torch.zeros(1)}, {"x": torch.ones(1)}
    joined = with_prefix("member1", a) | with_prefix("member10", b)
    assert without_prefix("member1", joined) == a
    assert without_prefix("member10", joined) == b


def test_channels_last_changes_the_layout_and_not_the_function() -> None:
    layer, x = nn.Conv2d(3, 4, 3), torch.randn(1, 3, 5, 5)
    before = layer(x)
    torch.testing.assert_close(channels_last(layer)(x), before)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_disk_that_refuses_is_said_and_leaves_nothing(path: Path) -> None:
    with file_size_limit(10_000), pytest.raises(StorageError, match="the file grew over the size limit"):
        save(path, a=torch.zeros(10_000))
    assert not list(path.parent.iterdir())
