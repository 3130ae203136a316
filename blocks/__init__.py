"""The outside world, one file per service."""

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
