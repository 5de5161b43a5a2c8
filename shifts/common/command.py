"""How every command reads its line and how it ends."""

import argparse
import functools
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from shifts.common.errors import BadInput, WorkFailed

Main = Callable[[Sequence[str] | None], int | None]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are BadInput (one line), whose help ends with examples, with `--debug`."""

    def __init__(self, prog: str, description: str, examples: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog="examples:\n" + examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--debug", action="store_true", help="on failure show the whole traceback")

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (--help shows what there is)")


class _Listing(argparse.Action):
    """Print what exists by name and end, as `--help` does."""

    def __init__(self, *, listing: Callable[[], str], **rest: Any) -> None:
        super().__init__(nargs=0, **rest)
        self.listing = listing

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(self.listing())
        parser.exit()


def add_list_argument(parser: argparse._ActionsContainer, listing: Callable[[], str], what: str) -> None:
    """Add `--list`, which prints `listing()`; `what` says in the help text what is listed."""
    parser.add_argument("--list", action=_Listing, listing=listing, help=what)


def command(main: Main) -> Main:
    """Decorate a command's `main(arguments)`: it returns an exit status and never raises what a user can cause.

    BadInput -> 2, WorkFailed or an operating system error (full disk, no permission) -> 1, Ctrl-C -> 130, each
    with one line on stderr; `--debug` adds the traceback. Any other exception is a bug and passes through.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="backslashreplace")  # names that its encoding lacks are no failure
        try:
            status = main(arguments) or 0
            # Written out here, so that a reader that went away is met inside this function.
            sys.stdout.flush()
            return status
        except BadInput as error:
            return _fail(str(error), 2, arguments)
        except WorkFailed as error:
            return _fail(str(error), 1, arguments)
        except KeyboardInterrupt:
            return _fail("interrupted; finished results are kept", 130, arguments)
        except BrokenPipeError:
            # The reader of stdout went away (`| head`): nothing to say, and nothing to flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except OSError as error:
            return _fail(str(error), 1, arguments)

    return run


def whole(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` on."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= {least}")
        return int(text)

    return parse


def _fail(message: str, status: int, arguments: Sequence[str] | None) -> int:
    if "--debug" in (sys.argv[1:] if arguments is None else arguments):
        traceback.print_exc()
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return status
