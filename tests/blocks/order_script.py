"""A quick job script in the form of the real ones: it makes a text, pushes it with its checksum and tags the commit last."""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("output", "push-to", "push-tag", "text", "system-file", "fault"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--public", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.0)
    arguments = parser.parse_args()
    print("Starting.", flush=True)
    for step in range(1, 5):
        print(json.dumps({"event": "progress", "step": step, "of": 4, "loss": 1.0 / step, "seconds_left": 4 - step}), flush=True)
        time.sleep(arguments.seconds / 4)
    if arguments.fault == "fails":
        print("The text is too dull; give another.", file=sys.stderr)
        return 1
    if arguments.fault and arguments.fault.startswith("SIG"):
        print("The adapter is loaded.", flush=True)
        os.kill(os.getpid(), getattr(signal, arguments.fault))
    if arguments.fault == "idle":
        return 0
    from huggingface_hub import CommitOperationAdd, HfApi

    text = (arguments.text + Path(arguments.system_file).read_text(encoding="utf-8")).encode()
    reported = hashlib.sha256(b"something else" if arguments.fault == "lies" else text).hexdigest()
    facts = {"files": {"text.bin": {"bytes": len(text), "sha256": reported}}, "seconds": arguments.seconds}
    api = HfApi()
    api.create_repo(arguments.push_to, private=not arguments.public, exist_ok=True)
    files = {"text.bin": text, "metrics.json": json.dumps(facts).encode()}
    commit = api.create_commit(arguments.push_to, [CommitOperationAdd(name, data) for name, data in files.items()], commit_message="JobResult")
    api.create_tag(arguments.push_to, tag=arguments.push_tag, revision=commit.oid, exist_ok=True)
    print("Done.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
