"""Publishes an archive: `python publish_archive.py DIR REPO VERSION`; tells the receipt as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from xrarchive.hub import plan_publication, publish

if __name__ == "__main__":
    publication = plan_publication(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    sys.stdout.write(json.dumps(publish(publication).as_dict()))
