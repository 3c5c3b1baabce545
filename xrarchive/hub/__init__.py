"""Publish an archive and its weights to a Hub, so that a version, once visible, is whole and never changes.

In: a finished, validated archive folder with its card, and the weights named in its manifest. Out: one commit and one
tag ``vX.Y.Z`` per repository, and a receipt.

    plan_publication   local checks; says what would go up, talks to nobody
    preflight          asks the Hub who we are, what is there, and which version it may be; sends nothing
    publish            preflight, then uploads, one commit, verifies the Hub's checksums, and tags
    retract            marks a published version as taken back
    publish_to_folder  the same versions in a folder or on a share, for those without a Hub

Why not ``upload_folder`` or ``push_to_hub``: both may take several commits, and a killed push leaves the branch
half new, half old. Shards uploaded ahead of a single commit are invisible until it lands, and the tag comes last.
"""

from xrarchive.hub.access import Access
from xrarchive.hub.content import RepoContent, Upload
from xrarchive.hub.plan import Publication, plan_publication
from xrarchive.hub.preflight import preflight, preflight_if_known
from xrarchive.hub.publishing import Receipt, publish
from xrarchive.hub.retracting import RetractionReceipt, retract, retract_in_folder
from xrarchive.hub.shelf import look_at_folder, publish_to_folder

__all__ = [
    "Access",
    "Publication",
    "Receipt",
    "RepoContent",
    "RetractionReceipt",
    "Upload",
    "look_at_folder",
    "plan_publication",
    "preflight",
    "preflight_if_known",
    "publish",
    "publish_to_folder",
    "retract",
    "retract_in_folder",
]
