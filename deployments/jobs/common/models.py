"""Loading of a model that writes text, whatever else it can do."""

from pathlib import Path
from typing import Any

from .events import JobError


def load_decoder(base: str | Path, revision: str | None = None, **options: Any) -> Any:
    """Loads a model for text; of one that also sees, such as Ministral 3, all parts.

    Args:
        options: of transformers' `from_pretrained`.

    Raises:
        JobError: transformers knows no model of this kind that writes text.
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
    wrong = f"{str(base)!r} is a {config.model_type!r}, and transformers has no model of that kind"
    raise JobError(f"{wrong} that writes text; give the base's instruction-tuned chat model.")
