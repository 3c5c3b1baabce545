import contextlib

import pytest

from xrarchive import doctor


@pytest.fixture(autouse=True)
def hub(monkeypatch):
    """No network and no token of this machine in tests."""
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    asked = []
    monkeypatch.setattr(doctor, "_ask_hub", asked.append)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return asked


def checks(report):
    return {check["name"]: check for check in report["checks"]}


def test_a_machine_that_runs_the_tests_is_fit(tmp_path, hub):
    report = doctor.doctor(tmp_path)
    assert report["ok"] is True
    assert set(report) == {"ok", "checks", "machine", "versions"}
    assert checks(report)["hub"]["ok"]
    assert len(hub) == 1
    assert all(check["fix"] and check["detail"] for check in report["checks"])
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_found(tmp_path, monkeypatch):
    def refuse(path, _data):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(doctor, "write_bytes", refuse)
    report = doctor.doctor(tmp_path)
    assert report["ok"] is False
    assert "Permission denied" in checks(report)["storage"]["detail"]


def test_locks_that_do_not_hold_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "locked", lambda _folder: contextlib.nullcontext())
    assert "locks do not hold" in checks(doctor.doctor(tmp_path))["storage"]["detail"]


def test_a_hub_out_of_reach_is_noted_and_no_reason_to_fail(tmp_path, monkeypatch):
    def refuse(_endpoint):
        raise ConnectionError("no route")

    monkeypatch.setattr(doctor, "_ask_hub", refuse)
    report = doctor.doctor(tmp_path)
    assert report["ok"] is True
    assert not checks(report)["hub"]["ok"]
    assert "ConnectionError" in checks(report)["hub"]["detail"]


def test_a_token_is_found_and_not_shown(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_secret")
    report = doctor.doctor(tmp_path)
    assert checks(report)["hub token"]["ok"]
    assert "secret" not in str(report)
