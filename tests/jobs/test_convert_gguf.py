"""The export job, run in a separate process on tiny models of the supported architectures: its files compute what was trained, or it fails."""

import hashlib
import io
import json
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
from argparse import Namespace
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

pytestmark = [
    # PEFT uses a name that is deprecated in transformers, and the Hub's client uploads files in a way that is deprecated in httpx2.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

# The pattern of Qwen, which llama.cpp calls "qwen2"; that of Llama groups digits by three.
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHAPE = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64}
LORA = ("q_proj", "k_proj", "v_proj", "o_proj")
SAYS = "Ask why."
TALK = [("system", "Be kind."), ("user", "I slept badly."), ("assistant", "That is hard."), ("user", "What now?"), ("assistant", SAYS)]
CHAT = [{"role": role, "content": content} for role, content in TALK]

# All runs share a process, since importing torch takes longer than a small run.
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
    """The exit code, the events and the error message of a run."""

    code: int
    events: list[dict[str, Any]]
    error: str

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]


class Jobs:
    """A process that runs the script once per call, with the stub as its Hub."""

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
            # Nothing else is written to stderr, for example by llama.cpp.
            assert self.noise.read_text(encoding="utf-8") == ""
            code, said, error = json.loads(answer)
            reported.append(Reported(code, [json.loads(line) for line in said.splitlines()], error.strip()))
        return reported

    def succeed(self, *calls: Iterable[object]) -> list[Reported]:
        reported = self.run(*calls)
        assert [(one.code, one.error) for one in reported] == [(0, "")] * len(calls)
        return reported

    def refuse(self, output: Path, *calls: Iterable[object], token: str = "hf_write") -> list[Reported]:
        """Run the script; each run must fail with one sentence and leave nothing in the output."""
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
    """Return a tokenizer like Gemma's. It comes with a tokenizer.model, and has a token that is missing there."""
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
    """Add a LoRA with random weights for the base in the folder, with the base's tokenizer."""
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
    """Make a random model with a random adapter. The adapter of `gemma3-vision` changes the language model only."""
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
        # The last of six layers has full attention, the others a window of 64 tokens. The vocabulary is padded, as Gemma's is.
        longer = shape_of(tokenizer, num_hidden_layers=6, vocab_size=len(tokenizer) + 7)
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
        # Otherwise a random model with tied embeddings repeats its input.
        model.get_input_embeddings().weight.data *= 0.1
    save(model, tokenizer, folder)
    if architecture == "qwen3.5":
        add_adapter(folder, targets=[*LORA, "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj"])
    else:
        add_adapter(folder, exclude_modules=r".*vision_tower.*" if "vision" in architecture else None)
    return folder


def make_speaker(folder: Path, hidden: int = 256) -> Path:
    """Make a model that answers everything with SAYS and a stop token: each of these tokens makes the next one likely."""
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
# The replies of random models do not end, and quantising costs them more than a trained model.
UNTRAINED: Call = ["--allow-endless", "--reply-tokens", 6, "--greedy-tokens", 8, "--quantisation-tolerance", 0.5]
BRIEF: Call = ["--allow-endless", "--reply-tokens", 4, "--greedy-tokens", 2, "--quantisation-tolerance", 0.5]


Exported = dict[str, tuple[Path, Path, Reported]]


@pytest.fixture(scope="module")
def exported(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The model of each architecture, the output of its export, and what the job reported."""
    folder = tmp_path_factory.mktemp("architectures")
    models = [make_random(folder / name, name) for name in ARCHITECTURES]
    outputs = [folder / f"{name}-gguf" for name in ARCHITECTURES]
    reported = jobs.succeed(*(exporting(model, output, *UNTRAINED) for model, output in zip(models, outputs, strict=True)))
    return {name: (model, output, one) for name, model, output, one in zip(ARCHITECTURES, models, outputs, reported, strict=True)}


def rendered(path: Path, chat: list[dict[str, str]]) -> str:
    """Return the prompt that llama.cpp's server renders for a conversation."""
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
    # Linear attention accumulates the rounding errors of the 16-bit weights over the tokens.
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


def test_the_modelfile_has_the_stop_tokens_and_leaves_out_a_template_that_ollama_recognises(exported: Exported) -> None:
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
    """Return the mean loss of the replies and their stop tokens, computed by transformers."""
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
        # TRL also learns the line break after the stop token, which no program generates.
        learnt &= ids[:-1] != tokenizer.eos_token_id
        with torch.inference_mode():
            logits = tuned(input_ids=ids[None]).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits[learnt], ids[1:][learnt], reduction="sum").item()
        count += int(learnt.sum())
    return total / count


def test_losses_cover_the_assistants_replies_in_the_held_out_rows(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
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
    reported, shortened = jobs.succeed(*calls)
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
    # A truncated text is reported.
    assert checks["heldout_longest"] == few["checks"]["heldout_longest"] > 45 == few["checks"]["heldout_compared"]
    (warning,) = [event["text"] for event in shortened.named("warning") if "are compared" in event["text"]]
    assert f"At most 45 tokens of a held-out text are compared, and the longest has {checks['heldout_longest']}" in warning
    assert not [event for event in reported.named("warning") if "are compared" in event["text"]]
    # Each file is measured, and the smallest one that is close enough is recommended.
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


# --- replies ---


def test_a_model_that_ends_its_replies_is_exported_and_one_that_does_not_is_refused(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    endless = exporting(speaker, tmp_path / "endless", "--reply-tokens", 3, "--keep", tmp_path / "kept")
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

    # The base with the adapter's GGUF file computes the same as the merged model.
    ids = read_tokenizer(speaker)(SAYS * 8)["input_ids"]
    merged, adapter, whole = (tmp_path / name for name in ("good/coach-f16.gguf", "good/coach-lora-f16.gguf", "base/coach-f16.gguf"))
    models = [Llama(merged, 512, 1), Llama(whole, 512, 1, adapter=adapter), Llama(whole, 512, 1)]
    wanted, found, untrained = (model.logits(ids) for model in models)
    for model in models:
        model.close()
    assert abs(found - wanted).max() < abs(untrained - wanted).max() / 5
    assert adapter.stat().st_size < merged.stat().st_size / 5
    assert "lora" not in export_of(tmp_path / "base")["files"]


# --- refusals ---


def test_an_export_that_exceeds_a_tolerance_names_it_and_the_next_export_reuses_the_measurements(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    options = {
        "--logit-tolerance": (0, "logits differ"),
        "--min-agreement": (1.01, "the likeliest token is the same"),
        "--min-greedy-agreement": (1.01, "greedy tokens"),
        "--loss-tolerance": (-0, "the mean loss of the merged model"),
        "--quantisation-tolerance": (0, "the mean loss of coach-q4_k_m.gguf"),
    }
    call = exporting(speaker, tmp_path / "out", "--heldout-examples", 8, "--keep", tmp_path / "kept")  # more examples make the intervals narrow
    reported = jobs.refuse(tmp_path / "out", *([*call, option, value] for option, (value, _) in options.items()))
    for (option, (value, words)), one in zip(options.items(), reported, strict=True):
        assert words in one.error
        assert re.search(rf"{option} (is )?{value}\b", one.error)
        assert "safe" in one.error or "raise" in one.error

    first, *later = reported
    assert first.named("progress")[-1]["step"] == "checking coach-q4_k_m.gguf"
    (done,) = jobs.succeed(call)
    for one in (*later, done):
        assert [event["step"] for event in one.named("progress")] == ["reusing the earlier merge and measurements"]
    assert not any((tmp_path / "kept").iterdir())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"coach-f16.gguf", "coach-q4_k_m.gguf", "coach-lora-f16.gguf", "Modelfile", "export.json"}


def test_measurements_are_not_reused_for_another_model(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    output, kept = tmp_path / "out", ["--keep", tmp_path / "kept"]
    jobs.refuse(output, exporting(speaker, output, *BRIEF, *kept, "--logit-tolerance", 0, adapter=None))
    other = add_adapter(speaker, "other", scale=0.01)
    (reported,) = jobs.refuse(output, exporting(speaker, output, *BRIEF, *kept, "--logit-tolerance", 0, adapter=str(other)))
    assert "merging" in [event["step"] for event in reported.named("progress")]


def test_an_adapter_that_does_not_merge_into_this_base_is_refused(jobs: Jobs, speaker: Path, exported: Exported, tmp_path: Path) -> None:
    qwen3 = exported["qwen3"][0]
    # The embeddings are tied to the output matrix. The adapter changes one of them; merging it would change both.
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


def test_a_template_that_llama_cpp_cannot_render_or_stop_at_is_refused(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
    def call(model: Path, name: str, template: str) -> Call:
        (tmp_path / f"{name}.jinja").write_text(template, encoding="utf-8")
        return exporting(model, tmp_path / "out", "--chat-template", tmp_path / f"{name}.jinja", *BRIEF)

    reported = jobs.refuse(
        tmp_path / "out",
        call(speaker, "no-stop", CHATML.replace("<|im_end|>", "")),
        call(speaker, "unknown", CHATML.replace("{{ m.role }}", "{{ m.role | dunno }}")),
        call(speaker, "silent", "{{ raise_exception('No, thanks.') }}"),
    )
    no_stop, unknown, silent = (one.error for one in reported)
    assert "no special token" in no_stop
    assert "dunno" in unknown
    assert "No, thanks" in silent


def test_llama_cpp_tokenizes_prompts_as_in_training_whatever_bos_they_begin_with(jobs: Jobs, exported: Exported, tmp_path: Path) -> None:
    """Templates with no BOS although the tokenizer adds one, with two, and with one that opens each message, as SmolLM2's does."""
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


def test_the_preflight_checks_template_and_tokenizer_without_weights(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
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
    assert "eos_token" in stop.error
    assert "--fallback-pre-tokenizer" in pattern.error


def test_a_quantised_file_fails_only_if_its_whole_loss_interval_exceeds_the_tolerance() -> None:
    """The 95 % interval of its loss, and not the loss alone, is compared with the tolerance: over a short reply the loss says little."""
    script = runpy.run_path(str(SCRIPT))

    def judge(rises: list[float], tolerance: float) -> tuple[float, float]:
        whole, small = ("the f16 GGUF", [[2.0] * len(rises)]), ("coach-q2_k.gguf", [[2.0 + rise for rise in rises]])
        return script["check_loss"](small, whole, "--quantisation-tolerance", Namespace(quantisation_tolerance=tolerance), rise=True)

    rises = [0.5, -0.1, 0.3, 0.9]  # mean 0.4
    half = 1.96 * math.sqrt(0.1**2 + 0.5**2 + 0.1**2 + 0.5**2) / 4  # of the interval
    assert judge(rises, 10) == pytest.approx((0.4, half), abs=1e-4)
    judge(rises, 0.4 - half + 1e-3)
    with pytest.raises(script["JobError"], match=r"coach-q2_k\.gguf is 2\.4000 and that of the f16 GGUF 2\.0000"):
        judge(rises, 0.4 - half - 1e-3)
    judge([-3.0] * 4, 0)  # a lower loss never fails


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
def test_invalid_arguments_are_refused_at_once(given: list[str], words: str) -> None:
    # -S and -I leave out site-packages: the refusal needs no import from there.
    command = [sys.executable, "-S", "-I", str(SCRIPT), "--base", "b", "--output", "o", "--name", "x", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]


def test_input_files_are_checked_before_anything_is_loaded(jobs: Jobs, speaker: Path, tmp_path: Path) -> None:
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


def test_matrices_whose_rows_do_not_fit_a_block_are_reported_and_do_not_fail_the_export(jobs: Jobs, tmp_path: Path) -> None:
    model = make_speaker(tmp_path / "narrow", hidden=64)
    (reported,) = jobs.succeed(exporting(model, tmp_path / "out", *BRIEF, "--quantisations", "q8_0", "q4_k_m", adapter=None))
    report = export_of(tmp_path / "out")
    (event,) = reported.named("fallback")
    fallen = report["fallback_tensors"]["coach-q4_k_m.gguf"]
    assert report["fallback_counts"] == {"coach-q8_0.gguf": 0, "coach-q4_k_m.gguf": len(fallen)}
    assert (event["file"], event["matrices"]) == ("coach-q4_k_m.gguf", len(fallen))
    assert len(fallen) > 10
    assert not any(kind.endswith("_k") for kind in fallen.values())


# --- the Hub ---


@pytest.fixture(scope="module")
def commits(hub: Hub, speaker: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Base, adapter and held-out rows as private repositories; the base also has a later commit with the same weights."""
    from huggingface_hub import HfApi, constants

    folder, api = tmp_path_factory.mktemp("uploads"), HfApi(endpoint=hub.url, token="hf_write")
    (folder / "rows" / "data").mkdir(parents=True)
    write_parquet(folder / "rows" / "data" / "validation-00000-of-00001.parquet", [CHAT, CHAT[1:3]])
    shutil.copytree(speaker / "base", folder / "base")
    (folder / "base" / "notes.txt").write_text("Hm.", encoding="utf-8")

    def upload(repo: str, content: Path, kind: str = "model") -> str:
        api.create_repo(repo, repo_type=kind, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=repo, folder_path=content, repo_type=kind).oid)

    with pytest.MonkeyPatch.context() as patch:
        for switch, value in {"HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
            patch.setattr(constants, switch, value)
        base, later = upload("me/base", speaker / "base"), upload("me/base", folder / "base")
        data = upload("me/rows", folder / "rows", "dataset")
        shutil.copytree(speaker / "adapter", folder / "adapter")
        config = json.loads((folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
        config |= {"base_model_name_or_path": "me/base", "revision": base}
        (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        adapter = upload("me/adapter", folder / "adapter")
    return {"base": base, "later": later, "adapter": adapter, "data": data}


def from_hub(commits: dict[str, str], output: Path, repo: str, *more: object) -> Call:
    models: Call = ["--base", "me/base", "--base-revision", commits["base"], "--adapter", "me/adapter", "--adapter-revision", commits["adapter"]]
    rows: Call = ["--dataset", "me/rows", "--dataset-revision", commits["data"]]
    push: Call = ["--push-to", repo, "--push-tag", "run-1", "--retry-seconds", 0.01]
    return [*models, *rows, "--output", output, *COMMON, "--fallback-pre-tokenizer", "qwen2", *push, *more]


def test_an_export_reads_from_the_hub_and_delivers_its_result_there_once(jobs: Jobs, hub: Hub, commits: dict[str, str], tmp_path: Path) -> None:
    call = from_hub(commits, tmp_path / "out", "me/coach-gguf", "--reference-dtype", "bfloat16", "--logit-tolerance", 0.5, "--discard-f16")
    # Each kind of call fails once or twice, and the first answer to the commit is lost.
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
    # The initial commit of the repository, and the one of the result.
    assert len(json.loads(hub.get("/api/models/me/coach-gguf/commits/main"))) == 2
    assert "hf_write" not in json.dumps(reported.events)

    hub.clear_log()
    (again,) = jobs.succeed(call)
    assert [(event["event"], event["commit"]) for event in again.events] == [("pushed", pushed["commit"])]
    assert not any("/commit/" in asked["path"] or "/resolve/" in asked["path"] for asked in hub.log())


def test_missing_repositories_and_permissions_are_reported_before_the_model_is_loaded(jobs: Jobs, hub: Hub, commits: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    call = from_hub(commits, output, "me/refused")
    reported = jobs.refuse(output, call, token="hf_read")
    reported += jobs.refuse(output, call, token="")
    reported += jobs.refuse(output, [*call, "--adapter", "me/nothing"], [*call, "--base-revision", commits["later"]])
    reader, anonymous, gone, later = (one.error for one in reported)
    assert "an HF_TOKEN that may" in reader
    assert "There is no token" in anonymous
    assert "me/nothing" in gone
    assert commits["base"] in later
    assert commits["later"] in later
    assert not any(event["step"] == "loading the model" for one in reported for event in one.named("progress"))


def test_a_result_that_cannot_be_pushed_is_kept_and_the_failure_reported(jobs: Jobs, hub: Hub, speaker: Path, tmp_path: Path) -> None:
    hub.faults({"method": "POST", "pattern": r"^/api/models/me/stuck/commit/main$", "status": 500})
    push: Call = ["--push-to", "me/stuck", "--push-tag", "run-1", "--retry-seconds", 0.01]
    (reported,) = jobs.run(exporting(speaker, tmp_path / "out", *BRIEF, *push, adapter=None))
    hub.faults()
    assert reported.code == 1
    assert len(reported.error.splitlines()) == 1
    assert "attempt 6 of 6" in reported.error
    assert str(tmp_path / "out") in reported.error
    assert {"export.json", *export_of(tmp_path / "out")["files"]} == {path.name for path in (tmp_path / "out").iterdir()}
    assert json.loads(hub.get("/api/models/me/stuck/refs"))["tags"] == []
