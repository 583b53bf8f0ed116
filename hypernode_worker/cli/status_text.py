"""What the worker says of itself over its socket, for people. Fields that this version doesn't know are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from hypernode_worker.cli import screen
from hypernode_worker.core.amounts import sol

Json = Mapping[str, object]


def status_text(status: Json) -> str:
    """The whole of `status`."""
    if "uptime_s" not in status:
        return screen.fields(
            {"state": status.get("state"), "wallet": status.get("wallet"), "market": status.get("market")}
        )
    counts = _object(status, "counts")
    values: dict[str, object] = {
        "state": f"{status['state']} for {_duration(_number(status, 'uptime_s'))} (pid {status['pid']})",
        "wallet": f"{status['wallet']}, {sol(int(_number(status, 'balance_lamports')))} SOL",
        "paid to": status["payout"],
        "market": status["market"],
        "node": f"{status['node']}, trust {status['trust']}",
        "runtime": status["runtime"],
        "content": status["store"],
        "jobs": f"{status['active_jobs']} of {status['capacity']} running, {status['candidates']} could be taken"
        + ("" if status["auto_accept"] else " (by hand: 'job take')"),
        "so far": ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in counts.items()),
    }
    if status.get("unpaid_jobs"):
        values["not paid yet"] = f"{status['unpaid_jobs']} jobs: under review, in dispute, or not deliverable"
    if rpc := _object(status, "rpc"):
        values["chain"] = _rpc_text(rpc)
        if left_alone := [_left_alone(endpoint) for endpoint in _objects(rpc, "endpoints") if endpoint.get("trouble")]:
            values["left alone"] = "; ".join(left_alone)
    if abs(skew := _number(status, "clock_skew_s")) >= 5:
        values["clock"] = (
            f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the chain's, which is the one that counts"
        )
    if status.get("disk_quota_bytes") and status.get("disk_used_bytes") is not None:
        values["disk used"] = f"{_gib(status, 'disk_used_bytes')} of {_gib(status, 'disk_quota_bytes')} GiB"
    if status.get("refuses"):
        values["takes none"] = status["refuses"]
    lines = [screen.fields(values)]
    lines += [f"  {_run_text(run)}" for run in _objects(status, "runs")]
    if usage := _object(status, "health"):
        lines += ["", *_health_lines(usage)]
    lines += [f"warning: {warning}" for warning in cast("Sequence[object]", status.get("warnings") or ())]
    return "\n".join(lines)


def candidates_text(listed: Json) -> str:
    """What `job take` without a job shows."""
    rows = [
        (
            offer["job"],
            offer["framework"],
            f"{_number(offer, 'price'):,.0f}",
            offer["timeout_s"],
            f"{_number(offer, 'deposit'):,.0f}",
        )
        for offer in _objects(listed, "candidates")
    ]
    if not rows:
        return "There is no job that this worker could take now."
    return screen.table(("job", "framework", "price a s", "timeout s", "deposit"), rows, right=(2, 3, 4))


def _rpc_text(rpc: Json) -> str:
    how = "told of jobs at once" if rpc.get("subscribed") else "asked for jobs now and then, its subscription is down"
    calls = sum(_number(_object(rpc, "calls"), method) for method in _object(rpc, "calls"))
    trouble = f"; last trouble: {rpc['trouble']}" if rpc.get("trouble") else ""
    return f"{rpc.get('endpoint')} ({how}), slot {_number(rpc, 'last_slot'):,.0f}, {calls:,.0f} calls{trouble}"


def _left_alone(endpoint: Json) -> str:
    """An endpoint that is of no use now, until when, and why."""
    rests = "for good" if endpoint.get("rests_s") is None else f"for {_duration(_number(endpoint, 'rests_s'))}"
    return f"{endpoint.get('endpoint')} {rests}: {endpoint['trouble']}"


def _run_text(run: Json) -> str:
    elapsed = f", {_duration(_number(run, 'elapsed_s'))} of {run.get('timeout_s')} s" if run.get("elapsed_s") else ""
    return f"{run['job']}  {run['state']}: {run['progress']}{elapsed}"


def _health_lines(usage: Json) -> list[str]:
    def share(used: str, whole: str) -> str:
        total = _number(usage, whole)
        return f"{_number(usage, used) / total:.0%} of {total / (1 << 30):.0f} GiB" if total else "unknown"

    values = {
        "CPU": f"{_number(usage, 'cpu'):.0%}",
        "memory": share("memory_used_bytes", "memory_bytes"),
        "disk free": share("disk_free_bytes", "disk_bytes"),
    }
    for index, gpu in enumerate(_objects(usage, "gpus")):
        heat = gpu.get("temperature_c")
        used = _number(gpu, "memory_used_bytes") / max(_number(gpu, "memory_bytes"), 1)
        values[f"GPU {index}"] = f"{_number(gpu, 'utilization'):.0%}, VRAM {used:.0%}{f', {heat} C' if heat else ''}"
    return screen.fields(values).splitlines()


def _gib(value: Json, name: str) -> str:
    return f"{_number(value, name) / (1 << 30):.1f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _number(value: Json, name: str) -> float:
    found = value.get(name)
    return found if isinstance(found, int | float) else 0.0


def _object(value: Json, name: str) -> Json:
    found = value.get(name)
    return cast("Json", found) if isinstance(found, dict) else {}


def _objects(value: Json, name: str) -> list[Json]:
    found = value.get(name)
    return (
        [cast("Json", item) for item in cast("list[object]", found) if isinstance(item, dict)]
        if isinstance(found, list)
        else []
    )
