"""The Prefect tasks: one per conversation, assessment or job, with caching, limits and artifacts."""

import logging
import os

from core.redaction import guard_output
from core.terminal import LogLine

os.environ.setdefault("DO_NOT_TRACK", "1")  # read by Prefect's client, which every command imports after this module
logging.setLogRecordFactory(LogLine)  # log lines quote files, models and services, which may contain control sequences
guard_output()
