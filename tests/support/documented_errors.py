"""What each spoiled call is answered with: the first rule that matches says it."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hypernode_worker.solana.codec import codec

ANY = ".*"


@dataclass(frozen=True, slots=True)
class Rule:
    """Regular expressions for an account or argument, what is done to it, and "recipe/currency"; and the answer.

    Attributes:
        error: the error's name in the IDL, or a callee's error; "" where the call is accepted all the same.
        why: the reason for which it is accepted.
    """

    place: str
    spoil: str
    error: str
    where: str = ANY
    why: str = ""

    def matches(self, place: str, spoil: str, where: str) -> bool:
        pairs = ((self.place, place), (self.spoil, spoil), (self.where, where))
        return all(re.fullmatch(pattern, text) for pattern, text in pairs)


def accepted(where: str, place: str, spoil: str, why: str) -> Rule:
    return Rule(place, spoil, "", where, why)


def documented(rules: Sequence[Rule], place: str, spoil: str, where: str) -> Rule:
    """Raises LookupError for what no rule says anything about: a new account or argument."""
    for rule in rules:
        if rule.matches(place, spoil, where):
            return rule
    raise LookupError(f"no rule says what {where} answers when {place} is spoiled: {spoil}")


GENERAL = frozenset({"UnknownInstruction", "WrongDataLength", "NotEnoughAccounts"})


@functools.cache
def errors_in_idl(instruction: str) -> frozenset[str]:
    """The errors that the IDL lists for an instruction, and those that any may answer."""
    listed = re.search(r"Errors: ([^.]+)\.", codec().idl.instructions[instruction].docs)
    return GENERAL | frozenset(listed[1].split(", ") if listed else ())


def is_documented(error: str, instruction: str) -> bool:
    """In the IDL's list, or passed on from a program that this one has called."""
    return error in errors_in_idl(instruction) or error.startswith("Callee: ")


# The SPL Token program's own answers, which this program passes on.
NOT_THE_OWNER = "Callee: OwnerMismatch"
TOO_FEW_TOKENS = "Callee: InsufficientFunds"

PAYEES = "payout_to|client_to|fee_to"
# Real ones of other people in this market and in another, and forged ones with this one's state.
OTHER = "(another|foreign|other)"
STATES = f"{OTHER} (market|node|job)"

_LEGITIMATE = [
    accepted("settle_job/.*", "caller", "stranger", "anyone delivers what a finished job owes"),
    accepted("settle_job/native", "job", "other job", "anyone delivers for any finished job, to its own payees"),
    accepted("work_job/.*", "job", "other job", "a node takes any queued job of its market"),
    accepted("create_market/spl", "payment_mint", "mint|absent", "a market is paid in any mint, or in SOL"),
    accepted("deregister_node/.*", "stake_mint", "read-only", "nothing is left in the vault to be burnt"),
    Rule("client_to", "read-only", "NotWritable", "close_job/native"),
    accepted("(cancel|timeout)_job/.*", "payout_to|fee_to", ANY, "a refund goes to the client alone"),
    accepted("close_job/.*", PAYEES, ANY, "this job owes nothing any more"),
    accepted("settle_job/.*", "client_to|fee_to", ANY, "these have been paid already"),
    accepted("(register_node again|stake)/.*", "system_program", ANY, "nothing is made"),
    accepted("(register_node again|stake)/.*", "authority|funder", "read-only", "pays no rent"),
    accepted("(extend_job|dispute_result)/spl", "system_program", ANY, "tokens are moved, not lamports"),
    accepted("(extend_job|dispute_result)/spl", "client", "read-only", "pays tokens, not lamports"),
]

_FLAGS = [
    Rule("old_payout", ANY, "PayoutNotSigned"),
    Rule(ANY, "unsigned", "MissingSignature"),
    Rule(PAYEES, "read-only", "PayeeReadOnly"),
    Rule(ANY, "read-only", "NotWritable"),
]

_SIGNERS = [
    Rule("caller", "stranger", "DeadlineNotPassed", "settle_job reviewed/.*"),
    Rule("authority|client", "stranger", "WrongAddress", "(create_market|create_job|register_node)/.*"),
    Rule("funder", "stranger", NOT_THE_OWNER),
    Rule(ANY, "stranger", "WrongAuthority"),
]

_OWN_ACCOUNTS = [
    # What is made has one address: that of its seeds.
    Rule("market", ANY, "WrongAddress", "create_market/.*"),
    Rule("job", ANY, "WrongAddress", "create_job/.*"),
    Rule("node", f"{OTHER} node", "WrongAuthority", "register_node.*"),
    Rule("node", "foreign (market|job)", "WrongAccount", "register_node.*"),
    Rule("node", "discriminator|version|size", "WrongAccount", "register_node again/.*"),
    Rule("node", ANY, "WrongAddress", "register_node.*"),
    # A job's node is known by its address.
    Rule("node", "absent", "MissingAccount", "(cancel_job|resolve_dispute|settle_job reviewed|timeout_job)/.*"),
    Rule("node", "discriminator|version|size", "WrongAccount"),
    Rule("node", ANY, "WrongNode", "(cancel_job|resolve_dispute|settle_job reviewed|timeout_job)/.*"),
    # Another one of the same kind.
    Rule("market", "(other|foreign) market", "WrongAuthority", "(update|close)_market/.*"),
    Rule("market", "(other|foreign) market", "WrongAddress", "(create_job|register_node)/.*"),
    Rule("market", "(other|foreign) market", "WrongMarket"),
    Rule("node", "foreign node", "WrongMarket", "stake.*"),
    Rule("node", "(another|other) node", "WrongAddress", "stake.*"),
    Rule("node", "(another|foreign) node", "NothingUnstaking", "withdraw_stake/.*"),
    Rule("node", "other node", "WrongAddress", "withdraw_stake/.*"),
    Rule("node", f"{OTHER} node", "WrongAuthority"),
    Rule("job", "foreign job", "WrongMarket", "work_job/.*"),
    Rule("job", "foreign job", "WrongJobState", "(close_job|settle_job.*)/.*"),
    Rule("job", "foreign job", "DeadlineNotPassed", "timeout_job/.*"),
    Rule("job", "foreign job", "WrongAuthority", "resolve_dispute/.*"),
    Rule("job", "(other|foreign) job", "WrongNode", "(begin|checkpoint|finish|release|timeout)_job/.*"),
    Rule("job", "other job", "WrongNode", "resolve_dispute/.*"),
    Rule("job", "other job", "DeadlineNotPassed", "settle_job reviewed/.*"),
    Rule("job", "other job", "WrongAddress", "(close_job|settle_job)/.*"),
    Rule("job", "(other|foreign) job", "WrongAuthority"),
    # Another kind, or another program's.
    Rule("market|node|job", f"{STATES}|discriminator|version|size", "WrongAccount"),
    Rule("market|node|job", ANY, "WrongOwner"),
]

_MONEY = [
    Rule("payout_to", "absent", "NothingDelivered", "settle_job/.*"),
    Rule(f"{PAYEES}|escrow|payment_mint", "absent", "MissingAccount"),
    Rule("vault|stake_mint", "absent", "MissingAccount", "deregister_node/.*"),
    Rule("from", "absent", "MissingAccount", "(create_job|extend_job|dispute_result)/.*"),
    Rule("from", "absent|program", "NotWritable"),
    Rule("from", "token account", "WrongTokenAccount", "stake.*/spl"),
    Rule("from", "token account", NOT_THE_OWNER),
    Rule("from", ANY, "WrongTokenAccount"),
    Rule(f"{PAYEES}|to", ANY, "WrongPayee"),
    Rule("client|payout|escrow|vault", ANY, "WrongAddress"),
    Rule("payment_mint", ANY, "WrongMint", "create_market/.*"),
    Rule("stake_mint", ANY, "WrongMint", "deregister_node/.*"),
    Rule("payment_mint|stake_mint", ANY, "WrongAddress"),
    Rule("system_program|token_program", ANY, "WrongProgram"),
]

ACCOUNTS = [*_LEGITIMATE, *_FLAGS, *_SIGNERS, *_OWN_ACCOUNTS, *_MONEY]

MOST = "middle|ones"

_TERMS = [
    Rule("terms.(fee|slash|bond)_bps", MOST, "InvalidShare"),
    Rule("terms.review_period", "1|2", "InvalidReview"),
    Rule("terms.(max_timeout|setup_timeout|queue_timeout|finish_grace)", "zeros", "InvalidPeriod"),
    Rule(r"terms.\w+_(timeout|period|grace|cooldown)", MOST, "InvalidPeriod"),
    Rule("terms.claim_spread_slots", MOST, "WindowTooLong"),
    Rule("terms.max_(attempts|capacity)", "zeros", "InvalidCapacity"),
    Rule("terms.start_credit", "ones", "InvalidCredit"),
    Rule("terms.flags", MOST, "InvalidFlags"),
    Rule("terms.fee_receiver", "zeros|program", "InvalidFeeReceiver"),
    Rule("terms.(min_stake|lock_per_job)", "1|2|middle|ones", "StakeWithoutMint", "create_market/.*"),
    Rule("terms.spec_cid", "ones", "InvalidCid"),
    accepted(ANY, "terms[.].*", ANY, "a market's authority sets its terms within these bounds"),
]

_NODES = [
    Rule("specs.(isolation|gpu_vendor)", MOST, "InvalidSpecs"),
    Rule("specs.isolation", "2", "InvalidSpecs"),
    Rule("specs.country", "1|2|middle|ones", "InvalidSpecs"),
    Rule("specs.specs_cid", "ones", "InvalidCid"),
    accepted(ANY, "specs[.].*", ANY, "the node's word"),
    Rule("capacity", "zeros", "InvalidCapacity"),
    accepted(ANY, "capacity", ANY, "the market has a limit of its own"),
    Rule("payout", "zeros|program", "InvalidPayout"),
    accepted(ANY, "payout", "ones", "any wallet"),
    Rule("state", "2|middle|ones", "InvalidNodeState"),
    accepted(ANY, "state", "1", "draining"),
    Rule("amount", MOST, "NotEnoughStake", "request_unstake/.*"),
    accepted("request_unstake/.*", "amount", ANY, "takes a request back or asks for what there is"),
    Rule("amount", "zeros", "InvalidAmount"),
    Rule("amount", "ones", "Overflow", "stake/.*"),
    Rule("amount", MOST, TOO_FEW_TOKENS),
    accepted("stake.*", "amount", "1|2", "any amount that there is"),
]

_JOBS = [
    Rule("market_id|bump|nonce", ANY, "WrongAddress"),
    Rule("escrow_bump", ANY, "WrongAddress", "create_job/spl"),
    accepted("create_job/native", "escrow_bump", ANY, "there is no escrow account"),
    Rule("revision", ANY, "RevisionChanged"),
    Rule("price", "zeros|1|2", "PriceTooLow"),
    Rule("price", MOST, "Overflow"),
    Rule("timeout", "zeros|middle|ones", "TimeoutOutOfRange"),
    accepted(ANY, "timeout", "1|2", "within the market's limit"),
    Rule("requirements.(framework|gpu_vendor|min_trust)", MOST, "InvalidRequirements"),
    accepted(ANY, "requirements[.].*", ANY, "the client's wish: no node may be able"),
    Rule("seconds", "zeros", "InvalidAmount"),
    Rule("seconds", "middle", "TimeoutOutOfRange"),
    Rule("seconds", "ones", "Overflow"),
    accepted(ANY, "seconds", "1|2", "within the market's limit"),
    Rule("begin|paused", "2|middle|ones", "InvalidBool"),
    accepted(ANY, "begin|paused", "zeros|1", "false and true"),
    Rule("queued_slot", ANY, "JobReplaced"),
    accepted(ANY, "checkpoint_cid", "zeros", "a sign of life without a checkpoint"),
    Rule(r"\w+_cid", ANY, "InvalidCid"),
    accepted(ANY, "result_hash|exit_status", ANY, "the node's word"),
    Rule("reason", "zeros|middle|ones", "InvalidReason"),
    accepted(ANY, "reason", "2", "one of a node's reasons"),
    Rule("progress_bps", MOST, "InvalidProgress"),
    accepted(ANY, "progress_bps", ANY, "the node's word"),
    Rule("pay_bps|slash_bps", MOST, "InvalidShare"),
    Rule("slash_bps", "1|2", "InvalidShare"),
    accepted(ANY, "pay_bps", ANY, "the arbiter's decision"),
]

ARGUMENTS = [*_TERMS, *_NODES, *_JOBS]
