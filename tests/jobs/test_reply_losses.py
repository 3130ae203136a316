"""The loss of replies under a GGUF file: only the reply's own tokens count, read as plain text."""

import json
import math
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT
from tests.jobs.conftest import environment
from tests.tiny.gguf_file import write_gguf

SCRIPT = CHECKOUT / "deployments" / "jobs" / "built" / "reply_losses.py"


def chat(user, reply):
    return [{"role": "system", "content": "You are a coach."}, {"role": "user", "content": user}, {"role": "assistant", "content": reply}]


def test_exactly_the_tokens_of_the_reply_are_measured(tmp_path):
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gguf")
    file = write_gguf(tmp_path / "model.gguf")
    chats = [
        chat("My boss is loud.", "About work: I hear you."),
        chat("My boss is loud. I wake at three. The rent goes up.", "About work: I hear you."),
        chat("My boss is loud.", "About work: I hear you.<|im_end|>"),
    ]
    (tmp_path / "replies.json").write_text(json.dumps(chats), encoding="utf-8")
    words = ["--file", file, "--replies", tmp_path / "replies.json", "--output", tmp_path / "out", "--threads", 1]
    done = subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, env=environment(), timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "losses.json").read_text(encoding="utf-8"))
    short, same, quoted = found["losses"]
    assert len(short) == len(same) < len(quoted) - 1  # a control token in a reply is plain text, and so several tokens
    assert short != same  # the text before it has an effect
    assert found["tokens"] == sum(map(len, found["losses"]))
    vocabulary = 380
    mean = sum(map(sum, found["losses"])) / found["tokens"]
    assert mean == pytest.approx(math.log(vocabulary), rel=0.2)
