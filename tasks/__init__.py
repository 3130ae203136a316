"""The policy: retries, caching, limits, artifacts."""

import logging
import os
import sys

if sys.argv[0] == "-m":  # `python -m tasks.…`, of which this is imported first: it can be stopped while it imports the rest
    from core.machine.stopping import stop_on_signals

    stop_on_signals()

from core.redaction import guard_output
from core.terminal import LogLine

os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client, which no command imports before this
logging.setLogRecordFactory(LogLine)  # whatever a file, a model or a service wrote is in a log
guard_output()
