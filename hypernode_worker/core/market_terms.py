"""Terms of a market that can't be meant: the program refuses them too; here is why, in words."""

from __future__ import annotations

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NATIVE_MINT, MarketTerms
from hypernode_worker.core.amounts import U64_MAX
from hypernode_worker.errors import ConfigError

WHOLE_BPS = 10_000
"""The whole, in basis points."""
LOST_BELOW_BPS = 5_000
"""A dispute in which the arbiter grants less than this share is lost by the node, which may then be slashed."""
MAX_PERIOD_S = 30 * 24 * 3600
MAX_CREDIT = 200
SLOTS_A_SECOND = 2

_NOBODY = Pubkey.default()
_SHARES = ("fee_bps", "slash_bps", "bond_bps")
_NEEDED_PERIODS = ("max_timeout", "setup_timeout", "queue_timeout", "finish_grace")
_PERIODS = (*_NEEDED_PERIODS, "review_period", "resolve_timeout", "heartbeat_timeout", "unstake_cooldown")
_COUNTS = {"max_attempts": 255, "max_capacity": 65_535}
_AMOUNTS = ("min_price", "min_stake", "lock_per_job", "credit_pay")


def check_market_terms(terms: MarketTerms, *, stake_mint: Pubkey) -> None:
    """Raises ConfigError for terms that the program refuses. `stake_mint` zero: the market takes no stake."""
    wrong = _out_of_range(terms) or _contradiction(terms, stakes=stake_mint != NATIVE_MINT)
    if wrong:
        raise ConfigError(wrong)


def _out_of_range(terms: MarketTerms) -> str | None:
    for name in _SHARES:
        if not 0 <= (bps := getattr(terms, name)) <= WHOLE_BPS:
            return f"{name} is {bps}, and a share is 0 to {WHOLE_BPS:,} basis points (100 %): lower it."
    for name in _PERIODS:
        if not 0 <= (seconds := getattr(terms, name)) <= MAX_PERIOD_S:
            return f"{name} is {seconds} s, and a period is at most 30 days ({MAX_PERIOD_S:,} s): shorten it."
        if name in _NEEDED_PERIODS and not seconds:
            return f"{name} is 0, which would end every job at once: give it at least a second."
    for name, most in _COUNTS.items():
        if not 1 <= (count := getattr(terms, name)) <= most:
            return f"{name} is {count}, and it is 1 to {most:,}: correct it."
    for name in _AMOUNTS:
        if not 0 <= (amount := getattr(terms, name)) <= U64_MAX:
            return f"{name} is {amount}, and an account holds 0 to {U64_MAX:,} base units: correct it."
    if not 0 <= terms.start_credit <= MAX_CREDIT:
        return f"start_credit is {terms.start_credit}, and credit is 0 to {MAX_CREDIT}: lower it."
    return None


def _contradiction(terms: MarketTerms, *, stakes: bool) -> str | None:
    if terms.fee_bps and terms.fee_receiver == _NOBODY:
        return "A fee needs somebody who gets it: name the fee_receiver, or set fee_bps to 0."
    if terms.review_period and terms.arbiter == _NOBODY:
        return "A market with a review needs an arbiter: name the wallet that decides disputes."
    if terms.review_period and not terms.resolve_timeout:
        return "A market with a review needs a resolve_timeout: the seconds that its arbiter has to decide a dispute."
    for name in ("min_stake", "lock_per_job"):
        if getattr(terms, name) and not stakes:
            return f"{name} asks for stake, and the market has no stake mint: name one when it is made, or set it to 0."
    window = SLOTS_A_SECOND * terms.queue_timeout
    if not 0 <= terms.claim_spread_slots <= window:
        return (
            f"claim_spread_slots is {terms.claim_spread_slots}, and jobs wait queue_timeout = {terms.queue_timeout} s, "
            f"which is {window} slots: no node could claim before a job expires; lower the one or raise the other."
        )
    return None
