"""Makes a tiny base model of Qwen3's architecture, with its own tokenizer: a byte-level BPE trained on some chats, then a model trained on the same chats.

The result is an ordinary model folder. It is run as a process, because the tests' own must not import torch: `make_tiny_base.py --conversations x --output y`.
"""

import argparse
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Qwen's own pattern: llama.cpp knows it as the pre-tokenizer "qwen2" and cuts text in the same places.
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PAD, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# The Instruct-2507 template has no think blocks, so what is trained on is what is asked for later.
TEMPLATE = "qwen3_instruct_2507"
CONTEXT = 4096


Messages = list[dict[str, str]]
# Token ids, all of which are learnt.
Example = list[int]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--conversations", type=Path, required=True)
    add("--output", type=Path, required=True)
    add("--vocab-size", type=int, default=600)
    add("--layers", type=int, default=1)
    add("--steps", type=int, default=4)
    add("--max-length", type=int, default=256)
    add("--batch-size", type=int, default=8)
    return parser.parse_args()


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    from trl import chat_template_utils

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
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = (Path(chat_template_utils.__file__).parent / "chat_templates" / f"{TEMPLATE}.jinja").read_text(encoding="utf-8")
    return fast


def new_model(arguments: argparse.Namespace, tokenizer: Any) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        # multiples of 256 keep every matrix fit for 4-bit K-quants
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=arguments.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.05,
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


def pretrain(model: Any, examples: list[Example], pad: int, steps: int, batch_size: int) -> None:
    import torch

    warmup = max(1, round(steps * 0.05))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, s / steps))))
    )
    source = batches([len(ids) for ids in examples], batch_size, random.Random(0))
    model.train()
    for _ in range(steps):
        chosen = [examples[i] for i in next(source)]
        width = max(len(ids) for ids in chosen)
        ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids in chosen])
        labels = torch.tensor([ids + [-100] * (width - len(ids)) for ids in chosen])
        # Padding stands on the right and is never learnt, so causal attention needs no mask for it.
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)


def main() -> None:
    arguments = parse_arguments()
    import torch
    import transformers

    transformers.set_seed(0)
    chats: list[Messages] = [json.loads(line)["messages"] for line in arguments.conversations.read_text(encoding="utf-8").splitlines()]
    tokenizer = train_tokenizer((message["content"] for chat in chats for message in chat), arguments.vocab_size)
    examples = [tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"][: arguments.max_length] for chat in chats]
    model = new_model(arguments, tokenizer)
    pretrain(model, examples, tokenizer.pad_token_id, arguments.steps, arguments.batch_size)
    model.to(torch.bfloat16)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
