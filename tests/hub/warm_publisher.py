"""A process that has imported everything and publishes in forks, so that a publish to be killed starts in milliseconds.

A line of JSON on stdin is a job: `arguments` of `xrarchive`, or of a release with weights `archive`, `repo`,
`version`, `model_repo`, `weights`; then `endpoint`, `said`, the file for all it says, and maybe `cache`, a folder for
downloads. Told on stdout, as JSON: `pid` once it runs, then its `status`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from huggingface_hub import constants

WARM = ("datasets", "huggingface_hub.hf_api", "huggingface_hub.lfs", "xrarchive.cli.main", "xrarchive.cli.publish")
WARM += ("xrarchive.pipeline.publishing", "xrarchive.hub", "xrarchive.archive.readme", "xrarchive.cards")
WARM += ("xrarchive.weights",)


def run(job: dict[str, Any]) -> None:
    """Carry out a job."""
    if arguments := job.get("arguments"):
        from xrarchive.cli.main import main

        main(arguments)  # exits with its code
    from xrarchive.hub import plan_publication, publish

    repos = {"repo": job["repo"], "model_repo": job["model_repo"], "model_card": "# Weights"}
    weights = {role: Path(path) for role, path in job["weights"].items()}
    publish(plan_publication(Path(job["archive"]), version=job["version"], weights=weights, **repos))


def run_in_fork(job: dict[str, Any]) -> int:
    """Start a job; gives its process."""
    child = os.fork()
    if child:
        return child
    code = 1
    sys.stdin.close()  # its next line is not for us
    try:
        said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.environ["HF_ENDPOINT"] = job["endpoint"]
        constants.HF_HUB_CACHE = job.get("cache", constants.HF_HUB_CACHE)
        run(job)
        code = 0
    except SystemExit as err:
        code = int(err.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def tell(**what: int) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for name in WARM:
        __import__(name)
    for line in sys.stdin:
        child = run_in_fork(json.loads(line))
        tell(pid=child)
        tell(status=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
