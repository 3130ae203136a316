"""Checks that the saved folder contains the same model as the file."""

from pathlib import Path
from typing import Any

from ..common.events import JobError

PROMPTS = [
    "I slept badly. What should I do first?",
    "Hello.",
    "3 short lines about 2026: the café, a naïve plan and 12.5 % — it's fine, isn't it?"
    "\n\n\tThanks  !",
]
MAX_DIVERGENCE, MIN_AGREEMENT = 0.01, 0.95
"""How much rounding to 16 bits may change the next token's distribution (KL, nats per token), and
the share of positions at which the likeliest token must stay the same."""
ROUNDING = 2.0**-8
"""Largest relative change of a weight by rounding to bfloat16, whose significand has 8 bits."""


def prove(model: Any, tokenizer: Any, stops: list[int], output: Path) -> dict[str, Any]:
    """Load the folder as a user would, and compare it with the model that was read from the file.

    Returns:
        The figures of the comparison.

    Raises:
        JobError: the folder contains a different model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    again = AutoModelForCausalLM.from_pretrained(
        output, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    ).eval()
    cutter: Any = AutoTokenizer.from_pretrained(output, trust_remote_code=False)
    if cutter.chat_template != tokenizer.chat_template:
        raise JobError("The saved chat template differs from the file's; report this.")
    chats = []
    for text in PROMPTS:
        chat = [{"role": "user", "content": text}]
        options = {"add_generation_prompt": True, "tokenize": False}
        chats.append(tokenizer.apply_chat_template(chat, **options))
    for text in [*PROMPTS, *chats]:
        if cutter(text)["input_ids"] != tokenizer(text)["input_ids"]:
            wrong = f"The saved tokenizer and the file's tokenize {text[:40]!r} differently"
            raise JobError(f"{wrong}; report this.")
    if tied(again) != tied(model):
        wrong = "Only one of the saved model and the file's ties its output layer to its embedding"
        raise JobError(f"{wrong}; report this.")
    ends = again.generation_config.eos_token_id
    if stops and ends not in (stops, stops[0]):
        wrong = f"The saved model ends a reply at the tokens {ends} and not at {stops}"
        raise JobError(f"{wrong}; report this.")
    rounding = compare_weights(model, again)
    figures = compare_answers(model, again, tokenizer, chats)
    return {
        "chat_template_identical": True,
        "texts_tokenized_alike": len(PROMPTS) + len(chats),
        "tied": tied(again),
        "stop_tokens": stops,
        **figures,
        "largest_rounding": rounding,
    }


def tied(model: Any) -> bool:
    """Return whether the output layer shares its weights with the embedding."""
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    return head is not None and head.weight.data_ptr() == table.weight.data_ptr()


def compare_weights(model: Any, again: Any) -> float:
    """Return the largest relative difference of a saved weight.

    Raises:
        JobError: the difference is larger than rounding explains.
    """
    rounded = dict(again.named_parameters())
    furthest = max(
        float(((rounded[name] - weight).abs() / weight.abs().clamp(min=1e-30)).max())
        for name, weight in model.named_parameters()
    )
    if furthest > ROUNDING:
        wrong = f"A saved weight differs from the file's by {furthest:.2g} of its size, and"
        raise JobError(f"{wrong} rounding by at most {ROUNDING:.2g}; report this.")
    return furthest


def compare_answers(model: Any, again: Any, tokenizer: Any, chats: list[str]) -> dict[str, Any]:
    """Compare the logits of both models.

    Raises:
        JobError: they differ by more than MAX_DIVERGENCE or MIN_AGREEMENT allows.
    """
    import torch

    same, apart, positions, largest, scale = 0, 0.0, 0, 0.0, 0.0
    with torch.inference_mode():
        for text in chats:
            ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
            old, new = (side(input_ids=ids).logits[0].float() for side in (model, again))
            same += int((old.argmax(-1) == new.argmax(-1)).sum())
            logs, options = (new.log_softmax(-1), old.log_softmax(-1)), {"log_target": True}
            apart += float(torch.nn.functional.kl_div(*logs, reduction="sum", **options))
            largest = max(largest, float((old - new).abs().max()))
            scale = max(scale, float(old.std()))
            positions += len(old)
    agreement, divergence = round(same / positions, 4), round(apart / positions, 6)
    if divergence > MAX_DIVERGENCE or agreement < MIN_AGREEMENT:
        figures = f"{divergence} nats a token (at most {MAX_DIVERGENCE}), the same likeliest token"
        share = f"at {100 * agreement:.1f} % of {positions} positions"
        least = f"(at least {100 * MIN_AGREEMENT:.0f} %)"
        wrong = f"The saved model answers differently from the file's: {figures} {share} {least}"
        raise JobError(f"{wrong}; give a folder or a Hub id.")
    return {
        "positions_compared": positions,
        "argmax_agreement": agreement,
        "divergence": divergence,
        "max_logit_difference": round(largest, 4),
        "logit_deviation": round(scale, 2),
    }
