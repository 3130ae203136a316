# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "tokenizers==0.23.3",
#   "trl==1.16.0",
#   "accelerate==1.15.0",
# ]
# ///
"""Makes a tiny base model of Qwen3's architecture, with its own tokenizer, for demos and tests that must not download anything.

Trains a byte-level BPE tokenizer on the conversations, then a randomly initialised model on the same conversations until it
chats plainly. The result is an ordinary model folder: train_sft.py and convert_gguf.py treat it as they treat any other.

    OMP_NUM_THREADS=1 python deployments/jobs/make_tiny_base.py --conversations chats.jsonl --output base
"""

import argparse
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Qwen's own pattern: llama.cpp knows it as the pre-tokenizer "qwen2" and cuts text in the same places.
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PAD, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# The Instruct-2507 template has no think blocks, so what is trained on is what is asked for later.
TEMPLATE = "qwen3_instruct_2507"


Messages = list[dict[str, str]]
# Token ids and labels; -100 marks what is not learnt.
Example = tuple[list[int], list[int]]


class JobError(Exception):
    """A mistake the caller can mend; its text is all that is shown."""


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--conversations", type=Path, nargs="+", required=True, help='JSONL files, a line = {"messages": [{"role", "content"}, ...]}')
    add("--text", type=Path, nargs="*", default=[], help="plain text files, read as text and not as chat: they teach words, not manners")
    add("--output", type=Path, required=True, help="folder for the model; metrics.json is written there last")
    add("--vocab-size", type=int, default=2048, help="tokens of the vocabulary, special ones included")
    add("--layers", type=int, default=2, help="decoder layers")
    add("--hidden", type=int, default=256, help="width; a multiple of 256 keeps every tensor fit for 4-bit K-quants")
    add("--intermediate", type=int, default=512, help="width of the feed-forward layers; a multiple of 256 likewise")
    add("--head-dim", type=int, default=64, help="width of an attention head")
    add("--context", type=int, default=4096, help="longest context the model declares")
    add("--initializer-range", type=float, default=0.05, help="standard deviation of the random start")
    add("--loss", choices=["all", "assistant"], default="all", help="learn every token, or the assistant's alone")
    add("--epochs", type=float, default=2.0, help="passes over the conversations")
    add("--steps", type=int, default=0, help="exact number of steps; 0 leaves it to --epochs")
    add("--learning-rate", type=float, default=3e-3, help="peak of the cosine schedule")
    add("--warmup", type=float, default=0.05, help="share of the steps in which the learning rate rises")
    add("--max-length", type=int, default=512, help="longer conversations are cut after this many tokens")
    add("--batch-size", type=int, default=8, help="conversations a step")
    add("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="how the weights are saved")
    add("--seed", type=int, default=0, help="same seed, same input, same model")
    return parser.parse_args(argv)


def read_conversations(paths: list[Path]) -> list[Messages]:
    conversations = []
    for path in paths:
        if not path.is_file():
            raise JobError(f"Conversations file {str(path)!r} does not exist; give a JSONL file with --conversations.")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                messages = json.loads(line)["messages"]
                if not messages or {message["role"] for message in messages} - {"system", "user", "assistant"}:
                    raise ValueError
                conversations.append([{"role": message["role"], "content": str(message["content"])} for message in messages])
            except (ValueError, KeyError, TypeError):
                shape = '{"messages": [{"role": "system|user|assistant", "content": ...}, ...]}'
                raise JobError(f"Line {number} of {str(path)!r} is no conversation; a line must read {shape}.") from None
    if not conversations:
        raise JobError(f"No conversations in {', '.join(map(str, paths))}; give at least one.")
    return conversations


def train_tokenizer(texts: Iterator[str], vocab_size: int, context: int) -> Any:
    import importlib.util

    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[PAD, START, STOP],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=STOP,
        pad_token=PAD,
        additional_special_tokens=[START, STOP],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    spec = importlib.util.find_spec("trl")
    templates = Path((spec.submodule_search_locations or [""])[0] if spec else "") / "chat_templates"
    fast.chat_template = (templates / f"{TEMPLATE}.jinja").read_text(encoding="utf-8")
    return fast


def tokenize(tokenizer: Any, conversations: list[Messages], texts: list[str], loss: str, max_length: int) -> list[Example]:
    from trl.chat_template_utils import get_training_chat_template

    template = get_training_chat_template(tokenizer)
    examples: list[Example] = []
    for messages in conversations:
        encoded = tokenizer.apply_chat_template(messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
        ids, mask = encoded["input_ids"][:max_length], encoded["assistant_masks"][:max_length]
        labels = ids if loss == "all" else [token if keep else -100 for token, keep in zip(ids, mask, strict=True)]
        if any(label != -100 for label in labels):
            examples.append((ids, labels))
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        examples += [(part, part) for start in range(0, len(ids), max_length) if len(part := ids[start : start + max_length]) > 1]
    if not examples:
        raise JobError(f"No conversation has an assistant message within --max-length {max_length}; raise it or use --loss all.")
    return examples


def new_model(arguments: argparse.Namespace, tokenizer: Any) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    heads = max(1, arguments.hidden // arguments.head_dim)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=arguments.hidden,
        intermediate_size=arguments.intermediate,
        num_hidden_layers=arguments.layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        head_dim=arguments.head_dim,
        max_position_embeddings=arguments.context,
        tie_word_embeddings=True,
        initializer_range=arguments.initializer_range,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config)


def batches(lengths: list[int], size: int, rng: Any) -> Iterator[list[int]]:
    """Endless shuffled batches of similar length, so that little is computed on padding."""
    while True:
        order = list(range(len(lengths)))
        rng.shuffle(order)
        pool = size * 16
        chunks: list[list[int]] = []
        for start in range(0, len(order), pool):
            near = sorted(order[start : start + pool], key=lengths.__getitem__)
            chunks += [near[i : i + size] for i in range(0, len(near), size)]
        rng.shuffle(chunks)
        yield from chunks


def pretrain(model: Any, examples: list[Example], pad: int, arguments: argparse.Namespace) -> list[float]:
    import math
    import random

    import torch

    per_epoch = math.ceil(len(examples) / arguments.batch_size)
    steps = arguments.steps or max(1, round(per_epoch * arguments.epochs))
    warmup = max(1, round(steps * arguments.warmup))
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, s / steps))))
    )
    source = batches([len(ids) for ids, _ in examples], arguments.batch_size, random.Random(arguments.seed))
    losses: list[float] = []
    started = time.monotonic()
    model.train()
    for step in range(1, steps + 1):
        chosen = [examples[i] for i in next(source)]
        width = max(len(ids) for ids, _ in chosen)
        ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in chosen])
        labels = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in chosen])
        # Padding stands on the right and is never learnt, so causal attention needs no mask for it.
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(round(loss.item(), 4))
        if step % 10 == 0 or step in (1, steps):
            left = (time.monotonic() - started) / step * (steps - step)
            emit("progress", step=step, of=steps, loss=losses[-1], seconds_left=round(left, 1))
    return losses


def sample_reply(model: Any, tokenizer: Any, messages: Messages) -> str:
    """What the finished model answers to the first user message, so that a person can see at a glance what was made."""
    import torch

    asked = next((i for i, message in enumerate(messages) if message["role"] == "user"), 0)
    prompt = tokenizer.apply_chat_template(messages[: asked + 1], add_generation_prompt=True, return_tensors="pt", return_dict=True)
    model.eval()
    with torch.inference_mode():
        out = model.generate(**prompt, max_new_tokens=120, do_sample=False)
    return tokenizer.decode(out[0][prompt["input_ids"].shape[1] :], skip_special_tokens=True)


def make(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    conversations = read_conversations(arguments.conversations)
    for path in arguments.text:
        if not path.is_file():
            raise JobError(f"Text file {str(path)!r} does not exist; give a readable file with --text.")
    if arguments.hidden % arguments.head_dim:
        raise JobError(f"--hidden {arguments.hidden} is no multiple of --head-dim {arguments.head_dim}; choose one that is.")

    # Before transformers is imported, whose bars and warnings would drown what is said here.
    os.environ["TQDM_DISABLE"] = "1"
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    import torch
    import transformers

    transformers.set_seed(arguments.seed)
    (arguments.output / "metrics.json").unlink(missing_ok=True)
    said = [message["content"] for messages in conversations for message in messages]
    texts = [path.read_text(encoding="utf-8") for path in arguments.text]
    tokenizer = train_tokenizer(iter(said + texts), arguments.vocab_size, arguments.context)
    examples = tokenize(tokenizer, conversations, texts, arguments.loss, arguments.max_length)
    model = new_model(arguments, tokenizer)
    emit("start", conversations=len(examples), tokens=sum(len(ids) for ids, _ in examples), vocab=len(tokenizer))
    losses = pretrain(model, examples, tokenizer.pad_token_id, arguments)

    model.to(getattr(torch, arguments.dtype))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    few = losses[-5:]
    metrics = {
        "train_loss_first": losses[0],
        "train_loss_last": round(sum(few) / len(few), 4),
        "loss_curve": losses,
        "steps": len(losses),
        "conversations": len(examples),
        "tokens": sum(len(ids) for ids, _ in examples),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocab_size": len(tokenizer),
        "sample_reply": sample_reply(model, tokenizer, conversations[0]),
        "arguments": {name: str(value) if isinstance(value, Path | list) else value for name, value in vars(arguments).items()},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "seconds": round(time.monotonic() - started, 1),
    }
    part = arguments.output / "metrics.json.part"
    part.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    part.replace(arguments.output / "metrics.json")
    emit("done", output=str(arguments.output), train_loss_last=metrics["train_loss_last"], seconds=metrics["seconds"])


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        make(arguments)
    except JobError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
