"""What this machine lacks is skipped with the reason; what HYPERNODE_TEST_REQUIRE names must be there.

HYPERNODE_TEST_REQUIRE=docker,kubo,validator,... turns a skip for want of one of these into a failure, so that CI
can't grow green by losing a server.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from tests.support import anchorpy_environment
from tests.support.chains import RunningChain, SharedValidator, localnet


def _on_path(program: str, hint: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(program) else f"{program} is not on PATH ({hint})"


def _docker() -> str | None:
    if shutil.which("docker") is None:
        return "there is no docker on PATH (Debian: apt-get install docker.io)"
    try:
        # "docker info" exits 0 without an engine; asking for the server's version doesn't.
        seen = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return "the Docker engine doesn't answer within 20 s"
    if seen.returncode:
        return f"no Docker engine answers ({seen.stderr.strip()[:200]})"
    return None


def _gpu() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return "there is no nvidia-smi on PATH"
    seen = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    return None if seen.returncode == 0 and "GPU" in seen.stdout else "nvidia-smi lists no GPU"


def _sbf() -> str | None:
    if shutil.which("cargo-build-sbf"):
        return None
    if shutil.which("sbpf-linker") or os.path.exists("/opt/sbf/bin/sbpf-linker"):  # noqa: PTH110 -- a probe
        return None
    return "neither cargo build-sbf nor sbpf-linker is installed (see programs/README.md)"


REQUIREMENTS: dict[str, Callable[[], str | None]] = {
    "docker": _docker,
    "bubblewrap": _on_path("bwrap", "Debian: apt-get install bubblewrap"),
    "kubo": _on_path("ipfs", "Kubo, from its release page"),
    "validator": _on_path("solana-test-validator", "from Agave's release page"),
    "node": _on_path("npm", "Debian: apt-get install npm"),
    "anchorpy": anchorpy_environment.why_missing,
    "sbf": _sbf,
    "gpu": _gpu,
}
_missing = {name: functools.cache(probe) for name, probe in REQUIREMENTS.items()}


def required() -> frozenset[str]:
    """The names in HYPERNODE_TEST_REQUIRE.

    Raises:
        pytest.UsageError: a name that no test knows.
    """
    names = frozenset(filter(None, os.environ.get("HYPERNODE_TEST_REQUIRE", "").replace(" ", "").split(",")))
    if unknown := names - REQUIREMENTS.keys():
        raise pytest.UsageError(
            f"HYPERNODE_TEST_REQUIRE names {', '.join(sorted(unknown))}; known are {', '.join(sorted(REQUIREMENTS))}"
        )
    return names


def pytest_configure(config: pytest.Config) -> None:
    required()
    # A shell's background jobs ignore Ctrl-C, and so would the commands whose Ctrl-C is tested.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Side by side runs only what doesn't share a server: one engine, validator or anchorpy for all tests of a kind.

    Set here, since pytest-xdist looks for the groups when collection is modified.
    """
    for server in ("validator", "docker", "anchorpy"):
        if item.get_closest_marker(server):
            item.add_marker(pytest.mark.xdist_group(server))
            break


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    must = required()
    # Those that share the validator come one after the other, so that it can end before the rest begins.
    items.sort(key=lambda item: item.get_closest_marker("validator") is None)
    for item in items:
        for name in REQUIREMENTS:
            if item.get_closest_marker(name) and name not in must and (why := _missing[name]()):
                item.add_marker(pytest.mark.skip(reason=f"{name}: {why}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in required():
        if item.get_closest_marker(name) and (why := _missing[name]()):
            pytest.fail(f"HYPERNODE_TEST_REQUIRE wants {name}: {why}", pytrace=False)


_validator = pytest.StashKey[SharedValidator]()


@pytest.fixture(scope="session")
def shared_validator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SharedValidator:
    """Ended after the last test that is marked to need it."""
    shared = SharedValidator(tmp_path_factory.mktemp("validator"))
    request.config.stash[_validator] = shared
    return shared


@pytest.fixture
def validator_chain(shared_validator: SharedValidator) -> RunningChain:
    """Solana's own validator with the program in its genesis. Other tests use it too."""
    return shared_validator.chain()


@pytest.fixture
async def localnet_chain() -> AsyncIterator[RunningChain]:
    """A localnet in this process."""
    async with localnet() as chain:
        yield chain


@pytest.fixture(params=["localnet", pytest.param("validator", marks=pytest.mark.validator)])
def chain(request: pytest.FixtureRequest) -> RunningChain:
    """The same test on both: what passes on one and fails on the other is a bug."""
    return request.getfixturevalue(f"{request.param}_chain")


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    shared = item.config.stash.get(_validator, None)
    if shared is not None and (nextitem is None or nextitem.get_closest_marker("validator") is None):
        shared.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line what this machine could not show."""
    skipped = [str(getattr(report, "longrepr", "")) for report in terminalreporter.stats.get("skipped", [])]
    for name in REQUIREMENTS:
        if count := sum(f"Skipped: {name}: " in text for text in skipped):
            terminalreporter.write_line(f"not shown here: {count} tests that need {name}: {_missing[name]()}")


def _labelled_containers() -> set[str]:
    if _missing["docker"]():
        return set()
    command = ["docker", "ps", "-aq", "--filter", "label=hypernode.job"]
    return set(subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.split())


_held_before = pytest.StashKey[set[str]]()


def _is_part(config: pytest.Config) -> bool:
    """One of the processes among which pytest-xdist shares the tests out."""
    return hasattr(config, "workerinput")


def pytest_sessionstart(session: pytest.Session) -> None:
    if not _is_part(session.config):
        session.stash[_held_before] = _labelled_containers()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """After the whole run no labelled container is left that wasn't there before."""
    if not _is_part(session.config) and (left := _labelled_containers() - session.stash[_held_before]):
        print(f"\nFAILED: containers left behind by the tests: {' '.join(sorted(left))}", file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
