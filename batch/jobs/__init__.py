"""A run: which rows become jobs, how they are carried, what paces them. Here the concrete things meet: what each
command stands on is put together and handed to it.
"""

from batch.jobs.places import local_workers, placed
from batch.jobs.planning.planner import open_planner, plan
from batch.jobs.recovering import recover
from batch.jobs.runner import run

__all__ = ["local_workers", "open_planner", "placed", "plan", "recover", "run"]
