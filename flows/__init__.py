"""The story: which step follows which."""

import sys

STOPPED = "Stopped. What was made is kept; the same command goes on from there."

if sys.argv[0] == "-m":  # `python -m flows …`, of which this is imported first: it can be stopped while it imports the rest
    from core.stopping import stop_on_signals

    stop_on_signals(STOPPED)
