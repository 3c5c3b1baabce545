"""Signatures of an archive: who vouches for it, whatever became of the Hub it lies on.

In: an archive and an SSH key. Out: ``manifest.json.sig``, which `publish` sends along and `check` verifies. What is
signed is manifest.json, which names every shard by its hash.

*Why* SSH: signatures are OpenSSH's own (``ssh-keygen -Y``, as git uses them), so that nothing need be installed, keys
are those people have, in an agent or a token if they like, and all works without internet.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from xrarchive.archive.manifest import MANIFEST_NAME, SIGNATURE_NAME, read_manifest
from xrarchive.archive.sums import write_sums
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import write_bytes

# Named in every signature, so that none made for another purpose passes for one of ours.
_NAMESPACE = "xrarchive"
_TIMEOUT_S = 120.0  # somebody may have to type a passphrase


def sign(folder: Path, key: Path) -> Path:
    """Sign an archive's manifest; where a signature of this very manifest is, nothing is done.

    Args:
        folder: Of the archive.
        key: File of a private SSH key, or of a public one whose private half an agent holds.

    Returns:
        The signature's file.

    Raises:
        InputDataError: If there is no archive, no ``ssh-keygen``, or the key cannot sign.
        DamageError: If the manifest is damaged.
    """
    manifest, path = read_manifest(folder), folder / SIGNATURE_NAME
    if path.is_file() and manifest.sha256.encode() in path.read_bytes():
        return path
    signature = _run("-Y", "sign", "-f", str(key), "-n", _NAMESPACE, data=_manifest_bytes(folder))
    if signature.returncode:
        raise InputDataError(
            f"{key} cannot sign: {_said(signature)}.",
            fix="Give the file of a private SSH key, as `ssh-keygen -t ed25519` makes one.",
            path=key,
        )
    # ssh-keygen reads no further than the signature; the line tells whose it is when the manifest has changed.
    write_bytes(path, signature.stdout + f"manifest sha256 {manifest.sha256}\n".encode())
    write_sums(folder, manifest)
    return path


def verify(folder: Path, signers: Path) -> str:
    """Who signed an archive.

    Args:
        folder: Of the archive.
        signers: A public SSH key, or a list of them with names, as `ssh-keygen` calls ALLOWED SIGNERS.

    Returns:
        The name in the list; for a single key its comment.

    Raises:
        InputDataError: If there is no archive, no ``ssh-keygen`` or no such file.
        DamageError: If there is no signature, or it is not one of this manifest by one of them.
    """
    path = folder / SIGNATURE_NAME
    if not signers.is_file():
        raise InputDataError(f"There is no file of keys at {signers}.", fix="Give a public key, KEY.pub.", path=signers)
    if not path.is_file():
        raise DamageError(f"{folder} is not signed: no {SIGNATURE_NAME}.", fix="Ask its publisher.", path=path)
    with tempfile.TemporaryDirectory() as own:
        allowed = Path(own) / "signers"
        allowed.write_text(_allowed(signers.read_text(encoding="utf-8", errors="replace")), encoding="utf-8")
        data, files = _manifest_bytes(folder), ("-f", str(allowed), "-s", str(path))
        found = _run("-Y", "find-principals", *files, "-n", _NAMESPACE, data=data)
        name = found.stdout.decode(errors="replace").partition("\n")[0]
        done = _run("-Y", "verify", *files, "-I", name, "-n", _NAMESPACE, data=data) if name else found
    if not name or done.returncode:
        said = _said(done).replace(str(allowed), str(signers))
        raise DamageError(
            f"{path} is no signature of this manifest by a key in {signers}: {said}.",
            fix="Compare the key with the publisher's own; if it is the right one, do not use the archive.",
            path=path,
        )
    return name


def _allowed(text: str) -> str:
    """Lines of allowed signers; a bare public key gets its comment as name."""
    lines = []
    for line in text.splitlines():
        kind, _, rest = line.strip().partition(" ")
        bare = kind.startswith(("ssh-", "ecdsa-", "sk-"))
        lines.append(f"{(rest.split()[1:] or ['signer'])[0]} {line.strip()}" if bare else line)
    return "\n".join(lines) + "\n"


def _manifest_bytes(folder: Path) -> bytes:
    return (folder / MANIFEST_NAME).read_bytes()


def _run(*arguments: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments], input=data, capture_output=True, check=False, timeout=_TIMEOUT_S
        )
    except FileNotFoundError as err:
        raise InputDataError("There is no `ssh-keygen` here.", fix="Install OpenSSH's client.") from err
    except subprocess.TimeoutExpired as err:
        raise InputDataError("`ssh-keygen` gave no answer.", fix="Add the key to an agent: `ssh-add KEY`.") from err


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    text = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
    return text.rstrip(".") or f"exit code {done.returncode}"
