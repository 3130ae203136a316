"""What a child process died of: the signal's name, the step, memory, the likely cause, and what to do."""

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
"""Decodes a tiny quantised model with the llama.cpp that is installed; exit code 0 if that goes well."""
PORTABLE = "UNDERSTUDY_LLAMA=portable make setup"
PROBE_SECONDS = 120
PROBE_WORDS = 300
"""Characters of what a probe says."""

BUILD = "The program was probably built for another CPU: install a portable build of it."
SMALLER = "use a smaller model, context or batch, or give it more memory"

SIGNALS = {
    "SIGILL": ("it used an instruction that this CPU does not have", BUILD),
    "SIGSEGV": ("it accessed memory that is not its own", "A fault of the program, or a build for another CPU, is the likely cause."),
    "SIGBUS": ("it accessed memory or a mapped file that is not there", "Check that the disk is not full and that no file was changed while it was read."),
    "SIGFPE": ("it divided by zero or the like", "A damaged model file or a fault of the program is the likely cause."),
    "SIGABRT": ("it stopped itself after an error", f"Its last lines say why. If memory was short, {SMALLER}."),
    "SIGTRAP": ("it stopped itself after an error", "Its last lines say why."),
    "SIGSYS": ("it made a system call that is forbidden here", "Run it outside of the sandbox."),
    "SIGKILL": ("it was ended from outside", f"The likely cause is the system's out-of-memory killer or `kill -9`. If memory was short, {SMALLER}."),
    "SIGTERM": ("another program asked it to end", "Run the same command again."),
    "SIGXCPU": ("it reached a limit of CPU time", "Raise the limit (ulimit -t) and run the same command again."),
    "SIGXFSZ": ("it reached a limit of file size", "Raise the limit (ulimit -f) and run the same command again."),
}
"""What each signal means, and what to do where nothing more is known."""
CRASHES = ("SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT", "SIGTRAP", "SIGSYS")
"""Signals by which a program ends itself."""
NUMBERS = {4: "SIGILL", 6: "SIGABRT", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM", 24: "SIGXCPU"}
"""Signals that a shell's exit code stands for, 128 and the number; they are the same ones on Linux and macOS."""
NUMBERS |= {10: "SIGBUS"} if sys.platform == "darwin" else {7: "SIGBUS"}


def signal_name(code: int) -> str:
    """Return the signal that an exit code stands for: -n (Python) or 128+n (shells); nothing for a program that ended by itself."""
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return NUMBERS.get(code - 128, "")


def ended(code: int) -> str:
    """Return how a program ended, as the words after its name: `died of SIGSEGV (…)` or `ended with exit code 2`."""
    name = signal_name(code)
    if not name:
        return f"ended with exit code {code}"
    return f"died of {name} ({SIGNALS[name][0]})" if name in SIGNALS else f"died of {name}"


def explain(who: str, code: int, doing: str = "", peak: int | None = None, before: Memory | None = None, verdict: str = "") -> str:
    """Return sentences about a program that died of a signal: which one, while doing what, memory, and what to do.

    Args:
        who: the program, as the first words.
        code: its exit code, one for which `signal_name` has a name.
        doing: such as `while converting` or `at step 3 of 40`.
        peak: bytes of memory that it used at most.
        before: memory when it was started here; none if it ran elsewhere.
        verdict: of `probe`, in place of what the signal alone suggests.
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
    """Run a command that tries the installed llama.cpp, and return what follows from its end, as sentences.

    Args:
        command: program and arguments, such as LLAMA_PROBE.
    """
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"A test of llama.cpp with a tiny model did not end within {PROBE_SECONDS} s. Run `{PORTABLE}` for a build that fits any CPU."
    except OSError as error:
        return f"The test of llama.cpp with a tiny model could not be started: {error.strerror}."
    if done.returncode == 0:
        return (
            "The installed llama.cpp decodes a tiny model on this CPU, so the likely cause is the model, too little memory, or another build of llama.cpp. "
            "Convert the model again, or use a smaller one."
        )
    if signal_name(done.returncode):
        return (
            f"A test of llama.cpp with a tiny model {ended(done.returncode)} too: the installed build does not fit this CPU. "
            f"Run `{PORTABLE}` for one that fits any."
        )
    said = " ".join((done.stderr.strip() or done.stdout.strip()).split()).rstrip(".")[-PROBE_WORDS:]
    return f"A test of llama.cpp with a tiny model {ended(done.returncode)} ({said or 'without a word'}). Run `{PORTABLE}` for a build that fits any CPU."


def step(event: dict[str, Any]) -> str:
    """Return what a job does, by one of its progress events: `while converting`, `at step 3 of 40`."""
    done, of = event.get("step"), event.get("of")
    if isinstance(done, int):
        return f"at step {done} of {of}" if of else f"at step {done}"
    return f"while {done}" if done else ""


def peak_of(line: str) -> int | None:
    """Return the most memory that a program used, by the line that `core.machine.tethered` writes at its end; none of any other line."""
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
    """Return what the kernel's count of out-of-memory kills says of a SIGKILL; nothing where it does not count."""
    if before.kills is None or now.kills is None:
        return ""
    if now.kills > before.kills:
        return f"The kernel's out-of-memory killer struck meanwhile, so memory is the cause: {SMALLER}."
    return (
        "The kernel counted no out-of-memory kill meanwhile, so `kill -9`, a memory watchdog, a limit or a container's stop ended it. "
        "Run the same command again."
    )
