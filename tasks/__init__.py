"""The policy: retries, caching, limits, artifacts."""

import sys

if sys.argv[0] == "-m":  # `python -m tasks.…`, of which this is imported first: it can be stopped while it imports the rest
    from core.stopping import stop_on_signals

    stop_on_signals()

from core.redaction import guard_output

guard_output()
