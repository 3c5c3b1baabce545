"""A Hub on this machine: as much of the Hugging Face HTTP API as publishing, tagging and loading need.

It answers the real clients (huggingface_hub 2.4, datasets 5.2) over LFS, and over Xet with a `local://` store. All
is in memory. Faults are scripted: `hub.faults.append(Fault("POST", "/commit/", status=500))` spoils the next such call.
"""

# ruff: noqa: ARG002 (every endpoint takes the request and what its path names)

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml
from repositories import Repository, StoredFile
from wire import Fault, RefusedError, Reply, Request, serve_http
from xet_store import XetStore

TOKEN, USER = "hf_CANARYwrite", "tester"
ORGANISATIONS = {"hospital": "write", "library": "read"}  # of the user, with the role there
READ_ONLY_TOKEN = "hf_CANARYreadonly"
_LARGE = frozenset({".parquet", ".safetensors"})
_DATE = "2026-01-01T00:00:00.000Z"
_FRONT_MATTER = re.compile(rb"\A---\n(.*?)\n---\n", re.DOTALL)

Endpoint = Callable[..., Reply]
_ROUTES: list[tuple[str, re.Pattern[str], Endpoint]] = []
_REPO = r"/api/(?P<kind>datasets|models)/(?P<name>[^/]+/[^/]+)"


def route(method: str, pattern: str) -> Callable[[Endpoint], Endpoint]:
    """Register a `LoopbackHub` method; the pattern's named groups become its arguments."""

    def register(endpoint: Endpoint) -> Endpoint:
        _ROUTES.append((method, re.compile(pattern), endpoint))
        return endpoint

    return register


class LoopbackHub:
    def __init__(self, folder: Path) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, StoredFile] = {}  # LFS store, by sha256
        self.xet = XetStore(folder / "cas")
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str, int | None]] = []
        self.bytes_received = 0
        self.choose_fault: Callable[[Request], Fault | None] = self._next_fault  # which request is spoiled, and how
        self._lock = threading.RLock()

    def answer(self, request: Request) -> Reply | None:
        """The reply to a request; None cuts the connection."""
        fault = self.choose_fault(request)
        reply = self._answer(request) if fault is None else self._spoil(fault, request)
        with self._lock:
            self.log.append((request.method, request.path, None if reply is None else reply.status))
            self.bytes_received += len(request.body)
        return reply

    def copy_from(self, other: LoopbackHub) -> None:
        """Hold what another Hub holds; what is written from now on is ours alone."""
        self.repositories = {key: repository.copy() for key, repository in other.repositories.items()}
        self.objects = dict(other.objects)

    def told(self) -> dict[str, Any]:
        """What was asked and what is there, for whoever runs the Hub as another process."""
        return {
            "log": self.log,
            "bytes_received": self.bytes_received,
            "xet_bytes": self.xet.bytes(),
            "repositories": {
                f"{kind}/{name}": {"history": found.history, "tags": found.tags, "head": found.branches["main"]}
                for (kind, name), found in self.repositories.items()
            },
        }

    def calls(self, method: str, part: str) -> int:
        """How many requests of that kind were seen."""
        return sum(seen == method and part in path for seen, path, _ in self.log)

    def dataset(self, name: str) -> Repository:
        return self.repositories["datasets", name]

    def model(self, name: str) -> Repository:
        return self.repositories["models", name]

    def _next_fault(self, request: Request) -> Fault | None:
        with self._lock:
            fault = next((fault for fault in self.faults if fault.spoils(request)), None)
            if fault is not None:
                self.faults.remove(fault)
            return fault

    def _spoil(self, fault: Fault, request: Request) -> Reply | None:
        time.sleep(fault.hang_s)
        if fault.meanwhile is not None:
            fault.meanwhile()
            return self._answer(request)
        if fault.half:
            return replace(self._answer(request), half=True)
        if fault.applied:
            self._answer(request)
        return None if fault.status is None else Reply(fault.status, b"{}", fault.headers)

    def _answer(self, request: Request) -> Reply:
        # Uploads are taken in side by side; all else happens one at a time, as in a database.
        with contextlib.nullcontext() if request.method == "PUT" else self._lock:
            return self._route(request)

    def _route(self, request: Request) -> Reply:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            for known, pattern, endpoint in _ROUTES:
                if known == method and (match := pattern.fullmatch(request.path)):
                    arguments = {key: unquote(value or "") for key, value in match.groupdict().items()}
                    return endpoint(self, request, **arguments)
            raise RefusedError(404, "Sorry, we can't find the page you are looking for.")
        except RefusedError as refused:
            return refused.reply

    def _writer(self, request: Request) -> None:
        if request.token not in (TOKEN, READ_ONLY_TOKEN):
            raise RefusedError(401, "Invalid credentials in Authorization header")
        if request.token == READ_ONLY_TOKEN:
            raise RefusedError(403, "This token has no write access")

    def _repository(self, kind: str, name: str) -> Repository:
        try:
            return self.repositories[kind, name]
        except KeyError:
            raise RefusedError(404, "Repository not found", "RepoNotFound") from None

    def _commit_id(self, repository: Repository, revision: str) -> str:
        commit_id = repository.resolve(revision or "main")
        if commit_id is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit_id

    # accounts and repositories

    @route("GET", "/api/whoami-v2")
    def whoami(self, request: Request) -> Reply:
        if request.token not in (TOKEN, READ_ONLY_TOKEN):
            raise RefusedError(401, "Invalid credentials in Authorization header")
        organisations = [{"type": "org", "name": name, "roleInOrg": role} for name, role in ORGANISATIONS.items()]
        right = {"displayName": "test", "role": "write" if request.token == TOKEN else "read"}
        auth = {"type": "access_token", "accessToken": right}
        return Reply.of({"type": "user", "name": USER, "orgs": organisations, "auth": auth})

    @route("POST", "/api/repos/create")
    def create_repository(self, request: Request) -> Reply:
        self._writer(request)
        asked = request.json()
        kind, owner = asked.get("type", "model") + "s", asked.get("organization") or USER
        name = f"{owner}/{asked['name']}"
        url = f"{request.base}/{'datasets/' if kind == 'datasets' else ''}{name}"
        if owner != USER and ORGANISATIONS.get(owner) != "write":
            raise RefusedError(403, f"You don't have the rights to create under the namespace {owner!r}")
        if (kind, name) in self.repositories:
            return Reply.of({"error": "You already created this repo", "url": url}, 409)
        repository = self.repositories[kind, name] = Repository(kind, name)
        repository.settings["private"] = asked.get("visibility") == "private"
        attributes = StoredFile(b"*.parquet filter=lfs\n*.safetensors filter=lfs\n", large=False)
        repository.add_commit({".gitattributes": attributes}, "initial commit")
        return Reply.of({"url": url, "name": name})

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self, request: Request) -> Reply:
        front = _FRONT_MATTER.match(request.json()["content"].encode())
        try:
            yaml.safe_load(front.group(1) if front else b"")
        except yaml.YAMLError as err:
            return Reply.of({"errors": [{"message": str(err)}], "warnings": []}, 400)
        return Reply.of({"errors": [], "warnings": []})

    # reading

    @route("GET", _REPO + r"(?:/revision/(?P<revision>[^/]+))?")
    def info(self, request: Request, kind: str, name: str, revision: str) -> Reply:
        repository = self._repository(kind, name)
        commit_id = self._commit_id(repository, revision)
        siblings = [{"rfilename": path} for path in sorted(repository.commits[commit_id].files)]
        state = {**repository.settings, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
        dates = {"lastModified": _DATE, "createdAt": _DATE}
        return Reply.of({"id": name, "author": USER, "sha": commit_id, "siblings": siblings, **state, **dates})

    @route("GET", _REPO + "/refs")
    def refs(self, request: Request, kind: str, name: str) -> Reply:
        repository = self._repository(kind, name)

        def listed(refs: Mapping[str, str], place: str) -> list[dict[str, str]]:
            return [{"name": ref, "ref": f"refs/{place}/{ref}", "targetCommit": to} for ref, to in refs.items()]

        branches, tags = listed(repository.branches, "heads"), listed(repository.tags, "tags")
        return Reply.of({"branches": branches, "tags": tags, "converts": []})

    @route("GET", _REPO + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?")
    def tree(self, request: Request, kind: str, name: str, revision: str, folder: str) -> Reply:
        repository = self._repository(kind, name)
        files = repository.commits[self._commit_id(repository, revision)].files
        prefix = f"{folder}/" if folder else ""
        recursive = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        folders = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
        if folder and folder not in folders:
            raise RefusedError(404, f"{folder} does not exist", "EntryNotFound")

        def shown(path: str) -> bool:
            return path.startswith(prefix) and (recursive or "/" not in path[len(prefix) :])

        directories = [_directory(path) for path in sorted(folders) if shown(path)]
        return Reply.of(directories + [files[path].as_json(path) for path in sorted(files) if shown(path)])

    @route("POST", _REPO + r"/paths-info/(?P<revision>[^/]+)")
    def paths_info(self, request: Request, kind: str, name: str, revision: str) -> Reply:
        repository = self._repository(kind, name)
        files = repository.commits[self._commit_id(repository, revision)].files
        form = "json" not in request.headers.get("content-type", "")
        asked = parse_qs(request.body.decode()).get("paths", []) if form else request.json()["paths"]
        return Reply.of([files[path].as_json(path) for path in asked if path in files])

    @route("GET", r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def download(self, request: Request, kind: str, name: str, revision: str, path: str) -> Reply:
        kind = kind.rstrip("/") or "models"
        repository = self._repository(kind, name)
        commit_id = self._commit_id(repository, revision)
        file = repository.commits[commit_id].files.get(path)
        if file is None:
            raise RefusedError(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": commit_id, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if file.large:
            headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
        if file.xet_hash:
            token_url = f"{request.base}/api/{kind}/{name}/xet-read-token/{commit_id}"
            headers |= {"X-Xet-Hash": file.xet_hash, "Link": f'<{token_url}>; rel="xet-auth"'}
        return _ranged(file.content, request.headers.get("range", ""), headers)

    # writing

    @route("POST", _REPO + r"/preupload/(?P<revision>[^/]+)")
    def preupload(self, request: Request, kind: str, name: str, revision: str) -> Reply:
        self._writer(request)
        repository = self._repository(kind, name)
        files = repository.commits[self._commit_id(repository, revision)].files
        answers = []
        for asked in request.json()["files"]:
            mode = "lfs" if PurePosixPath(asked["path"]).suffix in _LARGE else "regular"
            answer = {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False}
            if asked["path"] in files:
                answer["oid"] = files[asked["path"]].etag
            answers.append(answer)
        return Reply.of({"files": answers})

    @route("POST", r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
    def lfs_batch(self, request: Request, kind: str, name: str) -> Reply:
        self._writer(request)
        objects = []
        for asked in request.json()["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.objects:  # the client refuses empty "actions"
                answer["actions"] = {
                    "upload": {"href": f"{request.base}/lfs/{asked['oid']}", "header": {}},
                    "verify": {"href": f"{request.base}/lfs/verify", "header": {}},
                }
            objects.append(answer)
        return Reply.of({"transfer": "basic", "objects": objects}, **{"Content-Type": "application/vnd.git-lfs+json"})

    @route("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})")
    def lfs_put(self, request: Request, oid: str) -> Reply:
        sent = StoredFile(request.body, large=True)
        if sent.sha256 != oid:
            raise RefusedError(400, "The content does not match its sha256")
        self.objects[oid] = sent
        return Reply()

    @route("POST", r"/lfs/verify")
    def lfs_verify(self, request: Request) -> Reply:
        asked = request.json()
        if asked["oid"] not in self.objects or self.objects[asked["oid"]].size != asked["size"]:
            raise RefusedError(422, "The object was not uploaded whole")
        return Reply()

    @route("GET", _REPO + r"/xet-(?P<right>read|write)-token/(?P<revision>[^/]+)")
    def xet_token(self, request: Request, kind: str, name: str, right: str, revision: str) -> Reply:
        expiry = int(time.time()) + 3600
        as_headers = {"X-Xet-Cas-Url": self.xet.url, "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": str(expiry)}
        return Reply.of({"accessToken": "t", "exp": expiry, "casUrl": self.xet.url}, **as_headers)

    @route("POST", _REPO + r"/commit/(?P<branch>[^/]+)")
    def commit(self, request: Request, kind: str, name: str, branch: str) -> Reply:
        self._writer(request)
        repository = self._repository(kind, name)
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        header = lines[0]["value"]
        if header.get("parentCommit", repository.branches["main"]) != repository.branches["main"]:
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.head.files)
        for line in lines[1:]:
            self._apply(line["key"], line["value"], files)
        commit_id = repository.add_commit(files, header["summary"])
        url = f"{request.base}/{'datasets/' if kind == 'datasets' else ''}{name}/commit/{commit_id}"
        return Reply.of({"success": True, "commitOid": commit_id, "commitUrl": url, "pullRequestUrl": None})

    def _apply(self, operation: str, value: Mapping[str, Any], files: dict[str, StoredFile]) -> None:
        path = value["path"]
        if operation == "file":
            files[path] = StoredFile(base64.b64decode(value["content"]), large=False)
        elif operation == "lfsFile":
            files[path] = self._large_file(path, value["oid"])
        elif operation == "deletedFile":
            if files.pop(path, None) is None:
                raise RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
        else:
            raise RefusedError(400, f"The loopback Hub knows no operation {operation!r}")

    def _large_file(self, path: str, sha256: str) -> StoredFile:
        if sha256 in self.objects:
            return self.objects[sha256]
        found = self.xet.fetch(sha256)
        if found is None:
            raise RefusedError(400, f"LFS pointer pointed to a file that does not exist: {path}")
        return StoredFile(found, large=True)

    @route("POST", _REPO + r"/tag/(?P<revision>[^/]+)")
    def tag(self, request: Request, kind: str, name: str, revision: str) -> Reply:
        self._writer(request)
        repository = self._repository(kind, name)
        tag = request.json()["tag"]
        if tag in repository.tags:
            raise RefusedError(409, "Tag reference exists already")
        repository.tags[tag] = self._commit_id(repository, revision)
        if message := request.json().get("message"):
            repository.messages[tag] = message
        return Reply()

    @route("DELETE", _REPO + r"/tag/(?P<tag>[^/]+)")
    def delete_tag(self, request: Request, kind: str, name: str, tag: str) -> Reply:
        self._writer(request)
        repository = self._repository(kind, name)
        if repository.tags.pop(tag, None) is None:
            raise RefusedError(404, f"Tag {tag} does not exist", "RevisionNotFound")
        repository.messages.pop(tag, None)
        return Reply()

    @route("PUT", _REPO + "/settings")
    def change_settings(self, request: Request, kind: str, name: str) -> Reply:
        self._writer(request)
        settings = self._repository(kind, name).settings
        settings.update({key: value for key, value in request.json().items() if key in settings})
        return Reply.of(settings)


def _directory(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}


def _ranged(content: bytes, asked: str, headers: dict[str, str]) -> Reply:
    """The content, or the part of it a Range header asks for."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    if match is None:
        return Reply(200, content, headers)
    first, last = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
    if first >= len(content):
        return Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
    part = content[first : last + 1]
    return Reply(206, part, {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"})


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[tuple[LoopbackHub, str]]:
    """Run an empty Hub; gives it and its address."""
    hub = LoopbackHub(folder)
    with serve_http(hub.answer) as url:
        yield hub, url
