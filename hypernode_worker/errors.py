"""Every error that crosses a module boundary. Its class says what the caller may do.

    HypernodeError
    |-- ConfigError            a person must change something; exit code 2
    |-- TransientError         the same call may succeed later (retry_after_s, None: by the caller's backoff)
    |   |-- EndpointDown           an RPC endpoint, gateway or daemon can't be reached, is slow or answers nonsense
    |   |-- RateLimited            HTTP 429 and its kin
    |   |-- ContentNotFound        nobody had the CID in time
    |   |-- ProviderDown           the container engine doesn't answer
    |   `-- TransactionExpired     its last valid block height has passed; it can no longer land
    `-- PermanentError         the same call will fail again
        |-- AccountMissing         nothing at this address
        |-- AccountInvalid         wrong owner, discriminator, version or size
        |-- TransactionFailed      the chain refused it (logs)
        |   |-- ProgramError           ... and the markets program said why (code, name)
        |   `-- InsufficientFunds      ... for want of lamports or tokens
        |-- ContentInvalid         the bytes aren't those of the CID, or no UnixFS of ours
        |-- ContentTooLarge        more than the caller allowed
        |-- DefinitionInvalid      a job definition that breaks its schema (field)
        |-- ImageUnavailable       an image that doesn't exist or may not be pulled
        |-- StartFailed            the container couldn't be started for a reason in the job (its command, its image)
        `-- ResultInvalid          a result that doesn't match its CID, its result_hash or its signature

Every message is one sentence that says what happened, to what, and what to do next.
A job that fails is not an error: it is a RunOutcome (core.lifecycle).
"""

from __future__ import annotations


class HypernodeError(Exception):
    """Base of all errors of this package."""


class ConfigError(HypernodeError):
    """A setting, key file or argument that a person must change."""


class TransientError(HypernodeError):
    """The same call may succeed later."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EndpointDown(TransientError):
    """An endpoint can't be reached, is slow, or answers nonsense."""


class RateLimited(TransientError):
    """An endpoint asked for fewer requests."""


class ContentNotFound(TransientError):
    """Nobody had the content in time."""


class ProviderDown(TransientError):
    """The container engine doesn't answer."""


class TransactionExpired(TransientError):
    """The transaction can no longer land."""


class PermanentError(HypernodeError):
    """The same call will fail again."""


class AccountMissing(PermanentError):
    """There is no account at this address."""


class AccountInvalid(PermanentError):
    """The account isn't what it should be: owner, discriminator, version or size."""


class TransactionFailed(PermanentError):
    """The chain refused the transaction.

    Attributes:
        logs: the program's log lines, as the endpoint gave them (a hint, never parsed for decisions).
        landed: the transaction is in a block (its fee is spent), rather than refused in simulation.
    """

    def __init__(self, message: str, *, logs: tuple[str, ...] = (), landed: bool = False) -> None:
        super().__init__(message)
        self.logs = logs
        self.landed = landed


class ProgramError(TransactionFailed):
    """The markets program refused the instruction; `code` and `name` are those of the IDL."""

    def __init__(self, message: str, *, code: int, name: str, logs: tuple[str, ...] = (), landed: bool = False) -> None:
        super().__init__(message, logs=logs, landed=landed)
        self.code = code
        self.name = name


class InsufficientFunds(TransactionFailed):
    """A wallet or token account has too little."""


class ContentInvalid(PermanentError):
    """Bytes that aren't those of the CID, or a DAG that isn't a UnixFS file or directory."""


class ContentTooLarge(PermanentError):
    """More bytes or files than the caller allowed."""


class DefinitionInvalid(PermanentError):
    """A job definition that breaks its schema; the message names the field."""


class ImageUnavailable(PermanentError):
    """An image that doesn't exist or may not be pulled."""


class StartFailed(PermanentError):
    """A container that couldn't be started for a reason that lies in the job."""


class ResultInvalid(PermanentError):
    """A result that doesn't match its CID, its result_hash or its signature."""
