"""Saving the model as an ordinary folder."""

from pathlib import Path
from typing import Any

LEFT_OUT = ("quantization_config", "dtype")


def save(model: Any, tokenizer: Any, stops: list[int], output: Path) -> None:
    """Copy the weights into a new model and save that: transformers saves none loaded from GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    loaded = model.config.to_dict()
    plain = {name: loaded[name] for name in loaded if not name.startswith("_")}
    plain = {name: value for name, value in plain.items() if name not in LEFT_OUT}
    config = type(model.config).from_dict(plain)
    # Without allocating weights, since initialising them at random would take seconds.
    with torch.device("meta"):
        fresh = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, trust_remote_code=False
        )
    state = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
    fresh.load_state_dict(state, assign=True)
    fresh.tie_weights()
    names = ("bos_token_id", "pad_token_id")
    ids = {name: getattr(model.config, name, None) for name in names}
    ends = stops if len(stops) > 1 else stops[0] if stops else None
    fresh.generation_config = GenerationConfig(eos_token_id=ends, **ids)
    fresh.save_pretrained(output)
    tokenizer.save_pretrained(output)
