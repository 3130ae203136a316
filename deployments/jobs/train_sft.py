# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "trl==1.16.0",
#   "peft==0.21.2",
#   "accelerate==1.15.0",
#   "huggingface-hub==2.4.0",
#   "httpx2==2.16.2",
#   "datasets==5.2.0",
#   "sentencepiece==0.2.3",
#   "bitsandbytes==0.50.2; sys_platform == 'linux'",
#   "trackio==0.43.0",
# ]
# ///
"""Trains a LoRA adapter on conversations, learning the assistant's replies alone; QLoRA (4-bit base) on a GPU with --qlora.

Before the weights are loaded it counts what --max-length would cut and proves, on the labels that are trained, that exactly the
assistant's texts and their stop token are learnt. A run that was stopped goes on from its newest checkpoint, in --output or, with
--push-to, on the Hub. metrics.json is written last: an --output without it is not finished; a --push-to is when --push-tag is there.

    OMP_NUM_THREADS=1 python train_sft.py --train t.parquet --validation v.parquet --base base --output adapter --max-length 1024
"""

import argparse
import hashlib
import json
import logging
import math
import os
import random
import re
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.metadata import version
from itertools import groupby, takewhile, zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any

Messages = list[dict[str, str]]
# Token ids and labels, of which -100 is not learnt, as arrays of 32-bit integers.
Example = tuple[Any, Any]
SPLITS = ("train", "validation")
# Options that are stored under the names TRL knows them by, and handed on unchanged.
TRAINER = ("num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "warmup_steps")
TRAINER += ("lr_scheduler_type", "optim", "max_length", "activation_checkpointing", "packing", "seed")
# Options that may differ between a run and the one that goes on with its checkpoint; base and data are compared by what is in them.
FREE = {"train", "validation", "dataset", "dataset_revision", "base", "base_revision", "output", "chat_template", "allow_truncated", "save_steps"}
FOLDED = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n' + messages[1]['content']}] + messages[2:] -%}"
    "{%- endif -%}"
)
"""Goes before a template that refuses a system message (Gemma 2's): its makers have the text put before the user's first message, and llama.cpp does so too."""
FREE |= {"push_to", "push_tag", "public", "retry_seconds", "trackio_project", "trackio_space"}
# Written into a checkpoint last.
COMPLETE = "complete.json"
# Tokens on which the arithmetics of a CPU are compared, and by how much their losses may differ: a tenth of what a quantised file may lose.
TRIAL_TOKENS, TRIAL_LOSS = 512, 0.01
# Smaller models spend their time on everything but multiplication.
TRIAL_PARAMETERS = 50_000_000
ATTEMPTS, LONGEST_PAUSE = 6, 300.0
PASSING = (408, 409, 412, 429, 500, 502, 503, 504)
REMEDIES = {
    401: "check HF_TOKEN: it is wrong, expired or revoked",
    403: "give an HF_TOKEN that may do this",
    404: "check the name, its revision, and that HF_TOKEN may read it",
}


class JobError(Exception):
    """A mistake the caller can mend: the one sentence that is shown and, if not 1, the exit code."""


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def count(text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--train", type=Path, help="parquet file with a 'messages' column")
    add("--validation", type=Path, help="the same, never trained on")
    add("--dataset", help="instead of the two files: a dataset id on the Hub with splits train and validation")
    add("--dataset-revision", help="its commit")
    add("--base", required=True, help="model folder, or a model id on the Hub")
    add("--base-revision", help="its commit")
    add("--output", type=Path, required=True, help="folder for checkpoints, the adapter, the tokenizer and metrics.json")
    add("--chat-template", help="Jinja file, or name of one of TRL's (qwen3_instruct_2507), in place of the base's chat template")
    add("--reply-prefix", default="", help="text the template itself puts before each reply and has learnt, such as a think block")
    add_knobs(add)
    add("--max-length", type=count, required=True, help="tokens of an example; what is longer loses its end")
    add("--allow-truncated", type=float, default=0.0, help="share of examples that may be cut before the job stops with exit code 2")
    add("--save-steps", type=count, help="steps between checkpoints, in place of one each epoch; the newest is kept")
    add("--push-to", help="model repository on the Hub for the result and, while it trains, the newest checkpoint")
    add("--push-tag", help="tag of the finished commit; if it is there at the start, nothing is trained")
    add("--public", action="store_true", help="publish where everybody can read; without it a public repository is refused")
    add("--retry-seconds", type=float, default=1.0, help="pause before a call of the Hub is tried again; it doubles each time")
    add("--trackio-project", help="log to this Trackio project as well")
    add("--trackio-space", help="Space that shows it, as owner/name")
    arguments = parser.parse_args(argv)
    if (arguments.dataset is None) == (arguments.train is None) or (arguments.train is None) != (arguments.validation is None):
        parser.error("give either --train with --validation, or --dataset")
    if (arguments.push_to or arguments.push_tag) and not re.fullmatch(r"[\w.-]+/[\w.-]+ \w+([.-]\w+)*", f"{arguments.push_to} {arguments.push_tag}", re.ASCII):
        parser.error(f"give --push-to owner/name together with --push-tag word-1.2; they are {arguments.push_to!r} and {arguments.push_tag!r}")
    return arguments


def add_knobs(add: Callable[..., Any]) -> None:
    add("--lora-r", dest="r", type=count, default=64, help="rank of the adapter")
    add("--lora-alpha", type=int, default=128, help="its scale is alpha / rank")
    add("--lora-dropout", type=float, default=0.05, help="dropout before the adapter; costs half as much memory again on long texts")
    add("--target-modules", nargs="+", default=["q_proj", "k_proj", "v_proj", "o_proj"], help="such names, or all-linear")
    add("--qlora", action="store_true", help="4-bit base (nf4, double quantisation) where CUDA is present; plain LoRA elsewhere")
    add("--attention", default="sdpa", help="transformers' attn_implementation")
    add("--epochs", dest="num_train_epochs", type=float, default=3.0, help="passes over the training examples")
    add("--max-steps", type=int, default=-1, help="exact number of optimiser steps; -1 leaves it to --epochs")
    add("--batch-size", dest="per_device_train_batch_size", type=count, default=1, help="examples on the device at once")
    add("--gradient-accumulation", dest="gradient_accumulation_steps", type=count, default=8, help="batches of an optimiser step")
    add("--packing", action="store_true", help="put several short examples into one row of --max-length tokens, which do not see each other")
    add("--learning-rate", type=float, default=2e-4, help="peak of the schedule")
    add("--schedule", dest="lr_scheduler_type", default="cosine", help="transformers' lr_scheduler_type")
    add("--warmup", dest="warmup_steps", type=float, default=0.1, help="share of the steps in which the learning rate rises")
    add("--optimizer", dest="optim", default="adamw_torch", help="transformers' optim; paged_adamw_8bit saves GPU memory")
    add("--gradient-checkpointing", dest="activation_checkpointing", action=argparse.BooleanOptionalAction, default=True)
    add("--offload-checkpoints", action="store_true", help="keep what gradient checkpointing keeps in the machine's memory, not the GPU's")
    add("--evaluate", choices=["epoch", "end"], default="epoch", help="when the validation loss is taken, besides before training")
    add("--seed", type=int, default=0)


def short(error: object) -> str:
    """An error in one line, without what signs an address and without the token."""
    text = re.sub(r"(https?://\S+?)\?\S*", r"\1", " ".join(str(error).split()) or type(error).__name__)
    return text.replace(os.environ.get("HF_TOKEN") or "\n", "***")[:250].rstrip(". ")


def named(value: Any) -> Any:
    """A path without its folders: where things lie on this machine is nobody's business where the result is published."""
    is_path = isinstance(value, Path) or (isinstance(value, str) and value and (Path(value).is_absolute() or Path(value).exists()))
    return Path(value).resolve().name if is_path else value


def write_json(path: Path, content: Any) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


# --- the Hub ---


def hub() -> Any:
    return import_module("huggingface_hub").HfApi()


def patiently(arguments: argparse.Namespace, doing: str, call: Callable[[], Any], files: bool = False) -> Any:
    """Calls again while what went wrong may pass, since the Hub's client retries hardly anything by itself.

    With files, the call reads files too, whose faults are raised as they are; without, whatever the client raises comes of the Hub's answer.
    """
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except Exception as raised:
            error: BaseException = raised
            # transformers and the client wrap what happened on the way.
            while not isinstance(error, HfHubHTTPError | TransportError | HFValidationError | ConnectionError):
                cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
                if cause is None and (files or isinstance(raised, JobError)):
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
                said = (f"the Hub answered {status}: " if status else "") + short(getattr(error, "server_message", None) or error)
                remedy = REMEDIES.get(404 if isinstance(error, HFValidationError) else status, "try again later")
                raise JobError(f"Failed at {doing}, attempt {attempt} of {ATTEMPTS} ({said}); {remedy}.") from None
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


def open_repository(arguments: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """Makes the repository if it is not there and sees that the token may write to it; returns its branches and tags with their commits."""
    api, repo = hub(), arguments.push_to
    if not import_module("huggingface_hub").get_token():
        raise JobError(f"There is no token for {repo!r}; set HF_TOKEN to one that may write, or leave out --push-to.")
    if not patiently(arguments, f"looking at {repo!r}", lambda: refuse_public(arguments, repo)):
        patiently(arguments, f"making {repo!r}", lambda: api.create_repo(repo, private=not arguments.public, exist_ok=True))
    patiently(arguments, f"asking whether the token may write to {repo!r}", lambda: api.auth_check(repo, write=True))
    refs = patiently(arguments, f"reading the branches of {repo!r}", lambda: api.list_repo_refs(repo))
    return {ref.name: ref.target_commit for ref in refs.branches}, {ref.name: ref.target_commit for ref in refs.tags}


def commit(arguments: argparse.Namespace, branch: str, files: dict[str, Path], message: str) -> str:
    api, repo = hub(), arguments.push_to

    def attempt() -> str:
        # New ones each time: used ones remember what the Hub had before, and a commit whose answer was lost would be made twice.
        operations = [import_module("huggingface_hub").CommitOperationAdd(name, str(path)) for name, path in sorted(files.items())]
        head = api.repo_info(repo, revision=branch).sha
        api.preupload_lfs_files(repo, operations, revision=branch)
        refuse_public(arguments, repo)  # last, for the upload takes long
        return str(api.create_commit(repo, operations, commit_message=message, revision=branch, parent_commit=head).oid)

    return patiently(arguments, f"pushing to {repo!r}, branch {branch!r}", attempt)


def push_checkpoint(arguments: argparse.Namespace, folder: Path, step: int) -> None:
    """Puts a checkpoint in the place of the one before on its branch; a failure is told, and training goes on."""
    repo, branch = arguments.push_to, f"checkpoints-{arguments.push_tag}"
    files = {f"checkpoint/{path.name}": path for path in folder.iterdir() if path.name not in ("README.md", "training_args.bin")}
    try:
        patiently(arguments, f"making the branch {branch!r}", lambda: hub().create_branch(repo, branch=branch, exist_ok=True))
        commit(arguments, branch, files, f"Checkpoint at step {step}")
    except JobError as error:
        emit("warning", text=f"The checkpoint at step {step} is not on the Hub. {error.args[0]}")
    else:
        emit("checkpoint", step=step, where=f"{repo}@{branch}")


def fetch_checkpoint(arguments: argparse.Namespace, revision: str) -> None:
    """Downloads the checkpoint of an earlier job to where this job's own would lie."""
    api, repo, part = hub(), arguments.push_to, arguments.output / ".fetched"
    doing = f"downloading the checkpoint from {repo!r}"
    shutil.rmtree(part, ignore_errors=True)
    names = [name for name in patiently(arguments, doing, lambda: api.list_repo_files(repo, revision=revision)) if name.startswith("checkpoint/")]
    for name in names:
        patiently(arguments, doing, lambda name=name: api.hf_hub_download(repo, name, revision=revision, local_dir=part))
    if f"checkpoint/{COMPLETE}" in names:
        place = arguments.output / f"checkpoint-{json.loads((part / 'checkpoint' / COMPLETE).read_text(encoding='utf-8'))['step']}"
        shutil.rmtree(place, ignore_errors=True)
        (part / "checkpoint").rename(place)
    shutil.rmtree(part, ignore_errors=True)


def set_tag(arguments: argparse.Namespace, made: str) -> str:
    """Tags the finished commit unless another job was quicker; returns the commit that the tag is at, as it is read back."""
    api, repo, tag = hub(), arguments.push_to, arguments.push_tag
    api.create_tag(repo, tag=tag, revision=made, exist_ok=True)
    there = [ref.target_commit for ref in api.list_repo_refs(repo).tags if ref.name == tag]
    if not there:
        raise JobError(f"{repo!r} has no tag {tag!r}, though it was made; look at the repository.")
    return str(there[0])


def deliver(arguments: argparse.Namespace, names: list[str]) -> None:
    """Makes one commit of the result and tags it last, since the tag is the proof that it is finished; then removes the checkpoints."""
    repo, tag = arguments.push_to, arguments.push_tag
    try:
        made = commit(arguments, "main", {name: arguments.output / name for name in names}, f"Adapter {tag}")
        made = patiently(arguments, f"tagging {repo!r} with {tag!r}", lambda: set_tag(arguments, made))
    except JobError as error:
        raise JobError(f"{error.args[0]} The result is finished in {str(arguments.output)!r}; run the same again to push it.") from None
    emit("pushed", repo=repo, commit=made, tag=tag)
    remove_checkpoints(arguments)


def remove_checkpoints(arguments: argparse.Namespace) -> None:
    def remove() -> None:
        with suppress(import_module("huggingface_hub.errors").RevisionNotFoundError):
            hub().delete_branch(arguments.push_to, branch=f"checkpoints-{arguments.push_tag}")

    try:
        patiently(arguments, "removing the checkpoints' branch", remove)
    except JobError as error:
        emit("warning", text=error.args[0])


# --- data ---


def find_files(arguments: argparse.Namespace) -> dict[str, list[Path]]:
    """The parquet files of both splits; those of a dataset on the Hub are downloaded at one commit."""
    if not arguments.dataset:
        for split in SPLITS:
            if not getattr(arguments, split).is_file():
                raise JobError(f"Dataset file {str(getattr(arguments, split))!r} does not exist; give a parquet file with --{split}.")
        return {split: [getattr(arguments, split)] for split in SPLITS}
    api, repo = hub(), arguments.dataset
    info = patiently(arguments, f"looking up the dataset {repo!r}", lambda: api.dataset_info(repo, revision=arguments.dataset_revision))
    arguments.dataset_revision = info.sha
    there = sorted(sibling.rfilename for sibling in info.siblings)
    files = {split: [name for name in there if re.fullmatch(rf"(data/)?{split}(-\d+-of-\d+(-\w+)?)?\.parquet", name)] for split in SPLITS}
    for split in SPLITS:
        if not files[split]:
            raise JobError(f"Dataset {repo!r} at {info.sha[:12]} has no split {split!r}; it needs {split}.parquet or data/{split}-*.parquet.")

    def fetch(name: str) -> Path:
        doing = f"downloading {name!r} of {repo!r}"
        return Path(patiently(arguments, doing, lambda: api.hf_hub_download(repo, name, repo_type="dataset", revision=info.sha)))

    return {split: [fetch(name) for name in names] for split, names in files.items()}


def read_split(where: str, paths: list[Path]) -> list[Messages]:
    parquet, found, columns = import_module("pyarrow.parquet"), [], []
    for path in paths:
        try:
            columns = parquet.read_schema(path).names
            # Not through load_dataset, which would keep a copy in the home folder.
            found += parquet.read_table(path, columns=["messages"]).column("messages").to_pylist() if "messages" in columns else []
        except (OSError, ValueError) as error:
            raise JobError(f"{where} cannot be read ({short(error)}); give a parquet file, or a Hub id and its commit.") from None
    if not found:
        raise JobError(f"{where} needs a column 'messages' with at least one row; it has the columns {columns}.")
    for number, messages in enumerate(found, 1):
        roles = [m.get("role") for m in messages or [] if isinstance(m, dict) and isinstance(m.get("content"), str)]
        if len(roles) != len(messages or []) or "assistant" not in roles:
            raise JobError(f"{where} has no assistant reply in row {number}; each row needs role and content in 'messages'.")
    # Templates differ in whether they strip; without outer blanks all of them render the same reply.
    return [[{"role": m["role"], "content": m["content"].strip()} for m in messages] for messages in found]


def load_tokenizer(arguments: argparse.Namespace) -> tuple[Any, str]:
    """The tokenizer, and its template with generation markers, without which nobody can tell which tokens are the assistant's.

    The tokenizer's own template has none, since programs that only read it do not know them.
    """
    base, name = Path(arguments.base), arguments.chat_template
    if not (base / "config.json").is_file() and (base.exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", arguments.base)):
        raise JobError(f"Base {arguments.base!r} is neither a folder with config.json nor a model id like 'Qwen/Qwen3-4B'; correct --base.")
    from transformers import AutoTokenizer
    from trl import chat_template_utils

    shipped = Path(chat_template_utils.__file__).parent / "chat_templates"
    own = Path(name) if name and Path(name).is_file() else shipped / f"{name}.jinja"
    if name and not own.is_file():
        names = sorted(path.stem for path in shipped.glob("*.jinja") if not path.stem.endswith("_training"))
        raise JobError(f"Chat template {name!r} is neither a file nor one of TRL's ({', '.join(names)}); correct --chat-template.")
    try:
        doing = f"loading the tokenizer of {arguments.base!r}"
        if not base.is_dir() and not import_module("huggingface_hub.constants").HF_HUB_OFFLINE:
            arguments.base_revision = patiently(arguments, doing, lambda: hub().model_info(arguments.base, revision=arguments.base_revision).sha)
        tokenizer = patiently(
            arguments, doing, lambda: AutoTokenizer.from_pretrained(arguments.base, revision=arguments.base_revision, trust_remote_code=False), files=True
        )
        given = own.read_text(encoding="utf-8") if name else tokenizer.chat_template
    except (OSError, ValueError) as error:
        raise JobError(f"Tokenizer or chat template cannot be read ({short(error)}); correct --base or --chat-template.") from None
    tokenizer.chat_template = given["default"] if isinstance(given, dict) else given
    try:
        marked = chat_template_utils.has_generation_markers(tokenizer.chat_template)
        template = str(tokenizer.chat_template if marked else mark_chatml(tokenizer) or chat_template_utils.get_training_chat_template(tokenizer))
    except (ValueError, TypeError):
        wrong = "The chat template is missing, or it neither marks the assistant's replies with {% generation %}, nor is plain ChatML, nor is known to TRL"
        raise JobError(f"{wrong}; give one of TRL's, from its folder chat_templates, with --chat-template.") from None
    if marked:
        # Other tags in their place, not none: a tag takes blanks and line breaks away around it.
        tags = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")
        tokenizer.chat_template = tags.sub(lambda tag: tag[1] + ("endif" if tag[2] else "if true") + tag[3], template)
    tokenizer.chat_template = fold_system(str(tokenizer.chat_template), tokenizer)
    return tokenizer, fold_system(template, tokenizer)


def fold_system(template: str, tokenizer: Any) -> str:
    """Returns a template that takes a system message: itself, or one that puts it before the user's first message."""
    chat = [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]
    try:
        tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False)
    except import_module("jinja2").TemplateError:
        return FOLDED + template
    return template


def mark_chatml(tokenizer: Any) -> str | None:
    """Marks the replies in a template that writes every message as `<|im_start|>role, line break, content<|im_end|>` in one expression.

    SmolLM2's and many others are of this kind, and TRL knows none of them. The marked one must render the same texts.
    """
    quote, add = r"""['"]""", r"\s*\+\s*"
    field = r"\w+(?:\.{0}|\[['\"]{0}['\"]\])"
    frame = rf"{quote}<\|im_start\|>{quote}{add}(?P<role>{field.format('role')}){add}{quote}(?:\\n|\n){quote}{add}(?P<content>{field.format('content')})"
    frame = rf"\{{\{{-?\s*{frame}{add}{quote}<\|im_end\|>{quote}{add}{quote}(?:\\n|\n){quote}\s*-?\}}\}}"
    unmarked = str(tokenizer.chat_template)
    if len(found := list(re.finditer(frame, unmarked))) != 1:
        return None
    whole, role, content = found[0][0], found[0]["role"], found[0]["content"]
    reply = f"{{{{ '<|im_start|>assistant\\n' }}}}{{% generation %}}{{{{ {content} + '<|im_end|>' }}}}{{% endgeneration %}}{{{{ '\\n' }}}}"
    marked = unmarked.replace(whole, f"{{% if {role} == 'assistant' %}}{reply}{{% else %}}{whole}{{% endif %}}")
    chats = [
        [{"role": role, "content": f"The {role}'s  words.\n"} for role in roles] for roles in (("user", "assistant"), ("system", "user", "assistant", "user"))
    ]
    for chat in chats:
        for prompt in (False, True):
            texts = [tokenizer.apply_chat_template(chat, chat_template=text, tokenize=False, add_generation_prompt=prompt) for text in (unmarked, marked)]
            if texts[0] != texts[1]:
                return None
    return marked


def encode(rows: list[Messages], tokenizer: Any, template: str, where: str) -> list[Example]:
    numpy, wrong = import_module("numpy"), (import_module("jinja2").TemplateError, TypeError, ValueError)
    asked = {"chat_template": template, "return_dict": True, "return_assistant_tokens_mask": True}
    examples = []
    for number, messages in enumerate(rows, 1):
        try:
            encoded = tokenizer.apply_chat_template(messages, **asked)
        except wrong as error:
            raise JobError(f"The chat template cannot render row {number} of {where} ({short(error)}); mend it or give another --chat-template.") from None
        ids = numpy.asarray(encoded["input_ids"], dtype=numpy.int32)
        examples.append((ids, numpy.where(numpy.asarray(encoded["assistant_masks"], dtype=bool), ids, numpy.int32(-100))))
    return examples


def check_lengths(splits: dict[str, list[Messages]], examples: dict[str, list[Example]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Counts what --max-length cuts, cuts it, and takes out the examples that are left without a reply."""
    counts: dict[str, dict[str, Any]] = {}
    limit = arguments.max_length
    for name, whole in examples.items():
        lengths = [len(ids) for ids, _ in whole]
        kept = [number for number, (_, labels) in enumerate(whole) if (labels[:limit] != -100).any()]
        splits[name], examples[name] = [splits[name][number] for number in kept], [(whole[number][0][:limit], whole[number][1][:limit]) for number in kept]
        cut_share = sum(max(0, length - limit) for length in lengths) / sum(lengths)
        counts[name] = {"examples": len(lengths), "truncated": sum(length > limit for length in lengths), "longest": max(lengths)}
        counts[name] |= {"tokens": sum(lengths), "cut_token_share": round(cut_share, 4), "without_reply": len(whole) - len(kept)}
    emit("truncation", max_length=limit, **counts)
    for name, part in counts.items():
        if not splits[name]:
            raise JobError(f"No {name} example has a reply within --max-length {limit} (longest: {part['longest']}); raise it.", 2)
        share = part["truncated"] / part["examples"]
        if share > arguments.allow_truncated:
            wrong = f"--max-length {limit} would cut {part['truncated']} of {part['examples']} {name} examples (longest: {part['longest']})"
            advice = f"raise it, or allow that with --allow-truncated {math.ceil(share * 100) / 100}"
            raise JobError(f"{wrong} and --allow-truncated is {arguments.allow_truncated:g}; {advice}.", 2)
    return counts


def check_labels(examples: list[Example], conversations: list[Messages], tokenizer: Any, arguments: argparse.Namespace) -> set[str]:
    """Proves on the labels as they are trained that each reply and its stop token are learnt, and nothing else; returns the stop."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    stops: set[str] = set()
    # Some hundred, spread evenly: reading all of a large dataset back would take minutes.
    for number in range(0, len(examples), max(1, len(examples) // 256)):
        ids, labels = (column.tolist() for column in examples[number])
        runs = groupby(zip(ids, labels, strict=True), key=lambda pair: pair[1] != -100)
        # A line break after the stop token belongs to the template's turn and may be learnt with it.
        spans = [[token for token, _ in run] for learnt, run in runs if learnt]
        found = [tokenizer.decode(span, clean_up_tokenization_spaces=False).removesuffix("\n") for span in spans]
        wanted = [arguments.reply_prefix + m["content"] for m in conversations[number] if m["role"] == "assistant"]
        cut = len(ids) == arguments.max_length
        for position, (text, reply) in enumerate(zip_longest(found, wanted[: len(found)] if cut else wanted, fillvalue=""), 1):
            stop = text.removeprefix(reply)
            if text.startswith(reply) and stop in special:
                stops.add(stop)
            # The last reply of a cut example may be a beginning only, and end within a character.
            elif not (cut and position == len(found) and reply.startswith(text.rstrip("\ufffd"))):
                alike = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(text, reply, strict=False))))
                part = slice(max(0, alike - 20), None)
                wrong = f"Example {number + 1} would learn {text[part][:80]!r} instead of {reply[part][:80]!r} and a stop token"
                raise JobError(f"{wrong}; use another --chat-template, or name what it adds with --reply-prefix.")
    return stops


def prepare(arguments: argparse.Namespace) -> tuple[Any, dict[str, list[Example]], dict[str, Any]]:
    """Reads, encodes and checks all data; returns the tokenizer, the examples and what is to be told of them."""
    files, splits, examples = find_files(arguments), {}, {}
    for split in SPLITS:
        where = f"Split {split!r} of {arguments.dataset!r}" if arguments.dataset else f"Dataset file {str(files[split][0])!r}"
        splits[split] = read_split(where, files[split])
    tokenizer, template = load_tokenizer(arguments)
    for split in SPLITS:
        examples[split] = encode(splits[split], tokenizer, template, split)
    truncation = check_lengths(splits, examples, arguments)
    stops = set().union(*(check_labels(examples[name], rows, tokenizer, arguments) for name, rows in splits.items()))
    learnt = int(sum((labels != -100).sum() for _, labels in examples["train"]))
    facts: dict[str, Any] = {"stop_tokens": sorted(stops), "supervised_tokens": learnt}
    emit("mask", **facts)
    sample = max(splits["train"], key=len)
    if tokenizer.apply_chat_template(sample, tokenize=False) != tokenizer.apply_chat_template(sample, chat_template=template, tokenize=False):
        emit("warning", text="The chat template in use later renders past replies otherwise than the one that is trained with; choose another --chat-template.")
    return tokenizer, examples, facts | {"truncation": truncation}


# --- training ---


def check_tools(arguments: argparse.Namespace, cuda: bool) -> None:
    """Sees that the packages that options need are there, and tells which options do nothing without a GPU."""
    needed = {"trackio": arguments.trackio_project, "bitsandbytes": "8bit" in arguments.optim or "bnb" in arguments.optim or (arguments.qlora and cuda)}
    for package in [name for name, wanted in needed.items() if wanted]:
        try:
            import_module(package)
        except ImportError as error:
            option = "--trackio-project needs" if package == "trackio" else "--qlora and 8-bit optimisers need"
            raise JobError(f"{option} {package}, which cannot be loaded ({short(error)}); run this script with 'uv run', or install {package}.") from None
    if arguments.qlora and not cuda:
        emit("fallback", text="--qlora needs CUDA, which is not here; the base stays in 32 bits and a plain LoRA is trained.")
    if arguments.offload_checkpoints and not (cuda and arguments.activation_checkpointing):
        emit("fallback", text="--offload-checkpoints needs CUDA and gradient checkpointing; it is ignored.")


def choose_arithmetic(arguments: argparse.Namespace, example: Example) -> str:
    """Says whether a CPU with instructions for 16 bits (AVX512-BF16, AMX) is to use them: if that is quicker and the loss is the same.

    The choice is kept beside the checkpoints, since a run that continues must compute as it did before.
    """
    import torch
    from transformers import AutoModelForCausalLM

    kept, cpuinfo = arguments.output / "arithmetic.json", Path("/proc/cpuinfo")
    if kept.is_file():
        return str(json.loads(kept.read_text(encoding="utf-8"))["arithmetic"])
    flags = set(next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split()) if cpuinfo.is_file() else set()
    facts: dict[str, Any] = {"arithmetic": "float32"}
    if flags & {"avx512_bf16", "amx_bf16"}:
        where = {"revision": arguments.base_revision, "attn_implementation": arguments.attention}
        model = AutoModelForCausalLM.from_pretrained(arguments.base, dtype=torch.float32, trust_remote_code=False, use_safetensors=True, **where)
        if model.num_parameters() < TRIAL_PARAMETERS:
            return "float32"
        ids = torch.tensor(example[0][:TRIAL_TOKENS]).long()[None]

        def take(narrow: bool) -> tuple[float, float]:
            started = time.monotonic()
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                loss = float(model(input_ids=ids, labels=ids).loss)
            return time.monotonic() - started, loss

        times: dict[bool, float] = {}
        losses: dict[bool, float] = {}
        # The first of each warms up; the shorter of the two after it is the one that nothing else disturbed.
        for turn in range(3):
            for narrow in (False, True):
                seconds, losses[narrow] = take(narrow)
                times[narrow] = min(seconds, times.get(narrow, seconds)) if turn else math.inf
        same = abs(losses[True] - losses[False]) <= TRIAL_LOSS
        facts = {"arithmetic": "bfloat16" if same and times[True] < times[False] else "float32"}
        facts |= {"speedup": round(times[False] / times[True], 2), "loss_difference": round(losses[True] - losses[False], 4)}
        emit("arithmetic", **facts)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_json(kept, facts)
    return str(facts["arithmetic"])


def configure(arguments: argparse.Namespace, cuda: bool, arithmetic: str) -> Any:
    from trl import SFTConfig

    knobs = {name: getattr(arguments, name) for name in TRAINER}
    knobs |= {"use_cpu": not cuda, "bf16": arithmetic == "bfloat16", "dataloader_pin_memory": cuda, "disable_tqdm": True, "logging_steps": 1}
    knobs |= {"per_device_eval_batch_size": arguments.per_device_train_batch_size, "eval_packing": False}
    knobs |= {"eval_strategy": "epoch" if arguments.evaluate == "epoch" else "no", "report_to": "none"}
    knobs |= {"save_strategy": "steps", "save_steps": arguments.save_steps} if arguments.save_steps else {"save_strategy": "epoch"}
    if arguments.offload_checkpoints and cuda and arguments.activation_checkpointing:
        knobs["activation_checkpointing_kwargs"] = {"offload": True}
    if arguments.trackio_project:
        knobs |= {"report_to": "trackio", "project": arguments.trackio_project, "run_name": arguments.push_tag or arguments.output.name}
        # Without that, a static Space would be made as well.
        knobs |= {"trackio_space_id": arguments.trackio_space, "trackio_static_space_id": False, "hub_private_repo": not arguments.public}
    try:
        return SFTConfig(output_dir=str(arguments.output), trust_remote_code=False, **knobs)
    except (ValueError, TypeError, RuntimeError) as error:
        raise JobError(f"Training cannot be set up like this: {short(error)}.") from None


def build_trainer(config: Any, examples: dict[str, list[Example]], tokenizer: Any, arguments: argparse.Namespace) -> Any:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PrinterCallback
    from trl import SFTTrainer

    cuda, names = not config.use_cpu, arguments.target_modules
    four_bit = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": torch.bfloat16}
    loading: dict[str, Any] = {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, **four_bit)} if arguments.qlora and cuda else {}
    # On a CPU the weights stay in 32 bits also where arithmetic is in 16 (choose_arithmetic).
    loading |= {"dtype": torch.bfloat16 if cuda else torch.float32, "device_map": {"": 0} if cuda else None}
    loading |= {"revision": arguments.base_revision, "attn_implementation": arguments.attention}
    lora = {name: getattr(arguments, name) for name in ("r", "lora_alpha", "lora_dropout")}
    lora |= {"target_modules": names[0] if names == ["all-linear"] else names, "revision": arguments.base_revision}
    try:
        doing = f"loading the weights of {arguments.base!r}"
        model = patiently(
            arguments, doing, lambda: AutoModelForCausalLM.from_pretrained(arguments.base, trust_remote_code=False, use_safetensors=True, **loading), files=True
        )
        if model.config.get_text_config() is not model.config:
            # A model that also sees: the layers of its vision tower have the same names as those of its decoder.
            decoder = next(name for name, part in model.named_modules() if part is model.get_decoder())
            lora["exclude_modules"] = rf"(?!{re.escape(decoder)}\.).*"
        columns = {split: {"input_ids": [ids for ids, _ in rows], "labels": [labels for _, labels in rows]} for split, rows in examples.items()}
        trainer: Any = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict(columns["train"]),
            eval_dataset=Dataset.from_dict(columns["validation"]),
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", **lora),
        )
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise JobError(f"Training of {arguments.base!r} cannot be set up: {short(error)}.") from None
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            # TRL makes them 16 bits wide on a 4-bit base, in which small updates are lost, and PEFT 32 when it loads a checkpoint.
            parameter.data = parameter.data.float()
    # Each save of the adapter has it.
    trainer.model.peft_config["default"].base_model_name_or_path = named(arguments.base)
    trainer.remove_callback(PrinterCallback)
    # TRL would write one over a README.md in --output, and PEFT would ask the Hub for the base's vocabulary at each checkpoint.
    trainer.create_model_card = lambda *_, **__: None
    trainer.model.save_pretrained = partial(trainer.model.save_pretrained, save_embedding_layers=False)
    return trainer


def check_prepared(dataset: Any, examples: list[Example]) -> None:
    """Sees that the trainer's examples, packed or not, are those that were checked."""
    there: Counter[bytes] = Counter(ids.tobytes() + labels.tobytes() for ids, labels in examples)
    for row in dataset.with_format("numpy"):
        ends = row["seq_lengths"].cumsum() if "seq_lengths" in row else [len(row["input_ids"])]
        for start, end in zip([0, *ends], ends, strict=False):
            there[row["input_ids"][start:end].astype("int32").tobytes() + row["labels"][start:end].astype("int32").tobytes()] -= 1
    if any(there.values()):
        raise JobError("TRL prepared other examples than those that were checked; report this.")


def identify(arguments: argparse.Namespace, examples: dict[str, list[Example]], cuda: bool, arithmetic: str) -> str:
    """Hash of all that the trained weights follow from."""
    digest = hashlib.sha256()
    for rows in examples.values():
        for ids, labels in rows:
            digest.update(len(ids).to_bytes(4, "little") + ids.tobytes() + labels.tobytes())
    base: Any = [arguments.base, arguments.base_revision]
    if Path(arguments.base).is_dir():
        base = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in Path(arguments.base).iterdir())
    knobs = {name: value for name, value in vars(arguments).items() if name not in FREE}
    digest.update(json.dumps([knobs, base, cuda, arithmetic], sort_keys=True).encode())
    return digest.hexdigest()


def find_checkpoint(arguments: argparse.Namespace, identity: str) -> dict[str, Any] | None:
    """What the newest complete checkpoint of the same arguments and data tells of itself."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.output.glob(f"checkpoint-*/{COMPLETE}")]
    fitting = [told for told in found if told["identity"] == identity]
    if found and not fitting:
        emit("warning", text="The checkpoint that is there was made with other arguments or data; training starts afresh.")
    return max(fitting, key=lambda told: told["step"]) if fitting else None


def report_progress(trainer: Any, arguments: argparse.Namespace, told: dict[str, Any]) -> None:
    """Replaces transformers' printing by one JSON line a step, and completes, keeps and pushes the newest checkpoint."""
    from transformers import TrainerCallback

    class Lines(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.started, self.first = time.monotonic(), state.global_step

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            step, of = state.global_step, state.max_steps
            if "loss" in logs:
                left = (time.monotonic() - self.started) / (step - self.first) * (of - step)
                figures = {"loss": round(logs["loss"], 4), "learning_rate": logs["learning_rate"], "tokens": int(logs["num_tokens"])}
                emit("progress", step=step, of=of, **figures, seconds_left=round(left, 1))
            elif "eval_loss" in logs:
                emit("validation", step=step, loss=round(logs["eval_loss"], 4))

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            # At the end of an epoch validation comes first, so that the checkpoint has it in its log.
            self.late = control.should_save and (control.should_training_stop or float(state.epoch).is_integer())
            control.should_save = control.should_save and not self.late

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_save = control.should_save or self.late

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            folder = arguments.output / f"checkpoint-{state.global_step}"
            write_json(folder / COMPLETE, {"step": state.global_step, **told})
            for old in arguments.output.glob("checkpoint-*"):
                if old != folder:
                    shutil.rmtree(old, ignore_errors=True)
            emit("checkpoint", step=state.global_step, where=str(folder))
            if arguments.push_to:
                push_checkpoint(arguments, folder, state.global_step)

    trainer.add_callback(Lines())


def run(trainer: Any, arguments: argparse.Namespace, checkpoint: dict[str, Any] | None, identity: str) -> dict[str, Any]:
    """Trains, going on from a checkpoint if there is one; returns what is to be told of it."""
    import torch
    from transformers import TrainerState

    before, told, folder, state = 0, {"identity": identity}, None, None
    report_progress(trainer, arguments, told)
    if checkpoint:
        emit("resumed", step=checkpoint["step"])
        first, folder = checkpoint["validation_loss_first"], arguments.output / f"checkpoint-{checkpoint['step']}"
        state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
        # TRL counts from nought again.
        trainer._total_train_tokens = before = max((entry.get("num_tokens", 0) for entry in state.log_history), default=0)
    else:
        # train() starts a new log, so this figure is kept by hand.
        first = trainer.evaluate()["eval_loss"]
    told["validation_loss_first"] = first
    started = time.monotonic()
    if state and state.global_step >= state.max_steps:
        # All steps are done; train() would do one more where the last epoch is not whole.
        trainer.state = state
        trainer._load_from_checkpoint(str(folder))
    else:
        trainer.train(resume_from_checkpoint=str(folder) if folder else None)
    seconds, tokens = time.monotonic() - started, trainer._total_train_tokens - before
    if arguments.evaluate == "end":
        trainer.evaluate()
    peak = None if trainer.args.use_cpu else torch.cuda.max_memory_allocated()
    if peak:
        emit("memory", peak_bytes=peak)
    facts = {"tokens_per_second": round(tokens / seconds, 1) if tokens else None, "peak_memory_bytes": peak}
    return facts | {"resumed_from": checkpoint["step"] if checkpoint else None, "validation_loss_first": round(first, 4)}


def train(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    # Before the libraries are imported: their bars and warnings would drown what is said here.
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    # What the 16-bit weights leave behind while they are quantised is then of use to the training, on a GPU of 24 GB too.
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    bound_silence()
    if arguments.trackio_project and arguments.trackio_space:
        patiently(arguments, f"looking at {arguments.trackio_space!r}", lambda: refuse_public(arguments, arguments.trackio_space, "space"))
    branches, tags = open_repository(arguments) if arguments.push_to else ({}, {})
    branch = f"checkpoints-{arguments.push_tag}"
    if arguments.push_tag in tags:
        emit("pushed", repo=arguments.push_to, commit=tags[arguments.push_tag], tag=arguments.push_tag, already=True)
        if branch in branches:
            remove_checkpoints(arguments)
        return
    tokenizer, examples, facts = prepare(arguments)
    torch = import_module("torch")
    cuda = torch.cuda.is_available()
    check_tools(arguments, cuda)
    arithmetic = "bfloat16" if cuda else choose_arithmetic(arguments, max(examples["train"], key=lambda example: len(example[0])))
    config, identity = configure(arguments, cuda, arithmetic), identify(arguments, examples, cuda, arithmetic)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "metrics.json").unlink(missing_ok=True)
        if branch in branches:
            fetch_checkpoint(arguments, branches[branch])
        checkpoint = find_checkpoint(arguments, identity)
        trainer = build_trainer(config, examples, tokenizer, arguments)
        for split, dataset in (("train", trainer.train_dataset), ("validation", trainer.eval_dataset)):
            check_prepared(dataset, examples[split])
        facts |= run(trainer, arguments, checkpoint, identity)
        facts |= {"files": save(trainer, tokenizer, arguments.output), "seconds": round(time.monotonic() - started, 1)}
        loss = write_metrics(trainer, arguments, facts)
    except torch.OutOfMemoryError:
        lower = "lower --max-length, add --offload-checkpoints, set --lora-dropout 0, or take a larger GPU"
        raise JobError(f"The GPU's memory does not suffice for --max-length {arguments.max_length}; {lower}.") from None
    except OSError as error:
        raise JobError(f"Training stopped ({short(error)}); check {str(arguments.output)!r} and the space left there, and run the same again.") from None
    if arguments.push_to:
        deliver(arguments, [*facts["files"], "metrics.json"])
    for folder in arguments.output.glob("checkpoint-*"):
        shutil.rmtree(folder, ignore_errors=True)
    (arguments.output / "arithmetic.json").unlink(missing_ok=True)
    emit("done", output=str(arguments.output), validation_loss=loss, seconds=facts["seconds"])


def save(trainer: Any, tokenizer: Any, output: Path) -> dict[str, dict[str, Any]]:
    """Puts adapter, tokenizer, template and log into the output; returns their sizes and hashes."""
    part = output / ".part"
    shutil.rmtree(part, ignore_errors=True)
    trainer.model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    trainer.state.save_to_json(str(part / "trainer_state.json"))
    (part / "README.md").unlink(missing_ok=True)
    files = {}
    for path in sorted(part.iterdir()):
        with path.open("rb") as file:
            files[path.name] = {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        path.replace(output / path.name)
    part.rmdir()
    return files


def write_metrics(trainer: Any, arguments: argparse.Namespace, facts: dict[str, Any]) -> float:
    """Writes what a reader of the result wants to know; returns the last validation loss."""
    log = trainer.state.log_history
    curve, checks = ([{"step": e["step"], "loss": round(e[key], 4)} for e in log if key in e] for key in ("loss", "eval_loss"))
    metrics = {
        "validation_loss_last": checks[-1]["loss"],
        "train_loss_first": curve[0]["loss"],
        "train_loss_last": round(fmean(entry["loss"] for entry in curve[-5:]), 4),
        "steps": trainer.state.global_step,
        **facts,
        "method": "qlora" if arguments.qlora and not trainer.args.use_cpu else "lora",
        "arithmetic": "bfloat16" if trainer.args.bf16 else "float32",
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        # Base, dataset, their revisions, and every knob.
        **{name: named(value) for name, value in vars(arguments).items()},
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft", "datasets")},
        "loss_curve": curve,
        "validation_curve": [{"step": 0, "loss": facts["validation_loss_first"]}, *checks],
    }
    write_json(arguments.output / "metrics.json", metrics)
    return checks[-1]["loss"]


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        train(arguments)
    except JobError as error:
        print(error.args[0], file=sys.stderr)
        return error.args[1] if len(error.args) > 1 else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
