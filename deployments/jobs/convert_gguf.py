# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "peft==0.21.2",
#   "accelerate==1.15.0",
#   "sentencepiece==0.2.3",
#   "llama-cpp-python==0.3.36",
#   "pip>=23",
# ]
# ///
"""Merges an adapter into its 16-bit base, writes it as GGUF in 16 bits and quantised, and proves that llama.cpp runs the same model.

Without --adapter the base itself is exported in the same way. Files appear in --output only when every check has passed;
export.json is written last.

    python deployments/jobs/convert_gguf.py --base base --adapter adapter --name understudy --output export
"""

import argparse
import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROMPTS = [
    "Hello. How are you today?",
    "I slept badly and my work is piling up. I also argued with my sister. What should I do first?",
    "Write 3 short lines about 2026: the café, a naïve plan, and 12.5 % — it's fine, isn't it?\n\nThanks!",
]
# Text on which tokenizers part ways: runs of blanks and line breaks, numbers, contractions, scripts, emoji.
TRICKY = ["  two  blanks\n\n\n\tand a tab \r\n", "It's 1234567 o'clock, WE'RE late; they'll've gone…", "日本語 и русский ñandú 🙂👍🏽 x=[1,2];"]


class JobError(Exception):
    """A mistake the caller can mend, or a check that failed; its text is all that is shown."""


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--base", required=True, help="model folder, or a model id on the Hub")
    add("--base-revision", help="its commit")
    add("--adapter", type=Path, help="folder that train_sft.py wrote; its tokenizer and chat template are used")
    add("--chat-template", type=Path, help="Jinja file to embed in place of the tokenizer's chat template")
    add("--output", type=Path, required=True, help="folder for the GGUF files, the Modelfile and export.json")
    add("--name", required=True, help="files are called NAME-f16.gguf, NAME-q4_k_m.gguf, ...")
    add("--quantisations", nargs="+", default=["q4_k_m"], help="llama.cpp's names, such as q4_k_m q8_0")
    add("--keep-f16", action=argparse.BooleanOptionalAction, default=True, help="keep the 16-bit GGUF in the output")
    add("--discard-f16", dest="keep_f16", action="store_false", help="the same as --no-keep-f16")
    add("--llama-cpp", type=Path, help="folder with convert_hf_to_gguf.py, conversion and gguf-py; fetched when not given")
    add("--fallback-pre-tokenizer", help="for tokenizers of our own making only: the name llama.cpp gives their pattern, e.g. qwen2")
    add("--context", type=int, default=4096, help="num_ctx of the Modelfile")
    add("--system-file", type=Path, help="system prompt for the Modelfile and the checks")
    add("--logit-tolerance", type=float, default=0.1, help="largest difference allowed between f16 GGUF and merged model")
    add("--min-agreement", type=float, default=0.98, help="least share of positions with the same most likely token")
    add("--reference-dtype", choices=["float32", "bfloat16"], default="float32", help="arithmetic of the merged model in that comparison")
    add("--reply-tokens", type=int, default=200, help="length limit of the test replies")
    add("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1), help="threads of llama.cpp")
    return parser.parse_args(argv)


def check_arguments(arguments: argparse.Namespace) -> None:
    import llama_cpp

    known = sorted(n.removeprefix("LLAMA_FTYPE_MOSTLY_").lower() for n in dir(llama_cpp) if n.startswith("LLAMA_FTYPE_MOSTLY_"))
    for name in arguments.quantisations:
        if name not in known:
            raise JobError(f"Quantisation {name!r} is unknown; allowed are {', '.join(known)}.")
    base = Path(arguments.base)
    if (base.exists() or arguments.base.count("/") != 1) and not (base / "config.json").is_file():
        raise JobError(f"Base {arguments.base!r} is neither a folder with a config.json nor a model id like 'Qwen/Qwen3-4B'; correct --base.")
    if arguments.adapter and not (arguments.adapter / "adapter_config.json").is_file():
        raise JobError(f"Adapter {str(arguments.adapter)!r} has no adapter_config.json; give the folder that train_sft.py wrote.")
    for option, path in (("--chat-template", arguments.chat_template), ("--system-file", arguments.system_file)):
        if path and not path.is_file():
            raise JobError(f"File {str(path)!r} does not exist; correct {option}.")
    if arguments.llama_cpp and not (arguments.llama_cpp / "convert_hf_to_gguf.py").is_file():
        raise JobError(f"Folder {str(arguments.llama_cpp)!r} has no convert_hf_to_gguf.py; leave out --llama-cpp to fetch it.")
    if not arguments.name or set(arguments.name) & set('/\\ "'):
        raise JobError(f"Name {arguments.name!r} is no file name; use letters, digits, dots and dashes.")


def fetch_converter(folder: Path) -> Path:
    """Takes the converter out of the sources of llama-cpp-python: PyPI's gguf is older and does not fit it."""
    version = importlib.metadata.version("llama-cpp-python")
    emit("progress", step="fetching the converter", version=version)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary=llama-cpp-python", "--dest", str(folder), f"llama-cpp-python=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = folder / f"llama_cpp_python-{version}.tar.gz"
    if done.returncode or not archive.is_file():
        raise JobError(f"Could not download the sources of llama-cpp-python {version}: {done.stderr.strip()[-200:]!r}; give --llama-cpp.")
    top = f"llama_cpp_python-{version}/vendor/llama.cpp/"
    with tarfile.open(archive) as tar:
        wanted = [m for m in tar.getmembers() if m.name.startswith(tuple(top + part for part in ("convert_hf_", "conversion/", "gguf-py/")))]
        tar.extractall(folder, members=wanted, filter="data")
    archive.unlink()
    return folder / top


def merge(arguments: argparse.Namespace, merged: Path) -> tuple[Any, Any]:
    """The 16-bit model and its tokenizer, both also saved for the converter. A 4-bit base would neither merge well nor convert."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(arguments.base, revision=arguments.base_revision, dtype=torch.bfloat16)
        source = arguments.adapter or arguments.base
        tokenizer = AutoTokenizer.from_pretrained(source, revision=None if arguments.adapter else arguments.base_revision)
        if arguments.adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(arguments.adapter)).merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise JobError(f"Could not merge adapter {str(arguments.adapter)!r} into base {arguments.base!r}: {reason}") from None
    if arguments.chat_template:
        tokenizer.chat_template = arguments.chat_template.read_text(encoding="utf-8")
    if not isinstance(tokenizer.chat_template, str):
        raise JobError("The tokenizer has no chat template of its own; give one with --chat-template.")
    model.save_pretrained(merged)
    tokenizer.save_pretrained(merged)
    return model, tokenizer


def reference(model: Any, ids: list[list[int]], dtype: str) -> list[Any]:
    import torch

    model = model.to(getattr(torch, dtype)).eval()
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([row])).logits[0].float().numpy() for row in ids]


def run_converter(folder: Path, merged: Path, target: Path, fallback: str | None) -> bool:
    """Runs llama.cpp's own converter in this process; True when the fallback pre-tokenizer had to be used."""
    sys.path[:0] = [str(folder / "gguf-py"), str(folder)]
    import logging

    import conversion.base
    import convert_hf_to_gguf

    used = []
    original = conversion.base.TextModel.get_vocab_base_pre

    def with_fallback(self: Any, tokenizer: Any) -> str:
        try:
            return original(self, tokenizer)
        except NotImplementedError:
            if not fallback:
                raise
            used.append(fallback)
            return fallback

    conversion.base.TextModel.get_vocab_base_pre = with_fallback
    argv, sys.argv = sys.argv, ["convert_hf_to_gguf.py", str(merged), "--outfile", str(target), "--outtype", "f16"]
    logging.getLogger().addHandler(logging.NullHandler())
    logging.disable(logging.WARNING)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            convert_hf_to_gguf.main()
    except NotImplementedError:
        raise JobError("llama.cpp does not know this tokenizer; if it is of your own making, name its pattern with --fallback-pre-tokenizer.") from None
    except (SystemExit, ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise JobError(f"llama.cpp's converter refused the merged model: {type(error).__name__} {' '.join(str(error).split())[:200]}") from None
    finally:
        sys.argv = argv
        logging.disable(logging.NOTSET)
    return bool(used)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """llama.cpp writes to the file descriptor, past Python's sys.stderr."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def load(path: Path, context: int, threads: int, *, logits: bool = False) -> Any:
    import llama_cpp

    try:
        with quiet():
            return llama_cpp.Llama(str(path), n_ctx=context, n_threads=threads, n_threads_batch=threads, logits_all=logits, verbose=False)
    except ValueError as error:
        raise JobError(f"llama.cpp cannot load {path.name}: {error}; the export was given up.") from None


def quantise(source: Path, target: Path, name: str, threads: int) -> None:
    import ctypes

    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name.upper()}")
    parameters.nthread = threads
    with quiet():
        code = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters))
    if code:
        raise JobError(f"llama.cpp could not quantise {source.name} to {name} (code {code}); the export was given up.")


def fallen_back(path: Path, name: str) -> dict[str, str]:
    """Matrices that did not get the type asked for, because their rows do not divide into its blocks."""
    from gguf import GGUFReader

    family = "_K" if "_k" in name else name.upper()
    matrices = [tensor for tensor in GGUFReader(path).tensors if len(tensor.shape) > 1]
    return {str(t.name): t.tensor_type.name.lower() for t in matrices if not t.tensor_type.name.endswith(family)}


def stop_of(tokenizer: Any) -> tuple[str, int]:
    probe = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "REPLY"}]
    after = tokenizer.apply_chat_template(probe, tokenize=False).split("REPLY")[-1].lstrip()
    for number, token in sorted(tokenizer.added_tokens_decoder.items(), key=lambda item: -len(item[1].content)):
        if token.special and after.startswith(token.content):
            return token.content, number
    raise JobError(f"The chat template ends a reply with {after[:20]!r}, not with a special token, so a reply could not end.")


def check_f16(llm: Any, path: Path, tokenizer: Any, texts: list[str], logits: list[Any], arguments: argparse.Namespace) -> dict[str, Any]:
    import llama_cpp
    import numpy
    from gguf import GGUFReader

    field = GGUFReader(path).get_field("tokenizer.chat_template")
    if field is None or field.contents() != tokenizer.chat_template:
        raise JobError("The chat template in the GGUF differs from the tokenizer's; the export was given up.")
    for text in [*texts, *TRICKY]:
        ours = tokenizer(text, add_special_tokens=False)["input_ids"]
        theirs = llm.tokenize(text.encode(), add_bos=False, special=True)
        if ours != theirs:
            raise JobError(f"llama.cpp cuts {text[:60]!r} into other tokens ({len(theirs)}) than the tokenizer ({len(ours)}); check the pre-tokenizer.")
    stop, number = stop_of(tokenizer)
    vocabulary = llama_cpp.llama_model_get_vocab(llm.model)
    if not llama_cpp.llama_vocab_is_eog(vocabulary, number):
        raise JobError(f"llama.cpp would not stop at {stop!r} (token {number}); make it the tokenizer's eos_token and export again.")
    worst, same, positions = 0.0, 0, 0
    for text, wanted in zip(texts, logits, strict=True):
        llm.reset()
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        llm.eval(ids)
        found = numpy.asarray(llm.scores[: len(ids)])[:, : wanted.shape[1]]
        worst = max(worst, float(numpy.abs(found - wanted[:, : found.shape[1]]).max()))
        same += int((found.argmax(1) == wanted.argmax(1)).sum())
        positions += len(ids)
    agreement = same / positions
    if not (worst <= arguments.logit_tolerance and agreement >= arguments.min_agreement):
        raise JobError(
            f"The f16 GGUF computes something else than the merged model: logits differ by up to {worst:.3f} (allowed {arguments.logit_tolerance:g}),"
            f" {agreement:.3f} of the most likely tokens agree (needed {arguments.min_agreement:g})."
        )
    return {
        "chat_template_identical": True,
        "texts_tokenized_alike": len(texts) + len(TRICKY),
        "stop_token": stop,
        "stop_token_id": number,
        "eos_token_id": llm.token_eos(),
        "positions_compared": positions,
        "max_logit_difference": round(worst, 5),
        "logit_tolerance": arguments.logit_tolerance,
        "argmax_agreement": round(agreement, 4),
        "min_agreement": arguments.min_agreement,
    }


def try_reply(path: Path, messages: list[dict[str, str]], arguments: argparse.Namespace) -> dict[str, Any]:
    llm = load(path, 1024, arguments.threads)
    try:
        choice = llm.create_chat_completion(messages=messages, max_tokens=arguments.reply_tokens, temperature=0.0)["choices"][0]
    except RuntimeError as error:
        raise JobError(f"{path.name} loads but cannot answer: {error}; the export was given up.") from None
    finally:
        llm.close()
    reply = choice["message"]["content"] or ""
    if not reply.strip():
        raise JobError(f"{path.name} answers {messages[-1]['content'][:40]!r} with nothing; the export was given up.")
    return {"prompt": messages[-1]["content"], "reply": reply, "ended_by_itself": choice["finish_reason"] == "stop"}


def modelfile(gguf: str, template: str, stop: str, context: int, system: str) -> str:
    """Ollama's build file. For ChatML it must carry a template, since Ollama recognises Qwen's in no version."""
    if '"""' in system:
        raise JobError('The system prompt contains """, which a Modelfile cannot hold; remove it.')
    lines = [f"FROM ./{gguf}"]
    if START in template:
        lines.append(f'TEMPLATE """{CHATML}"""')
    lines += [f'PARAMETER stop "{stop}"', f"PARAMETER num_ctx {context}"]
    if system:
        lines.append(f'SYSTEM """{system}"""')
    return "\n".join(lines) + "\n"


START = "<|im_start|>"
CHATML = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}{{ if not $last }}<|im_end|>
{{ end }}
{{- end }}
{{- if and $last (ne .Role "assistant") }}<|im_start|>assistant
{{ end }}
{{- end }}"""


def facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def export(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Builds and checks everything in the work folder; returns what export.json says."""
    import gc

    converter = arguments.llama_cpp or fetch_converter(work)
    emit("progress", step="merging")
    model, tokenizer = merge(arguments, work / "merged")
    system = arguments.system_file.read_text(encoding="utf-8").strip() if arguments.system_file else ""
    head = [{"role": "system", "content": system}] if system else []
    chats = [[*head, {"role": "user", "content": prompt}] for prompt in PROMPTS]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    logits = reference(model, ids, arguments.reference_dtype)
    del model
    gc.collect()
    emit("progress", step="converting")
    done = work / "done"
    done.mkdir()
    f16 = done / f"{arguments.name}-f16.gguf"
    fell_back = run_converter(converter, work / "merged", f16, arguments.fallback_pre_tokenizer)
    emit("progress", step="checking")
    llm = load(f16, max(map(len, ids)) + 8, arguments.threads, logits=True)
    checks = check_f16(llm, f16, tokenizer, texts, logits, arguments)
    llm.close()
    checks["fallback_pre_tokenizer"] = arguments.fallback_pre_tokenizer if fell_back else None
    replies, fallen = {}, {}
    for name in arguments.quantisations:
        emit("progress", step=f"quantising to {name}")
        target = done / f"{arguments.name}-{name}.gguf"
        quantise(f16, target, name, arguments.threads)
        fallen[target.name] = fallen_back(target, name)
        replies[target.name] = try_reply(target, chats[1], arguments)
    text = modelfile(f"{arguments.name}-{arguments.quantisations[0]}.gguf", tokenizer.chat_template, checks["stop_token"], arguments.context, system)
    (done / "Modelfile").write_text(text, encoding="utf-8")
    if not arguments.keep_f16:
        f16.unlink()
    files = {path.name: facts(path) for path in sorted(done.iterdir())}
    return {"files": files, "checks": {**checks, "replies": replies}, "fallback_tensors": fallen}


def run(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    check_arguments(arguments)
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "export.json").unlink(missing_ok=True)
    # Beside the finished files, so that moving them is one atomic step each.
    with tempfile.TemporaryDirectory(dir=arguments.output, prefix=".part-") as folder:
        work = Path(folder)
        result = export(arguments, work)
        versions = {name: importlib.metadata.version(name) for name in ("llama-cpp-python", "torch", "transformers", "peft")}
        result |= {
            "name": arguments.name,
            "base": arguments.base,
            "base_revision": arguments.base_revision,
            "adapter": str(arguments.adapter) if arguments.adapter else None,
            "versions": versions,
            "seconds": round(time.monotonic() - started, 1),
        }
        for name in result["files"]:
            shutil.move(work / "done" / name, arguments.output / name)
        part = work / "export.json"
        part.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, arguments.output / "export.json")
    ended = {name: reply["ended_by_itself"] for name, reply in result["checks"]["replies"].items()}
    emit("done", output=str(arguments.output), ended_by_itself=ended, seconds=result["seconds"])


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        run(arguments)
    except JobError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
