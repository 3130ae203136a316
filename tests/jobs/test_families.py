"""The model families of docs/training.md: a tiny model of each, with its own chat template, is trained, converted and asked."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from core.training.specs import MARKERS
from tests.conftest import CHECKOUT
from tests.jobs.conftest import QWEN_IMAGES, Reported, chats, qwen_with_images, read_template, train, write_parquet
from tests.jobs.test_convert_gguf import RUNTIME, SCRIPT, byte_level, shape_of, texts
from tests.jobs.test_marking import SMOLLM2

transformers: Any = pytest.importorskip("transformers")
SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
SMALL |= {"tie_word_embeddings": True}
SIGHT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 512, "beta_fast": 32.0, "beta_slow": 1.0}
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA = ["<|end_of_text|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
MISTRAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]"]
GEMMA = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>"]


def ours(name: str) -> str:
    return MARKERS.sub("", (CHECKOUT / "config/training" / name).read_text(encoding="utf-8"))


def gemma_pieces() -> Any:
    """Return a tokenizer like Gemma 4's: BPE with a symbol for blanks, in tokenizer.json only."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    built = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    built.normalizer, built.pre_tokenizer = normalizers.Replace(" ", "\u2581"), pre_tokenizers.Split(" ", "merged_with_previous")
    built.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    units = [f"<0x{number:02X}>" for number in range(256)]
    built.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=700, special_tokens=[*GEMMA, *units], show_progress=False))
    known = json.loads(built.to_str())
    known["added_tokens"] = [token for token in known["added_tokens"] if token["content"] not in units]
    names = {f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk")}
    again = Tokenizer.from_str(json.dumps(known))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=again, **names, additional_special_tokens=GEMMA[4:])


def qwen35(shape: dict[str, Any], tokenizer: Any) -> Any:
    wide = {"head_dim": 64}  # llama.cpp cannot rotate a quarter of a smaller head
    return transformers.Qwen3_5ForConditionalGeneration(qwen_with_images(shape | wide, tokenizer))


def qwen3(shape: dict[str, Any], _: Any) -> Any:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape))


def llama(shape: dict[str, Any], _: Any, **more: Any) -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, **more))


def lfm2(shape: dict[str, Any], _: Any) -> Any:
    kinds = {"layer_types": ["conv", "full_attention"], "block_multiple_of": 32}
    return transformers.Lfm2ForCausalLM(transformers.Lfm2Config(**{name: value for name, value in shape.items() if name != "head_dim"}, **kinds))


def ministral(shape: dict[str, Any], tokenizer: Any) -> Any:
    """Return a model with a vision tower, as all Ministrals are published; transformers has no text model of this name."""
    rope = YARN | {"mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1, "max_position_embeddings": 2048}
    text = transformers.Ministral3Config(**shape | {"tie_word_embeddings": False}, rope_parameters=rope)
    image = tokenizer.convert_tokens_to_ids("[IMG]")
    sight = {"model_type": "pixtral", **SIGHT}
    return transformers.Mistral3ForConditionalGeneration(transformers.Mistral3Config(text_config=text, vision_config=sight, image_token_index=image))


def gemma4(shape: dict[str, Any], tokenizer: Any, small: bool) -> Any:
    shape |= {"num_hidden_layers": 4, "sliding_window": 64, "global_head_dim": 32, "layer_types": ["sliding_attention", "full_attention"] * 2}
    if small:
        own = {"hidden_size_per_layer_input": 32, "vocab_size_per_layer_input": len(tokenizer), "num_kv_shared_layers": 2}
        text = transformers.Gemma4TextConfig(**shape, **own)
        return transformers.Gemma4ForConditionalGeneration(transformers.Gemma4Config(text_config=text, vision_config=None, audio_config=None))
    text = transformers.Gemma4UnifiedTextConfig(**shape, attention_k_eq_v=True, num_global_key_value_heads=1)
    return transformers.Gemma4UnifiedForConditionalGeneration(transformers.Gemma4UnifiedConfig(text_config=text))


@dataclass(frozen=True)
class Family:
    """A family.

    Args:
        tokens: its control tokens; of Gemma, its own kind of tokenizer.
        stop: what ends a reply.
        template: its own, or a file of config/training.
        architecture: what llama.cpp calls it.
        settings: the files of config/training.
    """

    tokens: list[str]
    stop: str
    template: Callable[[], str]
    model: Callable[[dict[str, Any], Any], Any]
    architecture: str
    bos: str | None = None
    shipped: str | None = None
    settings: tuple[str, ...] = ()

    def make(self, folder: Path) -> Path:
        """Make a random model with its tokenizer."""
        import torch

        torch.manual_seed(1)
        tokenizer = gemma_pieces() if self.tokens is GEMMA else byte_level(self.tokens, "qwen3_instruct_2507", self.stop, self.bos)
        tokenizer.chat_template = self.template()
        self.model(shape_of(tokenizer, **SMALL), tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder


NO_THINK, PLAIN, EMPTY = "qwen3-no-think.jinja", "gemma-4.jinja", "gemma-4-no-think.jinja"
SCALED = {
    "rope_parameters": {
        **{"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        "original_max_position_embeddings": 512,
    }
}
FAMILIES = {
    "Qwen3.5, Qwen3.6": Family(
        [*CHATML, "<think>", "</think>", *QWEN_IMAGES.values()],
        "<|im_end|>",
        partial(ours, NO_THINK),
        qwen35,
        "qwen35",
        shipped=NO_THINK,
        settings=("qwen3.5-2b", "qwen3.5-4b", "qwen3.5-9b", "qwen3.6-27b"),
    ),
    "Qwen3": Family(CHATML, "<|im_end|>", partial(ours, NO_THINK), qwen3, "qwen3", shipped=NO_THINK, settings=("qwen3-14b",)),
    "Gemma 4 E2B, E4B": Family(
        GEMMA, "<turn|>", partial(ours, PLAIN), partial(gemma4, small=True), "gemma4", "<bos>", shipped=PLAIN, settings=("gemma-4-e4b",)
    ),
    "Gemma 4 12B": Family(GEMMA, "<turn|>", partial(ours, EMPTY), partial(gemma4, small=False), "gemma4", "<bos>", shipped=EMPTY, settings=("gemma-4-12b",)),
    "Ministral 3": Family(
        MISTRAL, "</s>", partial(read_template, "mistralai-Ministral-3-14B-Reasoning-2512"), ministral, "mistral3", "<s>", settings=("ministral-3-8b",)
    ),
    "LFM2.5": Family(
        ["<|pad|>", "<|startoftext|>", *CHATML],
        "<|im_end|>",
        partial(read_template, "LFM2.5-Instruct"),
        lfm2,
        "lfm2",
        "<|startoftext|>",
        settings=("lfm2.5-1.2b",),
    ),
    "Llama 3.1, 3.2": Family(LLAMA, "<|eot_id|>", partial(read_template, "llama3_2"), partial(llama, **SCALED), "llama", "<|begin_of_text|>"),
    "SmolLM2": Family(CHATML, "<|im_end|>", lambda: SMOLLM2, llama, "llama", "<|im_start|>", settings=("smollm2-135m", "smollm2-135m-demo")),
}
QUICK = ["--max-length", 1024, "--max-steps", 1, "--gradient-accumulation", 1, "--evaluate", "end", "--no-gradient-checkpointing"]
ADAPTER = ["--lora-r", 4, "--target-modules", "all-linear", "--learning-rate", 0.001]
BRIEF = ["--quantisations", "q8_0", "--greedy-tokens", 2, "--reply-tokens", 4, "--threads", 1, "--allow-endless", "--quantisation-tolerance", 0.5]
BRIEF += ["--heldout-examples", 1]


@dataclass(frozen=True)
class Ran:
    """What training and export of each family reported, by its name, and the folder with the files."""

    folder: Path
    trained: dict[str, Reported]
    exported: dict[str, Reported]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All runs share two processes, since importing torch takes longer than a run."""
    assert RUNTIME
    folder = tmp_path_factory.mktemp("families")
    write_parquet(folder / "train.parquet", chats(2))
    write_parquet(folder / "validation.parquet", chats(1))
    files = ["--train", folder / "train.parquet", "--validation", folder / "validation.parquet", *QUICK, *ADAPTER]
    calls, exports = [], []
    for name, family in FAMILIES.items():
        base, adapter = family.make(folder / name / "base"), folder / name / "adapter"
        template = ["--chat-template", CHECKOUT / "config/training" / family.shipped] if family.shipped else []
        calls.append([*files, "--base", base, "--output", adapter, *template])
        made = ["--base", base, "--adapter", adapter, "--output", folder / name / "gguf", "--name", "tiny", "--llama-cpp", RUNTIME.converter]
        exports.append([*made, "--fallback-pre-tokenizer", "qwen2", *BRIEF])
    trained = train(*calls)
    exported = train(*exports, script=SCRIPT)
    return Ran(folder, dict(zip(FAMILIES, trained, strict=True)), dict(zip(FAMILIES, exported, strict=True)))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_can_be_trained_converted_and_asked(ran: Ran, name: str) -> None:
    family, trained, exported = FAMILIES[name], ran.trained[name], ran.exported[name]
    assert (trained.code, trained.error, trained.named("warning")) == (0, "", [])
    assert trained.named("mask")[0]["stop_tokens"] == [family.stop]
    adapted = json.loads((ran.folder / name / "adapter/adapter_config.json").read_text(encoding="utf-8"))["target_modules"]
    assert {"down_proj", "w2"} & {part.rpartition(".")[2] for part in adapted}  # the adapter changes more than the attention
    assert (exported.code, exported.error) == (0, "")
    checks = json.loads((ran.folder / name / "gguf/export.json").read_text(encoding="utf-8"))["checks"]
    assert (checks["stop_token"], checks["prompts_rendered_alike"], checks["chat_template_identical"]) == (family.stop, 8, True)
    assert set(checks["replies"]) == {"tiny-f16.gguf", "tiny-q8_0.gguf"}
    assert all(said["reply"] for said in checks["replies"].values())
    sys.path.insert(0, str(SCRIPT.parent))
    file = import_module("llama_library").Llama(ran.folder / name / "gguf/tiny-q8_0.gguf", 0, 1)
    assert file.metadata("general.architecture") == family.architecture
    file.close()


def test_the_documentation_names_the_families_their_templates_and_settings() -> None:
    page = (CHECKOUT / "docs/training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|`]+) \| (its own|`[\w.-]+\.jinja`) \| trains, converts, speaks \| (.*) \|$", page, re.MULTILINE)
    found = {name: (template.strip("`"), tuple(re.findall(r"`([\w.-]+)`", settings))) for name, template, settings in rows}
    assert found == {name: (family.shipped or "its own", family.settings) for name, family in FAMILIES.items()}
    assert {name for family in FAMILIES.values() for name in family.settings} == {path.stem for path in (CHECKOUT / "config/training").glob("*.yaml")}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"num_experts": 4}, "'base' is a mixture of experts, whose experts can be neither trained nor quantised here; give a dense base"),
        ({"text_config": {"n_routed_experts": 8}}, "'base' is a mixture of experts"),
        ({"quantization_config": {"quant_method": "fp8"}}, r"The weights of 'base' are quantised \(fp8\), and .*; give the same model in 16 bits"),
    ],
)
def test_an_unsupported_base_is_refused_in_one_sentence_before_anything_is_loaded(config: dict[str, Any], sentence: str) -> None:
    for script in ("train_sft.py", "convert_gguf.py"):
        part = import_module("runpy").run_path(str(SCRIPT.with_name(script)))
        with pytest.raises(part["JobError"], match=sentence):
            part["check_kind"](config, "base")
        part["check_kind"]({"num_experts": None, "text_config": {"enable_moe_block": False}}, "base")
