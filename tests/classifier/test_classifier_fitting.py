from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xrarchive.classifier.calibration import positive_weights
from xrarchive.classifier.fitting import augment, fit_network, masked_loss, network_logits, to_input
from xrarchive.classifier.networks import make_network
from xrarchive.classifier.settings import ARCHITECTURE, HALF, ROLES, ClassifierSettings, Role

NAN = float("nan")


def test_unknown_labels_take_no_part_in_the_loss() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]], requires_grad=True)
    labels = torch.tensor([[1.0, NAN], [NAN, 0.0]])
    loss = masked_loss(logits, labels)
    expected = (F.softplus(torch.tensor(-2.0)) + F.softplus(torch.tensor(3.0))) / 2
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad == 0).tolist() == [[False, True], [True, False]]


def test_unknown_is_never_read_as_absent() -> None:
    logits = torch.randn(5, 3, generator=torch.manual_seed(0))
    labels = torch.tensor([[1.0, 0.0, 1.0]]).repeat(5, 1)
    hidden = labels.clone()
    hidden[2] = NAN
    rest = [0, 1, 3, 4]
    assert masked_loss(logits, hidden).item() == pytest.approx(masked_loss(logits[rest], labels[rest]).item())
    assert masked_loss(logits, torch.full_like(labels, NAN)).item() == 0


def test_augmentation_never_mirrors() -> None:
    """A bright left half stays the left half, in 500 draws."""
    images = torch.full((500, 1, 16, 16), -0.5)
    images[:, :, :, :8] = 0.5
    moved = augment(images, ClassifierSettings(), np.random.default_rng(0))
    assert (moved[..., :8].mean(dim=(1, 2, 3)) > moved[..., 8:].mean(dim=(1, 2, 3)) + 0.3).all()
    upright = augment(images.transpose(2, 3), ClassifierSettings(), np.random.default_rng(0))
    assert (upright[:, :, :8].mean(dim=(1, 2, 3)) > upright[:, :, 8:].mean(dim=(1, 2, 3)) + 0.3).all()


def test_no_augmentation_changes_nothing() -> None:
    images = torch.rand(3, 1, 8, 8)
    still = ClassifierSettings(shift=0, zoom=0, contrast=0)
    torch.testing.assert_close(augment(images, still, np.random.default_rng(0)), images)


def test_input_is_averaged_over_areas() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16), dtype=np.uint8)
    expected = pixels.reshape(2, 1, 8, 2, 8, 2).mean(axis=(3, 5)) / 127.5 - 1
    np.testing.assert_allclose(to_input(pixels, 8).numpy(), expected, atol=1e-6)
    assert to_input(pixels, 32).shape == (2, 1, 16, 16)


@pytest.mark.parametrize("role", ROLES)
def test_fitting_is_deterministic_and_members_differ(role: Role) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 16, 16), dtype=np.uint8)
    labels = rng.integers(0, 2, (24, 2)).astype(np.float32)
    labels[3, 1] = NAN
    settings = ClassifierSettings(width=2, epochs=2, batch=8).resolved(role, 16)
    torch.manual_seed(9)
    before = torch.random.get_rng_state()
    one, same, other = (fit_network(pixels, labels, role=role, settings=settings, member=m) for m in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    logits = network_logits(one, pixels, 16)
    np.testing.assert_array_equal(logits, network_logits(same, pixels, 16))
    assert not np.array_equal(logits, network_logits(other, pixels, 16))
    assert np.isfinite(logits).all()
    assert not one.training


def test_every_role_has_an_architecture_of_its_own() -> None:
    networks = [make_network(ARCHITECTURE[role], 3, 4, 32) for role in ROLES]
    images = torch.zeros(2, 1, 32, 32)
    for network in networks:
        assert network(images).shape == (2, 3)
        assert network.features(images).shape == (2, network.head.in_features)
    # A different layout, not only another name: no tensor of the one would fit into the other's file.
    for one, other in itertools.combinations(networks, 2):
        assert not set(one.state_dict()) & set(other.state_dict()) - {"head.weight", "head.bias"}


def test_judge_and_referee_learn_from_the_same_half_with_other_seeds() -> None:
    """The same architecture in both roles still starts elsewhere."""
    pixels, labels = np.zeros((8, 16, 16), np.uint8), np.tile([[1.0], [0.0]], (4, 1)).astype(np.float32)
    settings = ClassifierSettings(architecture="plain", width=2, epochs=1, batch=8, input_px=16)
    judge, referee = (fit_network(pixels, labels, role=role, settings=settings, member=0) for role in ROLES[1:])
    assert HALF["judge"] == HALF["referee"] != HALF["guide"]
    assert not torch.equal(judge.head.weight, referee.head.weight)


def test_a_referee_member_is_small() -> None:
    network = make_network("dense", 19, ClassifierSettings().width, 32)
    assert sum(tensor.numel() * 4 for tensor in network.state_dict().values()) <= 300_000


@pytest.mark.parametrize(("px", "blocks"), [(16, 3), (32, 3), (64, 3), (128, 4), (256, 5), (512, 6)])
def test_the_residual_network_grows_with_the_resolution(px: int, blocks: int) -> None:
    network = make_network("residual", 3, 2, px)
    assert len(network.body) == blocks
    assert network(torch.zeros(2, 1, px, px)).shape == (2, 3)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'dens', known: residual, plain, dense"):
        make_network("dens", 3, 4, 32)
    with pytest.raises(ValueError, match="architecture must be one of residual"):
        ClassifierSettings(architecture="dens")


def test_positives_weigh_by_the_root_of_their_rarity() -> None:
    labels = np.full((1000, 5), NAN, np.float32)
    for column, positives in enumerate((500, 100, 1, 0, 900)):
        labels[:, column] = np.arange(1000) < positives
    labels[900:, 1] = NAN
    expected = [1, np.sqrt(8), 10, 10, 1]
    np.testing.assert_allclose(positive_weights(labels), expected, rtol=1e-6)
    logits, truth = torch.tensor([[0.5], [-1.0]]), torch.tensor([[1.0], [0.0]])
    weighted = masked_loss(logits, truth, torch.tensor([3.0])).item()
    assert weighted == pytest.approx((3 * np.log1p(np.exp(-0.5)) + np.log1p(np.exp(-1.0))) / 2)


@pytest.mark.parametrize(
    "values", [{"folds": 1}, {"members": 0}, {"epochs": 0}, {"batch": 1}, {"specificity": 1.0}, {"specificity": 0.0}]
)
def test_settings_that_cannot_be_trained_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        ClassifierSettings(**values)  # type: ignore[arg-type]


def test_each_role_sees_its_own_size() -> None:
    settings = ClassifierSettings()
    assert [settings.seen_px("guide", px) for px in (16, 64, 128)] == [16, 64, 64]
    assert [settings.seen_px("judge", px) for px in (16, 64, 128)] == [16, 32, 32]
    assert [settings.seen_px("referee", px) for px in (16, 64, 128)] == [16, 32, 32]
