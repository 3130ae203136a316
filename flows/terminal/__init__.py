"""The command `understudy`: its subcommands, and the functions of those that run no flow."""

import sys
from pathlib import Path

if sys.argv[0] == "-m" or Path(sys.argv[0]).stem == "understudy":  # this module is imported first, so Ctrl-C works while the others are imported
    from core.machine.stopping import stop_on_signals
    from flows.terminal.words import stop_sentence

    stop_on_signals(stop_sentence(sys.argv[1:]))

import tasks as _tasks  # noqa: F401  switches telemetry off and removes secrets and control sequences from logs and output
