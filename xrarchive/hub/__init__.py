"""Publish an archive and its weights to a Hub, so that a version, once visible, is whole and never changes.

In: a finished, validated archive folder with its card, and the weights named in its manifest. Out: one commit and one
tag ``vX.Y.Z`` per repository, and a receipt.

    plan_publication   local preflight; says what would go up, talks to nobody
    publish            uploads, one commit, verifies the Hub's checksums, then tags

Why not ``upload_folder`` or ``push_to_hub``: both may take several commits, and a killed push leaves the branch
half new, half old. Shards uploaded ahead of a single commit are invisible until it lands, and the tag comes last.
"""

from xrarchive.hub.plan import Publication, RepoContent, Upload, plan_publication
from xrarchive.hub.publishing import Receipt, publish

__all__ = ["Publication", "Receipt", "RepoContent", "Upload", "plan_publication", "publish"]
