"""diarist: a manifest of recordings in, who said what and when out.

From Python: ``summary = await batch.run("manifest.csv", "results")``; see ``batch.jobs.run``.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "run"]

if TYPE_CHECKING:
    from batch.jobs import run


def __getattr__(name: str) -> Any:
    """``batch.run``, imported when it is first asked for: importing ``batch`` alone costs nothing."""
    if name == "run":
        from batch.jobs import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
