"""The shape of a base matches the model that transformers builds from its config."""

import json
from collections import Counter
from importlib.util import find_spec
from typing import Any

import pytest

from core.errors import SettingsError
from core.training.shapes import shape_of

SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320}
LINEAR = {"linear_num_value_heads": 8, "linear_num_key_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
NO_OWN = {"hidden_size_per_layer_input": 0}
CONFIGS = {
    "llama": {"model_type": "llama", **SMALL},
    "qwen3": {"model_type": "qwen3", "head_dim": 32, "tie_word_embeddings": True, **SMALL},
    "qwen3.5": {"model_type": "qwen3_5_text", "head_dim": 32, **LINEAR, **SMALL},
    "gemma3": {"model_type": "gemma3_text", "head_dim": 32, **SMALL},
    "gemma4": {"model_type": "gemma4_text", "head_dim": 16, "global_head_dim": 32, **NO_OWN, **SMALL},
    "gemma4, keys as values": {
        **{"model_type": "gemma4_text", "head_dim": 16, "global_head_dim": 32, "attention_k_eq_v": True, "num_global_key_value_heads": 1},
        **NO_OWN,
        **SMALL,
    },
    "gemma4, small": {
        **{"model_type": "gemma4_text", "head_dim": 16, "global_head_dim": 32, "num_kv_shared_layers": 4, "use_double_wide_mlp": True},
        **{"hidden_size_per_layer_input": 24, "vocab_size_per_layer_input": 320, "layer_types": [*["sliding_attention", "full_attention"] * 4]},
        **SMALL,
    },
    "gemma4, 12B": {
        **{"model_type": "gemma4_unified_text", "head_dim": 16, "global_head_dim": 32, "attention_k_eq_v": True, "num_global_key_value_heads": 1},
        **SMALL,
    },
    "ministral3": {"model_type": "ministral3", "head_dim": 32, **SMALL},
    "lfm2": {"model_type": "lfm2", "block_multiple_of": 32, **SMALL, "full_attn_idxs": [2, 5, 7]},
    "lfm2, as it was published": {"model_type": "lfm2", **SMALL, "block_ff_dim": 96, "block_multiple_of": 64, "tie_embedding": True, "full_attn_idxs": [1]},
}


@pytest.mark.skipif(not find_spec("transformers"), reason="the training group is not installed; run `make setup`")
@pytest.mark.parametrize("name", CONFIGS)
def test_the_shape_of_each_family_matches_transformers(name):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**dict[str, Any](CONFIGS[name])))
    linear = [(part, one) for part, one in model.named_modules() if isinstance(one, torch.nn.Linear) and ".layers." in part]
    made = Counter((part.rpartition(".")[2], one.in_features, one.out_features) for part, one in linear)
    rest = sum(each.numel() for each in model.parameters() if each.ndim == 2) - sum(one.weight.numel() for _, one in linear)
    for config in (CONFIGS[name], json.loads(json.dumps(model.config.to_dict()))):  # as short as a config may be, and with all defaults written out
        shape = shape_of(config, name)
        assert Counter((part, *sizes) for layer in shape.layers for part, sizes in layer.items()) == made
        assert shape.embedding == rest


def test_the_memory_of_linear_attention_does_not_grow_with_the_length():
    shape = shape_of(CONFIGS["qwen3.5"], "qwen")
    assert shape.attended == 2 * 4 * 32  # each fourth of eight layers


@pytest.mark.parametrize("says", ["num_experts", "num_local_experts", "n_routed_experts", "enable_moe_block"])
def test_a_mixture_of_experts_is_refused(says):
    with pytest.raises(SettingsError, match="me/moe is a mixture of experts"):
        shape_of({**SMALL, says: 8}, "me/moe")
