"""Decisions about a run: each state answered, and no sequence of observations that claims twice or strands money."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Reason
from hypernode_worker.core.lifecycle import (
    GIVE_UP_S,
    Action,
    Begin,
    Claim,
    Close,
    Execute,
    Finish,
    Interrupt,
    Observation,
    Progress,
    Release,
    SendSignOfLife,
    SetUp,
    StopRequest,
    StopWaiting,
    Store,
    Wait,
    decide,
    finish_by,
    is_older,
)
from hypernode_worker.core.outcome import Effect, RunOutcome
from hypernode_worker.core.types import Slot, UnixTime
from tests.support.accounts import make_job, make_market

MARKET = make_market()
NODE = Pubkey.new_unique()
RUN = Slot(100)
START = 1_000


def held(state: JobState, **changes: object) -> Job:
    job = make_job(MARKET, state=state, node=NODE, queued_slot=RUN, deadline=UnixTime(START + 600))
    return replace(job, started_at=UnixTime(START), timeout=60, **changes)  # pyright: ignore[reportArgumentType]


def see(job: Job | None, **changes: object) -> Observation:
    plain = Observation(job, NODE, RUN, claimed=True, now=START + 1, time_limit=60)
    return replace(plain, **changes)  # pyright: ignore[reportArgumentType]


QUEUED = make_job(MARKET, queued_slot=RUN)
OK = RunOutcome.COMPLETED

TABLE: list[tuple[Observation, Action]] = [
    (see(QUEUED, claimed=False), Claim(begin=False)),
    (see(QUEUED, claimed=False, progress=Progress.READY), Claim(begin=True)),
    (see(QUEUED, claimed=False, stop=StopRequest.DRAIN), Close(RunOutcome.NOT_CLAIMED)),
    (see(QUEUED, claimed=False, run=Slot(99)), Close(RunOutcome.NOT_CLAIMED)),
    (see(QUEUED), Close(RunOutcome.LOST)),
    (see(QUEUED, outcome=RunOutcome.NODE_FAULT), Close(RunOutcome.NODE_FAULT)),
    (see(None), Close(RunOutcome.LOST)),
    (see(None, claimed=False), Close(RunOutcome.NOT_CLAIMED)),
    (see(held(JobState.CLAIMED)), SetUp()),
    (see(held(JobState.CLAIMED), progress=Progress.SETTING_UP), Wait(START + 585)),
    (see(held(JobState.CLAIMED), progress=Progress.READY), Begin()),
    (see(held(JobState.CLAIMED), progress=Progress.READY, stop=StopRequest.DRAIN), Begin()),
    (see(held(JobState.CLAIMED), stop=StopRequest.NOW), Interrupt(RunOutcome.NODE_SHUTDOWN)),
    (see(held(JobState.CLAIMED), now=START + 590), Interrupt(RunOutcome.SETUP_TIMED_OUT)),
    (see(held(JobState.CLAIMED), outcome=RunOutcome.IMAGE_UNAVAILABLE), Begin()),
    (see(held(JobState.CLAIMED), outcome=RunOutcome.FILES_UNAVAILABLE), Release(Reason.DEFINITION_UNAVAILABLE)),
    (see(held(JobState.CLAIMED), node=Pubkey.new_unique()), Close(RunOutcome.LOST)),
    (see(held(JobState.RUNNING), progress=Progress.READY), Execute()),
    (see(held(JobState.RUNNING), progress=Progress.EXECUTING), Wait(START + 60)),
    (see(held(JobState.RUNNING), progress=Progress.EXECUTING, heartbeat_at=START + 9), Wait(START + 9)),
    (see(held(JobState.RUNNING), progress=Progress.EXECUTING, heartbeat_at=START + 1), SendSignOfLife()),
    (see(held(JobState.RUNNING), progress=Progress.EXECUTING, now=START + 60), Interrupt(RunOutcome.TIMED_OUT)),
    (see(held(JobState.RUNNING), progress=Progress.EXECUTING, time_limit=1), Interrupt(RunOutcome.TIMED_OUT)),
    (see(held(JobState.RUNNING, stopped_at=START), progress=Progress.EXECUTING), Interrupt(RunOutcome.STOPPED)),
    (
        see(held(JobState.RUNNING), progress=Progress.EXECUTING, stop=StopRequest.NOW),
        Interrupt(RunOutcome.NODE_SHUTDOWN),
    ),
    (see(held(JobState.RUNNING), progress=Progress.ENDED, outcome=OK), Store()),
    (see(held(JobState.RUNNING), progress=Progress.ENDED, outcome=OK, stop=StopRequest.NOW), Store()),
    (see(held(JobState.RUNNING), progress=Progress.STORING, outcome=OK), Wait(START + 150)),
    (
        see(held(JobState.RUNNING), progress=Progress.STORING, outcome=OK, now=START + 150),
        Interrupt(RunOutcome.RESULT_UNAVAILABLE),
    ),
    (
        see(held(JobState.RUNNING), progress=Progress.STORING, outcome=OK, now=START + 180),
        Wait(START + 180 + GIVE_UP_S),
    ),
    (see(held(JobState.RUNNING), progress=Progress.STORING, outcome=OK, postable=True), Wait(START + 150)),
    (see(held(JobState.RUNNING), progress=Progress.STORING, outcome=OK, postable=True, now=START + 150), StopWaiting()),
    (
        see(held(JobState.RUNNING, stopped_at=START), progress=Progress.STORING, outcome=OK, postable=True),
        Wait(START + 90),
    ),
    (see(held(JobState.RUNNING), progress=Progress.STORED, outcome=OK), Finish()),
    (see(held(JobState.RUNNING), progress=Progress.STORED, outcome=OK, now=START + 500), Finish()),
    (
        see(held(JobState.RUNNING), progress=Progress.STORED, outcome=OK, now=START + 180 + GIVE_UP_S),
        Close(RunOutcome.LOST),
    ),
    (see(held(JobState.RUNNING), progress=Progress.ENDED, outcome=RunOutcome.NODE_FAULT), Release(Reason.NODE_FAULT)),
    (see(held(JobState.SETTLED), progress=Progress.STORED, outcome=OK), Close(OK)),
    (see(held(JobState.SUBMITTED), progress=Progress.STORED, outcome=OK), Close(OK)),
    (see(held(JobState.CANCELLED), progress=Progress.SETTING_UP), Close(RunOutcome.CANCELLED)),
    (see(held(JobState.EXPIRED), progress=Progress.EXECUTING), Close(RunOutcome.LOST)),
]


@pytest.mark.parametrize(("seen", "action"), TABLE)
def test_each_observation_has_its_action(seen: Observation, action: Action) -> None:
    assert decide(seen) == action


def test_a_stop_by_the_client_shortens_the_time_to_finish() -> None:
    assert finish_by(held(JobState.RUNNING)) == START + 60 + 120
    assert finish_by(held(JobState.RUNNING, stopped_at=START + 5)) == START + 125


def test_what_lags_behind_is_known_as_such() -> None:
    running = held(JobState.RUNNING)
    assert is_older(QUEUED, running)
    assert is_older(held(JobState.CLAIMED), running)
    assert not is_older(held(JobState.RUNNING, stopped_at=START), running)
    assert not is_older(replace(QUEUED, queued_slot=Slot(101)), running)
    assert not is_older(held(JobState.SETTLED), running)
    assert is_older(running, replace(QUEUED, queued_slot=Slot(101)))


@pytest.mark.parametrize("outcome", list(RunOutcome))
def test_each_outcome_has_one_effect(outcome: RunOutcome) -> None:
    assert (outcome.release_reason is not Reason.NONE) == (outcome.effect is Effect.RELEASE)
    if outcome is RunOutcome.COMPLETED:
        assert outcome.fixed_exit_status == 0
    elif outcome.effect is Effect.FINISH and outcome is not RunOutcome.FAILED:
        assert outcome.fixed_exit_status
    else:
        assert outcome.fixed_exit_status is None


@given(
    state=st.sampled_from([None, *JobState]),
    ours=st.booleans(),
    claimed=st.booleans(),
    progress=st.sampled_from(Progress),
    outcome=st.sampled_from([None, *RunOutcome]),
    stop=st.sampled_from(StopRequest),
    now=st.integers(0, 10_000),
    stopped=st.booleans(),
    heartbeat=st.none() | st.integers(0, 10_000),
    postable=st.booleans(),
)
def test_decide_is_total_and_keeps_its_rules(
    state: JobState | None,
    ours: bool,
    claimed: bool,
    progress: Progress,
    outcome: RunOutcome | None,
    stop: StopRequest,
    now: int,
    stopped: bool,
    heartbeat: int | None,
    postable: bool,
) -> None:
    job = None if state is None else held(state, stopped_at=START + 5 if stopped else 0)
    if job is not None and not ours:
        job = replace(job, node=Pubkey.new_unique())
    seen = see(job, claimed=claimed, progress=progress, outcome=outcome, stop=stop, now=now, heartbeat_at=heartbeat)
    action = decide(replace(seen, postable=postable))
    if isinstance(action, StopWaiting):
        assert postable
        assert progress is Progress.STORING
    if isinstance(action, Claim):
        assert not claimed
        assert state is JobState.QUEUED
    if isinstance(action, Finish):
        assert progress is Progress.STORED
        assert outcome is not None
        assert outcome.effect is Effect.FINISH
    if isinstance(action, Begin | Release | Store | StopWaiting | Execute | SendSignOfLife | Finish):
        assert ours
        assert state in (JobState.CLAIMED, JobState.RUNNING)
    if isinstance(action, Close) and state in (JobState.CLAIMED, JobState.RUNNING) and ours:
        assert now > START + GIVE_UP_S / 2


@dataclass
class Simulated:
    """A run against a chain that only this node and its client touch, and whose steps may fail or be slow."""

    job: Job
    now: float = START
    claimed: bool = False
    progress: Progress = Progress.NEW
    outcome: RunOutcome | None = None
    stop: StopRequest = StopRequest.NONE
    claims: int = 0
    finishes: int = 0
    releases: int = 0
    kept: bool = False

    def observe(self) -> Observation:
        return Observation(
            self.job, NODE, RUN, self.claimed, self.now, 60, self.progress, self.outcome, None, self.stop, self.kept
        )

    def act(self, action: Action, luck: int) -> None:  # noqa: C901 -- one case for each action
        match action:
            case Claim(begin):
                self.claims += 1
                self.claimed = True
                state = JobState.RUNNING if begin else JobState.CLAIMED
                self.job = replace(self.job, state=state, node=NODE, deadline=UnixTime(int(self.now) + 600))
                self.job = replace(self.job, started_at=UnixTime(int(self.now)))
            case SetUp():
                self.progress = Progress.SETTING_UP
            case Begin():
                self.job = replace(self.job, state=JobState.RUNNING, started_at=UnixTime(int(self.now)))
            case Execute():
                self.progress = Progress.EXECUTING
            case Interrupt(outcome):
                self.outcome, self.progress = outcome, Progress.ENDED
            case Store():
                self.progress = Progress.STORING
            case StopWaiting():
                assert self.kept
                self.progress = Progress.STORED
            case Finish():
                self.finishes += 1
                assert self.progress is Progress.STORED
                if luck % 3:  # else the transaction failed
                    self.job = replace(self.job, state=JobState.SETTLED)
            case Release():
                self.releases += 1
                if luck % 3:
                    self.job = replace(self.job, state=JobState.QUEUED, queued_slot=Slot(RUN + 1))
            case SendSignOfLife() | Close():
                pass
            case Wait(until):
                self.now = max(self.now, until or self.now)

    def happen(self, luck: int) -> None:
        """What goes on by itself: work ends well or badly, time passes, people stop things."""
        self.now += luck % 7
        match self.progress, luck % 5:
            case Progress.SETTING_UP, 0:
                self.progress = Progress.READY
            case Progress.SETTING_UP, 1:
                self.outcome, self.progress = RunOutcome.IMAGE_UNAVAILABLE, Progress.ENDED
            case Progress.SETTING_UP, 2:
                self.outcome, self.progress = RunOutcome.FILES_UNAVAILABLE, Progress.ENDED
            case Progress.EXECUTING, 0:
                self.outcome, self.progress = RunOutcome.COMPLETED, Progress.ENDED
            case Progress.EXECUTING, 1:
                self.outcome, self.progress = RunOutcome.NODE_FAULT, Progress.ENDED
            case Progress.STORING, 0 | 1:
                self.progress = Progress.STORED
            case Progress.STORING, 2:
                self.kept = True
            case _:
                pass
        if luck == 31:
            self.stop = StopRequest.NOW
        if luck == 32 and self.job.state is JobState.CLAIMED:
            self.job = replace(self.job, state=JobState.CANCELLED)
        if luck == 33 and self.job.state is JobState.RUNNING:
            self.job = replace(self.job, stopped_at=UnixTime(int(self.now)))


@settings(max_examples=300)
@given(st.lists(st.integers(0, 35), min_size=5, max_size=60))
def test_every_run_ends_and_no_money_is_stuck(lucks: list[int]) -> None:
    run = Simulated(replace(QUEUED, timeout=60, deadline=UnixTime(START + 3600)))
    lucks = lucks + [n % 31 for n in range(600)]  # in the end things happen in every way
    for luck in lucks:
        action = decide(run.observe())
        if isinstance(action, Close):
            break
        run.act(action, luck)
        run.happen(luck)
    else:
        pytest.fail(f"it never ended: {run}")
    assert run.claims <= 1
    assert isinstance(action, Close)
    terminal_or_free = run.job.state in (JobState.SETTLED, JobState.QUEUED, JobState.CANCELLED)
    assert terminal_or_free or run.now >= START + GIVE_UP_S
    if run.job.state is JobState.SETTLED:
        assert action.outcome.effect is Effect.FINISH
    if run.claimed and run.job.state is JobState.QUEUED:
        assert action.outcome.effect is Effect.RELEASE
