"""Loading of a model that generates text, including multimodal ones."""

from pathlib import Path
from typing import Any

from .events import JobError


def load_decoder(base: str | Path, revision: str | None = None, **options: Any) -> Any:
    """Load a model that generates text; a multimodal one, such as Ministral 3, with all its parts.

    Args:
        options: further arguments of transformers' `from_pretrained`.

    Raises:
        JobError: transformers has no text-generating model of this type.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        base, revision=revision, trust_remote_code=False
    )
    kinds = {
        transformers.AutoModelForCausalLM: transformers.MODEL_FOR_CAUSAL_LM_MAPPING,
        # transformers has no other name for a Mistral 3, whose text part is inside.
        transformers.AutoModelForImageTextToText: transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    }
    for kind, known in kinds.items():
        if type(config) in known:
            return kind.from_pretrained(
                base, revision=revision, trust_remote_code=False, use_safetensors=True, **options
            )
    wrong = f"{str(base)!r} is a {config.model_type!r}, and transformers has no model of that type"
    raise JobError(f"{wrong} that generates text; give the base's instruction-tuned chat model.")
