"""The story: which step follows which."""

import sys
from pathlib import Path

STOPPED = "Stopped. What was made is kept; the same command resumes from there."

if sys.argv[0] == "-m" or Path(sys.argv[0]).stem == "understudy":  # this is imported first: a command can be stopped while it imports the rest
    from core.machine.stopping import stop_on_signals

    stop_on_signals(STOPPED)
