"""What the chain says of a refused transaction, as a typed error with one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from solders.pubkey import Pubkey

from hypernode_worker.core.types import LAMPORTS_PER_SOL
from hypernode_worker.errors import InsufficientFunds, ProgramError, TransactionFailed
from hypernode_worker.solana.codec import codec
from hypernode_worker.solana.transport import Json, json_object

FIRST_PROGRAM_ERROR = 6000
_TOO_LITTLE = 1
"""Custom error 1 of the System program (negative lamports) and of SPL Token (insufficient funds)."""

_NO_FEE = ("InsufficientFundsForFee", "AccountNotFound")
_NO_PROGRAM = ("ProgramAccountNotFound", "InvalidProgramForExecution")
_WHY = {
    "BlockhashNotFound": "its blockhash is unknown or too old: try again",
    "InvalidRentPayingAccount": "an account would be left with too little rent",
    "TooManyAccountLocks": "it names too many accounts",
    "AccountInUse": "an account is in use by another transaction: try again",
}


@dataclass(frozen=True, slots=True)
class Intent:
    """What a transaction is for: enough to tell a person why it was refused.

    Attributes:
        what: in words, as an infinitive ("claim job 7xZ8").
        cost_hint: what has to be paid beside fees ("the deposit of 0.5 SOL and rent"), or nothing.
        advice: what to do next when the program refuses, by the name of its error.
        job: the job that it is about; None for others.
    """

    what: str
    cost_hint: str = ""
    advice: Mapping[str, str] = field(default_factory=dict[str, str])
    job: Pubkey | None = None


def transaction_error(
    err: Json,
    *,
    intent: Intent,
    payer: Pubkey,
    program: Pubkey,
    programs: tuple[Pubkey, ...],
    logs: tuple[str, ...] = (),
    landed: bool = False,
) -> TransactionFailed:
    """The error for the JSON of a TransactionError. `programs`: of the message's instructions, in order."""
    could_not = f"Could not {intent.what}"
    if err in _NO_FEE:
        return InsufficientFunds(
            f"{could_not}: the wallet {payer} has too little SOL for the transaction's fee; send it some (on a local "
            "chain or devnet: hypernode-worker key airdrop).",
            logs=logs,
            landed=landed,
        )
    if err in _NO_PROGRAM:
        return TransactionFailed(
            f"{could_not}: no program is deployed at {program}; check PROGRAM_ID and SOLANA_RPC_URL.",
            logs=logs,
            landed=landed,
        )
    if "InsufficientFundsForRent" in json_object(err):
        return _too_little(could_not, payer, intent, logs, landed)
    index, reason = _instruction_error(err)
    code = json_object(reason).get("Custom")
    if code == _TOO_LITTLE:
        return _too_little(could_not, payer, intent, logs, landed)
    if isinstance(code, int) and 0 <= index < len(programs):
        ours = programs[index] == program
        if ours and code >= FIRST_PROGRAM_ERROR:
            return _program_error(could_not, code, intent, logs, landed)
        where = "a program that it calls" if ours else f"the program {programs[index]}"
        why = f"{where} refused with its error {code}"
    elif isinstance(reason, str):
        why = f"the program failed with {reason[:100]}"
    else:
        why = _WHY.get(str(err), f"the chain refused it with {str(err)[:200]}")
    return TransactionFailed(f"{could_not}: {why}.", logs=logs, landed=landed)


def _instruction_error(err: Json) -> tuple[int, Json]:
    """The failed instruction's index and its error; (-1, None) for an error of the whole transaction."""
    match json_object(err).get("InstructionError"):
        case [int(index), reason]:
            return index, reason
        case _:
            return -1, None


def _program_error(could_not: str, code: int, intent: Intent, logs: tuple[str, ...], landed: bool) -> TransactionFailed:
    spec = codec().idl.errors.get(code)
    if spec is None:
        message = (
            f"{could_not}: the markets program refused with error {code}, which this version doesn't know: upgrade."
        )
        return ProgramError(message, code=code, name=f"Error{code}", logs=logs, landed=landed)
    sentence = spec.message[0].lower() + spec.message[1:] if spec.message[1:2].islower() else spec.message
    message = f"{could_not}: {sentence} ({spec.name})"
    if advice := intent.advice.get(spec.name):
        message = f"{could_not}: {sentence.removesuffix('.')} ({spec.name}): {advice}."
    return ProgramError(message, code=code, name=spec.name, logs=logs, landed=landed)


def _too_little(
    could_not: str, payer: Pubkey, intent: Intent, logs: tuple[str, ...], landed: bool
) -> InsufficientFunds:
    need = f" It needs {intent.cost_hint}." if intent.cost_hint else ""
    return InsufficientFunds(
        f"{could_not}: the wallet {payer} or its token account has too little.{need} Send it more (SOL on a local "
        "chain or devnet: hypernode-worker key airdrop).",
        logs=logs,
        landed=landed,
    )


def sol(lamports: int) -> str:
    """Lamports as SOL for people: '0.5 SOL'."""
    return f"{lamports / LAMPORTS_PER_SOL:.9f}".rstrip("0").rstrip(".") + " SOL"
