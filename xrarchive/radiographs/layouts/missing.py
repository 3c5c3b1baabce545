"""Images that a table names and nobody has: said before hours are spent on decoding, with where they may be."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from xrarchive.errors import InputDataError
from xrarchive.radiographs.layouts.rows import Listing
from xrarchive.radiographs.layouts.tree import Tree, is_image


def require_present(listing: Listing, source: Path, max_rejects: float) -> None:
    """Refuse a source of which more than `max_rejects` (share in 0..1), or everything, is missing.

    Raises:
        InputDataError: With what was found instead of the first missing image.
    """
    missing, total = listing.missing, len(listing.rows)
    if len(missing) <= max_rejects * total and len(missing) < total:
        return
    found, fix = _explain(Tree(source), missing[0])
    raise InputDataError(
        f"{len(missing):,} of {total:,} radiographs cannot be read ({len(missing) / total:.1%}, allowed "
        f"{max_rejects:.1%}): they are not there. The first is {missing[0]!r}; {found}.",
        fix=fix,
        path=source,
    )


def _explain(tree: Tree, name: str) -> tuple[str, str]:
    """What is there instead of an image, and what to do."""
    wanted = PurePosixPath(name)
    for parent in tree.root.resolve().parents[:2]:
        if (parent / name).is_file():
            return f"there is {parent / name}", f"Move the table to {parent}, and give that folder."
    image, _, found = tree.find_images()(name)
    if not found:
        count = sum(map(is_image, tree.everything))
        held = f"no image of that name is below {tree.root}, which holds {count:,} images"
        return held, "Add the images, or take what is there with --max-rejects 1 if only part was downloaded."
    here = PurePosixPath(image)
    if here.parent != wanted.parent:
        return f"there is {image!r}", f"Write the path inside the folder: {image!r} instead of {name!r}."
    if here.suffix.lower() != wanted.suffix.lower():
        return (
            f"there is {image!r}",
            f"Write {here.suffix} instead of {wanted.suffix} in the table, or convert the images.",
        )
    return f"there is {image!r}", "Write the names as the files have them; capitals matter."
