"""Run a loopback Hub until killed: `python run_loopback.py FOLDER FILE`; its address is written to FILE."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from loopback import serve

if __name__ == "__main__":
    with serve(Path(sys.argv[1])) as (_, url):
        Path(sys.argv[2]).write_text(url)
        threading.Event().wait()
