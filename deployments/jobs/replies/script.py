"""Measures how well a GGUF file predicts given replies: the loss of each reply's tokens, in nats,
after the conversation that leads to it.

    python reply_losses.py --file understudy-q4_k_m.gguf --replies replies.json --output folder

`replies.json` is a list of conversations, each a list of messages that ends with the reply.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from ..common.events import JobError, emit
from ..convert.llama_cpp import llama, load

PART = 512
"""Number of a prompt's tokens that are decoded at once. Their logits are not used."""


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--file", type=Path, required=True, help="GGUF file")
    parser.add_argument("--replies", type=Path, required=True, help="conversations as JSON")
    parser.add_argument("--output", type=Path, required=True, help="folder for losses.json")
    library = "shared library of llama.cpp; xllamacpp's by default"
    parser.add_argument("--library", type=Path, help=library)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args(words)
    try:
        chats = json.loads(arguments.replies.read_text(encoding="utf-8"))
        losses = reply_losses(arguments, chats)
    except (JobError, llama().LibraryError) as error:
        print(error, file=sys.stderr)
        return 1
    arguments.output.mkdir(parents=True, exist_ok=True)
    result = {"losses": losses, "tokens": sum(map(len, losses))}
    (arguments.output / "losses.json").write_text(json.dumps(result), encoding="utf-8")
    emit("finished", **{"replies": len(losses), "tokens": result["tokens"]})
    return 0


def reply_losses(
    arguments: argparse.Namespace, chats: list[list[dict[str, str]]]
) -> list[list[float]]:
    """Return the loss of each token of each conversation's last message."""
    prompts = llama().render(arguments.file, [chat[:-1] for chat in chats])
    vocabulary = load(arguments.file, 0, arguments)
    read = [
        (
            vocabulary.tokenize(prompt, begin=True),
            vocabulary.tokenize(chat[-1]["content"], special=False),
        )
        for prompt, chat in zip(prompts, chats, strict=True)
    ]
    vocabulary.close()
    llm = load(arguments.file, max(len(prompt) + len(reply) for prompt, reply in read), arguments)
    losses = []
    for number, (prompt, reply) in enumerate(read, 1):
        llm.reset()
        for start in range(0, len(prompt) - 1, PART):
            llm.decode(prompt[start : min(start + PART, len(prompt) - 1)])
        losses.append(of_reply(llm.decode([prompt[-1], *reply])[:-1], reply))
        emit("progress", step=number, of=len(read))
    llm.close()
    return losses


def of_reply(logits: Any, reply: list[int]) -> list[float]:
    """Return the losses of a reply's tokens, in nats.

    Args:
        logits: for each token, the logits from which it is predicted.
    """
    import numpy

    rows = logits.astype("float64")
    shifted = rows - rows.max(1, keepdims=True)
    taken = shifted[numpy.arange(len(reply)), reply]
    losses = numpy.log(numpy.exp(shifted).sum(1)) - taken
    if not numpy.isfinite(losses).all():
        raise JobError("A loss is not finite; the file's weights are damaged: export it again.")
    return [round(float(loss), 6) for loss in losses]


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # deleting llama.cpp's server can block forever
