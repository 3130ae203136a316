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
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import time
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

QUESTION = "I slept badly and my work is piling up. I also argued with my sister. What should I do first?"
PROMPTS = [QUESTION, "Hello. How are you?", "3 short lines about 2026: the café, a naïve plan and 12.5 % — it's fine, isn't it?\n\nThanks!"]
KINDS = ["q2_k", "q3_k_m", "q4_0", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k", "q8_0"]
# Text on which tokenizers part ways: runs of blanks and line breaks, numbers, contractions, scripts, emoji.
TRICKY = ["  two  blanks\n\n\n\tand a tab \r\n", "It's 1234567 o'clock, WE'RE late…", "日本語 и русский ñandú 🙂👍🏽 x=[1,2];"]
# Ollama's template language. It recognises Gemma's and Llama's templates in a GGUF, but not Qwen's, so ChatML is written out.
CHATML = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}"
    '{{ range .Messages }}{{ if ne .Role "system" }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}{{ end }}'
    "<|im_start|>assistant\n"
)


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
    add("--quantisations", nargs="+", default=["q4_k_m"], choices=KINDS, help="the first one is the Modelfile's")
    add("--keep-f16", action="store_true", default=True, help="keep the 16-bit GGUF in the output (so by default)")
    add("--discard-f16", dest="keep_f16", action="store_false", default=argparse.SUPPRESS, help="do not keep it")
    add("--llama-cpp", type=Path, help="folder with convert_hf_to_gguf.py, conversion and gguf-py; fetched when not given")
    add("--fallback-pre-tokenizer", help="for tokenizers of our own making only: the name llama.cpp gives their pattern, e.g. qwen2")
    add("--context", type=int, default=4096, help="num_ctx of the Modelfile")
    add("--system-file", type=Path, help="system prompt for the Modelfile and the checks")
    add("--logit-tolerance", type=float, default=0.1, help="largest difference allowed between f16 GGUF and merged model")
    add("--min-agreement", type=float, default=0.98, help="least share of positions with the same most likely token")
    add("--reference-dtype", choices=["float32", "bfloat16"], default="float32", help="arithmetic of the merged model in that comparison")
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    add("--threads", type=int, default=threads, help="threads of llama.cpp")
    return parser.parse_args(argv)


def short(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:250]}"


def check_arguments(arguments: argparse.Namespace) -> None:
    base, adapter, converter = Path(arguments.base), arguments.adapter, arguments.llama_cpp
    if (base.exists() or arguments.base.count("/") != 1) and not (base / "config.json").is_file():
        raise JobError(f"Base {arguments.base!r} is neither a folder with config.json nor a model id like 'Qwen/Qwen3-4B'; correct --base.")
    needed = {"--adapter": adapter and adapter / "adapter_config.json", "--llama-cpp": converter and converter / "convert_hf_to_gguf.py"}
    for option, path in (needed | {"--chat-template": arguments.chat_template, "--system-file": arguments.system_file}).items():
        if path and not path.is_file():
            raise JobError(f"File {str(path)!r} does not exist; correct {option}.")


def fetch_converter(folder: Path) -> Path:
    """Takes the converter out of the sources of llama-cpp-python: PyPI's gguf is older and does not fit it."""
    number = version("llama-cpp-python")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=llama-cpp-python", f"--dest={folder}"]
    done = subprocess.run([*command, f"llama-cpp-python=={number}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise JobError(f"The sources of llama-cpp-python cannot be downloaded ({done.stderr.strip()[-200:]!r}); give --llama-cpp.")
    top = f"llama_cpp_python-{number}/vendor/llama.cpp/"
    wanted = tuple(top + part for part in ("convert_hf_", "conversion/", "gguf-py/"))
    with tarfile.open(folder / f"llama_cpp_python-{number}.tar.gz") as tar:
        tar.extractall(folder, members=[member for member in tar if member.name.startswith(wanted)], filter="data")
    return folder / top


def merge(arguments: argparse.Namespace, merged: Path) -> tuple[Any, Any]:
    """The 16-bit model and its tokenizer, both also saved for the converter. A 4-bit base would neither merge well nor convert."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pinned = {"revision": arguments.base_revision}
    model: Any = AutoModelForCausalLM.from_pretrained(arguments.base, dtype=torch.bfloat16, **pinned)
    tokenizer: Any = AutoTokenizer.from_pretrained(arguments.adapter or arguments.base, **({} if arguments.adapter else pinned))
    if arguments.adapter:
        model = PeftModel.from_pretrained(model, str(arguments.adapter)).merge_and_unload(safe_merge=True)
    if arguments.chat_template:
        tokenizer.chat_template = arguments.chat_template.read_text(encoding="utf-8")
    if not isinstance(tokenizer.chat_template, str):
        raise JobError("The tokenizer does not have exactly one chat template; give one with --chat-template.")
    model.save_pretrained(merged)
    tokenizer.save_pretrained(merged)
    return model, tokenizer


def reference(model: Any, ids: list[list[int]], dtype: str) -> list[Any]:
    import torch

    model = model.to(getattr(torch, dtype)).eval()
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([row])).logits[0].float().numpy() for row in ids]


def run_converter(folder: Path, merged: Path, target: Path, fallback: str | None) -> str | None:
    """Runs llama.cpp's own converter in this process; returns the fallback pre-tokenizer if it had to be used."""
    sys.path[:0] = [str(folder / "gguf-py"), str(folder)]
    text_model, converter = import_module("conversion.base").TextModel, import_module("convert_hf_to_gguf")
    original, used = text_model.get_vocab_base_pre, []

    def with_fallback(self: Any, tokenizer: Any) -> str:
        try:
            return original(self, tokenizer)
        except NotImplementedError:
            if not fallback:
                raise
            used.append(fallback)
            return fallback

    text_model.get_vocab_base_pre = with_fallback
    sys.argv = ["convert_hf_to_gguf.py", str(merged), "--outfile", str(target), "--outtype", "f16"]
    try:
        converter.main()
    except (Exception, SystemExit) as error:
        advice = "if its tokenizer is of your own making, name its pattern with --fallback-pre-tokenizer"
        raise JobError(f"llama.cpp's converter refuses the model ({short(error)}); {advice}.") from None
    finally:
        text_model.get_vocab_base_pre = original
    return used[0] if used else None


def load(path: Path, context: int, threads: int, *, logits: bool = False) -> Any:
    import llama_cpp

    return llama_cpp.Llama(str(path), n_ctx=context, n_threads=threads, n_threads_batch=threads, logits_all=logits, verbose=False)


def quantise(source: Path, target: Path, kind: str, threads: int) -> dict[str, str]:
    """Returns the matrices that got another type, because their rows do not divide into the blocks of the one asked for."""
    import ctypes

    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind.upper()}"), threads
    if llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)):
        raise JobError(f"llama.cpp cannot quantise {source.name} to {kind}; choose other --quantisations.")
    matrices = [tensor for tensor in import_module("gguf").GGUFReader(target).tensors if len(tensor.shape) > 1]
    family = "_K" if "_k" in kind else kind.upper()
    return {str(tensor.name): tensor.tensor_type.name.lower() for tensor in matrices if not tensor.tensor_type.name.endswith(family)}


def check_texts(llm: Any, path: Path, tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    """The GGUF has the same chat template, cuts text into the same tokens and stops where the template ends a reply."""
    import llama_cpp

    field = import_module("gguf").GGUFReader(path).get_field("tokenizer.chat_template")
    if field is None or field.contents() != tokenizer.chat_template:
        raise JobError("The chat template in the GGUF differs from the tokenizer's; look at --chat-template.")
    for text in [*texts, *TRICKY]:
        ours, theirs = tokenizer(text, add_special_tokens=False)["input_ids"], llm.tokenize(text.encode(), add_bos=False, special=True)
        if ours != theirs:
            wrong = f"llama.cpp cuts {text[:60]!r} into {len(theirs)} tokens, the tokenizer into {len(ours)} or others"
            raise JobError(f"{wrong}; check the tokenizer's pattern and --fallback-pre-tokenizer.")
    probe = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "REPLY"}]
    after = tokenizer.apply_chat_template(probe, tokenize=False).split("REPLY")[-1].lstrip()
    tokens = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if after.startswith(token.content)}
    stop = max(tokens, key=len, default="")
    if not stop or not llama_cpp.llama_vocab_is_eog(llama_cpp.llama_model_get_vocab(llm.model), tokens[stop]):
        raise JobError(f"llama.cpp would not stop where the template ends a reply, at {after[:20]!r}; make that the tokenizer's eos_token.")
    counted = {"chat_template_identical": True, "texts_tokenized_alike": len(texts) + len(TRICKY)}
    return counted | {"stop_token": stop, "stop_token_id": tokens[stop]}


def check_logits(llm: Any, ids: list[list[int]], logits: list[Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """The 16-bit GGUF computes what the merged model computes."""
    import numpy

    differences, same = [], []
    for row, wanted in zip(ids, logits, strict=True):
        llm.reset()
        llm.eval(row)
        # Either side may have padded its vocabulary.
        width = min(wanted.shape[1], llm.n_vocab())
        found, expected = numpy.asarray(llm.scores[: len(row), :width]), wanted[:, :width]
        differences.append(float(numpy.abs(found - expected).max()))
        same += (found.argmax(1) == expected.argmax(1)).tolist()
    worst, agreement = max(differences), sum(same) / len(same)
    if not (worst <= arguments.logit_tolerance and agreement >= arguments.min_agreement):
        found = f"logits differ by up to {worst:.3f} and {agreement:.3f} of the likeliest tokens agree"
        allowed = f"allowed are --logit-tolerance {arguments.logit_tolerance:g} and --min-agreement {arguments.min_agreement:g}"
        raise JobError(f"The f16 GGUF computes something else than the merged model: {found}; {allowed}.")
    figures = {"positions_compared": len(same), "max_logit_difference": round(worst, 5), "argmax_agreement": round(agreement, 4)}
    return figures | {"logit_tolerance": arguments.logit_tolerance, "min_agreement": arguments.min_agreement}


def try_reply(path: Path, messages: list[dict[str, str]], threads: int) -> dict[str, Any]:
    choice = load(path, 1024, threads).create_chat_completion(messages=messages, max_tokens=256, temperature=0.0)["choices"][0]
    if not (reply := (choice["message"]["content"] or "").strip()):
        raise JobError(f"{path.name} answers with nothing; try another of --quantisations.")
    return {"prompt": messages[-1]["content"], "reply": reply, "ended_by_itself": choice["finish_reason"] == "stop"}


def modelfile(gguf: str, template: str, stop: str, context: int, system: str) -> str:
    if '"""' in system:
        raise JobError('The system prompt contains """, which a Modelfile cannot hold; remove it.')
    lines = [f"FROM ./{gguf}", f'PARAMETER stop "{stop}"', f"PARAMETER num_ctx {context}"]
    lines += [f'TEMPLATE """{CHATML}"""'] if "<|im_start|>" in template else []
    lines += [f'SYSTEM """{system}"""'] if system else []
    return "\n".join(lines) + "\n"


def export(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Builds and checks everything in the work folder; returns what export.json says."""
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
    emit("progress", step="converting")
    f16 = work / "done" / f"{arguments.name}-f16.gguf"
    f16.parent.mkdir()
    fallback = run_converter(converter, work / "merged", f16, arguments.fallback_pre_tokenizer)
    emit("progress", step="checking")
    llm = load(f16, max(map(len, ids)) + 8, arguments.threads, logits=True)
    checks = check_texts(llm, f16, tokenizer, texts) | check_logits(llm, ids, logits, arguments)
    llm.close()
    checks |= {"fallback_pre_tokenizer": fallback, "replies": {}}
    fallen: dict[str, dict[str, str]] = {}
    for kind in arguments.quantisations:
        emit("progress", step=f"quantising to {kind}")
        target = f16.with_name(f"{arguments.name}-{kind}.gguf")
        fallen[target.name] = quantise(f16, target, kind, arguments.threads)
        checks["replies"][target.name] = try_reply(target, chats[0], arguments.threads)
    first = f"{arguments.name}-{arguments.quantisations[0]}.gguf"
    text = modelfile(first, tokenizer.chat_template, checks["stop_token"], arguments.context, system)
    f16.with_name("Modelfile").write_text(text, encoding="utf-8")
    if not arguments.keep_f16:
        f16.unlink()
    files = {}
    for path in sorted(f16.parent.iterdir()):
        with path.open("rb") as file:
            files[path.name] = {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    return {"files": files, "checks": checks, "fallback_tensors": fallen}


def run(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    check_arguments(arguments)
    # Before the libraries are imported: their bars and warnings would drown what is said here.
    os.environ["TQDM_DISABLE"] = "1"
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
    for stale in ("export.json", f"{arguments.name}-f16.gguf"):
        (arguments.output / stale).unlink(missing_ok=True)
    # Within the output, so that moving the finished files is one atomic step each.
    work = arguments.output / ".part"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        result = export(arguments, work)
        named = {name: getattr(arguments, name) for name in ("name", "base", "base_revision")}
        named |= {"adapter": str(arguments.adapter) if arguments.adapter else None, "seconds": round(time.monotonic() - started, 1)}
        result |= named | {"versions": {name: version(name) for name in ("llama-cpp-python", "torch", "transformers", "peft")}}
        for name in result["files"]:
            (work / "done" / name).replace(arguments.output / name)
        part = work / "export.json"
        part.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(arguments.output / "export.json")
    except (OSError, ValueError, RuntimeError) as error:
        # What transformers, peft and llama.cpp raise at files that do not fit; a missing or broken one is among them.
        raise JobError(f"{arguments.base!r} was not exported ({short(error)}); check --base, --adapter and the space left.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
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
