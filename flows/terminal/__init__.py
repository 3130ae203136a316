"""The command `understudy`: its words, and what they do that is no flow."""

import sys
from pathlib import Path

if sys.argv[0] == "-m" or Path(sys.argv[0]).stem == "understudy":  # this is imported first: a command can be stopped while it imports the rest
    from core.machine.stopping import stop_on_signals
    from flows.terminal.words import stop_sentence

    stop_on_signals(stop_sentence(sys.argv[1:]))

import tasks as _tasks  # noqa: F401  no telemetry; no secrets and no control sequences in logs and output
