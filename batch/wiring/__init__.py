"""The only place where concrete things meet: what each command stands on, put together and handed to it.

``running``, ``plans`` and ``recovering`` are commands; ``rows``, ``connecting`` and ``reporting`` are their parts.
"""

from batch.wiring.places import placed
from batch.wiring.plans import local_workers, planning
from batch.wiring.recovering import recover
from batch.wiring.running import run

__all__ = ["local_workers", "placed", "planning", "recover", "run"]
