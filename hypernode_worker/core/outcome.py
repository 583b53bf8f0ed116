"""How a run can end: a closed set, each member mapped to exactly one effect on chain.

| outcome | whose doing | effect | exit status |
|---|---|---|---|
| completed | all operations exited with 0 | finish_job | 0 |
| failed | client: an operation exited with another code | finish_job | that code |
| command_missing | client: the container couldn't start its command | finish_job | 127 |
| image_unavailable | client: no such image, or it may not be pulled | begin_job, finish_job: 1 s billed | 125 |
| files_invalid | client: `files` isn't a directory, or it is too large | begin_job, finish_job: 1 s billed | 126 |
| out_of_memory | client: more memory than the node gives a job | finish_job | 137 |
| timed_out | client: still running when its time was over | finish_job | 124 |
| log_limit | client: wrote more log than is kept | finish_job | 153 |
| workspace_full | client: wrote more files than there is room for | finish_job | 154 |
| result_too_large | client: more in $OUTPUT_DIR than a result may hold; only logs are kept | finish_job | 155 |
| stopped | client: stop_job; what there is so far is the result | finish_job | 143 |
| node_shutdown | node: told to stop now | release_job(node_shutdown) | |
| node_fault | node: its container engine or disk failed | release_job(node_fault) | |
| files_unavailable | node: it couldn't fetch `files` in time | release_job(definition_unavailable) | |
| setup_timed_out | node: image and files didn't arrive within setup_timeout | release_job(image_unavailable) | |
| requirements_not_met | node: after the claim it saw that it can't run this job | release_job(requirements_not_met) | |
| result_unavailable | node: it couldn't store the result | release_job(result_unavailable) | |
| cancelled | client: cancel_job before the start | none: refunded by the chain | |
| lost | node: too late, the chain gave the job to others or ended it | none: it is reported | |
| not_claimed | another node was first, or the node was told to stop | none | |

A client's mistake is paid for like any run (the program pays failed programs), and the manifest says so in one
sentence; the node's trouble gives the job back, so that another node can run it. A definition that is invalid or
can't be fetched is seen before the claim: no node claims it, it expires, and the client gets the whole deposit back.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import assert_never

from hypernode_worker.core.accounts import Reason


class Effect(Enum):
    """What an outcome does on chain."""

    FINISH = "finish_job"
    RELEASE = "release_job"
    NONE = "nothing"


class RunOutcome(StrEnum):
    """How a run ended; see the table above."""

    COMPLETED = "completed"
    FAILED = "failed"
    COMMAND_MISSING = "command_missing"
    IMAGE_UNAVAILABLE = "image_unavailable"
    FILES_INVALID = "files_invalid"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    LOG_LIMIT = "log_limit"
    WORKSPACE_FULL = "workspace_full"
    RESULT_TOO_LARGE = "result_too_large"
    STOPPED = "stopped"
    NODE_SHUTDOWN = "node_shutdown"
    NODE_FAULT = "node_fault"
    FILES_UNAVAILABLE = "files_unavailable"
    SETUP_TIMED_OUT = "setup_timed_out"
    REQUIREMENTS_NOT_MET = "requirements_not_met"
    RESULT_UNAVAILABLE = "result_unavailable"
    CANCELLED = "cancelled"
    LOST = "lost"
    NOT_CLAIMED = "not_claimed"

    @property
    def effect(self) -> Effect:
        match self.release_reason, self:
            case Reason.NONE, RunOutcome.CANCELLED | RunOutcome.LOST | RunOutcome.NOT_CLAIMED:
                return Effect.NONE
            case Reason.NONE, _:
                return Effect.FINISH
            case _:
                return Effect.RELEASE

    @property
    def release_reason(self) -> Reason:
        """What release_job is given; NONE for outcomes that don't release."""
        match self:
            case RunOutcome.NODE_SHUTDOWN:
                return Reason.NODE_SHUTDOWN
            case RunOutcome.NODE_FAULT:
                return Reason.NODE_FAULT
            case RunOutcome.FILES_UNAVAILABLE:
                return Reason.DEFINITION_UNAVAILABLE
            case RunOutcome.SETUP_TIMED_OUT:
                return Reason.IMAGE_UNAVAILABLE
            case RunOutcome.REQUIREMENTS_NOT_MET:
                return Reason.REQUIREMENTS_NOT_MET
            case RunOutcome.RESULT_UNAVAILABLE:
                return Reason.RESULT_UNAVAILABLE
            case (
                RunOutcome.COMPLETED
                | RunOutcome.FAILED
                | RunOutcome.COMMAND_MISSING
                | RunOutcome.IMAGE_UNAVAILABLE
                | RunOutcome.FILES_INVALID
                | RunOutcome.OUT_OF_MEMORY
                | RunOutcome.TIMED_OUT
                | RunOutcome.LOG_LIMIT
                | RunOutcome.WORKSPACE_FULL
                | RunOutcome.RESULT_TOO_LARGE
                | RunOutcome.STOPPED
                | RunOutcome.CANCELLED
                | RunOutcome.LOST
                | RunOutcome.NOT_CLAIMED
            ):
                return Reason.NONE
            case _:
                assert_never(self)

    @property
    def fixed_exit_status(self) -> int | None:
        """exit_status of finish_job where the outcome fixes it; None: the exit code of the last operation."""
        return _EXIT_STATUS.get(self)


_EXIT_STATUS = {
    RunOutcome.COMPLETED: 0,
    RunOutcome.COMMAND_MISSING: 127,
    RunOutcome.IMAGE_UNAVAILABLE: 125,
    RunOutcome.FILES_INVALID: 126,
    RunOutcome.OUT_OF_MEMORY: 137,
    RunOutcome.TIMED_OUT: 124,
    RunOutcome.LOG_LIMIT: 153,
    RunOutcome.WORKSPACE_FULL: 154,
    RunOutcome.RESULT_TOO_LARGE: 155,
    RunOutcome.STOPPED: 143,
}
