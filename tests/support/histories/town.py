"""Who lives in a random history, and what happens to their accounts without the program's doing."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, Node
from hypernode_worker.solana.addresses import token_address
from hypernode_worker.solana.codec import codec
from tests.support.histories.books import TOKEN_ACCOUNT_BYTES, U64, Books, Token
from tests.support.histories.chain import Chain
from tests.support.svm import SOL, START_SLOT, START_TIME

RICH = 1_000_000 * SOL
STAKES = 10**9
U32 = 2**32 - 1


def key(dice: random.Random) -> Pubkey:
    return Pubkey.from_bytes(dice.randbytes(32))


@dataclass(slots=True)
class Town:
    """Wallets, mints and a clock: the same in the chain and in the books."""

    dice: random.Random
    chain: Chain = field(init=False)
    books: Books = field(init=False)
    owner: Pubkey = field(init=False)
    arbiter: Pubkey = field(init=False)
    stranger: Pubkey = field(init=False)
    hoard: Pubkey = field(init=False)
    clients: list[Pubkey] = field(init=False)
    operators: list[Pubkey] = field(init=False)
    payouts: list[Pubkey] = field(init=False)
    receivers: list[Pubkey] = field(init=False)
    mints: list[Pubkey] = field(init=False)

    def __post_init__(self) -> None:
        self.chain = Chain(key(self.dice))
        self.books = Books(self.chain.program, self.chain.rent, START_TIME, START_SLOT)
        self.owner, self.arbiter, self.stranger, self.hoard = (self._wallet() for _ in range(4))
        self.clients = [self._wallet() for _ in range(4)]
        self.operators = [self._wallet() for _ in range(4)]
        self.payouts = [self._wallet() for _ in range(2)]
        self.receivers = [self._wallet() for _ in range(2)]
        # Two to pay in, the second with as many base units as there can be; one to stake.
        self.mints = [self._mint(supply) for supply in (10**15, U64, STAKES * 100)]
        for wallet in self.clients:
            self._hold(wallet, 0, 10**14)
            self._hold(wallet, 1, U64 // 5)
        for wallet in (*self.operators, *self.clients, self.stranger):
            self._hold(wallet, 2, STAKES)
        for wallet in (*self.payouts, *self.receivers, *self.operators):
            for mint in self.mints[:2]:
                self.open(wallet, mint)
        for wallet in self.payouts:
            self.open(wallet, self.mints[2])
        for mint, supply in self.books.supplies.items():
            held = sum(token.amount for token in self.books.tokens.values() if token.mint == mint)
            self._put_token(token_address(self.hoard, mint), Token(mint, self.hoard, supply - held))
        self.wait(0, 0)

    @property
    def wallets(self) -> list[Pubkey]:
        return [
            self.owner, self.arbiter, self.stranger, *self.clients, *self.operators, *self.payouts, *self.receivers,
        ]  # fmt: skip

    def _wallet(self) -> Pubkey:
        made = key(self.dice)
        self._put_wallet(made, RICH)
        return made

    def _mint(self, supply: int) -> Pubkey:
        made = key(self.dice)
        self.chain.put_mint(made, supply)
        self.books.supplies[made], self.books.lamports[made] = supply, self.chain.lamports[made]
        return made

    def _hold(self, wallet: Pubkey, mint: int, amount: int) -> None:
        self._put_token(token_address(wallet, self.mints[mint]), Token(self.mints[mint], wallet, amount))

    # --- both in the chain and in the books ---

    def _put_wallet(self, wallet: Pubkey, lamports: int) -> None:
        self.books.lamports[wallet] = lamports
        self.chain.put_wallet(wallet, lamports)

    def _put_token(self, address: Pubkey, token: Token) -> None:
        rent = max(self.books.lamports.get(address, 0), self.chain.rent(TOKEN_ACCOUNT_BYTES))
        self.books.lamports[address], self.books.tokens[address] = rent, token
        self.chain.put_token(address, token, rent)

    def wait(self, seconds: int, slots: int) -> None:
        self.books.time += seconds
        self.books.slot += slots
        self.chain.set_clock(self.books.time, self.books.slot)

    def wait_for(self, time: int, slot: int) -> None:
        self.wait(max(0, time - self.books.time), max(0, slot - self.books.slot))

    # --- what becomes of payees ---

    def open(self, wallet: Pubkey, mint: Pubkey) -> None:
        """A wallet's token account is there and not frozen."""
        address = token_address(wallet, mint)
        held = self.books.tokens.get(address)
        self._put_token(address, replace(held, frozen=False) if held else Token(mint, wallet))

    def freeze(self, address: Pubkey, frozen: bool) -> None:
        self._put_token(address, replace(self.books.tokens[address], frozen=frozen))

    def lose(self, address: Pubkey) -> None:
        """A wallet closes its token account; what was there goes to the hoard."""
        token = self.books.tokens[address]
        self._give_tokens(token_address(self.hoard, token.mint), token.amount)
        self._put_wallet(self.hoard, self.books.lamports[self.hoard] + self.books.lamports.pop(address))
        del self.books.tokens[address]
        self.chain.put_wallet(address, 0)

    def empty(self, wallet: Pubkey, left: int) -> None:
        """A wallet keeps so many lamports; the hoard has the rest."""
        moved = self.books.lamports.get(wallet, 0) - left
        self._put_wallet(wallet, left)
        self._put_wallet(self.hoard, self.books.lamports[self.hoard] + moved)

    def gift(self, address: Pubkey, lamports: int) -> None:
        """Anyone may send lamports anywhere."""
        self._put_wallet(self.hoard, self.books.lamports[self.hoard] - lamports)
        held = self.books.lamports.get(address, 0) + lamports
        self.books.lamports[address] = held
        account = self.chain.vm.get_account(address)
        if account is None:
            self.chain.put_wallet(address, held)
        else:
            self.chain.put(address, account.data, account.owner, held)

    def gift_tokens(self, address: Pubkey) -> None:
        """Anyone may send tokens to any token account: an escrow, a vault."""
        token = self.books.tokens[address]
        hoard = token_address(self.hoard, token.mint)
        if self.books.tokens[hoard].amount and token.amount < U64 and address != hoard:
            self._give_tokens(hoard, -1)
            self._give_tokens(address, 1)

    def _give_tokens(self, address: Pubkey, amount: int) -> None:
        token = self.books.tokens[address]
        self._put_token(address, replace(token, amount=token.amount + amount))

    def heal(self, wallet: Pubkey) -> None:
        """A payee can receive again."""
        if self.books.lamports.get(wallet, 0) < SOL:
            self.gift(wallet, SOL)
        for mint in self.mints:
            self.open(wallet, mint)

    def heal_all(self) -> None:
        for wallet in self.wallets:
            self.heal(wallet)
        for place in self.money_places():
            if place in self.books.tokens:
                self.freeze(place, frozen=False)

    def age(self, node: Node) -> None:
        """A node has done so much that its counters are at their ends."""
        ends: dict[str, int] = {
            "completed": U32, "failed": U32 - 1, "released": U32, "abandoned": U32, "disputes_lost": U32,
            "compute_seconds": U64 - 1, "earned": U64 - 5,
        }  # fmt: skip
        values = codec().decode_account("Node", self.chain.raw[node.address]) | ends
        self.books.records[node.address] = replace(node, **ends)
        self.chain.put_raw(node.address, codec().encode_account("Node", values))

    def money_places(self) -> list[Pubkey]:
        """The accounts that hold jobs' money and nodes' stake."""
        jobs = [j.address if j.is_native else j.escrow for j in self.books.of(Job)]
        vaults = [self.books.program.stake_address(node.address) for node in self.books.of(Node)]
        return jobs + [v for v in vaults if v in self.books.tokens]
