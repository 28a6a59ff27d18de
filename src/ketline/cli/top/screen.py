"""The full screen of ``ketline top``: drawn a few times a second, restored whatever ends it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from datetime import UTC, datetime
from types import FrameType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ketline.cli.top.asking import Asking, Centre, Told
from ketline.cli.top.view import clock, lines

_FRAME_SECONDS = 0.25
_LATE_SECONDS = 3.0
"""How long after its turn an answer may come before the view says so."""
_QUIT = {"q", "Q", "\x03", "\x04"}


def watch(console: Console, centre: Centre, every: float) -> None:
    """Show the centre until q or Ctrl-C is pressed, or a signal ends the process."""
    asking = Asking(centre, every)
    live = Live(console=console, screen=True, auto_refresh=False)
    try:
        with _signals() as came, _suspending(live), _keys() as keys, live:
            while not came:
                live.update(_frame(asking, console.width, console.height), refresh=True)
                if _pressed(keys, _FRAME_SECONDS) in _QUIT:
                    break
    finally:
        asking.stop()
    if came and came[0] != signal.SIGINT:
        sys.exit(128 + came[0])


def _frame(asking: Asking, width: int, height: int) -> Group:
    told, now = asking.told, datetime.now(UTC)
    shown = lines(told.qpus, now, width=width, height=max(1, height - 1))
    shown += [Text("")] * (height - 1 - len(shown))
    if height > 1:
        shown.append(_footer(told, asking.every + _LATE_SECONDS, width))
    return Group(*shown)


def _footer(told: Told, late_seconds: float, width: int) -> Text:
    age = time.monotonic() - told.at
    if told.trouble or age > late_seconds:
        why = f": {told.trouble}" if told.trouble else ""
        footer = Text(f"q quits · no news for {clock(age)}, asking again{why}", style="bold red")
    else:
        footer = Text("q quits", style="dim")
    footer.truncate(width, overflow="ellipsis")
    return footer


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Standard input, without Enter and without showing what is typed; None if it is no terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield fd
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _pressed(fd: int | None, seconds: float) -> str:
    """The key that is pressed within a while; q when the terminal is gone."""
    if fd is None:
        time.sleep(seconds)
        return ""
    if not select.select([fd], [], [], seconds)[0]:
        return ""
    try:
        return os.read(fd, 1).decode(errors="replace") or "q"
    except OSError:
        return "q"


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that asked the process to end, which it does after the frame, with the terminal restored.

    They are written down and not raised: an exception out of a handler is lost when it comes while something
    is being finalized. A second one is raised, for when the terminal takes no more output.
    """
    came: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            sys.exit(128 + number)

    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in ending}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _suspending(live: Live) -> Iterator[None]:
    """Ctrl-Z gives the shell its screen back, and ``fg`` takes it again."""

    def suspend(_number: int, _frame: FrameType | None) -> None:
        ours = termios.tcgetattr(sys.stdin.fileno()) if sys.stdin.isatty() else None
        live.stop()
        os.kill(os.getpid(), signal.SIGSTOP)
        if ours is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, ours)
        live.start()

    before = signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)
