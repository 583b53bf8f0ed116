"""`market`: make one, change it, look at them, decide disputes.

terms.py     what a market's owner sets, as options
making.py    create, update, close
reading.py   show, list
disputes.py  resolve
"""

from __future__ import annotations

from hypernode_worker.cli.market import making, reading, disputes  # isort: skip -- the order in which help lists them
from hypernode_worker.cli.market.app import app

__all__ = ["app", "disputes", "making", "reading"]
