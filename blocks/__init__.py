"""The services that Understudy uses, one file each."""

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
