"""Random histories of several clients, nodes and markets of every kind: the program does what the rules say, always.

The rules are Python of their own (tests/support/histories): after each step the chain's answer, every account that the
instruction named and all balances are held against them, and each of the program's seven invariants is checked. At
the end of a history everyone leaves, and all money comes out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Node
from hypernode_worker.solana.codec import codec
from tests.program import soak
from tests.support.histories import history as histories
from tests.support.histories import invariants
from tests.support.histories.books import Draft, Forbidden, Token, Told
from tests.support.histories.chain import ACCEPTED, Outcome
from tests.support.histories.history import FATES, History, play
from tests.support.histories.invariants import Before, Step
from tests.support.histories.moves import WEIGHTS, NothingToDo

SEEDS = st.integers(0, 2**32 - 1)


class AnyOrder(RuleBasedStateMachine):
    """Instructions and fates in an order that Hypothesis chooses, and shortens when it has found a fault."""

    @initialize(seed=st.integers(0, 9))
    def start(self, seed: int) -> None:
        self.history = History(seed)

    @rule(name=st.sampled_from(sorted(WEIGHTS)), seed=SEEDS)
    def instruction(self, name: str, seed: int) -> None:
        self.history.dice.seed(seed)
        with suppress(NothingToDo):
            self.history.act(name)

    @rule(kind=st.sampled_from(sorted(set(FATES))), seed=SEEDS)
    def fate(self, kind: str, seed: int) -> None:
        self.history.dice.seed(seed)
        with suppress(NothingToDo):
            self.history.fate(kind)

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.leave()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)


def test_long_histories_reach_everything() -> None:
    """Every instruction is accepted and refused, and every state is reached, with many jobs at once."""
    answers: set[tuple[str, str]] = set()
    states: set[JobState] = set()
    for seed in range(3):
        history = History(seed)
        for _ in range(2_500):
            history.step()
            states |= {job.state for job in history.town.books.of(Job)}
        history.leave()
        answers |= set(history.answers)
    assert {name for name, answer in answers if answer == ACCEPTED} == set(WEIGHTS)
    assert {name for name, answer in answers if answer != ACCEPTED} == set(WEIGHTS)
    assert states == set(JobState)
    assert len({answer for _, answer in answers}) > 40


def test_a_seed_replays_its_history() -> None:
    assert play(11, 300).answers == play(11, 300).answers


# --- the checks can fail ---


@pytest.fixture(scope="module")
def lived() -> History:
    """A history in which jobs run, have ended and are owed, and nodes have stake."""
    history = History(3)
    while not _ready(history):
        history.step()
    return history


def _ready(history: History) -> bool:
    books = history.town.books
    running = [job for job in books.of(Job) if job.state == JobState.RUNNING]
    return bool(running and history.ends and any(node.staked for node in books.of(Node)))


def _step(history: History, key: Pubkey, name: str = "heartbeat_node", outcome: Outcome | None = None) -> Step:
    """A step that touched one account, and was accepted."""
    town = history.town
    told = Told(name, {}, {}, frozenset(), frozenset(), town.books.program)
    before = Before.of(town.chain, [key])
    return Step(town.chain, town.books, told, outcome or Outcome(None, None, []), [key], before, dict(history.ends))


def _spoil(history: History, key: Pubkey, kind: str, **fields: object) -> None:
    chain = history.town.chain
    values = codec().decode_account(kind, chain.raw[key]) | fields
    chain.put_raw(key, codec().encode_account(kind, values))


def _job(history: History, *, ended: bool) -> Job:
    return next(job for job in history.town.books.of(Job) if job.state.terminal == ended)


def _node(history: History) -> Node:
    return next(node for node in history.town.books.of(Node) if node.staked)


def _owed_more(history: History) -> Step:
    job = _job(history, ended=True)
    step = _step(history, job.address)
    _spoil(history, job.address, "Job", owed_client=job.owed_client + 1)
    return step


def _richer(history: History) -> Step:
    town = history.town
    step = _step(history, town.stranger)
    town.chain.put_wallet(town.stranger, town.chain.lamports[town.stranger] + 1)
    return step


def _made_tokens(history: History) -> Step:
    town = history.town
    key, token = next((k, t) for k, t in town.books.tokens.items() if t.owner in town.clients)
    step = _step(history, key)
    town.chain.put_token(key, replace(token, amount=token.amount + 1), town.chain.lamports[key])
    return step


def _another_end(history: History) -> Step:
    job = _job(history, ended=True)
    step = _step(history, job.address)
    _spoil(history, job.address, "Job", exit_status=job.exit_status + 1)
    return step


def _revived(history: History) -> Step:
    job = _job(history, ended=True)
    step = _step(history, job.address)
    _spoil(history, job.address, "Job", state=JobState.QUEUED)
    return step


def _wrong_count(history: History) -> Step:
    node = _node(history)
    step = _step(history, node.address)
    _spoil(history, node.address, "Node", active_jobs=node.active_jobs + 1)
    return step


def _emptied_vault(history: History) -> Step:
    town, node = history.town, _node(history)
    vault = town.books.program.stake_address(node.address)
    town.chain.put_token(vault, Token(town.books.tokens[vault].mint, node.address), town.chain.lamports[vault])
    return _step(history, node.address)


def _wrapped_counter(history: History) -> Step:
    node = _node(history)
    history.town.age(node)
    step = _step(history, node.address)
    _spoil(history, node.address, "Node", completed=0)
    return step


def _more_than_paid(history: History) -> Step:
    job = _job(history, ended=True)
    step = _step(history, job.address)
    _spoil(history, job.address, "Job", used=job.timeout + 1)
    return step


def _elsewhere(history: History) -> Step:
    """The account says that it stands at another address, and so do the books."""
    node, step = _node(history), _step(history, _node(history).address)
    _spoil(history, node.address, "Node", authority=node.market)
    history.town.books.records[node.address] = replace(node, authority=node.market)
    return step


def _unlike_the_books(history: History) -> Step:
    job = _job(history, ended=False)
    step = _step(history, job.address)
    _spoil(history, job.address, "Job", deadline=job.deadline + 1)
    return step


def _unknown_error(history: History) -> Step:
    outcome = Outcome(7_000, "TransactionErrorInstructionError((0, Tagged(InstructionErrorCustom(7000))))", [])
    return _step(history, history.town.owner, outcome=outcome)


@pytest.mark.parametrize(
    ("check", "corrupt", "complaint"),
    [
        (invariants.job_money_adds_up, _owed_more, "holds -1"),
        (invariants.nothing_is_made_or_lost, _richer, "lamports of"),
        (invariants.nothing_is_made_or_lost, _made_tokens, "tokens of"),
        (invariants.ends_are_final, _another_end, "an ended job changed"),
        (invariants.ends_are_final, _revived, "an ended job"),
        (invariants.counts_agree, _wrong_count, "active jobs"),
        (invariants.counts_agree, _emptied_vault, "lacks tokens"),
        (invariants.numbers_stay_in_range, _wrapped_counter, "fell"),
        (invariants.numbers_stay_in_range, _more_than_paid, "more seconds"),
        (invariants.accounts_are_sound, _elsewhere, "where its fields say"),
        (invariants.accounts_are_sound, _unlike_the_books, "deadline"),
        (invariants.answers_are_named, _unknown_error, "7000"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_each_check_can_fail(
    lived: History, check: Callable[[Step], None], corrupt: Callable[[History], Step], complaint: str
) -> None:
    chain, books = lived.town.chain, lived.town.books
    kept, records = {key: chain.vm.get_account(key) for key in chain.lamports}, dict(books.records)
    try:
        step = corrupt(lived)
        with pytest.raises(AssertionError, match=complaint):
            check(step)
    finally:
        books.records.clear()
        books.records.update(records)
        for key, account in kept.items():
            assert account is not None
            chain.put(key, account.data, account.owner, account.lamports)
    for each in invariants.INVARIANTS:
        each(_step(lived, step.touched[0]))


def _nobody_may(draft: Draft) -> None:
    raise Forbidden("nobody may")


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_a_rule_that_forbids_what_the_program_allows_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(histories.RULES, name, _nobody_may)
    with pytest.raises(AssertionError, match=f"{name}: the chain says accepted, the rules say nobody may"):
        play(0, 3_000)


def _rounded_up(amount: int, bps: int) -> int:
    return -(-amount * bps // 10_000)


def test_a_base_unit_too_much_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules round shares up where the program rounds down."""
    monkeypatch.setattr(histories.end_rules.money, "share", _rounded_up)
    with pytest.raises(AssertionError, match=r"fee|slashed|bond"):
        play(0, 3_000)


def test_a_failure_is_told_by_seed_and_step_and_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(histories.RULES, "work_job", _nobody_may)
    first = soak.play((4, 3_000))
    assert "the rules say nobody may" in (first.fault or "")
    assert soak.play((first.seed, first.steps)) == first
    assert soak.play((first.seed, first.steps - 1)).fault is None


def test_the_table_counts_what_was_answered() -> None:
    answers = Counter({("stake", "accepted"): 2, ("stake", "WrongMarket"): 3, ("stake", "InvalidAmount"): 1})
    assert soak.table(answers).splitlines()[1].split() == ["stake", "2", "4", "WrongMarket", "3,", "InvalidAmount", "1"]
