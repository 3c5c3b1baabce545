import numpy as np
import pytest

from xrarchive.errors import DamageError, InputDataError
from xrarchive.validation.reference import REFERENCE_ROWS, load_reference, make_reference, save_reference


def toy(rng, rows=30, **changes):
    given = {
        "name": "toy",
        "spaces": {"imagenet": rng.normal(size=(rows, 6)), "judge": rng.normal(size=(rows, 3)).astype(np.float32)},
        "fingerprints": {"imagenet": "a" * 64, "judge": "b" * 64},
        "patients": [f"nih{i // 2}" for i in range(rows)],
        "source": "Drawn from noise.",
    }
    given.update(changes)
    return make_reference(given.pop("name"), given.pop("spaces"), **given)


def test_round_trip_keeps_features_patients_and_words(rng, tmp_path):
    reference = toy(rng)
    save_reference(tmp_path / "r.safetensors", reference)
    loaded = load_reference(tmp_path / "r.safetensors")
    assert (loaded.name, loaded.source, loaded.fingerprints) == ("toy", "Drawn from noise.", reference.fingerprints)
    assert loaded.spaces["judge"].dtype == np.float16
    np.testing.assert_allclose(loaded.spaces["judge"], reference.spaces["judge"], rtol=1e-3)
    np.testing.assert_array_equal(loaded.patients, reference.patients)
    assert loaded.rows == 30


def test_same_reference_same_bytes_without_patient_ids(rng, tmp_path):
    reference = toy(rng)
    for name in ("a", "b"):
        save_reference(tmp_path / name, reference)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert b"nih" not in (tmp_path / "a").read_bytes()


def test_a_draw_keeps_who_shares_a_patient():
    spaces = {"imagenet": np.arange(60.0).reshape(30, 2)}
    patients = ["p"] * 15 + [""] * 15
    drawn = make_reference("toy", spaces, fingerprints={"imagenet": "a"}, patients=patients, source=".", rows=20)
    assert drawn.rows == 20
    first_half = drawn.spaces["imagenet"][:, 0] < 30
    assert np.unique(drawn.patients[first_half]).size == 1
    assert np.unique(drawn.patients[~first_half]).size == (~first_half).sum()


def test_patients_may_be_unknown(rng, tmp_path):
    save_reference(tmp_path / "r", toy(rng, patients=None))
    assert load_reference(tmp_path / "r").patients is None


def test_refuses_what_would_mislead(rng, tmp_path):
    with pytest.raises(ValueError, match="same radiographs"):
        toy(rng, spaces={"imagenet": np.zeros((3, 2)), "judge": np.zeros((4, 2))})
    with pytest.raises(ValueError, match="fingerprints"):
        toy(rng, fingerprints={"imagenet": "a"})
    with pytest.raises(ValueError, match="up to"):
        save_reference(tmp_path / "r", toy(rng, rows=REFERENCE_ROWS + 1))
    broken = rng.normal(size=(30, 2))
    broken[4, 1] = np.nan
    with pytest.raises(InputDataError, match="1 of 30 rows hold NaN or infinity, the first is row 4"):
        toy(rng, spaces={"imagenet": broken}, fingerprints={"imagenet": "a"})
    with pytest.raises(InputDataError, match="as float16"):
        save_reference(tmp_path / "r", toy(rng, spaces={"x": np.full((30, 2), 1e6)}, fingerprints={"x": "a"}))


def test_refuses_missing_damaged_and_foreign_files(rng, tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(InputDataError, match="No reference statistics"):
        load_reference(tmp_path / "absent")
    save_reference(tmp_path / "r", toy(rng))
    (tmp_path / "cut").write_bytes((tmp_path / "r").read_bytes()[:200])
    with pytest.raises(DamageError, match="not a readable safetensors"):
        load_reference(tmp_path / "cut")
    save_file({"w": np.zeros(3)}, tmp_path / "weights")
    with pytest.raises(InputDataError, match="expected reference statistics"):
        load_reference(tmp_path / "weights")
