"""The content stores that the suite runs over: each as a writer, and as a reader that has nothing yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hypernode_worker.ipfs import BlockGateway, LayeredStore, open_store
from tests.support.ipfs_kubo import Kubo, running_kubo
from tests.support.ipfs_servers import pinning_service


@dataclass(frozen=True, slots=True)
class Stores:
    """`reader` finds what `writer` added, from its own place."""

    writer: LayeredStore
    reader: LayeredStore


@pytest.fixture(scope="session")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubo]:
    with running_kubo(tmp_path_factory.mktemp("kubo") / "repo") as running:
        yield running


async def _embedded(folder: Path) -> AsyncIterator[Stores]:
    yield Stores(open_store(blocks_dir=folder / "shared"), open_store(blocks_dir=folder / "shared"))


async def _gateway(folder: Path) -> AsyncIterator[Stores]:
    writer = open_store(blocks_dir=folder / "writer")
    async with BlockGateway(writer.blocks) as gateway:
        yield Stores(writer, open_store(blocks_dir=folder / "reader", gateways=[gateway.url]))


async def _kubo(folder: Path, kubo: Kubo) -> AsyncIterator[Stores]:
    yield Stores(
        open_store(blocks_dir=folder / "writer", kubo_url=kubo.api),
        open_store(blocks_dir=folder / "reader", kubo_url=kubo.api),
    )


async def _kubo_gateway(folder: Path, kubo: Kubo) -> AsyncIterator[Stores]:
    yield Stores(
        open_store(blocks_dir=folder / "writer", kubo_url=kubo.api, profile="kubo-cid-v1"),
        open_store(blocks_dir=folder / "reader", gateways=["http://127.0.0.1:9", kubo.gateway]),
    )


async def _pinning(folder: Path) -> AsyncIterator[Stores]:
    async with pinning_service(folder / "service") as service, BlockGateway(service.blocks) as gateway:
        yield Stores(
            open_store(blocks_dir=folder / "writer", upload_url=service.url, upload_token=service.token),
            open_store(blocks_dir=folder / "reader", gateways=[gateway.url]),
        )


@pytest.fixture(
    params=[
        "embedded",
        "gateway",
        "pinning",
        pytest.param("kubo", marks=pytest.mark.kubo),
        pytest.param("kubo gateway", marks=pytest.mark.kubo),
    ]
)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    folder = tmp_path / "stores"
    match request.param:
        case "embedded":
            making = _embedded(folder)
        case "gateway":
            making = _gateway(folder)
        case "pinning":
            making = _pinning(folder)
        case "kubo":
            making = _kubo(folder, request.getfixturevalue("kubo"))
        case _:
            making = _kubo_gateway(folder, request.getfixturevalue("kubo"))
    async for made in making:
        yield made
        await made.writer.close()
        await made.reader.close()
