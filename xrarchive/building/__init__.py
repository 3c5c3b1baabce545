"""Building and extending archives.

In the order of the data: `asking` (what images are wanted), `making` (a plan carried out by one or many processes),
`commands` (`build` and `extend`, which call both).
"""

from xrarchive.building.commands import BuildReport, build, extend

__all__ = ["BuildReport", "build", "extend"]
