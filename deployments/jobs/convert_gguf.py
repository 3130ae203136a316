# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "peft==0.21.2",
#   "accelerate==1.15.0",
#   "huggingface-hub==2.4.0",
#   "httpx2==2.16.2",
#   "sentencepiece==0.2.3",
#   "xllamacpp==2026.10.11549",
#   "numpy==2.4.6",
#   "pyarrow==26.0.1",
#   "pip==25.3",
# ]
# ///
"""Merges an adapter into its 16-bit base, writes it as GGUF in 16 bits and quantised, and proves that llama.cpp runs the same model.

Without --adapter the base itself is exported in the same way. Files appear in --output, and on the Hub with --push-to, only when every
check has passed; export.json is written last, and the tag --push-tag is set last. Of the size of the 16-bit weights, it needs about 1.5
times as RAM with --reference-dtype bfloat16, 2.5 times with float32, and 3 times as disk beside the base.

With --preflight it proves template and tokenizer alone, which needs no weights and takes seconds: before a training is paid for.
With --keep DIR what was merged, converted and measured stays there when a tolerance is not kept, and the next call takes it from there.

    python deployments/jobs/convert_gguf.py --base base --adapter adapter --name understudy --output export
"""

import argparse
import gc
import hashlib
import json
import logging
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Messages = list[dict[str, str]]
# Token ids, and which of them count in the loss.
Example = tuple[list[int], list[bool]]
# Logits of a prompt and of the tokens after it, and these tokens.
Written = tuple[Any, list[int]]
# Of the version whose source distribution holds the converter.
FOLDED = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n' + messages[1]['content']}] + messages[2:] -%}"
    "{%- endif -%}"
)
"""Goes before a template that refuses a system message (Gemma 2's): its makers have the text put before the user's first message, and llama.cpp does so too."""
LLAMA_CPP_PYTHON = "0.3.36"
# Normal quantile of a 95 % interval.
QUANTILE = 1.96
# Within which llama.cpp's server must load a file and render some prompts.
RENDER_SECONDS = 600
# Held-out messages that a quantised file answers for the report, and how freely where the Modelfile says nothing.
SAMPLES, SAMPLE_TEMPERATURE = 2, 0.7
QUESTION = "I slept badly and my work is piling up. I also argued with my sister. What should I do first?"
PROMPTS = [QUESTION, "Hello. How are you?", "3 short lines about 2026: the café, a naïve plan and 12.5 % — it's fine, isn't it?\n\nThanks!"]
TURNS = ["What helps against worry?", "Writing it down, for one.\n\n- What is it?\n- What can wait?", "My exam, and the rent :-/"]
KINDS = ["q2_k", "q3_k_m", "q4_0", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k", "q8_0"]
# Text on which tokenizers part ways: runs of blanks and line breaks, numbers, contractions, scripts, emoji.
TRICKY = ["  two  blanks\n\n\n\tand a tab \r\n", "It's 1234567 o'clock, WE'RE late…", "日本語 и русский ñandú 🙂👍🏽 x=[1,2];"]
HUB_ID = r"[\w-][\w.-]*/[\w.-]+"
ATTEMPTS, LONGEST_PAUSE = 6, 300.0
PASSING = (408, 409, 412, 429, 500, 502, 503, 504)
REMEDIES = {
    401: "check HF_TOKEN: it is wrong, expired or revoked",
    403: "give an HF_TOKEN that may do this",
    404: "check the name, its revision, and that HF_TOKEN may read it",
}


class JobError(Exception):
    """A mistake the caller can mend, or a check that failed; its text is all that is shown."""


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def at_least(least: float, kind: Callable[[str], Any] = int) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not (number := kind(text)) >= least:
            raise argparse.ArgumentTypeError(f"{text} is too small; give {least:g} or more")
        return number

    return read


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    description = " ".join((__doc__ or "").split("\n\n    ")[0].split())
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--base", required=True, help="model folder, or a model id on the Hub")
    add("--base-revision", help="its commit")
    add("--adapter", help="folder that train_sft.py wrote, or a model id on the Hub; its tokenizer and chat template are used")
    add("--adapter-revision", help="its commit")
    add("--chat-template", type=Path, help="Jinja file to embed in place of the tokenizer's chat template")
    add("--output", type=Path, required=True, help="folder for the GGUF files, the Modelfile and export.json")
    add("--name", required=True, help="files are called NAME-f16.gguf, NAME-q4_k_m.gguf, ...")
    add("--quantisations", nargs="+", default=["q4_k_m"], choices=KINDS, help="the first one is the Modelfile's")
    add("--keep-f16", action="store_true", default=True, help="keep the 16-bit GGUF in the output (so by default)")
    add("--discard-f16", dest="keep_f16", action="store_false", default=argparse.SUPPRESS, help="neither keep nor push it")
    add("--llama-cpp", type=Path, help="folder with convert_hf_to_gguf.py, conversion and gguf-py; fetched when not given")
    add("--library", type=Path, help="shared library of llama.cpp; that of xllamacpp when not given")
    add("--preflight", action="store_true", help="only prove that llama.cpp reads template and tokenizer as they are trained; no weights are read")
    add("--keep", type=Path, help="folder in which what was merged, converted and measured is kept when a tolerance is not kept")
    add("--fallback-pre-tokenizer", help="for tokenizers of our own making only: the name llama.cpp gives their pattern, e.g. qwen2")
    add("--context", type=at_least(1), default=4096, help="num_ctx of the Modelfile: the length that was trained")
    add("--temperature", type=at_least(0, float), help="temperature of the Modelfile; Ollama's own when not given")
    add("--system-file", type=Path, help="system prompt for the Modelfile and the checks")
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    add("--threads", type=at_least(1), default=threads, help="threads of llama.cpp")
    add_checks(add)
    add("--push-to", help="model repository on the Hub for the result")
    add("--push-tag", help="tag of the finished commit; if it is there at the start, nothing is done")
    add("--public", action="store_true", help="publish where everybody can read; without it a public repository is refused")
    add("--retry-seconds", type=at_least(0, float), default=1.0, help="pause before a call of the Hub is tried again; it doubles each time")
    arguments = parser.parse_args(argv)
    arguments.quantisations = list(dict.fromkeys(arguments.quantisations))
    if arguments.logit_tolerance is None:
        arguments.logit_tolerance = 0.06 if arguments.reference_dtype == "bfloat16" else 0.02
    if not re.fullmatch(r"\w[\w.-]*", arguments.name, re.ASCII):
        parser.error(f"--name is {arguments.name!r}; give letters, digits, '.', '_' and '-'")
    if arguments.heldout and arguments.dataset:
        parser.error("give either --heldout or --dataset")
    if (arguments.push_to is None) != (arguments.push_tag is None) or not re.fullmatch(r"\w[\w.-]*", arguments.push_tag or "x", re.ASCII):
        parser.error(f"give --push-to and --push-tag together, the tag of letters, digits, '.', '_' and '-'; it is {arguments.push_tag!r}")
    return arguments


def add_checks(add: Callable[..., Any]) -> None:
    share, difference = at_least(0, float), at_least(0, float)
    add("--heldout", type=Path, help="parquet file with a 'messages' column, on which losses are compared; the model's own replies without any")
    add("--dataset", help="instead of that file: a dataset id on the Hub, of which split validation is taken")
    add("--dataset-revision", help="its commit")
    add("--heldout-examples", type=at_least(1), default=8, help="rows of it that are used, spread evenly")
    add("--heldout-tokens", type=at_least(2), default=1024, help="beginning of each row that is used")
    add("--reference-dtype", choices=["float32", "bfloat16"], default="float32", help="arithmetic of the merged model in all comparisons")
    relative = "spread of the differences between f16 GGUF and merged model, as a share of the spread of the logits"
    add("--logit-tolerance", type=difference, help=f"{relative}; 0.02 when not given, 0.06 with a reference in bfloat16")
    add("--min-agreement", type=share, default=0.98, help="least share of positions with the same likeliest token, or one nearly as likely")
    add("--greedy-tokens", type=at_least(1), default=48, help="tokens that both write greedily after each prompt")
    parting = "a reply counts until it parts where two tokens are nearly as likely"
    add("--min-greedy-agreement", type=share, default=0.98, help=f"least share of these that must be equal; {parting}")
    add("--loss-tolerance", type=difference, default=0.05, help="nats per token allowed between base with adapter, merged model and f16 GGUF")
    rise = "nats per token that a quantised file may lose against the f16 GGUF; it fails when its whole 95 %% interval is above; of a base only a warning"
    add("--quantisation-tolerance", type=difference, default=0.1, help=rise)
    add("--reply-tokens", type=at_least(1), default=400, help="within which a reply must end by itself when there is an adapter")
    add("--allow-endless", action="store_true", help="only tell of replies that do not end, instead of failing")


def short(error: object) -> str:
    """An error in one line, without what signs an address and without the token."""
    text = re.sub(r"(https?://\S+?)\?\S*", r"\1", " ".join(str(error).split()) or type(error).__name__)
    return text.replace(os.environ.get("HF_TOKEN") or "\n", "***")[:250].rstrip(". ")


def check_arguments(arguments: argparse.Namespace) -> None:
    for option, name in (("base", "config.json"), ("adapter", "adapter_config.json")):
        given = getattr(arguments, option)
        if given and (Path(given).exists() or not re.fullmatch(HUB_ID, given)) and not (Path(given) / name).is_file():
            wrong = f"{option.capitalize()} {given!r} is neither a folder with {name} nor a model id like 'Qwen/Qwen3-4B'"
            raise JobError(f"{wrong}; correct --{option}.")
    converter = arguments.llama_cpp and arguments.llama_cpp / "convert_hf_to_gguf.py"
    files = {"--llama-cpp": converter, "--heldout": arguments.heldout}
    for option, path in (files | {"--chat-template": arguments.chat_template, "--system-file": arguments.system_file}).items():
        if path and not path.is_file():
            raise JobError(f"File {str(path)!r} does not exist; correct {option}.")
    arguments.system = arguments.system_file.read_text(encoding="utf-8").strip() if arguments.system_file else ""
    if '"""' in arguments.system:
        raise JobError('The system prompt contains """, which a Modelfile cannot hold; remove it.')


# --- the Hub ---


def hub() -> Any:
    return import_module("huggingface_hub").HfApi()


@cache
def llama() -> Any:
    """llama.cpp's C interface, from the file beside this one."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    return import_module("llama_library")


def patiently(arguments: argparse.Namespace, doing: str, call: Callable[[], Any]) -> Any:
    """Calls again while what went wrong may pass, since the Hub's client retries hardly anything by itself."""
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except Exception as raised:
            error: BaseException = raised
            # The client wraps what happened on the way.
            while not isinstance(error, HfHubHTTPError | TransportError | HFValidationError | ConnectionError):
                cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
                if cause is None and isinstance(raised, JobError):
                    raise
                if cause is None:
                    break
                error = cause
            response = getattr(error, "response", None)
            status, asked = (response.status_code, response.headers.get("retry-after", "")) if response is not None else (0, "")
            # Xet knows ConnectionError alone.
            lost = isinstance(error, TransportError | ConnectionError) and not isinstance(error, OfflineModeIsEnabled)
            # An answer that cannot be read, or a file that came short; a file of this machine has an error number.
            lost = lost or not (status or isinstance(error, HFValidationError | OfflineModeIsEnabled) or getattr(error, "errno", None))
            if attempt == ATTEMPTS or not (status in PASSING or lost):
                said = f"the Hub answered {status}: {short(error)}" if status else short(error)
                raise JobError(f"Failed at {doing}, attempt {attempt} of {ATTEMPTS} ({said}); {REMEDIES.get(status, 'try again later')}.") from None
            doubled = arguments.retry_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1)
        time.sleep(min(LONGEST_PAUSE, float(asked) if re.fullmatch(r"\d+(\.\d+)?", asked) else doubled))
    raise AssertionError


def bound_silence() -> None:
    """Limits how long the Hub may be silent in one call; the client itself would wait for ever."""
    import httpx2
    from huggingface_hub.utils._http import hf_request_event_hook, set_client_factory

    hooks: dict[str, list[Callable[..., Any]]] = {"request": [hf_request_event_hook]}
    set_client_factory(lambda: httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=httpx2.Timeout(60, connect=10)))


def refuse_public(arguments: argparse.Namespace, repo: str, kind: str = "model") -> bool:
    """Stops where others can read what is to be private, or where the name leads to another repository; says whether there is one."""
    try:
        found = hub().repo_info(repo, repo_type=kind)
    except import_module("huggingface_hub.errors").RepositoryNotFoundError:
        return False
    if found.id.lower() != repo.lower():
        raise JobError(f"The {kind} {repo!r} is called {found.id!r} now; give that name.")
    if not (found.private or arguments.public):
        raise JobError(f"The {kind} {repo!r} is public, and nothing is pushed there; make it private, or give --public.")
    return True


def open_repository(arguments: argparse.Namespace) -> dict[str, str]:
    """Makes the repository if it is not there and sees that the token may write to it; returns its tags with their commits."""
    api, repo = hub(), arguments.push_to
    if not import_module("huggingface_hub").get_token():
        raise JobError(f"There is no token for {repo!r}; set HF_TOKEN to one that may write, or leave out --push-to.")
    if not patiently(arguments, f"looking at {repo!r}", lambda: refuse_public(arguments, repo)):
        patiently(arguments, f"making {repo!r}", lambda: api.create_repo(repo, private=not arguments.public, exist_ok=True))
    patiently(arguments, f"asking whether the token may write to {repo!r}", lambda: api.auth_check(repo, write=True))
    refs = patiently(arguments, f"reading the tags of {repo!r}", lambda: api.list_repo_refs(repo))
    return {ref.name: ref.target_commit for ref in refs.tags}


def set_tag(arguments: argparse.Namespace, made: str) -> str:
    """Tags the finished commit unless another job was quicker; returns the commit that the tag is at, as it is read back."""
    api, repo, tag = hub(), arguments.push_to, arguments.push_tag
    api.create_tag(repo, tag=tag, revision=made, exist_ok=True)
    there = [ref.target_commit for ref in api.list_repo_refs(repo).tags if ref.name == tag]
    if not there:
        raise JobError(f"{repo!r} has no tag {tag!r}, though it was made; look at the repository.")
    return str(there[0])


def deliver(arguments: argparse.Namespace, names: list[str]) -> None:
    """Makes one commit of the result and tags it last, since the tag is the proof that it is finished."""
    api, repo, tag = hub(), arguments.push_to, arguments.push_tag

    def commit() -> str:
        # New ones each time: used ones remember what the Hub had before, and a commit whose answer was lost would be made twice.
        operations = [import_module("huggingface_hub").CommitOperationAdd(name, str(arguments.output / name)) for name in names]
        head = api.repo_info(repo, revision="main").sha
        api.preupload_lfs_files(repo, operations, revision="main")
        refuse_public(arguments, repo)  # last, for the upload takes long
        return str(api.create_commit(repo, operations, commit_message=f"GGUF {tag}", revision="main", parent_commit=head).oid)

    emit("progress", step="pushing")
    try:
        made = patiently(arguments, f"pushing to {repo!r}", commit)
        made = patiently(arguments, f"tagging {repo!r} with {tag!r}", lambda: set_tag(arguments, made))
    except (JobError, OSError, ValueError, RuntimeError) as error:
        said = str(error).rstrip(".") if isinstance(error, JobError) else short(error)
        raise JobError(f"{said}. The files are finished in {str(arguments.output)!r}; upload them by hand, or run the same again.") from None
    emit("pushed", repo=repo, commit=made, tag=tag)


def fetch(arguments: argparse.Namespace, what: str, weights: bool = True) -> Path:
    """The folder of the base or adapter; one on the Hub is downloaded at one commit, with its weights or without."""
    api, given, revision = hub(), getattr(arguments, what), getattr(arguments, f"{what}_revision")
    if Path(given).is_dir():
        return Path(given)
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        revision = patiently(arguments, f"looking up {given!r}", lambda: api.model_info(given, revision=revision)).sha
        setattr(arguments, f"{what}_revision", revision)
    emit("progress", step=f"downloading {given}")
    kinds = ["*.json", "*.model", "*.jinja", "*.txt", *(["*.safetensors"] if weights else [])]
    wanted = {"allow_patterns": kinds, "ignore_patterns": ["*/*", "consolidated*"]}
    return Path(patiently(arguments, f"downloading {given!r}", lambda: api.snapshot_download(given, revision=revision, **wanted)))


def fetch_converter(folder: Path) -> Path:
    """Takes the converter out of the sources of llama-cpp-python: PyPI's gguf is older and does not fit it."""
    number = LLAMA_CPP_PYTHON
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=llama-cpp-python", f"--dest={folder}"]
    done = subprocess.run([*command, f"llama-cpp-python=={number}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise JobError(f"The sources of llama-cpp-python cannot be downloaded ({done.stderr.strip()[-200:]!r}); give --llama-cpp.")
    top = f"llama_cpp_python-{number}/vendor/llama.cpp/"
    wanted = tuple(top + part for part in ("convert_hf_", "conversion/", "gguf-py/"))
    with tarfile.open(folder / f"llama_cpp_python-{number}.tar.gz") as tar:
        tar.extractall(folder, members=[member for member in tar if member.name.startswith(wanted)], filter="data")
    return folder / top


# --- texts ---


def read_heldout(arguments: argparse.Namespace) -> tuple[str, list[Messages]]:
    """Some conversations that were not trained on, and where they are from."""
    paths, where = [arguments.heldout], arguments.heldout and arguments.heldout.name
    if arguments.dataset:
        api, repo = hub(), arguments.dataset
        info = patiently(arguments, f"looking up the dataset {repo!r}", lambda: api.dataset_info(repo, revision=arguments.dataset_revision))
        names = sorted(sibling.rfilename for sibling in info.siblings)
        names = [name for name in names if re.fullmatch(r"(data/)?validation(-\d+-of-\d+(-\w+)?)?\.parquet", name)]
        where, call = f"{repo}@{info.sha[:12]}, validation", lambda name: api.hf_hub_download(repo, name, repo_type="dataset", revision=info.sha)
        paths = [patiently(arguments, f"downloading {name!r} of {repo!r}", lambda name=name: call(name)) for name in names]
    elif not arguments.heldout:
        return "own replies", []
    try:
        # Not through datasets, which would keep a copy in the home folder.
        parquet = import_module("pyarrow.parquet")
        rows = [row for path in paths for row in parquet.read_table(path, columns=["messages"]).column("messages").to_pylist()]
        chosen = rows[:: max(1, len(rows) // arguments.heldout_examples)][: arguments.heldout_examples]
        chats = [[{"role": str(m["role"]), "content": m["content"].strip()} for m in row] for row in chosen]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wrong = f"{arguments.heldout or where} cannot be read ({short(error)})"
        raise JobError(f"{wrong}; give a parquet file whose column 'messages' has role and content with --heldout or --dataset.") from None
    if not all(any(m["role"] == "assistant" for m in chat) for chat in chats) or not chats:
        raise JobError(f"{arguments.heldout or where} has no rows, or one without an assistant reply; give other ones with --heldout or --dataset.")
    return where, chats


def fold_system(template: str, tokenizer: Any) -> str:
    """Returns a template that takes a system message: itself, or one that puts it before the user's first message."""
    chat = [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]
    try:
        tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False)
    except import_module("jinja2").TemplateError:
        return FOLDED + template
    return template


def load_tokenizer(arguments: argparse.Namespace, folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not (folder / "tokenizer_config.json").is_file():
        raise JobError(f"{str(folder)!r} has no tokenizer; put the one that was trained with there, as train_sft.py does.")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if arguments.chat_template:
        tokenizer.chat_template = arguments.chat_template.read_text(encoding="utf-8")
    if not isinstance(tokenizer.chat_template, str):
        raise JobError("The tokenizer does not have exactly one chat template; give one with --chat-template.")
    # Programs that only read a template do not know what marks the replies for the training. Other tags in their place, not none: a tag
    # takes blanks and line breaks away around it.
    tags = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")
    tokenizer.chat_template = tags.sub(lambda tag: tag[1] + ("endif" if tag[2] else "if true") + tag[3], tokenizer.chat_template)
    tokenizer.chat_template = fold_system(tokenizer.chat_template, tokenizer)
    return tokenizer


def turns(*texts: str) -> Messages:
    """What user and assistant say in turn."""
    return [{"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)]


def render(tokenizer: Any, chat: Messages, prompt: bool = True) -> str:
    try:
        return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt)
    except import_module("jinja2").TemplateError as error:
        roles = ", ".join(message["role"] for message in chat[:4])
        raise JobError(f"The chat template cannot render messages of {roles} ({short(error)}); give another --chat-template or other texts.") from None


def make_chats(tokenizer: Any, system: str) -> list[Messages]:
    """Conversations that wait for a reply, with the given system prompt and, where the template permits, with another and with none."""
    asked = [*map(turns, PROMPTS), turns(*TURNS)]
    heads: list[Messages] = [[{"role": "system", "content": system or "You are a helpful assistant. Be brief."}], []]
    try:
        render(tokenizer, heads[0] + asked[0])
    except JobError:
        if system:
            raise
        heads = [[]]
    if not system:
        heads.reverse()
    return [head + chat for head in heads for chat in asked]


def find_stop(tokenizer: Any) -> tuple[str, int]:
    """The token with which the template ends a reply."""
    after = render(tokenizer, turns("A", "REPLY"), prompt=False).split("REPLY")[-1].lstrip()
    tokens = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if after.startswith(token.content)}
    if not (stop := max(tokens, key=len, default="")):
        raise JobError(f"The chat template ends a reply with {after[:20]!r}, which is no special token; give another --chat-template.")
    return stop, tokens[stop]


def encode(tokenizer: Any, chats: list[Messages], stop: str, limit: int) -> tuple[str, list[Example]]:
    """Tokens of conversations, and which of them are the assistant's: those of its replies and their stop token, or else all."""
    examples: list[Example] = []
    for chat in chats:
        text, spans, at = render(tokenizer, chat, prompt=False), [], 0
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        for message in chat:
            said = message["content"] + (stop if message["role"] == "assistant" else "")
            start = text.find(said, at)
            at = max(at, start + len(said))
            spans += [(start, at)] if message["role"] == "assistant" and start >= 0 else []
        offsets = encoded["offset_mapping"][:limit]
        examples.append((encoded["input_ids"][:limit], [any(start < end and first < end and start < last for first, last in spans) for start, end in offsets]))
    counted = [(ids, counts) for ids, counts in examples if any(counts[1:])]
    return ("assistant replies", counted) if counted else ("all tokens", [(ids, [True] * len(ids)) for ids, _ in examples])


# --- the merged model ---


def load_model(base: Path, adapter: Path | None, dtype: str) -> Any:
    """The base with its adapter beside it, not merged. A 4-bit base would neither merge well nor convert."""
    import torch
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype), trust_remote_code=False, use_safetensors=True).eval()
    if adapter:
        # First, since PEFT would read a pickle where there is no such file.
        with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
            saved = {name for name in file.keys() if "lora_" in name}  # noqa: SIM118
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
        taken = {name for name in get_peft_model_state_dict(model, save_embedding_layers=False) if "lora_" in name}
        # PEFT leaves out what has no place in the base, with a warning, and the base would be exported as it is.
        if astray := sorted(saved ^ taken):
            wrong = f"{len(astray)} matrices of the adapter have no counterpart in the base, or the base's have none in it, such as {astray[0]}"
            raise JobError(f"{wrong}; give the --base that it was trained on.")
    return model


def check_origin(arguments: argparse.Namespace, adapter: Path) -> None:
    """Sees that the adapter is merged into the commit that it was trained on, where both are known."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    name, revision = config.get("base_model_name_or_path"), str(config.get("revision"))
    if not re.fullmatch(HUB_ID, str(name)) or not arguments.base_revision:
        return
    if name != arguments.base:
        emit("warning", text=f"The adapter was trained on {name} and is merged into {arguments.base}; see that they are the same model.")
    elif re.fullmatch(r"[0-9a-f]{40}", revision) and revision != arguments.base_revision:
        wrong = f"The adapter was trained on {name} at {revision}, and --base-revision is {arguments.base_revision}"
        raise JobError(f"{wrong}; merge it into the same commit.")


def save_merged(model: Any, tokenizer: Any, folder: Path, origins: list[Path]) -> None:
    """Rounds the weights to 16 bits and writes what the converter reads; the model keeps its arithmetic."""
    import torch

    dtype = model.dtype
    # Not model.to(), which would round buffers too, such as the frequencies of positions.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    model.save_pretrained(folder)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    tokenizer.save_pretrained(folder)
    keep_pieces(tokenizer, folder, origins)


def keep_pieces(tokenizer: Any, folder: Path, origins: list[Path]) -> None:
    """Copies the file of a SentencePiece tokenizer."""
    pieces = next((origin / "tokenizer.model" for origin in origins if (origin / "tokenizer.model").is_file()), None)
    if pieces:
        # transformers writes neither it nor the list of added tokens, and the converter needs both for SentencePiece tokenizers.
        shutil.copy(pieces, folder)
        added = {number: {"content": token.content, "special": token.special} for number, token in tokenizer.added_tokens_decoder.items()}
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")) | {"added_tokens_decoder": added}
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def token_losses(logits_of: Callable[[list[int]], Any], examples: list[Example]) -> list[list[float]]:
    """Of each example the losses of the tokens that count; logits_of gives a row of logits for each token."""
    import torch

    losses = []
    with torch.inference_mode():
        for ids, counts in examples:
            mask = torch.tensor(counts[1:])
            found = torch.nn.functional.cross_entropy(logits_of(ids)[:-1][mask].float(), torch.tensor(ids[1:])[mask], reduction="none")
            losses.append([round(loss, 6) for loss in found.tolist()])
    return losses


def torch_losses(model: Any, examples: list[Example]) -> list[list[float]]:
    import torch

    return token_losses(lambda ids: model(input_ids=torch.tensor([ids])).logits[0], examples)


def mean(losses: list[list[float]]) -> float:
    return round(math.fsum(map(math.fsum, losses)) / sum(map(len, losses)), 5)


def compare(these: list[list[float]], those: list[list[float]]) -> tuple[float, float]:
    """Mean difference of paired losses, and half of its 95 % interval; tokens of one text are not independent, where there are several texts."""
    apart = [[a - b for a, b in zip(this, that, strict=True)] for this, that in zip(these, those, strict=True)]
    count = sum(map(len, apart))
    centre = math.fsum(map(math.fsum, apart)) / count
    groups = apart if len(apart) > 1 else [[one] for one in apart[0]]
    spread = math.sqrt(math.fsum(math.fsum(one - centre for one in group) ** 2 for group in groups)) / count
    return round(centre, 5), round(QUANTILE * spread, 5)


def write_greedily(model: Any, ids: list[int], ends: set[int], limit: int) -> Written:
    """Logits of a prompt and of the likeliest tokens after it, and these tokens."""
    import torch

    rows, written, cache, given = [], [], None, ids
    with torch.inference_mode():
        while True:
            out = model(input_ids=torch.tensor([given]), past_key_values=cache, use_cache=True)
            rows.append(out.logits[0].float())
            if len(written) == limit or (written and written[-1] in ends):
                return torch.cat(rows).numpy(), written
            cache, given = out.past_key_values, [int(rows[-1][-1].argmax())]
            written += given


# --- llama.cpp ---


def run_converter(folder: Path, merged: Path, target: Path, fallback: str | None, begins: bool, vocabulary_only: bool = False) -> str | None:
    """Runs llama.cpp's own converter in this process; returns the fallback pre-tokenizer if it had to be used.

    Args:
        begins: whether a prompt begins with the BOS token. Where it does not, the file says so, and no program puts one there that was not trained.
    """
    sys.path[:0] = [str(folder / "gguf-py"), str(folder)]
    text_model, converter = import_module("conversion.base").TextModel, import_module("convert_hf_to_gguf")
    original, used = text_model.get_vocab_base_pre, []
    special = import_module("gguf").SpecialVocab
    adding = special.add_to_gguf

    def with_bos(self: Any, *rest: Any, **more: Any) -> None:
        if not begins:
            self.add_special_token["bos"] = False
        adding(self, *rest, **more)

    def with_fallback(self: Any, tokenizer: Any) -> str:
        try:
            return original(self, tokenizer)
        except NotImplementedError:
            if not fallback:
                raise
            used.append(fallback)
            return fallback

    text_model.get_vocab_base_pre, special.add_to_gguf = with_fallback, with_bos
    sys.argv = ["convert_hf_to_gguf.py", str(merged), "--outfile", str(target), "--outtype", "f16", *(["--vocab-only"] if vocabulary_only else [])]
    try:
        converter.main()
    except (Exception, SystemExit) as error:
        advice = "if its tokenizer is of your own making, name its pattern with --fallback-pre-tokenizer"
        raise JobError(f"llama.cpp's converter refuses the model ({type(error).__name__}: {short(error)}); {advice}.") from None
    finally:
        text_model.get_vocab_base_pre, special.add_to_gguf = original, adding
    return used[0] if used else None


def quantise(source: Path, target: Path, kind: str, arguments: argparse.Namespace) -> dict[str, str]:
    """Returns the matrices that got another type, because their rows do not divide into the blocks of the one asked for."""
    fallen = {name: found for name, (found, _) in llama().quantise(source, target, kind, arguments.threads, arguments.library).items()}
    if fallen:
        others = ", ".join(sorted(set(fallen.values())))
        text = f"{target.name}: {len(fallen)} matrices are quantised to {others}, since their rows do not divide by the blocks of {kind}."
        emit("fallback", text=text, file=target.name, matrices=len(fallen))
    return fallen


# --- checks ---


def passed(name: str, **figures: Any) -> dict[str, Any]:
    emit("check", name=name, **figures)
    return figures


def check_vocabulary(llm: Any, tokenizer: Any) -> dict[str, Any]:
    """Special tokens have the same numbers on both sides."""
    special = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    for number, text in special.items():
        there, parsed = llm.text_of(number) or "nothing", llm.tokenize(text)
        if there != text or parsed != [number]:
            wrong = f"Special token {text!r} is number {number} in the tokenizer; in the GGUF {there!r} has that number, and the text is read as {parsed}"
            raise JobError(f"{wrong}; check the tokenizer's files.")
    for name in ("bos", "eos"):
        ours, theirs = getattr(tokenizer, f"{name}_token_id"), llm.special(name)
        if ours not in (None, theirs):
            raise JobError(f"The {name} token is number {theirs} in the GGUF and {ours} in the tokenizer; make config.json and tokenizer_config.json agree.")
    return {"special_tokens_alike": len(special)}


def check_ends(llm: Any, stop: tuple[str, int]) -> dict[str, Any]:
    """A reply's stop token ends the generation."""
    text, number = stop
    if not llm.is_end(number):
        raise JobError(f"llama.cpp would not stop where the template ends a reply, at {text!r}; make that the tokenizer's eos_token.")
    return {"stop_token": text, "stop_token_id": number}


def check_texts(llm: Any, tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    """The GGUF has the same chat template, and llama.cpp reads each prompt as the tokens that were trained, a BOS before it included."""
    if llm.metadata("tokenizer.chat_template") != tokenizer.chat_template:
        raise JobError("The chat template in the GGUF differs from the tokenizer's; look at --chat-template.")
    bos = tokenizer.bos_token or ""
    for text in [*texts, *TRICKY]:
        wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
        # llama.cpp's server takes the BOS off a rendered prompt where it puts one there itself.
        prompt = text.removeprefix(bos) if llm.adds_bos else text
        found = llm.tokenize(prompt, begin=text in texts)
        if wanted != found:
            first = next((n for n, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), min(len(wanted), len(found)))
            ours, theirs = tokenizer.convert_ids_to_tokens(wanted[first : first + 3]), [llm.text_of(token) for token in found[first : first + 3]]
            wrong = f"{text[:60]!r} becomes {len(wanted)} tokens in the tokenizer and {len(found)} in llama.cpp, from token {first + 1} on {ours} and {theirs}"
            raise JobError(f"{wrong}; check the chat template, the tokenizer's pattern and --fallback-pre-tokenizer.")
    return {"chat_template_identical": True, "texts_tokenized_alike": len(texts) + len(TRICKY), "adds_bos": llm.adds_bos}


def check_rendering(path: Path, tokenizer: Any, chats: list[Messages], texts: list[str], adds_bos: bool) -> dict[str, Any]:
    """llama.cpp's server makes the prompts that were trained of the template; where xllamacpp is not installed, nobody is there to ask."""
    if find_spec("xllamacpp") is None:
        return {"prompts_rendered_alike": None}
    # In a process of its own, since the server takes the signals that end this one.
    command = [sys.executable, str(Path(__file__).with_name("llama_library.py")), "render", str(path)]
    try:
        done = subprocess.run(command, input=json.dumps(chats), capture_output=True, text=True, check=False, timeout=RENDER_SECONDS)
    except subprocess.TimeoutExpired:
        emit("warning", text=f"llama.cpp's server did not render the chat template within {RENDER_SECONDS} s; that both render alike is not proven.")
        return {"prompts_rendered_alike": None}
    if done.returncode:
        raise JobError(
            short((done.stderr.strip().splitlines() or [f"llama.cpp's server died with exit code {done.returncode}; try another template"])[-1]) + "."
        )
    for text, prompt in zip(texts, json.loads(done.stdout), strict=True):
        # Its server takes the BOS off a rendered prompt where it puts one there itself.
        wanted = text.removeprefix(tokenizer.bos_token or "") if adds_bos else text
        if wanted != prompt:
            same = next((n for n, (a, b) in enumerate(zip(wanted, prompt, strict=False)) if a != b), min(len(wanted), len(prompt)))
            part = slice(max(0, same - 20), same + 40)
            wrong = f"llama.cpp renders {prompt[part]!r} where the tokenizer's template renders {wanted[part]!r}"
            raise JobError(f"{wrong}; give a simpler --chat-template.")
    return {"prompts_rendered_alike": len(texts)}


def measure_logits(llm: Any, ids: list[list[int]], references: list[Written], slack: float) -> dict[str, Any]:
    """How the 16-bit GGUF's logits differ from the merged model's.

    Args:
        slack: share of the logits' spread by which two tokens may differ and count as equally likely.
    """
    import numpy

    errors, spreads, divergences, same, worst = 0.0, 0.0, [], 0, 0.0
    for row, (reference, written) in zip(ids, references, strict=True):
        found = llm.logits([*row, *written])
        # Either side may have padded its vocabulary.
        width = min(reference.shape[1], found.shape[1])
        found, wanted = found[:, :width], reference[:, :width]
        apart = found - wanted
        # A shift of all logits of a position changes no probability.
        errors += float((apart - apart.mean(1, keepdims=True)).__pow__(2).mean(1).sum())
        spreads += float(wanted.var(1).sum())
        divergences += divergence(wanted, found).tolist()
        behind = wanted.max(1) - wanted[numpy.arange(len(wanted)), found.argmax(1)]
        same += int((behind <= slack * wanted.std(1)).sum())
        worst = max(worst, float(numpy.abs(apart).max()))
    figures = {"positions_compared": len(divergences), "max_logit_difference": round(worst, 5)}
    figures |= {"logit_difference": round(math.sqrt(errors / spreads), 5), "kl_divergence": round(math.fsum(divergences) / len(divergences), 7)}
    return figures | {"argmax_agreement": round(same / len(divergences), 4)}


def divergence(wanted: Any, found: Any) -> Any:
    """Kullback-Leibler divergence of each row's probabilities from those of the row that is wanted, in nats."""
    import numpy

    def logs(rows: Any) -> Any:
        shifted = rows - rows.max(1, keepdims=True)
        return shifted - numpy.log(numpy.exp(shifted).sum(1, keepdims=True))

    ours, theirs = logs(wanted.astype("float64")), logs(found.astype("float64"))
    return (numpy.exp(ours) * (ours - theirs)).sum(1)


def measure_greedy(llm: Any, ids: list[list[int]], references: list[Written], slack: float) -> dict[str, Any]:
    """How far both write the same, until they part where two tokens are nearly as likely to the merged model; what follows then says nothing."""
    same = compared = ties = 0
    for row, (logits, wanted) in zip(ids, references, strict=True):
        found = llm.write(row, len(wanted))
        at = next((number for number, (ours, theirs) in enumerate(zip(wanted, found, strict=False)) if ours != theirs), None)
        if at is None:
            same, compared = same + len(found), compared + len(found)
            continue
        scores = logits[len(row) - 1 + at]
        tie = bool(found[at] < len(scores) and scores[wanted[at]] - scores[found[at]] <= slack * scores.std())
        same, compared, ties = same + at, compared + (at if tie else len(wanted)), ties + tie
    return {"greedy_tokens_compared": compared, "greedy_agreement": round(same / compared if compared else 1.0, 4), "greedy_near_ties": ties}


def answer(llm: Any, tokenizer: Any, chat: Messages, limit: int, temperature: float = 0.0) -> dict[str, Any]:
    """The reply to a short chat, and whether it ended by itself."""
    written = llm.write(tokenizer(render(tokenizer, chat), add_special_tokens=False)["input_ids"], limit, temperature)
    text = tokenizer.decode(written, skip_special_tokens=True).strip()
    return {"prompt": chat[-1]["content"], "reply": text, "tokens": len(written), "ended_by_itself": llm.is_end(written[-1])}


def measure_quantised(small: Path, f16: Path, measured: dict[str, Any], tokenizer: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Losses, divergence from the 16-bit file and replies of a quantised file."""
    examples: list[Example] = measured["examples"]
    exact, llm = load(f16, measured["context"], arguments), load(small, measured["context"], arguments)
    divergences = []

    def logits_of(ids: list[int]) -> Any:
        wanted, found = exact.logits(ids), llm.logits(ids)
        counts = next(counts for row, counts in examples if row == ids)
        divergences.extend(divergence(wanted, found)[:-1][counts[1:]].tolist())
        return import_module("torch").from_numpy(found)

    losses = token_losses(logits_of, examples)
    said = answer(llm, tokenizer, measured["chats"][0], arguments.reply_tokens)
    # As the model is used: the likeliest tokens of a small one go round in circles.
    samples = [answer(llm, tokenizer, chat, arguments.reply_tokens, SAMPLE_TEMPERATURE) for chat in measured["asked"]]
    exact.close()
    llm.close()
    return {"losses": losses, "kl_divergence": round(math.fsum(divergences) / len(divergences), 6), "reply": said, "samples": samples}


# --- whether what was measured is good enough ---


def judge(measured: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Holds the measured figures against the tolerances; returns all of them for export.json.

    Raises:
        JobError: one is not kept. It names the option, and says when a larger value is safe.
    """
    f16, losses = f"{arguments.name}-f16.gguf", measured["losses"]
    checks = dict(measured["checks"]) | {
        "heldout_loss": {},
        "heldout_loss_difference": {},
        "heldout_loss_interval": {},
        "kl_divergences": {},
        "replies": {},
        "samples": {},
    }
    checks |= {name: getattr(arguments, name) for name in ("loss_tolerance", "logit_tolerance", "min_agreement", "min_greedy_agreement")}
    checks |= {name: getattr(arguments, name) for name in ("quantisation_tolerance", "reply_tokens")}
    checks["merged_loss"] = mean(losses["merged"])
    if "adapter" in losses:
        checks["adapter_loss"] = mean(losses["adapter"])
        difference, _ = check_loss("the merged model", losses["merged"], "base and adapter, not merged,", losses["adapter"], "--loss-tolerance", arguments)
        checks |= passed("merge", adapter_loss=checks["adapter_loss"], merged_loss=checks["merged_loss"], merged_loss_difference=difference)
    passed("logits", **{name: checks[name] for name in ("positions_compared", "logit_difference", "kl_divergence", "argmax_agreement")})
    if not (checks["logit_difference"] <= arguments.logit_tolerance and checks["argmax_agreement"] >= arguments.min_agreement):
        found = f"logits differ by {checks['logit_difference']:.3g} of their spread and {checks['argmax_agreement']:.3f} of the likeliest tokens agree"
        allowed = f"allowed are --logit-tolerance {arguments.logit_tolerance:g} and --min-agreement {arguments.min_agreement:g}"
        safe = "raise the first only for a reference in 16-bit arithmetic, since rounding in 32 bits stays below 0.02"
        raise JobError(f"The f16 GGUF computes something else than the merged model: {found}; {allowed}; {safe}.")
    passed("greedy replies", **{name: checks[name] for name in ("greedy_tokens_compared", "greedy_agreement", "greedy_near_ties")})
    if checks["greedy_agreement"] < arguments.min_greedy_agreement:
        wrong = f"{checks['greedy_agreement']:.3f} of {checks['greedy_tokens_compared']} greedy tokens agree"
        wrong = f"The f16 GGUF writes other replies than the merged model: {wrong}; --min-greedy-agreement is {arguments.min_greedy_agreement:g}"
        raise JobError(f"{wrong}, and a lower one is safe only where the logits agree and the replies are short.")
    for file in (f16, *(f"{arguments.name}-{kind}.gguf" for kind in arguments.quantisations)):
        judge_file(file, f16, measured, checks, arguments)
    return checks


def judge_file(file: str, f16: str, measured: dict[str, Any], checks: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Puts the loss and the reply of a GGUF file into the checks, if they are as they must be."""
    losses, said = measured["losses"], measured["replies"][file]
    if file == f16:
        against, option = "the merged model", "--loss-tolerance"
        difference, half = check_loss(file, losses[file], against, losses["merged"], option, arguments)
    else:
        against, option = "the f16 GGUF", "--quantisation-tolerance"
        difference, half = check_loss(file, losses[file], against, losses[f16], option, arguments, rise=True, warn=not arguments.adapter)
        checks["kl_divergences"][file], checks["samples"][file] = measured["kl"][file], measured["samples"][file]
    loss, tolerance = mean(losses[file]), getattr(arguments, option[2:].replace("-", "_"))
    checks["heldout_loss"][file] = passed("loss", file=file, loss=loss, difference=difference, interval=half, against=against, tolerance=tolerance)["loss"]
    checks["heldout_loss_difference"][file], checks["heldout_loss_interval"][file] = difference, half
    checks["replies"][file] = passed("reply", file=file, **said)
    if arguments.adapter and not said["reply"]:
        raise JobError(f"{file} answers {said['prompt']!r} with nothing; train more, or try another of --quantisations.")
    if arguments.adapter and not said["ended_by_itself"] and not arguments.allow_endless:
        wrong = f"{file} does not end its reply within --reply-tokens {arguments.reply_tokens}: {said['reply'][-60:]!r}"
        raise JobError(f"{wrong}; train more, give more tokens, or allow it with --allow-endless, which is safe where replies may be cut.")


def check_loss(
    this: str, ours: list[list[float]], that: str, theirs: list[list[float]], option: str, arguments: argparse.Namespace, rise: bool = False, warn: bool = False
) -> tuple[float, float]:
    """Returns the mean difference of two losses and half of its interval, if it is not surely above the tolerance; with rise a lower one is never too low."""
    (difference, half), tolerance = compare(ours, theirs), getattr(arguments, option[2:].replace("-", "_"))
    if not (difference if rise else abs(difference)) - half <= tolerance:
        tokens = sum(map(len, ours))
        wrong = f"On {tokens:,} held-out tokens the mean loss of {this} is {mean(ours):.4f} and that of {that} {mean(theirs):.4f}"
        safe = "a larger one is safe where the replies in the log read well" if rise else "a larger one is not safe: the files would be another model"
        text = f"{wrong}, {difference:+.3g} ± {half:.2g}; {option} is {tolerance:g}, and {safe}."
        if not warn or math.isnan(difference):
            raise JobError(text)
        emit("warning", text=text)
    return difference, half


# --- the export ---


def ollama_template(tokenizer: Any, chats: list[Messages]) -> str | None:
    """ChatML in Ollama's template language, if that renders the same prompts; Ollama recognises Gemma's and Llama's in a GGUF, but not Qwen's."""
    opening, closing = "<|im_start|>", "<|im_end|>\n"
    first, _, rest = render(tokenizer, turns("A")).partition(f"{opening}user\nA{closing}")
    past = render(tokenizer, turns("A", "B", "C"))
    # What the template puts before a past reply and before the one to come, such as an empty think block.
    block, coming = past.partition(f"{opening}assistant\n")[2].partition(f"B{closing}")[0], rest.removeprefix(f"{opening}assistant\n")

    def chatml(chat: Messages) -> str:
        turns = [f"{opening}{m['role']}\n{block if m['role'] == 'assistant' else ''}{m['content']}{closing}" for m in chat]
        return ("" if chat[0]["role"] == "system" else first) + "".join(turns) + f"{opening}assistant\n{coming}"

    if any(render(tokenizer, chat) != chatml(chat) for chat in chats) or re.search(r'\{\{|"""', first + block + coming):
        return None
    otherwise = f"{{{{ else }}}}{first}" if first else ""
    before = f'{{{{ if eq .Role "assistant" }}}}{block}{{{{ end }}}}' if block else ""
    return (
        f"{{{{ if .System }}}}{opening}system\n{{{{ .System }}}}{closing}{otherwise}{{{{ end }}}}"
        f'{{{{ range .Messages }}}}{{{{ if ne .Role "system" }}}}{opening}{{{{ .Role }}}}\n{before}{{{{ .Content }}}}{closing}{{{{ end }}}}{{{{ end }}}}'
        f"{opening}assistant\n{coming}"
    )


def write_modelfile(arguments: argparse.Namespace, folder: Path, tokenizer: Any, chats: list[Messages], stops: list[str]) -> None:
    template = ollama_template(tokenizer, chats)
    if not template and not re.search(r"<start_of_turn>|<\|start_header_id\|>", tokenizer.chat_template):
        emit("warning", text="The Modelfile has no TEMPLATE: Ollama may not know this chat template. Use llama.cpp, or write one.")
    lines = [
        f"FROM ./{arguments.name}-{arguments.quantisations[0]}.gguf",
        *(f'PARAMETER stop "{stop}"' for stop in stops if stop.isprintable() and '"' not in stop),
    ]
    lines += [f"PARAMETER num_ctx {arguments.context}"]
    lines += [f"PARAMETER temperature {arguments.temperature:g}"] if arguments.temperature is not None else []
    lines += [f'TEMPLATE """{template}"""'] if template else []
    # a quotation mark at its end would be taken for one of the three that end it
    end = "\n" * arguments.system.endswith('"')
    lines += [f'SYSTEM """{arguments.system}{end}"""'] if arguments.system else []
    (folder / "Modelfile").write_text("\n".join(lines) + "\n", encoding="utf-8")


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
    """Merges, saves and measures the model; returns what it writes, the held-out examples, figures, and the examples' losses."""
    base, adapter = folders[-1], folders[0] if arguments.adapter else None
    ends, limit = {stop[1], tokenizer.eos_token_id}, arguments.greedy_tokens
    emit("progress", step="loading the model")
    model = load_model(base, adapter, arguments.reference_dtype)
    if not heldout:
        written = [write_greedily(model, row, ends, limit)[1] for row in ids[: arguments.heldout_examples]]
        replies = [tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in written]
        heldout = [[*chat, {"role": "assistant", "content": said}] for chat, said in zip(chats, replies, strict=False)]
    over, examples = encode(tokenizer, heldout, stop[0], arguments.heldout_tokens)
    figures: dict[str, Any] = {"heldout_examples": len(examples), "heldout_loss_over": over}
    figures["heldout_tokens"] = sum(sum(counts[1:]) for _, counts in examples)
    losses = {"adapter": torch_losses(model, examples)} if adapter else {}
    if adapter:
        emit("progress", step="merging")
        model = model.merge_and_unload(safe_merge=True)
    save_merged(model, tokenizer, folder, folders)
    emit("progress", step="asking the merged model")
    references = [write_greedily(model, row, ends, limit) for row in ids]
    losses["merged"] = torch_losses(model, examples)
    also = model.generation_config.eos_token_id if model.generation_config else None
    numbers = [stop[1], tokenizer.eos_token_id, *(also if isinstance(also, list) else [also])]
    figures["stop_tokens"] = list(dict.fromkeys(tokenizer.convert_ids_to_tokens(number) for number in numbers if number in range(len(tokenizer))))
    return references, examples, figures, losses


def load(path: Path, context: int, arguments: argparse.Namespace) -> Any:
    return llama().Llama(path, context, arguments.threads, arguments.library)


def begins_with_bos(tokenizer: Any, texts: list[str]) -> bool:
    return bool(tokenizer.bos_token) and all(text.startswith(tokenizer.bos_token) for text in texts)


def preflight(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Proves with the vocabulary alone that llama.cpp reads template and tokenizer as they are trained."""
    folder = fetch(arguments, "base", weights=False)
    tokenizer = load_tokenizer(arguments, folder)
    chats, stop = make_chats(tokenizer, arguments.system), find_stop(tokenizer)
    texts = [render(tokenizer, chat) for chat in chats]
    plain, target = work / "tokenizer", work / "vocabulary.gguf"
    tokenizer.save_pretrained(plain)
    keep_pieces(tokenizer, plain, [folder])
    shutil.copy(folder / "config.json", plain)
    run_converter(arguments.llama_cpp or fetch_converter(work), plain, target, arguments.fallback_pre_tokenizer, begins_with_bos(tokenizer, texts), True)
    return check_reading(load(target, 0, arguments), tokenizer, stop, texts)


def check_reading(llm: Any, tokenizer: Any, stop: tuple[str, int], texts: list[str]) -> dict[str, Any]:
    """What llama.cpp must read alike, whatever the weights are."""
    checks = passed("vocabulary", **check_vocabulary(llm, tokenizer))
    checks |= passed("texts", **check_texts(llm, tokenizer, texts))
    checks |= passed("ends", **check_ends(llm, stop))
    llm.close()
    return checks


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Merges, converts and measures the 16-bit file in the work folder; returns what judging needs, which is kept there too."""
    kept, f16 = work / "measured.json", work / f"{arguments.name}-f16.gguf"
    if kept.is_file() and f16.is_file():
        emit("progress", step="taking what was merged and measured before")
        measured: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return measured
    # First what is small and may be wrong.
    where, heldout = read_heldout(arguments)
    folders = [fetch(arguments, "adapter" if arguments.adapter else "base")]
    tokenizer = load_tokenizer(arguments, folders[0])
    chats, stop = make_chats(tokenizer, arguments.system), find_stop(tokenizer)
    texts = [render(tokenizer, chat) for chat in chats]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    if arguments.adapter:
        folders.append(fetch(arguments, "base"))
        check_origin(arguments, folders[0])
    converter = arguments.llama_cpp or fetch_converter(work)
    references, examples, checks, losses = merge(arguments, folders, tokenizer, chats, ids, heldout, stop, work / "merged")
    # Before llama.cpp loads a model of its own.
    gc.collect()
    emit("progress", step="converting")
    fallback = run_converter(converter, work / "merged", f16, arguments.fallback_pre_tokenizer, begins_with_bos(tokenizer, texts))
    shutil.rmtree(work / "merged")
    tokenizer.save_pretrained(work / "tokenizer")
    emit("progress", step="checking")
    context = max(*map(len, ids), *(len(row) for row, _ in examples)) + max(arguments.greedy_tokens, arguments.reply_tokens)
    llm = load(f16, context, arguments)
    # Two tokens whose logits are as near as rounding may put them apart count as equally likely.
    slack = 4 * arguments.logit_tolerance
    checks |= measure_logits(llm, ids, references, slack) | measure_greedy(llm, ids, references, slack)
    losses[f16.name] = token_losses(lambda row: import_module("torch").from_numpy(llm.logits(row)), examples)
    replies = {f16.name: answer(llm, tokenizer, chats[0], arguments.reply_tokens)}
    llm.close()
    checks |= check_reading(load(f16, 0, arguments), tokenizer, stop, texts)
    checks |= passed("prompts", **check_rendering(f16, tokenizer, chats, texts, checks["adds_bos"])) | {"fallback_pre_tokenizer": fallback, "heldout": where}
    # The first messages of conversations that were held out: what the reader of a report sees answered by both arms.
    asked = [chat[: next(number for number, message in enumerate(chat) if message["role"] == "user") + 1] for chat in heldout[:SAMPLES]]
    measured = {"checks": checks, "losses": losses, "replies": replies, "examples": examples, "chats": chats, "asked": asked, "context": context}
    measured |= {"kl": {}, "samples": {}, "fallen": {}}
    write_json(kept, measured)
    return measured


def export(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Builds, measures and judges everything in the work folder; returns what export.json says."""
    measured = measure(arguments, work)
    f16 = work / f"{arguments.name}-f16.gguf"
    tokenizer = import_module("transformers").AutoTokenizer.from_pretrained(work / "tokenizer", trust_remote_code=False)
    for kind in arguments.quantisations:
        target = f16.with_name(f"{arguments.name}-{kind}.gguf")
        if target.name in measured["replies"]:
            continue
        emit("progress", step=f"quantising to {kind}")
        measured["fallen"][target.name] = quantise(f16, target, kind, arguments)
        emit("progress", step=f"checking {target.name}")
        found = measure_quantised(target, f16, measured, tokenizer, arguments)
        for part, name in (("losses", "losses"), ("kl", "kl_divergence"), ("replies", "reply"), ("samples", "samples")):
            measured[part][target.name] = found[name]
        write_json(work / "measured.json", measured)
    checks = judge(measured, arguments)
    done = work / "done"
    shutil.rmtree(done, ignore_errors=True)
    done.mkdir()
    write_modelfile(arguments, done, tokenizer, measured["chats"], checks["stop_tokens"])
    wanted = [*([f16.name] if arguments.keep_f16 else []), *(f"{arguments.name}-{kind}.gguf" for kind in arguments.quantisations)]
    for name in wanted:
        (work / name).rename(done / name)
    files = {}
    for path in sorted(done.iterdir()):
        with path.open("rb") as file:
            files[path.name] = {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    fallen = {name: there for name, there in measured["fallen"].items() if name in files}
    return {"files": files, "checks": checks, "fallback_tensors": fallen, "fallback_counts": {name: len(there) for name, there in fallen.items()}}


def identify(arguments: argparse.Namespace) -> str:
    """Hash of all that the merged model and its measures follow from; tolerances are no part of it."""
    digest = hashlib.sha256()
    for path in (Path(__file__), Path(__file__).with_name("llama_library.py"), arguments.chat_template, arguments.system_file, arguments.heldout):
        digest.update(path.read_bytes() if path else b"-")
    for given, revision in ((arguments.base, arguments.base_revision), (arguments.adapter, arguments.adapter_revision)):
        folder = Path(given or "-")
        listed = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()) if folder.is_dir() else revision
        digest.update(json.dumps([given, listed]).encode())
    names = ("name", "dataset", "dataset_revision", "reference_dtype", "heldout_examples", "heldout_tokens", "greedy_tokens", "reply_tokens")
    digest.update(json.dumps([getattr(arguments, name) for name in (*names, "fallback_pre_tokenizer")]).encode())
    return digest.hexdigest()[:24]


def named(value: Any) -> Any:
    """A path without its folders: where things lie on this machine is nobody's business where the result is published."""
    is_path = isinstance(value, Path) or (isinstance(value, str) and value and (Path(value).is_absolute() or Path(value).exists()))
    return Path(value).resolve().name if is_path else value


def write_json(path: Path, content: Any) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def begin_work(arguments: argparse.Namespace) -> Path:
    """Returns the folder to work in: with what an earlier call kept of the same model, or empty."""
    for stale in ("export.json", f"{arguments.name}-f16.gguf"):
        (arguments.output / stale).unlink(missing_ok=True)
    # Within the output, so that moving the finished files is one atomic step each.
    work = arguments.output / ".part"
    shutil.rmtree(work, ignore_errors=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.keep:
        # Once, since looking a model up on the Hub adds its commit to the arguments.
        arguments.identity = identify(arguments)
        with suppress(FileNotFoundError):
            (arguments.keep / arguments.identity).rename(work)
    work.mkdir(exist_ok=True)
    return work


def keep(arguments: argparse.Namespace, work: Path) -> None:
    """Moves what was merged, converted and measured to where the next call finds it, in the place of what is there of other models."""
    shutil.rmtree(arguments.keep, ignore_errors=True)
    arguments.keep.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        work.rename(arguments.keep / arguments.identity)


def run(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    check_arguments(arguments)
    # Before the libraries are imported: their bars and warnings would drown what is said here.
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    bound_silence()
    tags = open_repository(arguments) if arguments.push_to else {}
    if arguments.push_tag in tags:
        emit("pushed", repo=arguments.push_to, commit=tags[arguments.push_tag], tag=arguments.push_tag, already=True)
        return
    work = begin_work(arguments)
    try:
        if arguments.preflight:
            write_json(arguments.output / "preflight.json", preflight(arguments, work))
            emit("done", preflight=True, seconds=round(time.monotonic() - started, 1))
            return
        result = export(arguments, work)
        told = ("name", "base", "base_revision", "adapter", "adapter_revision", "quantisations", "context", "temperature", "reference_dtype")
        result |= {name: named(getattr(arguments, name)) if name != "name" else arguments.name for name in told} | {
            "seconds": round(time.monotonic() - started, 1)
        }
        result |= {"versions": {name: version(name) for name in ("xllamacpp", "torch", "transformers", "peft")}}
        arguments.output.mkdir(parents=True, exist_ok=True)
        for name in result["files"]:
            shutil.move(work / "done" / name, arguments.output / name)
        write_json(arguments.output / "export.json", result)
        (work / "measured.json").unlink()
    except llama().LibraryError as error:
        raise JobError(str(error)) from None
    except (OSError, ValueError, RuntimeError, LookupError, TypeError) as error:
        # What transformers, peft and llama.cpp raise at files that do not fit; a missing or broken one is among them.
        wrong = f"{arguments.base!r} was not exported ({type(error).__name__}: {short(error)})"
        raise JobError(f"{wrong}; check --base, --adapter, and the memory and space left.") from error
    finally:
        if arguments.keep and (work / "measured.json").is_file():
            keep(arguments, work)
        shutil.rmtree(work, ignore_errors=True)
    if arguments.push_to:
        deliver(arguments, [*result["files"], "export.json"])
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
