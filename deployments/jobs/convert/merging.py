"""Merging the model, saving it for the converter, and measuring it as the reference."""

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

from ..common.dataset import Messages
from ..common.events import JobError, emit
from ..common.hub import HUB_ID
from ..common.limits import check_tokens
from ..common.models import load_decoder
from .heldout import Example, encode
from .losses import torch_losses

Written = tuple[Any, list[int]]
"""Logits of a prompt and of its greedy reply, and the reply's tokens."""


def merge(
    arguments: argparse.Namespace,
    folders: list[Path],
    tokenizer: Any,
    chats: list[Messages],
    ids: list[list[int]],
    heldout: list[Messages],
    stop: tuple[str, int],
    folder: Path,
) -> tuple[list[Written], list[Example], dict[str, Any], dict[str, list[list[float]]]]:
    """Merge, save and measure the model.

    Args:
        folders: of the adapter, if there is one, and of the base.
        chats: conversations that end with a user message.
        ids: the tokens of these conversations.
        heldout: held-out conversations; if empty, the model's own replies are used.
        stop: text and number of the template's stop token.
        folder: receives the merged model.

    Returns:
        Its greedy replies, the held-out examples, figures, and the examples' losses.
    """
    base, adapter = folders[-1], folders[0] if arguments.adapter else None
    ends, limit = {stop[1], tokenizer.eos_token_id}, arguments.greedy_tokens
    emit("progress", step="loading the model")
    model = load_model(base, adapter, arguments.reference_dtype)
    embeddings = model.get_input_embeddings().weight.shape[0]
    check_tokens(tokenizer, ids, embeddings)
    if not heldout:
        rows = ids[: arguments.heldout_examples]
        written = [write_greedily(model, row, ends, limit)[1] for row in rows]
        replies = [tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in written]
        heldout = [
            [*chat, {"role": "assistant", "content": reply}]
            for chat, reply in zip(chats, replies, strict=False)
        ]
    over, examples, longest = encode(tokenizer, heldout, stop[0], arguments.heldout_tokens)
    check_tokens(tokenizer, (row for row, _ in examples), embeddings)
    figures = describe(examples, longest) | {"heldout_loss_over": over}
    losses = {"adapter": torch_losses("base and adapter", model, examples)} if adapter else {}
    if adapter:
        emit("progress", step="merging")
        model = model.merge_and_unload(safe_merge=True)
    save_merged(model, tokenizer, folder, folders)
    emit("progress", step="asking the merged model")
    references = [write_greedily(model, row, ends, limit) for row in ids]
    losses["merged"] = torch_losses("the merged model", model, examples)
    figures["stop_tokens"] = stop_tokens(model, tokenizer, stop[1])
    return references, examples, figures, losses


def describe(examples: list[Example], longest: int) -> dict[str, Any]:
    """Return how many held-out texts and tokens are compared; warn if texts are cut.

    Args:
        longest: length of the longest text, in tokens, before it was cut.
    """
    compared = max(len(row) for row, _ in examples)
    if compared < longest:
        wrong = f"At most {compared} tokens of a held-out text are compared, and the longest has"
        emit("warning", text=f"{wrong} {longest}; to compare all of it, raise --heldout-tokens.")
    return {
        "heldout_examples": len(examples),
        "heldout_tokens": sum(sum(counts[1:]) for _, counts in examples),
        "heldout_longest": longest,
        "heldout_compared": compared,
    }


def load_model(base: Path, adapter: Path | None, dtype: str) -> Any:
    """Load the 16-bit base and attach the adapter unmerged; a 4-bit base could not be converted."""
    import torch
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    model = load_decoder(base, dtype=getattr(torch, dtype)).eval()
    if adapter:
        # Opened first, since PEFT would load a pickle if this file were missing.
        with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
            saved = {name for name in file.keys() if "lora_" in name}  # noqa: SIM118
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        # PEFT only warns about matrices that do not exist in the base, and the base would be
        # exported unchanged.
        if astray := sorted(saved ^ {name for name in state if "lora_" in name}):
            wrong = f"{len(astray)} matrices of the adapter have no counterpart in the base, or the"
            wrong = f"{wrong} base's have none in it, such as {astray[0]}"
            raise JobError(f"{wrong}; give the --base that it was trained on.")
    return model


def check_origin(arguments: argparse.Namespace, adapter: Path) -> None:
    """Check that the base is the commit that the adapter was trained on, if both are known."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    name, revision = config.get("base_model_name_or_path"), str(config.get("revision"))
    if not re.fullmatch(HUB_ID, str(name)) or not arguments.base_revision:
        return
    if name != arguments.base:
        wrong = f"The adapter was trained on {name} and is merged into {arguments.base}"
        emit("warning", text=f"{wrong}; check that they are the same model.")
    elif re.fullmatch(r"[0-9a-f]{40}", revision) and revision != arguments.base_revision:
        wrong = f"The adapter was trained on {name} at {revision}, and --base-revision is"
        raise JobError(f"{wrong} {arguments.base_revision}; merge it into the same commit.")


def save_merged(model: Any, tokenizer: Any, folder: Path, origins: list[Path]) -> None:
    """Save the weights in 16 bits for the converter; the loaded model keeps its precision."""
    import torch

    dtype = model.dtype
    # Not model.to(), which would also round buffers such as rotary frequencies.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    model.save_pretrained(folder)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    tokenizer.save_pretrained(folder)
    keep_pieces(tokenizer, folder, origins)


def keep_pieces(tokenizer: Any, folder: Path, origins: list[Path]) -> None:
    """Copy the model file of a SentencePiece tokenizer, if there is one.

    The converter needs it, and the list of added tokens; transformers writes neither.
    """
    paths = [origin / "tokenizer.model" for origin in origins]
    pieces = next((path for path in paths if path.is_file()), None)
    if pieces:
        shutil.copy(pieces, folder)
        path = folder / "tokenizer_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["added_tokens_decoder"] = {
            number: {"content": token.content, "special": token.special}
            for number, token in tokenizer.added_tokens_decoder.items()
        }
        path.write_text(json.dumps(config), encoding="utf-8")


def write_greedily(model: Any, ids: list[int], ends: set[int], limit: int) -> Written:
    """Generate greedily; return the logits of prompt and reply, and the reply's tokens.

    Args:
        ends: tokens that end the reply.
        limit: tokens of a reply at most.
    """
    import torch

    rows, written, cache, tokens = [], [], None, ids
    with torch.inference_mode():
        while True:
            out = model(input_ids=torch.tensor([tokens]), past_key_values=cache, use_cache=True)
            rows.append(out.logits[0].float())
            if len(written) == limit or (written and written[-1] in ends):
                return torch.cat(rows).numpy(), written
            cache, tokens = out.past_key_values, [int(rows[-1][-1].argmax())]
            written += tokens


def stop_tokens(model: Any, tokenizer: Any, stop: int) -> list[str]:
    """Return the stop tokens of the template, the tokenizer and the generation config."""
    also = model.generation_config.eos_token_id if model.generation_config else None
    numbers = [stop, tokenizer.eos_token_id, *(also if isinstance(also, list) else [also])]
    valid = [number for number in numbers if number in range(len(tokenizer))]
    return list(dict.fromkeys(map(tokenizer.convert_ids_to_tokens, valid)))
