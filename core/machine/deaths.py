"""Explains why a child process died: the signal, the step, memory, the likely cause, and what to do."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from core.machine.memory import Memory, read_memory, size
from core.machine.tethered import ENDED
from core.paths import SHIPPED

LLAMA_PROBE = (sys.executable, str(SHIPPED / "deployments" / "jobs" / "built" / "llama_library.py"), "probe")
"""Command that decodes a tiny quantised model with the installed llama.cpp; exit code 0 if that succeeds."""
PORTABLE = "UNDERSTUDY_LLAMA=portable make setup"
PROBE_SECONDS = 120
MAX_PROBE_OUTPUT = 300
"""Maximum characters of a probe's output that are quoted."""

BUILD = "The program was probably built for another CPU: install a portable build of it."
SMALLER = "use a smaller model, context or batch, or give it more memory"

SIGNALS = {
    "SIGILL": ("it used an instruction that this CPU does not have", BUILD),
    "SIGSEGV": ("it accessed memory that does not belong to it", "A fault of the program, or a build for another CPU, is the likely cause."),
    "SIGBUS": ("it accessed memory or a mapped file that does not exist", "Check that the disk is not full and that no file was changed while it was read."),
    "SIGFPE": ("it made an arithmetic error, such as a division by zero", "A damaged model file or a fault of the program is the likely cause."),
    "SIGABRT": ("it stopped itself after an error", f"Its last lines say why. If memory was short, {SMALLER}."),
    "SIGTRAP": ("it stopped itself after an error", "Its last lines say why."),
    "SIGSYS": ("it made a system call that is forbidden here", "Run it outside of the sandbox."),
    "SIGKILL": (
        "it was killed by the system or by another program",
        f"The likely cause is the system's out-of-memory killer or `kill -9`. If memory was short, {SMALLER}.",
    ),
    "SIGTERM": ("another program asked it to end", "Run the same command again."),
    "SIGXCPU": ("it reached a limit of CPU time", "Raise the limit (ulimit -t) and run the same command again."),
    "SIGXFSZ": ("it reached a limit of file size", "Raise the limit (ulimit -f) and run the same command again."),
}
"""By signal, its meaning, and advice for the case that nothing more is known."""
CRASHES = ("SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT", "SIGTRAP", "SIGSYS")
"""Signals that a program's own fault causes."""
NUMBERS = {4: "SIGILL", 6: "SIGABRT", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM", 24: "SIGXCPU"}
"""Names of the signals that a shell reports as the exit code 128 plus the number; these numbers are the same on Linux and macOS."""
NUMBERS |= {10: "SIGBUS"} if sys.platform == "darwin" else {7: "SIGBUS"}


def signal_name(code: int) -> str:
    """Return the signal of an exit code, which is -n in Python and 128+n in shells; empty if no signal ended the program."""
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return NUMBERS.get(code - 128, "")


def ended(code: int) -> str:
    """Return how a program ended, as a predicate that follows its name: `died of SIGSEGV (…)` or `ended with exit code 2`."""
    name = signal_name(code)
    if not name:
        return f"ended with exit code {code}"
    return f"died of {name} ({SIGNALS[name][0]})" if name in SIGNALS else f"died of {name}"


def explain(who: str, code: int, doing: str = "", peak: int | None = None, before: Memory | None = None, verdict: str = "") -> str:
    """Return sentences about a program that a signal ended: the signal, the step, memory, and what to do.

    Args:
        who: the program, as the subject of the first sentence.
        code: its exit code, for which `signal_name` returns a name.
        doing: the step, such as `while converting` or `at step 3 of 40`.
        peak: maximum memory that it used, in bytes; None if unknown.
        before: memory of this machine when the program was started; None if it ran on another machine.
        verdict: result of `probe`, which replaces the advice for the signal; empty if there is none.
    """
    name = signal_name(code)
    parts = [f"{who} {ended(code)}{f' {doing}' if doing else ''}."]
    advice = verdict or SIGNALS.get(name, ("", "Run the same command again."))[1]
    if name in ("SIGKILL", "SIGABRT", "SIGBUS") and (before or peak is not None):
        now = read_memory() if before else None
        parts.append(_memory(peak, now))
        if name == "SIGKILL" and before and now:
            advice = _killer(before, now) or advice
    return " ".join(part for part in (*parts, advice) if part)


def probe(command: Sequence[str]) -> str:
    """Run a command that tests the installed llama.cpp, and return the conclusion as sentences.

    Args:
        command: program and arguments, such as `LLAMA_PROBE`.
    """
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"A test of llama.cpp with a tiny model did not end within {PROBE_SECONDS} s. Run `{PORTABLE}` for a build that fits any CPU."
    except OSError as error:
        return f"The test of llama.cpp with a tiny model could not be started: {error.strerror}."
    if result.returncode == 0:
        return (
            "The installed llama.cpp decodes a tiny model on this CPU, so the likely cause is the model, too little memory, or another build of llama.cpp. "
            "Convert the model again, or use a smaller one."
        )
    if signal_name(result.returncode):
        return (
            f"A test of llama.cpp with a tiny model {ended(result.returncode)} too: the installed build does not fit this CPU. "
            f"Run `{PORTABLE}` for one that fits any."
        )
    output = " ".join((result.stderr.strip() or result.stdout.strip()).split()).rstrip(".")[-MAX_PROBE_OUTPUT:]
    return (
        f"A test of llama.cpp with a tiny model {ended(result.returncode)} ({output or 'without any output'}). Run `{PORTABLE}` for a build that fits any CPU."
    )


def step(event: dict[str, Any]) -> str:
    """Return the step of a job from one of its progress events: `while converting`, `at step 3 of 40`."""
    done, of = event.get("step"), event.get("of")
    if isinstance(done, int):
        return f"at step {done} of {of}" if of else f"at step {done}"
    return f"while {done}" if done else ""


def peak_of(line: str) -> int | None:
    """Return the maximum memory that a program used, in bytes, from the line that `core.machine.tethered` writes at its end; None for any other line."""
    if not line.startswith(ENDED):
        return None
    try:
        return int(json.loads(line)["peak_bytes"])
    except (ValueError, KeyError):
        return None


def _memory(peak: int | None, now: Memory | None) -> str:
    used = f"It used up to {size(peak)} of memory" if peak is not None else ""
    free = str(now) if now else ""
    text = "; ".join(part for part in (used, free) if part)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _killer(before: Memory, now: Memory) -> str:
    """Return what the kernel's count of out-of-memory kills implies about a SIGKILL; empty if the kernel has no count."""
    if before.kills is None or now.kills is None:
        return ""
    if now.kills > before.kills:
        return f"The kernel's out-of-memory killer ended a process in this time, so a lack of memory is the cause: {SMALLER}."
    return (
        "The kernel counted no out-of-memory kill in this time, so `kill -9`, a memory watchdog, a limit or the stop of its container ended it. "
        "Run the same command again."
    )
