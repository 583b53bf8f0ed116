"""The real program on a fast SVM: no signatures are made or checked, and only what a step touched is read again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from solders.account import Account
from solders.instruction import Instruction
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

from hypernode_worker.core.accounts import Job, Market, Node
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM
from hypernode_worker.solana.program import MarketsProgram, error_name
from tests.support.histories.books import TOKEN_ACCOUNT_BYTES, Record, Token
from tests.support.svm import program_bytes

PROGRAMS = (SYSTEM_PROGRAM, TOKEN_PROGRAM)
ACCEPTED = "accepted"
# What the System and the Token program answer: too little money, another mint, another owner, a frozen account.
FOREIGN = {1: "insufficient funds", 3: "mint mismatch", 4: "owner mismatch", 17: "account frozen"}
# What the runtime answers: a call with a signature or a write that its caller hasn't got, a bump that gives no address,
# a wallet left below rent.
BY_THE_RUNTIME = {
    "PrivilegeEscalation": "privilege escalation",
    "Could not create program address with signer seeds": "no such address",
    "InsufficientFundsForRent": "below rent",
}
_MINT_BYTES = 82
_SUPPLY = slice(36, 44)
_LIVE, _FROZEN = 1, 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the chain answered: `code` is a program's error, `why` the SVM's words; both None when it landed."""

    code: int | None
    why: str | None
    logs: list[str]

    @property
    def landed(self) -> bool:
        return self.why is None

    @property
    def answer(self) -> str | None:
        """ "accepted", or the error's name; None for an error that nobody has written down."""
        if self.why is None:
            return ACCEPTED
        if self.code is not None:
            return error_name(self.code) or FOREIGN.get(self.code)
        said = "\n".join([self.why, *self.logs])
        return next((answer for words, answer in BY_THE_RUNTIME.items() if words in said), None)


class Chain:
    """Accounts as they were last looked at: by address, decoded."""

    def __init__(self, payer: Pubkey) -> None:
        self.program = MarketsProgram()
        self.vm = LiteSVM().with_blockhash_check(False).with_transaction_history(0).with_sigverify(False)
        self.vm.add_program(self.program.id, program_bytes())
        self.payer = payer
        self.vm.set_account(self.payer, Account(2**60, b"", SYSTEM_PROGRAM))
        self._blockhash = self.vm.latest_blockhash()
        self.lamports: dict[Pubkey, int] = {}
        self.tokens: dict[Pubkey, Token] = {}
        self.supplies: dict[Pubkey, int] = {}
        self.records: dict[Pubkey, Record] = {}
        self.raw: dict[Pubkey, bytes] = {}

    def rent(self, size: int) -> int:
        return self.vm.minimum_balance_for_rent_exemption(size)

    def set_clock(self, time: int, slot: int) -> None:
        self.vm.warp_to_slot(slot)
        clock = self.vm.get_clock()
        clock.unix_timestamp, clock.slot = time, slot
        self.vm.set_clock(clock)

    def send(self, instruction: Instruction) -> Outcome:
        """Runs one instruction as a transaction whose fee a wallet pays that nobody else uses."""
        message = Message.new_with_blockhash([instruction], self.payer, self._blockhash)
        signatures = [Signature.default()] * message.header.num_required_signatures
        result = self.vm.send_transaction(Transaction.populate(message, signatures))
        if not isinstance(result, FailedTransactionMetadata):
            return Outcome(None, None, list(result.logs()))
        error = result.err()
        code = getattr(getattr(error, "err", error), "code", None)
        return Outcome(code if isinstance(code, int) else None, str(error), list(result.meta().logs()))

    # --- what is there ---

    def look(self, keys: Iterable[Pubkey]) -> None:
        """Reads these accounts again."""
        for key in keys:
            if key in PROGRAMS or key == self.program.id:
                continue
            account = self.vm.get_account(key)
            self.tokens.pop(key, None)
            self.records.pop(key, None)
            self.raw.pop(key, None)
            if account is None or account.lamports == 0:
                self.lamports.pop(key, None)
                continue
            self.lamports[key] = account.lamports
            if account.owner == self.program.id:
                self.raw[key] = account.data
                self.records[key] = self.program.decode_account(key, account.data, account.owner)
            elif account.owner == TOKEN_PROGRAM and len(account.data) == TOKEN_ACCOUNT_BYTES:
                self.tokens[key] = _token(account.data)
            elif account.owner == TOKEN_PROGRAM:
                self.supplies[key] = int.from_bytes(account.data[_SUPPLY], "little")

    def look_at_all(self) -> None:
        """Reads all that this chain has ever shown, and every account of the program."""
        found = [key for key, _ in self.vm.get_program_accounts(self.program.id)]
        self.look({*self.lamports, *self.records, *self.tokens, *found})

    def jobs_of(self, node: Pubkey) -> list[Job]:
        return [each for each in self.records.values() if isinstance(each, Job) and each.node == node]

    # --- what happens outside ---

    def put(self, key: Pubkey, data: bytes, owner: Pubkey, lamports: int) -> None:
        self.vm.set_account(key, Account(lamports, data, owner))
        self.look([key])

    def put_wallet(self, key: Pubkey, lamports: int) -> None:
        self.put(key, b"", SYSTEM_PROGRAM, lamports)

    def put_token(self, key: Pubkey, token: Token, lamports: int) -> None:
        data = bytearray(TOKEN_ACCOUNT_BYTES)
        data[0:32], data[32:64] = bytes(token.mint), bytes(token.owner)
        data[64:72] = token.amount.to_bytes(8, "little")
        data[108] = _FROZEN if token.frozen else _LIVE
        self.put(key, bytes(data), TOKEN_PROGRAM, lamports)

    def put_mint(self, key: Pubkey, supply: int) -> None:
        """A mint of 6 decimals."""
        data = bytearray(_MINT_BYTES)
        data[_SUPPLY] = supply.to_bytes(8, "little")
        data[44], data[45] = 6, 1
        self.put(key, bytes(data), TOKEN_PROGRAM, self.rent(_MINT_BYTES))

    def put_raw(self, key: Pubkey, data: bytes) -> None:
        """Other bytes for one of the program's accounts."""
        self.put(key, data, self.program.id, self.lamports[key])


def address_of(record: Record, program: Pubkey) -> tuple[Pubkey, int]:
    """Where an account's own fields say that it stands, and the bump."""
    match record:
        case Market():
            seeds = [b"market", bytes(record.authority), record.market_id.to_bytes(8, "little")]
        case Node():
            seeds = [b"node", bytes(record.market), bytes(record.authority)]
        case Job():
            seeds = [b"job", bytes(record.market), bytes(record.client), record.nonce.to_bytes(8, "little")]
    return Pubkey.find_program_address(seeds, program)


def _token(data: bytes) -> Token:
    mint, owner = Pubkey.from_bytes(data[0:32]), Pubkey.from_bytes(data[32:64])
    return Token(mint, owner, int.from_bytes(data[64:72], "little"), data[108] == _FROZEN)
