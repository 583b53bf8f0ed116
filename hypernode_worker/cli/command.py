"""What every command has: the shared options, and errors turned into one sentence and an exit code."""

from __future__ import annotations

import errno
import functools
import inspect
import os
import sys
import typing
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Concatenate, NoReturn, ParamSpec, TypeVar

import typer

from hypernode_worker import errors
from hypernode_worker.cli import screen

if typing.TYPE_CHECKING:
    from hypernode_worker.config import Flag, Loaded

P = ParamSpec("P")
T = TypeVar("T")

FINE = 0
FAILED = 1
USAGE = 2
UNHEALTHY = 3
INTERRUPTED = 130

_SETTINGS = {
    "rpc_url": "solana_rpc_url",
    "keypair": "keypair_path",
    "market": "market_pubkey",
    "program": "program_id",
    "data_dir": "data_dir",
}
_SHARED: dict[str, tuple[Any, Any]] = {
    "rpc_url": (
        Annotated[str | None, typer.Option("--rpc-url", metavar="URL", help="Solana endpoint (SOLANA_RPC_URL).")],
        None,
    ),
    "keypair": (
        Annotated[str | None, typer.Option("--keypair", metavar="FILE", help="Key file (KEYPAIR_PATH).")],
        None,
    ),
    "market": (
        Annotated[str | None, typer.Option("--market", metavar="ADDRESS", help="Market (MARKET_PUBKEY).")],
        None,
    ),
    "program": (
        Annotated[str | None, typer.Option("--program", metavar="ADDRESS", help="Markets program (PROGRAM_ID).")],
        None,
    ),
    "data_dir": (
        Annotated[str | None, typer.Option("--data-dir", metavar="DIR", help="Folder of the worker (DATA_DIR).")],
        None,
    ),
    "assigned": (
        Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.")],
        [],
    ),
    "env_file": (
        Annotated[Path | None, typer.Option("--env-file", metavar="FILE", help="Instead of ./.env.")],
        None,
    ),
    "debug": (Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")], False),
}
_JSON = (Annotated[bool, typer.Option("--json", help="Print the result as JSON.")], False)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the shared options said.

    Attributes:
        flags: settings given by flags, by the setting's lower-case name.
        json: results go out as JSON.
    """

    flags: Mapping[str, Flag] = field(default_factory=dict[str, "Flag"])
    env_file: Path | None = None
    json: bool = False
    debug: bool = False

    def load(self) -> Loaded:
        """The settings; what looks misspelt in the environment is said once."""
        loaded = self.load_quietly()
        for warning in loaded.warnings:
            screen.say(f"warning: {warning}")
        return loaded

    def load_quietly(self) -> Loaded:
        from hypernode_worker.config import load

        return load(flags=self.flags, env_file=self.env_file)

    def result(self, value: object, text: str) -> None:
        """The command's result: JSON where asked for, else text."""
        if self.json:
            screen.out_json(value)
        else:
            screen.out(text)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs the one call of a command."""
        import asyncio

        try:
            return asyncio.run(work)
        except asyncio.CancelledError:  # by a signal's handler: SIGTERM ends a command as Ctrl-C does
            raise KeyboardInterrupt from None


def command(
    app: typer.Typer, name: str, *, json: bool = True
) -> Callable[[Callable[Concatenate[Invocation, P], None]], Callable[Concatenate[Invocation, P], None]]:
    """Registers a function as a command; its first parameter is the Invocation, the others are its own options."""

    def register(function: Callable[Concatenate[Invocation, P], None]) -> Callable[Concatenate[Invocation, P], None]:
        shared = {**_SHARED, **({"as_json": _JSON} if json else {})}

        @functools.wraps(function)
        def wrapper(**options: Any) -> None:
            given = {key: options.pop(key) for key in shared if key not in taken}
            with_errors(given["debug"], lambda: function(_invocation(given), **options))  # pyright: ignore[reportCallIssue]

        hints = typing.get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        taken = {parameter.name for parameter in own}
        parameters = [parameter.replace(annotation=hints[parameter.name], kind=_KEYWORD) for parameter in own]
        parameters += [
            inspect.Parameter(key, _KEYWORD, default=default, annotation=annotation)
            for key, (annotation, default) in shared.items()
            if key not in taken
        ]
        wrapper.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name)(wrapper)
        return function

    return register


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def group(help_text: str) -> typer.Typer:
    """A noun: a Typer without rich, whose help costs twice the time that it may take."""
    return typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def with_errors(debug: bool, work: Callable[[], None]) -> None:
    """Runs a command's work; every error leaves as one sentence on stderr and an exit code."""
    try:
        work()
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        _leave(INTERRUPTED)
    except BrokenPipeError:
        _give_up_stdout()
        _leave(FAILED)
    except errors.HypernodeError as error:
        if debug:
            raise
        screen.fail(str(error))
        _leave(exit_code(error))
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        if error.errno == errno.ENOSPC and not where:
            _give_up_stdout()
        screen.fail(f"{where}{error.strerror or error}; free space, or correct what this names, and run it again.")
        _leave(FAILED)
    except Exception as error:
        if debug:
            raise
        screen.fail(f"unexpected {type(error).__name__}: {error}; run it again with --debug and report what it shows.")
        _leave(FAILED)


def _give_up_stdout() -> None:
    """The reader of a pipe went away, or a disk is full: the interpreter must not complain again while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(error: errors.HypernodeError) -> int:
    """2 what a person must change, 3 what doesn't answer, 1 what was refused."""
    if isinstance(error, (errors.ConfigError, errors.DefinitionInvalid)):
        return USAGE
    return UNHEALTHY if isinstance(error, errors.TransientError) else FAILED


def usage(sentence: str) -> NoReturn:
    """A wrong argument."""
    raise errors.ConfigError(sentence)


def _leave(code: int) -> NoReturn:
    raise typer.Exit(code)


def _invocation(given: Mapping[str, Any]) -> Invocation:
    from hypernode_worker.config.layers import Flag

    flags = {
        setting: Flag("--" + option.replace("_", "-"), given[option])
        for option, setting in _SETTINGS.items()
        if given.get(option) is not None
    }
    for text in given.get("assigned", ()):
        name, separator, value = text.partition("=")
        from hypernode_worker.config import Settings
        from hypernode_worker.config.layers import unknown

        if not separator:
            usage(f"--set {text[:80]} is not NAME=VALUE; write for example --set CAPACITY=2.")
        if name.lower() not in Settings.model_fields:
            raise unknown(name, Settings.model_fields, "--set")
        flags[name.lower()] = Flag("--set", value)
    return Invocation(flags, given.get("env_file"), given.get("as_json", False), given["debug"])
