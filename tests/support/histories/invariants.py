"""The seven invariants of the program, each a function that looks at the chain and complains.

`books` say what should stand there; `touched` are the accounts that the last instruction named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market, Node
from hypernode_worker.solana.logs import events_from_logs
from tests.support.histories.books import RECORD_BYTES, Books, Record, Token, Told
from tests.support.histories.chain import Chain, Outcome, address_of

U64, U32 = 2**64 - 1, 2**32 - 1
ACTIVE = (JobState.CLAIMED, JobState.RUNNING)
OPEN = (*ACTIVE, JobState.SUBMITTED, JobState.DISPUTED)
COUNTERS = (
    "completed", "failed", "released", "abandoned", "disputes_lost", "compute_seconds", "earned", "slashed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Before:
    """The touched accounts as they were before the step."""

    lamports: dict[Pubkey, int]
    tokens: dict[Pubkey, Token]
    records: dict[Pubkey, Record]

    @classmethod
    def of(cls, chain: Chain, keys: Collection[Pubkey]) -> Before:
        return cls(
            {key: chain.lamports[key] for key in keys if key in chain.lamports},
            {key: chain.tokens[key] for key in keys if key in chain.tokens},
            {key: chain.records[key] for key in keys if key in chain.records},
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One step as the checks see it. `ends` are the ended jobs of earlier steps; ends_are_final adds to it."""

    chain: Chain
    books: Books
    told: Told
    outcome: Outcome
    touched: Sequence[Pubkey]
    past: Before
    ends: dict[Pubkey, Job]

    def before(self, key: Pubkey) -> Record | None:
        return self.past.records.get(key)

    def jobs(self) -> list[Job]:
        return [job for key in self.touched if isinstance(job := self.chain.records.get(key), Job)]

    def nodes(self) -> list[Node]:
        return [node for key in self.touched if isinstance(node := self.chain.records.get(key), Node)]


def job_money_adds_up(step: Step) -> None:
    """1. deposit + bond = paid + fee + refunded + owed + held; nothing held at the end; the escrow has it."""
    chain = step.chain
    for job in step.jobs():
        settled = job.paid + job.fee + job.refunded + job.owed
        held = job.deposit + job.bond - settled
        assert held == (0 if job.state.terminal else job.deposit + job.bond), f"a job holds {held}: {job}"
        expected = step.books.records.get(job.address)
        assert isinstance(expected, Job)
        for name in ("deposit", "bond", "paid", "fee", "refunded", "owed_node", "owed_fee", "owed_client"):
            assert getattr(job, name) == getattr(expected, name), f"{name} of {job}, not of {expected}"
        least = chain.rent(RECORD_BYTES[Job]) + (held + job.owed if job.is_native else 0)
        assert chain.lamports[job.address] >= least, f"the job's account has less than {least}"
        if not job.is_native:
            assert chain.tokens[job.escrow].amount >= held + job.owed, "the escrow lacks tokens"


def nothing_is_made_or_lost(step: Step) -> None:
    """2. Each balance is what the double entries say, and nobody gains but the parties of what was touched."""
    chain, books, past = step.chain, step.books, step.past
    parties = _parties(step)
    for key in step.touched:
        assert chain.lamports.get(key, 0) == books.lamports.get(key, 0), f"lamports of {key}"
        assert chain.tokens.get(key) == books.tokens.get(key), f"tokens of {key}"
        assert chain.supplies.get(key) == books.supplies.get(key), f"supply of {key}"
        gained = chain.lamports.get(key, 0) > past.lamports.get(key, 0)
        held = chain.tokens.get(key)
        before = past.tokens.get(key)
        if held and held.amount > (before.amount if before else 0):
            assert held.owner in parties, (
                f"{held.owner} gained tokens by {step.told.name}, which is none of its business"
            )
        assert not gained or key in parties, f"{key} gained by {step.told.name}, which is none of its business"


def _parties(step: Step) -> set[Pubkey]:
    """Who may gain: the accounts that hold money, and who is paid by them."""
    found: set[Pubkey] = set()
    for key in step.touched:
        for record in (step.before(key), step.chain.records.get(key)):
            match record:
                case Job():
                    found |= {key, record.escrow, record.client, record.payout, record.fee_receiver}
                case Node():
                    found |= {key, step.books.program.stake_address(key), record.payout}
                case Market():
                    found |= {key, record.authority}
                case _:
                    pass
    return found


def ends_are_final(step: Step) -> None:
    """3. Of an ended job only what is owed changes, to paid; at its address only create_job makes a new one."""
    ends = step.ends
    for key in step.touched:
        job, end = step.chain.records.get(key), ends.get(key)
        if end is not None and isinstance(job, Job) and step.told.name != "create_job":
            kept = job.paid >= end.paid and job.fee >= end.fee and job.refunded >= end.refunded
            assert kept, f"took back what was paid: {job}"
            assert _but_for_delivery(job) == _but_for_delivery(end), f"an ended job changed: {job}"
        elif isinstance(job, Job) and step.before(key) is None:
            assert step.told.name == "create_job", f"{step.told.name} revived {job}"
            fresh = (job.attempts, job.used, job.settled_at, job.result_cid, job.secrets_cid, job.checkpoint_cid)
            assert job.state == JobState.QUEUED, f"a new job in state {job.state}"
            assert fresh == (0, 0, 0, None, None, None), f"a new job with old data: {job}"
        if isinstance(job, Job) and job.state.terminal:
            ends[key] = job
        elif end is not None:
            assert job is None or step.told.name == "create_job", f"an ended job lives: {job}"
            del ends[key]


def _but_for_delivery(job: Job) -> Job:
    return replace(job, paid=0, fee=0, refunded=0, owed_node=0, owed_fee=0, owed_client=0)


def counts_agree(step: Step) -> None:
    """4. A node's counts and locks are those of its jobs; it has room for what it claims; its vault has its stake."""
    for node in step.nodes():
        jobs = step.chain.jobs_of(node.address)
        active = sum(job.state in ACTIVE for job in jobs)
        assert node.active_jobs == active, f"{active} active jobs, not {node.active_jobs}"
        before = step.before(node.address)
        if isinstance(before, Node) and active > before.active_jobs:
            assert active <= node.capacity, f"{active} jobs in a node for {node.capacity}"
        assert node.open_jobs == sum(job.state in OPEN for job in jobs), f"open jobs of {node}"
        assert node.locked == sum(job.lock for job in jobs if job.state in OPEN), f"locks of {node}"
        assert node.locked + node.unstaking <= node.staked, f"{node} has locked more than its stake"
        vault = step.chain.tokens.get(step.books.program.stake_address(node.address))
        assert (vault.amount if vault else 0) >= node.staked + node.slashed, f"the vault of {node} lacks tokens"
    for job in step.jobs():
        assert job.state not in OPEN or isinstance(step.chain.records.get(job.node), Node), f"no node has {job}"


def numbers_stay_in_range(step: Step) -> None:
    """5. Counters never fall or wrap, amounts are exact products, and what the rules allow is never refused."""
    for job in step.jobs():
        assert job.deposit == job.price * job.timeout <= U64, f"a deposit that is no product: {job}"
        assert job.used <= job.timeout <= job.max_timeout, f"more seconds than were paid: {job}"
        assert job.attempts <= job.max_attempts, f"too many attempts: {job}"
        assert job.progress_bps <= 10_000, f"progress of {job}"
        if job.state == JobState.SETTLED:
            assert job.fee + job.owed_fee <= job.price * job.used * job.fee_bps // 10_000, f"too high a fee: {job}"
    for node in step.nodes():
        assert 0 <= node.credit <= 200, f"credit of {node}"
        before = step.before(node.address)
        if isinstance(before, Node) and before.registered_at == node.registered_at:
            fallen = [name for name in COUNTERS if getattr(node, name) < getattr(before, name)]
            assert not fallen, f"{fallen} of {node} fell"


def accounts_are_sound(step: Step) -> None:
    """6. Version, size, address and relations of each account are right, and it says what the rules say."""
    chain = step.chain
    for key in step.touched:
        record, expected = chain.records.get(key), step.books.records.get(key)
        assert record == expected, f"after {step.told.name}:\n{_differences(record, expected)}"
        if record is None:
            continue
        assert len(chain.raw[key]) == RECORD_BYTES[type(record)], f"{key} has {len(chain.raw[key])} bytes"
        assert record.version == 1, f"version {record.version} of {key}"
        assert address_of(record, chain.program.id) == (key, record.bump), f"{key} isn't where its fields say"
        if isinstance(record, Job) and not record.is_native:
            escrow = chain.tokens[record.escrow]
            assert (escrow.owner, escrow.mint) == (key, record.payment_mint), f"the escrow of {key} is another's"
        if isinstance(record, Node):
            vault = chain.tokens.get(step.books.program.stake_address(key))
            assert vault is None or vault.owner == key, f"the vault of {key} is another's"


def _differences(found: Record | None, expected: Record | None) -> str:
    if found is None or type(found) is not type(expected):
        return f"{found}\nnot {expected}"
    names = [f.name for f in fields(found)]
    changed = [n for n in names if getattr(found, n) != getattr(expected, n)]
    return "\n".join(f"{n}: {getattr(found, n)}, not {getattr(expected, n)}" for n in changed)


def answers_are_named(step: Step) -> None:
    """7. A refusal is an error of the IDL, or another program's; events tell the truth."""
    outcome = step.outcome
    assert outcome.answer, f"{step.told.name} answered {outcome.why}, which nobody has written down"
    for event in events_from_logs(step.chain.program.id, outcome.logs if outcome.landed else []):
        job = step.chain.records.get(key) if isinstance(key := event.fields.get("job"), Pubkey) else None
        for name in ("paid", "fee", "refunded", "owed_node", "owed_fee", "owed_client", "deposit", "bond", "node"):
            if isinstance(job, Job) and name in event.fields:
                assert event.fields[name] == getattr(job, name), f"{event.name} says {name} {event.fields[name]}"


INVARIANTS: tuple[Callable[[Step], None], ...] = (
    job_money_adds_up,
    nothing_is_made_or_lost,
    ends_are_final,
    counts_agree,
    numbers_stay_in_range,
    accounts_are_sound,
    answers_are_named,
)
