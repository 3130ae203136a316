"""The export job, run as a process on tiny models of the architectures that are trained: what it lets through is what was trained, and what it refuses."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from blocks.llama_runtime import read_runtime
from core.training.specs import MARKERS
from tests.conftest import CHECKOUT, needs
from tests.hub_stub.client import Hub, rate_limit, start_hub
from tests.jobs.conftest import QWEN_IMAGES, qwen_with_images, start

needs("trl")
SCRIPT = CHECKOUT / "deployments" / "jobs" / "built" / "convert_gguf.py"
RUNTIME = read_runtime()
if RUNTIME is None or RUNTIME.converter is None:
    pytest.skip("llama.cpp and its converter are not installed; run `make setup`", allow_module_level=True)
sys.path.insert(0, str(SCRIPT.parent))
Llama = import_module("llama_library").Llama

# PEFT asks transformers by a name that transformers is giving up.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

# Qwen's pattern, which llama.cpp calls "qwen2"; Llama's takes digits by three.
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHAPE = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64}
LORA = ("q_proj", "k_proj", "v_proj", "o_proj")
SAYS = "Ask why."
TALK = [("system", "Be kind."), ("user", "I slept badly."), ("assistant", "That is hard."), ("user", "What now?"), ("assistant", SAYS)]
CHAT = [{"role": role, "content": content} for role, content in TALK]

# All runs in one process, since importing torch takes longer than a small run.
DRIVER = """
import contextlib, io, json, os, runpy, sys
main = runpy.run_path(sys.argv[1])["main"]
for line in sys.stdin:
    arguments, changes = json.loads(line)
    os.environ |= changes
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as complained:
        code = main(arguments)
    print(json.dumps([code, said.getvalue(), complained.getvalue()]), flush=True)
"""

Call = list[object]
COMMON: Call = ["--name", "coach", "--llama-cpp", RUNTIME.converter, "--greedy-tokens", 4, "--heldout-examples", 2, "--threads", 1]


@dataclass(frozen=True)
class Reported:
    """How a run ended and what it said."""

    code: int
    events: list[dict[str, Any]]
    error: str

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]


class Jobs:
    """A process in which the script runs as often as asked; the Hub that it knows is the stub."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.noise, (read, write) = folder / "stderr", os.pipe()
        self.calls = os.fdopen(write, "w", encoding="utf-8")
        with self.noise.open("w") as noise:
            self.process = start("-c", DRIVER, str(SCRIPT), changes=hub.environment(folder / "home"), errors=noise, stdin=read)
        os.close(read)

    def run(self, *calls: Iterable[object], token: str = "hf_write") -> list[Reported]:
        assert self.process.stdout
        reported = []
        for call in calls:
            self.calls.write(json.dumps([[str(word) for word in call], {"HF_TOKEN": token}]) + "\n")
            self.calls.flush()
            answer = self.process.stdout.readline()
            # Nothing is written past what the script says, such as by llama.cpp.
            assert self.noise.read_text(encoding="utf-8") == ""
            code, said, error = json.loads(answer)
            reported.append(Reported(code, [json.loads(line) for line in said.splitlines()], error.strip()))
        return reported

    def succeed(self, *calls: Iterable[object]) -> list[Reported]:
        reported = self.run(*calls)
        assert [(one.code, one.error) for one in reported] == [(0, "")] * len(calls)
        return reported

    def refuse(self, output: Path, *calls: Iterable[object], token: str = "hf_write") -> list[Reported]:
        """Runs that must fail: each with one sentence, and none leaves anything in the output."""
        reported = self.run(*calls, token=token)
        assert [one.code for one in reported] == [1] * len(calls), reported
        assert all(len(one.error.splitlines()) == 1 and "Traceback" not in one.error for one in reported), reported
        assert not any(one.named("done") for one in reported)
        assert not output.exists() or list(output.iterdir()) == []
        return reported


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with start_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def jobs(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    running = Jobs(hub, tmp_path_factory.mktemp("jobs"))
    yield running
    running.calls.close()
    running.process.communicate(timeout=240)


def export_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "export.json").read_text(encoding="utf-8"))


def texts() -> list[str]:
    return [line for path in sorted((CHECKOUT / "prompts").rglob("*.md")) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def template_named(name: str) -> str:
    from trl import chat_template_utils

    return (Path(chat_template_utils.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def byte_level(specials: list[str], template: str, eos: str, bos: str | None = None, pattern: str = PATTERN) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    built = Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    built.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    built.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    built.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=500, special_tokens=specials, initial_alphabet=alphabet, show_progress=False))
    if bos:
        built.post_processor = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, specials.index(bos))])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=built, eos_token=eos, bos_token=bos, pad_token=specials[0], additional_special_tokens=specials)
    tokenizer.chat_template = template_named(template)
    return tokenizer


def sentence_pieces(folder: Path) -> Any:
    """A tokenizer as Gemma's, with the file tokenizer.model beside it, and a token that this file does not have."""
    import sentencepiece
    from transformers import GemmaTokenizer
    from transformers.convert_slow_tokenizer import generate_merges

    written, marks = io.BytesIO(), ["<start_of_turn>", "<end_of_turn>"]
    options: dict[str, Any] = {f"{name}_id": number for number, name in enumerate(["pad", "eos", "bos", "unk"])}
    options |= {f"{name}_piece": f"<{name}>" for name in ("pad", "eos", "bos", "unk")}
    sentencepiece.SentencePieceTrainer.train(
        **options,
        sentence_iterator=iter(texts()),
        model_writer=written,
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=["<mask>", *marks, "\n", "\n\n"],
        split_digits=True,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(written.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    vocabulary = {processor.id_to_piece(number): number for number in range(processor.get_piece_size())}
    merges = generate_merges(vocabulary, {piece: processor.get_score(number) for piece, number in vocabulary.items()})
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True, additional_special_tokens=[*marks, "<image_soft_token>"])
    tokenizer.add_tokens(["\n", "\n\n"])
    tokenizer.chat_template = template_named("gemma3")
    return tokenizer


def save(model: Any, tokenizer: Any, folder: Path) -> Path:
    import torch

    model.to(torch.bfloat16).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return folder


def read_tokenizer(model: Path, part: str = "adapter") -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model / part)


def add_adapter(folder: Path, name: str = "adapter", targets: Iterable[str] = LORA, scale: float = 0.05, **more: Any) -> Path:
    """A LoRA that changes something, on the base in the folder, with its tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.bfloat16)
    tuned: Any = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=list(targets), task_type="CAUSAL_LM", **more))
    for weights_of, weights in tuned.named_parameters():
        if re.search("lora_B|lora_embedding_", weights_of):
            torch.nn.init.normal_(weights, std=scale)
    tuned.save_pretrained(folder / name, save_embedding_layers=False)
    read_tokenizer(folder, "base").save_pretrained(folder / name)
    return folder / name


def shape_of(tokenizer: Any, **more: Any) -> dict[str, Any]:
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return {**SHAPE, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 2048, "initializer_range": 0.1, **more}


def make_random(folder: Path, architecture: str) -> Path:
    """A random model with a random adapter; of `gemma3-vision`, which also sees, the adapter changes the language model alone."""
    import torch

    transformers: Any = import_module("transformers")
    torch.manual_seed(1)
    if architecture == "qwen3":
        tokenizer = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "qwen3_instruct_2507", "<|im_end|>")
        model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape_of(tokenizer, tie_word_embeddings=True)))
    elif architecture == "qwen3.5":
        specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", *QWEN_IMAGES.values()]
        tokenizer = byte_level(specials, "qwen3_5_nothink", "<|im_end|>")
        tokenizer.chat_template = MARKERS.sub("", (CHECKOUT / "config/training/qwen3-no-think.jinja").read_text(encoding="utf-8"))
        model = transformers.Qwen3_5ForConditionalGeneration(qwen_with_images(shape_of(tokenizer, tie_word_embeddings=True), tokenizer))
    elif architecture == "llama":
        specials = ["<|end_of_text|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
        threes = PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
        tokenizer = byte_level(specials, "llama3", "<|eot_id|>", "<|begin_of_text|>", threes)
        rope = {"rope_type": "default", "rope_theta": 500000.0}
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape_of(tokenizer, rope_parameters=rope)))
    elif architecture == "gemma3":
        tokenizer = byte_level(["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"], "gemma3", "<eos>", "<bos>")
        text = transformers.Gemma3TextConfig(**shape_of(tokenizer), sliding_window=64, query_pre_attn_scalar=64)
        model = transformers.Gemma3ForCausalLM(text)
    else:
        tokenizer = sentence_pieces(folder / "base")
        # Seven layers: the sixth sees everything, the others 64 tokens. The vocabulary is padded, as Gemma's is.
        longer = shape_of(tokenizer, num_hidden_layers=7, vocab_size=len(tokenizer) + 7)
        text = transformers.Gemma3TextConfig(**longer, sliding_window=64, query_pre_attn_scalar=64)
        sight = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
        config = transformers.Gemma3Config(
            text_config=text,
            vision_config=transformers.SiglipVisionConfig(**sight),
            mm_tokens_per_image=4,
            image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        )
        model = transformers.Gemma3ForConditionalGeneration(config)
    if architecture.startswith("gemma3"):
        # Else a random model with tied embeddings repeats what it reads.
        model.get_input_embeddings().weight.data *= 0.1
    save(model, tokenizer, folder)
    if architecture == "qwen3.5":
        add_adapter(folder, targets=[*LORA, "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj"])
    else:
        add_adapter(folder, exclude_modules=r".*vision_tower.*" if "vision" in architecture else None)
    return folder


def make_speaker(folder: Path, hidden: int = 256) -> Path:
    """A model that answers everything with SAYS and ends: each of these tokens makes the next one likely. It has learnt nothing else."""
    import torch

    transformers: Any = import_module("transformers")
    torch.manual_seed(3)
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|done|>"]
    tokenizer = byte_level(specials, "qwen3_instruct_2507", "<|im_end|>")
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape_of(tokenizer, hidden_size=hidden, num_hidden_layers=2, tie_word_embeddings=False)))
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data *= 0.02
        layer.mlp.down_proj.weight.data *= 0.02
    chain = [*tokenizer("\n")["input_ids"], *tokenizer(SAYS)["input_ids"], tokenizer.eos_token_id]
    assert len(set(chain)) == len(chain)
    model.lm_head.weight.data *= 0.1
    for this, following in pairwise(chain):
        seen = model.model.embed_tokens.weight.data[this]
        model.lm_head.weight.data[following] += 20 * seen / (seen.norm() * hidden**0.5)
    return save(model, tokenizer, folder)


def exporting(model: Path, output: Path, *more: object, adapter: str | None = "adapter") -> Call:
    tuned: Call = ["--adapter", model / adapter] if adapter else []
    pattern = "llama-bpe" if model.name == "llama" else "qwen2"
    return ["--base", model / "base", *tuned, "--output", output, *COMMON, "--fallback-pre-tokenizer", pattern, *more]


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_speaker(tmp_path_factory.mktemp("models") / "speaker")
    add_adapter(folder, scale=0.01)
    return folder


ARCHITECTURES = ["qwen3", "qwen3.5", "llama", "gemma3", "gemma3-vision"]
# What random models say does not end, and quantising noise costs them more than it costs a trained one.
UNTRAINED: Call = ["--allow-endless", "--reply-tokens", 12, "--greedy-tokens", 12, "--quantisation-tolerance", 0.5]
BRIEF: Call = ["--allow-endless", "--reply-tokens", 4, "--greedy-tokens", 2, "--quantisation-tolerance", 0.5]


Exported = dict[str, tuple[Path, Path, Reported]]


@pytest.fixture(scope="module")
def exported(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Of each architecture the model, the output of its export and what the job said."""
    folder = tmp_path_factory.mktemp("architectures")
    models = [make_random(folder / name, name) for name in ARCHITECTURES]
    outputs = [folder / f"{name}-gguf" for name in ARCHITECTURES]
    reported = jobs.succeed(*(exporting(model, output, *UNTRAINED) for model, output in zip(models, outputs, strict=True)))
    return {name: (model, output, one) for name, model, output, one in zip(ARCHITECTURES, models, outputs, reported, strict=True)}


def rendered(path: Path, chat: list[dict[str, str]]) -> str:
    """Return the prompt that llama.cpp's server makes of a conversation."""
    command = [sys.executable, str(SCRIPT.with_name("llama_library.py")), "render", str(path)]
    done = subprocess.run(command, input=json.dumps([chat]), capture_output=True, text=True, check=True, timeout=120)
    return str(json.loads(done.stdout)[0])


def open_gguf(path: Path) -> Any:
    return Llama(path, 512, 1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_file_computes_what_was_trained(exported: Exported, architecture: str) -> None:
    import numpy
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model, output, _ = exported[architecture]
    tokenizer = read_tokenizer(model)
    ids = tokenizer(tokenizer.apply_chat_template(CHAT[:-1], tokenize=False, add_generation_prompt=True), add_special_tokens=False)["input_ids"]
    base = AutoModelForCausalLM.from_pretrained(model / "base", dtype=torch.float32)
    with torch.inference_mode():
        untrained = base(input_ids=torch.tensor([ids])).logits[0].numpy()
        trained = PeftModel.from_pretrained(base, model / "adapter").eval()(input_ids=torch.tensor([ids])).logits[0].numpy()
    llm = open_gguf(output / "coach-f16.gguf")
    width = len(tokenizer)
    found = llm.logits(ids)[:, :width]
    apart = numpy.abs(untrained - trained).max()
    # Linear attention adds up, token by token, what merging in 16 bits rounds.
    assert numpy.abs(found - trained[:, :width]).max() < min(0.4 if architecture == "qwen3.5" else 0.15, apart / 5)
    assert llm.metadata("general.architecture") == {"qwen3.5": "qwen35"}.get(architecture, architecture.removesuffix("-vision"))
    llm.close()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_report_has_every_check_with_its_figures_and_tolerances(exported: Exported, architecture: str) -> None:
    model, output, reported = exported[architecture]
    report, files = export_of(output), {"coach-f16.gguf", "coach-q4_k_m.gguf"}
    assert not reported.named("warning")
    checks, tokenizer = report["checks"], read_tokenizer(model)
    names = ["vocabulary", "texts", "ends", "prompts", "merge", "logits", "greedy replies", "adapter", *["loss", "reply"] * 2]
    assert [event["name"] for event in reported.named("check")] == names
    assert checks["special_tokens_alike"] == sum(token.special for token in tokenizer.added_tokens_decoder.values())
    assert checks["adds_bos"] == (not architecture.startswith("qwen3"))
    assert checks["stop_token"] == {"qwen3": "<|im_end|>", "qwen3.5": "<|im_end|>", "llama": "<|eot_id|>"}.get(architecture, "<end_of_turn>")
    assert checks["chat_template_identical"] is True
    assert checks["prompts_rendered_alike"] == 8
    assert checks["logit_difference"] <= checks["logit_tolerance"]
    assert 0 <= checks["kl_divergence"] < checks["kl_divergences"]["coach-q4_k_m.gguf"]
    assert 1 >= checks["argmax_agreement"] >= checks["min_agreement"]
    assert 1 >= checks["greedy_agreement"] >= checks["min_greedy_agreement"]
    assert checks["greedy_tokens_compared"] > 60
    assert abs(checks["adapter_loss"] - checks["merged_loss"]) <= checks["loss_tolerance"]
    assert set(checks["heldout_loss"]) == set(checks["replies"]) == files
    assert all(checks["heldout_loss_difference"][name] - checks["heldout_loss_interval"][name] <= checks["quantisation_tolerance"] for name in files)
    assert checks["heldout"] == "own replies"
    assert all(reply["reply"] for reply in checks["replies"].values())
    assert set(report["files"]) == {*files, "coach-lora-f16.gguf", "Modelfile"}
    for name, known in report["files"].items():
        content = (output / name).read_bytes()
        assert known == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert report["fallback_tensors"] == {"coach-q4_k_m.gguf": {}}
    assert report["fallback_counts"] == {"coach-q4_k_m.gguf": 0}


def test_ollama_gets_stops_and_context_and_recognises_the_template_itself(exported: Exported) -> None:
    for architecture, stops in (("llama", ["<|eot_id|>"]), ("gemma3", ["<end_of_turn>", "<eos>"])):
        modelfile = (exported[architecture][1] / "Modelfile").read_text(encoding="utf-8")
        assert re.findall(r'^PARAMETER stop "(.*)"$', modelfile, re.MULTILINE) == stops
        assert "TEMPLATE" not in modelfile
        assert not exported[architecture][2].named("warning")


# --- held-out texts ---


def write_parquet(path: Path, rows: list[Any]) -> Path:
    from pyarrow import Table, parquet

    parquet.write_table(Table.from_pylist([{"messages": row} for row in rows]), path)
    return path


def loss_of(model: Path, chats: list[list[dict[str, str]]]) -> float:
    """Mean over the assistants' tokens and stop tokens, by the model's own arithmetic."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from trl.chat_template_utils import get_training_chat_template

    tokenizer = read_tokenizer(model)
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model / "base", dtype=torch.float32), model / "adapter").eval()
    total, count = 0.0, 0
    for chat in chats:
        asked: dict[str, Any] = {"chat_template": get_training_chat_template(tokenizer), "return_dict": True, "return_assistant_tokens_mask": True}
        encoded = tokenizer.apply_chat_template(chat, **asked)
        learnt = torch.tensor(encoded["assistant_masks"], dtype=torch.bool)[1:]
        ids = torch.tensor(encoded["input_ids"])
        # TRL also learns the line break after the stop token, which no program writes.
        learnt &= ids[:-1] != tokenizer.eos_token_id
        with torch.inference_mode():
            logits = tuned(input_ids=ids[None]).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits[learnt], ids[1:][learnt], reduction="sum").item()
        count += int(learnt.sum())
    return total / count


def test_losses_are_those_of_the_assistants_words_in_the_held_out_rows(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    other = [{"role": "user", "content": "assistant\nHm?"}, {"role": "assistant", "content": " a \n"}]
    rows = [CHAT, other, CHAT[1:3], other]
    path = write_parquet(tmp_path / "heldout.parquet", rows)
    calls = [
        exporting(
            speaker,
            tmp_path / "all",
            "--heldout",
            path,
            "--heldout-examples",
            4,
            "--quantisations",
            "q8_0",
            "q4_k_m",
            "--imatrix",
            "--calibration",
            path,
            "--kl-bound",
            1e-9,
        ),
        exporting(speaker, tmp_path / "few", "--heldout", path, "--heldout-tokens", 45, "--quantisations", "q8_0", "--discard-f16"),
    ]
    reported, _ = jobs.succeed(*calls)
    assert "no file has a KL of at most 1e-09 nats" in reported.named("ladder")[0]["text"]
    report, few = export_of(tmp_path / "all"), export_of(tmp_path / "few")
    checks = report["checks"]
    assert (checks["heldout"], checks["heldout_examples"], checks["heldout_loss_over"]) == ("heldout.parquet", 4, "assistant replies")
    stripped = [[{**message, "content": message["content"].strip()} for message in row] for row in rows]
    expected = loss_of(speaker, stripped)
    for loss in (checks["adapter_loss"], checks["merged_loss"], *checks["heldout_loss"].values()):
        assert loss == pytest.approx(expected, abs=0.05)
    assert list(checks["heldout_loss"]) == ["coach-f16.gguf", "coach-q8_0.gguf", "coach-q4_k_m.gguf"]
    assert few["checks"]["heldout_examples"] == 2
    # Each file is measured, and the smallest that is close enough is named.
    first, second = report["ladder"]
    assert [rung["file"] for rung in (first, second)] == ["coach-q8_0.gguf", "coach-q4_k_m.gguf"]
    assert first["kl_divergence"] < second["kl_divergence"]
    assert all(rung["bytes"] == report["files"][rung["file"]]["bytes"] and rung["imatrix"] for rung in report["ladder"])
    assert report["recommended"] is None
    assert few["recommended"] == "coach-q8_0.gguf"
    assert report["importance"]["conversations"] == len(rows)
    assert few["importance"] is None
    assert 0 < few["checks"]["heldout_tokens"] < checks["heldout_tokens"]
    assert (
        set(few["files"]) == {"coach-q8_0.gguf", "coach-lora-f16.gguf", "Modelfile"} == {path.name for path in (tmp_path / "few").iterdir()} - {"export.json"}
    )


# --- replies, and Ollama's template ---


def go_render(template: str, system: str, messages: list[dict[str, str]]) -> str:
    """Evaluates the part of Go's template language that is used here: values, if with else, range, eq and ne."""
    parts = re.split(r"(\{\{.*?\}\})", template)

    def block(at: int, scope: dict[str, Any] | None) -> tuple[str, int]:
        """Text from a position to its `else` or `end`; nothing is evaluated without a scope."""
        text = ""
        while at < len(parts):
            words = parts[at].strip("{} ").split() if parts[at].startswith("{{") else None
            if words is None:
                text, at = text + parts[at], at + 1
            elif words[0] in ("else", "end"):
                return text, at
            elif words[0] == "if":
                value = scope and scope.get(words[-1] if len(words) == 2 else words[2])
                holds = bool(value) if len(words) == 2 else (value == words[3].strip('"')) == (words[1] == "eq")
                found, end = block(at + 1, scope if holds else None)
                otherwise, end = block(end + 1, None if holds else scope) if parts[end].strip("{} ") == "else" else ("", end)
                text, at = text + (found if holds else otherwise), end + 1
            elif words[0] == "range":
                turns = [block(at + 1, {**(scope or {}), ".Role": m["role"], ".Content": m["content"]}) for m in (scope or {}).get(words[1], [])]
                text, at = text + "".join(turn for turn, _ in turns), block(at + 1, None)[1] + 1
            else:
                text, at = text + str((scope or {}).get(words[0], "")), at + 1
        return text, at

    return block(0, {".System": system, ".Messages": messages})[0]


def test_the_evaluation_of_go_templates_is_right() -> None:
    turn = '{{ if ne .Role "system" }}<{{ .Role }}{{ if eq .Role "user" }}!{{ end }}{{ .Content }}>{{ end }}'
    template = f"{{{{ if .System }}}}[{{{{ .System }}}}]{{{{ else }}}}none{{{{ end }}}}{{{{ range .Messages }}}}{turn}{{{{ end }}}}."
    said = [{"role": "system", "content": "S"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert go_render(template, "S", said) == "[S]<user!a><assistantb>."
    assert go_render(template, "", []) == "none."


def test_ollama_renders_what_the_model_was_trained_on(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    system = tmp_path / "system.md"
    system.write_text("Be kind.\nAnd brief.\n", encoding="utf-8")
    # Qwen2.5's puts a system prompt of its own where none is given.
    templates = {
        "plain": template_named("qwen3_instruct_2507"),
        "think": (CHECKOUT / "config" / "training" / "qwen3-no-think.jinja").read_text(encoding="utf-8"),
        "own": template_named("qwen2_5"),
    }
    calls = []
    for name, template in templates.items():
        (tmp_path / f"{name}.jinja").write_text(template, encoding="utf-8")
        more: Call = ["--chat-template", tmp_path / f"{name}.jinja", "--system-file", system, "--context", 512, "--temperature", 0.7]
        calls.append(exporting(speaker, tmp_path / name, *more, *BRIEF, adapter=None))
    jobs.succeed(*calls)
    tokenizer = read_tokenizer(speaker)
    for name, template in templates.items():
        modelfile = (tmp_path / name / "Modelfile").read_text(encoding="utf-8")
        written = re.search(r'^TEMPLATE """(.*?)"""$', modelfile, re.MULTILINE | re.DOTALL)
        assert written
        for chat in (CHAT[:4], CHAT[1:4], CHAT[1:2], [*CHAT, {"role": "user", "content": "Thanks."}]):
            said = chat[0]["content"] if chat[0]["role"] == "system" else ""
            rendered = tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, add_generation_prompt=True)
            assert go_render(written[1], said, chat) == rendered
        assert modelfile.startswith("FROM ./coach-q4_k_m.gguf\n")
        assert {"PARAMETER num_ctx 512", "PARAMETER temperature 0.7", 'PARAMETER stop "<|im_end|>"'} <= set(modelfile.splitlines())
        assert modelfile.endswith('SYSTEM """Be kind.\nAnd brief."""\n')
    llm = open_gguf(tmp_path / "think" / "coach-q4_k_m.gguf")
    assert "generation" not in llm.metadata("tokenizer.chat_template").replace("add_generation_prompt", "")
    llm.close()


def test_a_model_that_ends_its_replies_is_exported_and_one_that_does_not_is_refused(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    endless = exporting(speaker, tmp_path / "endless", "--reply-tokens", 3)
    (refused,) = jobs.refuse(tmp_path / "endless", endless)
    assert "does not end its reply within --reply-tokens 3" in refused.error
    assert "--allow-endless" in refused.error
    calls = [
        exporting(speaker, tmp_path / "good"),
        [*endless, "--allow-endless"],
        exporting(speaker, tmp_path / "base", "--reply-tokens", 3, adapter=None),
    ]
    good, _, base = jobs.succeed(*calls)
    said = export_of(tmp_path / "good")["checks"]["replies"]
    assert {name: (reply["reply"], reply["ended_by_itself"]) for name, reply in said.items()} == dict.fromkeys(said, (SAYS, True))
    assert len(said) == 2
    assert good.named("done")[0]["ended_by_itself"] == dict.fromkeys(said, True)
    assert export_of(tmp_path / "endless")["checks"]["replies"]["coach-q4_k_m.gguf"]["ended_by_itself"] is False
    assert set(base.named("done")[0]["ended_by_itself"].values()) == {False}
    assert "adapter_loss" not in export_of(tmp_path / "base")["checks"]

    # The adapter's own file beside the base's is the merged model.
    ids = read_tokenizer(speaker)(SAYS * 8)["input_ids"]
    merged, adapter, whole = (tmp_path / name for name in ("good/coach-f16.gguf", "good/coach-lora-f16.gguf", "base/coach-f16.gguf"))
    models = [Llama(merged, 512, 1), Llama(whole, 512, 1, adapter=adapter), Llama(whole, 512, 1)]
    wanted, found, untrained = (model.logits(ids) for model in models)
    for model in models:
        model.close()
    assert abs(found - wanted).max() < abs(untrained - wanted).max() / 5
    assert adapter.stat().st_size < merged.stat().st_size / 5
    assert "lora" not in export_of(tmp_path / "base")["files"]


# --- what is refused ---


def test_a_tolerance_that_is_not_kept_fails_the_export_with_its_name(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    options = {
        "--logit-tolerance": (0, "logits differ"),
        "--min-agreement": (1.01, "the likeliest token is the same"),
        "--min-greedy-agreement": (1.01, "greedy tokens"),
        "--loss-tolerance": (-0, "the mean loss of the merged model"),
    }
    call = exporting(speaker, tmp_path / "out", "--heldout-examples", 8, "--keep", tmp_path / "kept")  # so it is measured once
    reported = jobs.refuse(tmp_path / "out", *([*call, option, value] for option, (value, _) in options.items()))
    for (option, (value, words)), one in zip(options.items(), reported, strict=True):
        assert words in one.error
        assert re.search(rf"{option} (is )?{value}\b", one.error)
        assert "safe" in one.error or "raise" in one.error


def test_an_adapter_that_does_not_merge_into_this_base_is_refused(jobs: Jobs, speaker: Path, exported: Exported, tmp_path: Path) -> None:
    qwen3 = exported["qwen3"][0]
    # The embeddings are also the output matrix: beside it the adapter changes one of them, merged into it both.
    with pytest.warns(UserWarning, match="tie_word_embeddings"):
        add_adapter(qwen3, "embeddings", targets=["embed_tokens"], scale=1.0)
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    config = json.loads((speaker / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    for path in (speaker / "adapter").iterdir():
        (deeper / path.name).write_bytes(path.read_bytes())
    (deeper / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q_proj"]}), encoding="utf-8")
    reported = jobs.refuse(
        tmp_path / "out",
        exporting(qwen3, tmp_path / "out", *BRIEF, adapter="embeddings"),
        exporting(speaker, tmp_path / "out", adapter=str(deeper)),
        exporting(exported["gemma3-vision"][0], tmp_path / "out", adapter=str(speaker / "adapter")),
    )
    wrong_place, partly, other_width = (one.error for one in reported)
    assert "base and adapter, not merged" in wrong_place
    assert "--loss-tolerance" in wrong_place
    assert "have no counterpart" in partly
    assert "lora_" in partly
    assert "--base" in other_width


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_that_llama_cpp_would_not_stop_or_render_is_refused(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    def call(model: Path, name: str, template: str) -> Call:
        (tmp_path / f"{name}.jinja").write_text(template, encoding="utf-8")
        return exporting(model, tmp_path / "out", "--chat-template", tmp_path / f"{name}.jinja", *BRIEF)

    reported = jobs.refuse(
        tmp_path / "out",
        call(speaker, "other", CHATML.replace("<|im_end|>", "<|done|>")),
        call(speaker, "no-stop", CHATML.replace("<|im_end|>", "")),
        call(speaker, "unknown", CHATML.replace("{{ m.role }}", "{{ m.role | dunno }}")),
        call(speaker, "silent", "{{ raise_exception('No, thanks.') }}"),
    )
    other_stop, no_stop, unknown, silent = (one.error for one in reported)
    assert "<|done|>" in other_stop
    assert "eos_token" in other_stop
    assert "no special token" in no_stop
    assert "dunno" in unknown
    assert "No, thanks" in silent


def test_llama_cpp_reads_a_prompt_as_it_was_trained_whatever_it_begins_with(jobs: Jobs, exported: Exported, tmp_path: Path) -> None:
    """Templates with one BOS, with two, with none though the tokenizer adds one; and a BOS that opens each message, as SmolLM2's does."""
    llama, llama3 = exported["llama"][0], template_named("llama3")
    calls = []
    for name, template in {
        "none": llama3.replace("bos_token + content", "content"),
        "two": llama3.replace("bos_token + c", "bos_token + bos_token + c"),
    }.items():
        (tmp_path / f"{name}.jinja").write_text(template, encoding="utf-8")
        calls.append(exporting(llama, tmp_path / name, "--chat-template", tmp_path / f"{name}.jinja", *BRIEF, adapter=None))
    opener = tmp_path / "opener"
    shutil.copytree(exported["qwen3"][0], opener)
    for part in ("base", "adapter"):
        tokenizer = read_tokenizer(opener, part)
        tokenizer.bos_token = "<|im_start|>"
        tokenizer.save_pretrained(opener / part)
    jobs.succeed(*calls, exporting(opener, tmp_path / "im_start", *BRIEF, adapter=None))
    added = {name: export_of(tmp_path / name)["checks"]["adds_bos"] for name in ("none", "two", "im_start")}
    assert added == {"none": False, "two": True, "im_start": False}
    asked = [{"role": "user", "content": "Hello."}]
    for name, model in (("none", llama), ("two", llama), ("im_start", opener)):
        tokenizer = read_tokenizer(model)
        tokenizer.chat_template = (tmp_path / f"{name}.jinja").read_text(encoding="utf-8") if model is llama else tokenizer.chat_template
        prompt = rendered(tmp_path / name / "coach-q4_k_m.gguf", asked)
        llm = open_gguf(tmp_path / name / "coach-q4_k_m.gguf")
        trained = tokenizer(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True), add_special_tokens=False)["input_ids"]
        assert llm.tokenize(prompt, begin=True) == trained
        llm.close()


def test_what_was_merged_and_measured_is_not_made_a_second_time(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    call = exporting(speaker, tmp_path / "out", "--keep", tmp_path / "kept")
    (refused,) = jobs.refuse(tmp_path / "out", [*call, "--min-greedy-agreement", 1.01])
    assert refused.named("progress")[-1]["step"] == "checking coach-q4_k_m.gguf"
    (done,) = jobs.succeed(call)
    assert [event["step"] for event in done.named("progress")] == ["reusing the earlier merge and measurements"]
    assert not any((tmp_path / "kept").iterdir())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"coach-f16.gguf", "coach-q4_k_m.gguf", "coach-lora-f16.gguf", "Modelfile", "export.json"}
    # Another model takes nothing from there.
    (other,) = jobs.succeed(exporting(speaker, tmp_path / "base", "--keep", tmp_path / "kept", adapter=None))
    assert "merging" not in [event["step"] for event in other.named("progress")]


def test_template_and_tokenizer_are_proven_without_weights(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    bare = tmp_path / "model" / "base"
    shutil.copytree(speaker / "base", bare, ignore=shutil.ignore_patterns("*.safetensors"))
    call = exporting(bare.parent, tmp_path / "out", "--preflight", adapter=None)
    jobs.succeed(call)
    assert json.loads((tmp_path / "out" / "preflight.json").read_text(encoding="utf-8"))["stop_token"] == "<|im_end|>"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["preflight.json"]
    (tmp_path / "other.jinja").write_text(CHATML.replace("<|im_end|>", "<|done|>"), encoding="utf-8")
    unknown = [word for word in call if word not in ("--fallback-pre-tokenizer", "qwen2")]
    stop, pattern = jobs.refuse(
        tmp_path / "bad",
        [*call, "--output", tmp_path / "bad", "--chat-template", tmp_path / "other.jinja"],
        [*unknown, "--output", tmp_path / "bad"],
    )
    assert "<|done|>" in stop.error
    assert "--fallback-pre-tokenizer" in pattern.error


def test_a_quantised_file_fails_only_when_it_surely_loses_more_than_is_allowed(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    """Over one short reply the loss of a small file says little; the interval says how little."""
    rows = write_parquet(tmp_path / "one.parquet", [CHAT[1:3]])
    call = exporting(speaker, tmp_path / "out", "--heldout", rows, "--quantisations", "q2_k")
    jobs.succeed([*call, "--quantisation-tolerance", 10])
    checks = export_of(tmp_path / "out")["checks"]
    rise, half = (checks[name]["coach-q2_k.gguf"] for name in ("heldout_loss_difference", "heldout_loss_interval"))
    assert half > 0
    (within,) = jobs.succeed([*call, "--output", tmp_path / "within", "--quantisation-tolerance", max(0.0, rise - half) + 1e-4])
    assert within.code == 0
    if rise - half > 2e-4:
        jobs.refuse(tmp_path / "below", [*call, "--output", tmp_path / "below", "--quantisation-tolerance", rise - half - 2e-4])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--name", "../x"], "--name is '../x'"),
        (["--heldout-examples", "0"], "1 or more"),
        (["--loss-tolerance", "-1"], "0 or more"),
        (["--quantisations", "q9"], "q4_k_m"),
        (["--push-to", "me/coach"], "--push-tag"),
        (["--imatrix"], "--calibration"),
        (["--heldout", "a.parquet", "--dataset", "me/rows"], "either --heldout or --dataset"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_at_once(given: list[str], words: str) -> None:
    # -S and -I leave out site-packages: nothing needs to be imported for that.
    command = [sys.executable, "-S", "-I", str(SCRIPT), "--base", "b", "--output", "o", "--name", "x", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]


def test_what_is_asked_for_is_checked_before_anything_is_loaded(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    mute = write_parquet(tmp_path / "mute.parquet", [CHAT[:2]])
    (tmp_path / "text.parquet").write_text("no parquet", encoding="utf-8")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "adapter_config.json").write_text("{}", encoding="utf-8")
    reported = jobs.refuse(
        tmp_path / "out",
        exporting(speaker, tmp_path / "out", "--heldout", mute),
        exporting(speaker, tmp_path / "out", "--heldout", tmp_path / "text.parquet"),
        exporting(speaker, tmp_path / "out", "--heldout", tmp_path / "gone.parquet"),
        exporting(speaker, tmp_path / "out", "--imatrix", "--calibration", mute),
        exporting(speaker, tmp_path / "out", adapter=str(bare)),
    )
    for one, words in zip(
        reported, ["without an assistant reply", "cannot be read", "does not exist", "without an assistant reply", "has no tokenizer"], strict=True
    ):
        assert words in one.error
        assert one.events == []


def test_rows_that_do_not_divide_are_reported_and_do_not_fail(jobs: Jobs, tmp_path: Path) -> None:
    model = make_speaker(tmp_path / "narrow", hidden=64)
    add_adapter(model, scale=0.01)
    (reported,) = jobs.succeed(exporting(model, tmp_path / "out", "--quantisations", "q8_0", "q4_k_m", "--quantisation-tolerance", 0.5))
    report = export_of(tmp_path / "out")
    (event,) = reported.named("fallback")
    fallen = report["fallback_tensors"]["coach-q4_k_m.gguf"]
    assert report["fallback_counts"] == {"coach-q8_0.gguf": 0, "coach-q4_k_m.gguf": len(fallen)}
    assert (event["file"], event["matrices"]) == ("coach-q4_k_m.gguf", len(fallen))
    assert len(fallen) > 10
    assert not any(kind.endswith("_k") for kind in fallen.values())


# --- the Hub ---


UPLOAD = """
import json, sys
from huggingface_hub import HfApi
api = HfApi()
for repo, folder, kind in json.loads(sys.argv[1]):
    api.create_repo(repo, repo_type=kind, private=True, exist_ok=True)
    print(api.upload_folder(repo_id=repo, folder_path=folder, repo_type=kind).oid)
"""


@pytest.fixture(scope="module")
def commits(hub: Hub, speaker: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Base, adapter and held-out rows as private repositories; of the base also a later commit, which says the same."""
    folder = tmp_path_factory.mktemp("uploads")
    environment = {**os.environ, **hub.environment(folder / "home")}
    (folder / "rows" / "data").mkdir(parents=True)
    write_parquet(folder / "rows" / "data" / "validation-00000-of-00001.parquet", [CHAT, CHAT[1:3]])
    shutil.copytree(speaker / "base", folder / "base")
    (folder / "base" / "notes.txt").write_text("Hm.", encoding="utf-8")

    def upload(*repos: tuple[str, Path, str]) -> list[str]:
        given = json.dumps([(repo, str(folder), kind) for repo, folder, kind in repos])
        done = subprocess.run([sys.executable, "-c", UPLOAD, given], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    base, later, data = upload(("me/base", speaker / "base", "model"), ("me/base", folder / "base", "model"), ("me/rows", folder / "rows", "dataset"))
    shutil.copytree(speaker / "adapter", folder / "adapter")
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": "me/base", "revision": base}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    (adapter,) = upload(("me/adapter", folder / "adapter", "model"))
    return {"base": base, "later": later, "adapter": adapter, "data": data}


def from_hub(commits: dict[str, str], output: Path, repo: str, *more: object) -> Call:
    models: Call = ["--base", "me/base", "--base-revision", commits["base"], "--adapter", "me/adapter", "--adapter-revision", commits["adapter"]]
    rows: Call = ["--dataset", "me/rows", "--dataset-revision", commits["data"]]
    push: Call = ["--push-to", repo, "--push-tag", "run-1", "--retry-seconds", 0.01]
    return [*models, *rows, "--output", output, *COMMON, "--fallback-pre-tokenizer", "qwen2", *push, *more]


def test_a_job_reads_and_leaves_everything_on_the_hub(jobs: Jobs, hub: Hub, commits: dict[str, str], tmp_path: Path) -> None:
    call = from_hub(commits, tmp_path / "out", "me/coach-gguf", "--reference-dtype", "bfloat16", "--logit-tolerance", 0.5, "--discard-f16")
    # Calls of each kind fail for a while, and the first answer to the commit is lost.
    hub.faults(
        {"pattern": r"^/api/models/me/base/(revision|tree)", "status": 503, "times": 2},
        {"pattern": r"^/api/datasets/me/rows", "drop": True, "times": 2},
        {"pattern": r"^/api/repos/create$", **rate_limit(0), "times": 1},
        {"method": "POST", "pattern": r"^/api/models/me/coach-gguf/commit/main$", "after": True, "times": 1},
        {"pattern": r"^/api/models/me/coach-gguf/tag/", "status": 500, "times": 2},
    )
    (reported,) = jobs.succeed(call)
    (pushed,) = reported.named("pushed")
    assert (pushed["repo"], pushed["tag"]) == ("me/coach-gguf", "run-1")
    info = json.loads(hub.get("/api/models/me/coach-gguf/revision/run-1"))
    assert (info["sha"], info["private"]) == (pushed["commit"], True)
    assert {sibling["rfilename"] for sibling in info["siblings"]} - {".gitattributes"} == {
        "coach-q4_k_m.gguf",
        "coach-lora-f16.gguf",
        "Modelfile",
        "export.json",
    }
    report = json.loads(hub.get("/me/coach-gguf/resolve/run-1/export.json"))
    for name, known in report["files"].items():
        content = hub.get(f"/me/coach-gguf/resolve/run-1/{name}")
        assert known == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert (report["base_revision"], report["adapter_revision"]) == (commits["base"], commits["adapter"])
    assert report["checks"]["heldout"] == f"me/rows@{commits['data'][:12]}, validation"
    assert report["checks"]["heldout_examples"] == 2
    # That of the repository, and one of the result.
    assert len(json.loads(hub.get("/api/models/me/coach-gguf/commits/main"))) == 2
    assert "hf_write" not in json.dumps(reported.events)

    hub.clear_log()
    (again,) = jobs.succeed(call)
    assert [(event["event"], event["commit"]) for event in again.events] == [("pushed", pushed["commit"])]
    assert not any("/commit/" in asked["path"] or "/resolve/" in asked["path"] for asked in hub.log())


def test_what_cannot_be_read_or_written_is_reported_before_the_model_is_loaded(jobs: Jobs, hub: Hub, commits: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    call = from_hub(commits, output, "me/refused")
    reported = jobs.refuse(output, call, token="hf_read")
    reported += jobs.refuse(output, call, token="")
    reported += jobs.refuse(output, [*call, "--adapter", "me/nothing"], [*call, "--base-revision", commits["later"]])
    reader, nobody, gone, later = (one.error for one in reported)
    assert "an HF_TOKEN that may" in reader
    assert "There is no token" in nobody
    assert "me/nothing" in gone
    assert commits["base"] in later
    assert commits["later"] in later
    assert not any(event["step"] == "loading the model" for one in reported for event in one.named("progress"))


def test_a_result_that_cannot_be_pushed_stays_and_is_reported(jobs: Jobs, hub: Hub, speaker: Path, tmp_path: Path) -> None:
    hub.faults({"method": "POST", "pattern": r"^/api/models/me/stuck/commit/main$", "status": 500})
    push: Call = ["--push-to", "me/stuck", "--push-tag", "run-1", "--retry-seconds", 0.01]
    (reported,) = jobs.run(exporting(speaker, tmp_path / "out", *push))
    hub.faults()
    assert reported.code == 1
    assert len(reported.error.splitlines()) == 1
    assert "attempt 6 of 6" in reported.error
    assert str(tmp_path / "out") in reported.error
    assert {"export.json", *export_of(tmp_path / "out")["files"]} == {path.name for path in (tmp_path / "out").iterdir()}
    assert json.loads(hub.get("/api/models/me/stuck/refs"))["tags"] == []
