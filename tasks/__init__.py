"""The policy: retries, caching, limits, artifacts."""

import logging
import os

from core.redaction import guard_output
from core.terminal import LogLine

os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client, which no command imports before this
logging.setLogRecordFactory(LogLine)  # whatever a file, a model or a service wrote is in a log
guard_output()
