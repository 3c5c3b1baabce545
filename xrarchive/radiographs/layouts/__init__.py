"""Folders and archives of radiographs as they come: which layout is it, and what does it say of each image?

In: a folder or an archive in any layout of `LAYOUTS`. Out: a `Listing` of one `Row` per radiograph, checked, with
nothing decoded yet. Read `rows` first, then `tree`, a layout such as `nih`, and `assembling`.

Symbolic links are followed, since large sources are often linked into place; a path in a table must not leave the
folder. No URL is ever opened; a Hub dataset is named ``hf:owner/name@revision``.
"""

from xrarchive.radiographs.layouts.missing import require_present
from xrarchive.radiographs.layouts.recognising import LAYOUTS, Layout, read_listing
from xrarchive.radiographs.layouts.rows import Choices, LeftOut, Listing, Row

__all__ = ["LAYOUTS", "Choices", "Layout", "LeftOut", "Listing", "Row", "read_listing", "require_present"]
