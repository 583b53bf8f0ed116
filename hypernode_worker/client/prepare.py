"""What would be posted: the definition checked against the market, and what it costs, before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hypernode_worker.core.accounts import FLAG_NETWORK, Market
from hypernode_worker.core.amounts import U64_MAX, show_amount
from hypernode_worker.core.definition import MAX_BYTES, JobDefinition
from hypernode_worker.errors import ConfigError, DefinitionInvalid

SIGNATURE_FEE_LAMPORTS = 5_000
"""The chain's fee for a transaction of one signature; priority comes on top."""
MAX_FILES = 20_000
MAX_FILES_BYTES = 10 << 30
"""What a node fetches of a job's files by default."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What a job takes from the wallet.

    Attributes:
        price: base units of the market's payment mint a second.
        timeout_s: most seconds that are billed.
        deposit: price x timeout_s, in base units; what isn't used comes back when the job settles.
        rent_lamports: held by the job's account; comes back with close_job.
        fee_lamports: the network's fee without priority.
    """

    price: int
    timeout_s: int
    deposit: int
    native: bool
    rent_lamports: int
    fee_lamports: int = SIGNATURE_FEE_LAMPORTS

    @property
    def lamports(self) -> int:
        """All that leaves the wallet in SOL."""
        return self.rent_lamports + self.fee_lamports + (self.deposit if self.native else 0)


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job that may be posted as it is. `files` is a folder that is added to the store when it is posted."""

    definition: JobDefinition
    files: Path | None
    market: Market
    quote: Quote


def read_definition(source: JobDefinition | Mapping[str, object] | Path | str) -> JobDefinition:
    """A definition from a file, parsed JSON, or as it is.

    Raises:
        ConfigError: there is no such file, or it can't be read.
        DefinitionInvalid: names the field.
    """
    if isinstance(source, JobDefinition):
        return source
    if isinstance(source, Mapping):
        return JobDefinition.from_dict(source)
    try:
        with Path(source).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"The job definition {source} can't be read ({error.strerror}); check its path.") from error
    try:
        return JobDefinition.from_bytes(data)
    except DefinitionInvalid as error:
        raise DefinitionInvalid(f"{source}: {error}") from error


def check_files(files: Path | None, definition: JobDefinition) -> None:
    """Raises ConfigError for a folder that can't be posted with this definition."""
    if files is None:
        return
    if definition.files is not None:
        raise ConfigError(
            f"The definition names its files already ({definition.files}): give either --files or the field 'files'."
        )
    if not files.is_dir():
        raise ConfigError(f"{files} is no folder; --files takes the folder whose content comes into /workspace.")
    total = count = 0
    for path in files.rglob("*"):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ConfigError(f"{path} is a link or a special file, which no node would get: copy what it stands for.")
        if path.is_file():
            count += 1
            total += path.stat().st_size
    if count > MAX_FILES or total > MAX_FILES_BYTES:
        raise ConfigError(
            f"{files} holds {count} files and {total} bytes; a job may bring {MAX_FILES} files and "
            f"{MAX_FILES_BYTES} bytes: leave out what it doesn't need."
        )


def check_secrets(definition: JobDefinition, *, public_env: bool) -> None:
    """Raises ConfigError when env holds what looks like a secret and its publication wasn't agreed to."""
    names = definition.secret_like()
    if names and not public_env:
        raise ConfigError(
            f"env holds what looks like a secret ({', '.join(names)}), and everyone can read a definition on IPFS: "
            "take it out, or give --public-env if it is none."
        )


def check_terms(definition: JobDefinition, market: Market, price: int | None) -> int:
    """The price that the job would be posted at. Raises ConfigError for what the market doesn't allow."""
    terms = market.terms
    chosen = terms.min_price if price is None else price
    if market.paused:
        raise ConfigError(f"Market {market.address} is paused by its owner: wait, or post to another market.")
    if chosen < terms.min_price:
        least = show_amount(terms.min_price, native=market.is_native)
        raise ConfigError(
            f"The price is below what market {market.address} asks for: give --price {terms.min_price} or more "
            f"({least} a second)."
        )
    if definition.timeout > terms.max_timeout:
        raise ConfigError(
            f"The job's timeout of {definition.timeout} s is above the market's {terms.max_timeout} s: shorten it."
        )
    if definition.requirements.network and not terms.flags & FLAG_NETWORK:
        raise ConfigError(
            f"The job wants network (requirements.network), which market {market.address} doesn't allow: "
            "bring what it needs by --files, or choose another market."
        )
    if chosen * definition.timeout > U64_MAX:
        raise ConfigError("Price times timeout is more than an account can hold: lower one of them.")
    return chosen
