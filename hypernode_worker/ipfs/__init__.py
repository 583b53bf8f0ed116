"""Content on IPFS: blocks kept here, Kubo, gateways and pinning services behind one store.

open_store -> LayeredStore (the ContentStore port)
                |-- writes: importer -> EmbeddedStore -> KuboStore | PinningService
                `-- reads:  DagReader <- LayeredSource <- EmbeddedStore, KuboStore, Gateway ...
BlockGateway serves an EmbeddedStore on loopback.
"""

from __future__ import annotations

from hypernode_worker.ipfs.blocks import WORKER, EmbeddedStore
from hypernode_worker.ipfs.eviction import BlockKeeper
from hypernode_worker.ipfs.serve import BlockGateway
from hypernode_worker.ipfs.store import LayeredStore, open_store

__all__ = ["WORKER", "BlockGateway", "BlockKeeper", "EmbeddedStore", "LayeredStore", "open_store"]
