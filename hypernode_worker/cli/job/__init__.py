"""`job`: post, follow, fetch, judge and end jobs; take one by hand.

posting.py   post, take
reading.py   get, list, result
ending.py    cancel, stop, extend, close, settle
review.py    accept, dispute
"""

from __future__ import annotations

from hypernode_worker.cli.job import posting, reading, review, ending  # isort: skip -- the order in which help lists them
from hypernode_worker.cli.job.app import app

__all__ = ["app", "ending", "posting", "reading", "review"]
