"""What must hold between the program's accounts after every transaction, whatever has happened."""

from __future__ import annotations

from solders.litesvm import LiteSVM

from hypernode_worker.core.accounts import Job, JobState, Market, Node
from hypernode_worker.solana.program import MarketsProgram

_ACTIVE = (JobState.CLAIMED, JobState.RUNNING)
_OPEN = (*_ACTIVE, JobState.SUBMITTED, JobState.DISPUTED)


def check_invariants(vm: LiteSVM, program: MarketsProgram) -> None:
    """Checks every job's money and every node's counts."""
    nodes: list[Node] = []
    jobs: list[Job] = []
    for address, account in vm.get_program_accounts(program.id):
        if account.lamports == 0:
            continue
        match program.decode_account(address, account.data, account.owner):
            case Job() as job:
                jobs.append(job)
            case Node() as node:
                nodes.append(node)
            case Market():
                pass
    for job in jobs:
        _check_money(vm, job)
    for node in nodes:
        _check_counts(vm, program, node, [job for job in jobs if job.node == node.address])


def _check_money(vm: LiteSVM, job: Job) -> None:
    settled = job.paid + job.fee + job.refunded + job.owed
    held = job.deposit + job.bond - settled
    assert held >= 0
    if job.state.terminal:
        assert held == 0, f"a job in state {job.state.name} still holds {held}"
    else:
        assert settled == 0, f"a job in state {job.state.name} has paid already"
        assert job.deposit == job.price * job.timeout
    if job.is_native:
        account = vm.get_account(job.address)
        assert account is not None
        assert account.lamports >= vm.minimum_balance_for_rent_exemption(768) + held + job.owed
    else:
        escrow = vm.get_account(job.escrow)
        assert escrow is not None
        assert int.from_bytes(escrow.data[64:72], "little") >= held + job.owed


def _check_counts(vm: LiteSVM, program: MarketsProgram, node: Node, jobs: list[Job]) -> None:
    assert node.active_jobs == sum(job.state in _ACTIVE for job in jobs)
    assert node.open_jobs == sum(job.state in _OPEN for job in jobs)
    assert node.locked == sum(job.lock for job in jobs if job.state in _OPEN)
    assert node.locked + node.unstaking <= node.staked
    assert 0 <= node.credit <= 200
    vault = vm.get_account(program.stake_address(node.address))
    staked = int.from_bytes(vault.data[64:72], "little") if vault and len(vault.data) else 0
    assert staked >= node.staked + node.slashed
