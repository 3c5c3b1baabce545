"""Signatures by SSH keys: one of this manifest, by a known key, and nothing else."""

import shutil
import subprocess

import pytest

from xrarchive import pipeline
from xrarchive.archive.companions import find_companions, stale_companions
from xrarchive.archive.manifest import SIGNATURE_NAME, read_manifest
from xrarchive.archive.signing import sign, verify
from xrarchive.errors import DamageError, InputDataError

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH's client is not installed")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("jane", "mallory"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@example.org", "-f", folder / name]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture
def signed(tiny_built, keys, tmp_path):
    folder = shutil.copytree(tiny_built, tmp_path / "archive")
    sign(folder, keys / "jane")
    return folder


def test_a_signature_names_its_signer(signed, keys, tmp_path):
    assert verify(signed, keys / "jane.pub") == "jane@example.org"
    listed = tmp_path / "signers"
    both = [(keys / f"{name}.pub").read_text() for name in ("mallory", "jane")]
    listed.write_text(f'# ours\n\nmallory {both[0]}head-of-data namespaces="xrarchive" {both[1]}')
    assert verify(signed, listed) == "head-of-data"
    assert pipeline.check(signed, signers=listed).signed_by == "head-of-data"
    assert pipeline.check(signed).signed_by is None
    assert pipeline.check(signed, read_data=True, signers=listed).sound


def test_ssh_keygen_alone_can_verify_it(signed, keys, tmp_path):
    (tmp_path / "signers").write_text(f"jane {(keys / 'jane.pub').read_text()}")
    options = ["-f", tmp_path / "signers", "-I", "jane", "-n", "xrarchive", "-s", signed / SIGNATURE_NAME]
    with (signed / "manifest.json").open("rb") as manifest:
        subprocess.run(["ssh-keygen", "-Y", "verify", *options], stdin=manifest, check=True, capture_output=True)


def test_the_same_manifest_is_signed_once(signed, keys):
    before = (signed / SIGNATURE_NAME).read_bytes()
    sign(signed, keys / "mallory")
    assert (signed / SIGNATURE_NAME).read_bytes() == before


def test_another_key_another_manifest_or_none_is_refused(signed, keys):
    with pytest.raises(DamageError, match="no signature of this manifest by a key in"):
        verify(signed, keys / "mallory.pub")
    (problem,) = pipeline.check(signed, signers=keys / "mallory.pub").problems
    assert (problem.id, problem.path) == ("not-signed", SIGNATURE_NAME)
    assert str(keys / "mallory.pub") in problem.message
    manifest = signed / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"rows": 18', b'"rows": 17', 1))
    with pytest.raises(DamageError, match="no signature of this manifest"):
        verify(signed, keys / "jane.pub")
    (signed / SIGNATURE_NAME).unlink()
    with pytest.raises(DamageError, match="is not signed"):
        verify(signed, keys / "jane.pub")


def test_a_signature_for_another_purpose_is_none(signed, keys):
    command = ["ssh-keygen", "-Y", "sign", "-f", keys / "jane", "-n", "git"]
    other = subprocess.run(
        command, input=(signed / "manifest.json").read_bytes(), capture_output=True, check=True
    ).stdout
    (signed / SIGNATURE_NAME).write_bytes(other)
    with pytest.raises(DamageError, match="no signature of this manifest"):
        verify(signed, keys / "jane.pub")


def test_it_goes_along_and_leaves_with_its_manifest(signed):
    manifest = read_manifest(signed)
    assert SIGNATURE_NAME in find_companions(signed)
    assert stale_companions(signed, manifest) == []
    ids = pipeline.withdraw(signed, where="label == 'Mass'", reason="blurred", date="2026-11-23")
    assert ids
    assert SIGNATURE_NAME not in find_companions(signed)


def test_what_cannot_sign_is_said(tiny_built, keys, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny_built, tmp_path / "archive")
    with pytest.raises(InputDataError, match="cannot sign"):
        sign(folder, tmp_path / "absent")
    (tmp_path / "text").write_text("no key")
    with pytest.raises(InputDataError, match="cannot sign"):
        sign(folder, tmp_path / "text")
    with pytest.raises(InputDataError, match="no file of keys"):
        verify(folder, tmp_path / "absent")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputDataError, match="ssh-keygen"):
        sign(folder, keys / "jane")
