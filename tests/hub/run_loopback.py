"""Run a loopback Hub until killed: `python run_loopback.py FOLDER FILE`; its address is written to FILE.

A POST to /loopback/told is answered with what the Hub was asked so far, as JSON.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from loopback import LoopbackHub
from wire import Reply, Request, serve_http

if __name__ == "__main__":
    hub = LoopbackHub(Path(sys.argv[1]))

    def answer(request: Request) -> Reply | None:
        return Reply.of(hub.told()) if request.path == "/loopback/told" else hub.answer(request)

    with serve_http(answer) as url:
        part = Path(sys.argv[2] + ".part")
        part.write_text(url)
        part.rename(sys.argv[2])
        threading.Event().wait()
