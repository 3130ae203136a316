"""The command-line arguments of the export script."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..common.dataset import as_read
from ..common.events import JobError
from ..common.hub import HUB_ID

KINDS = ["q2_k", "q3_k_m", "q4_0", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k", "q8_0"]
WORD = r"\w[\w.-]*"


def at_least(minimum: float, kind: Callable[[str], Any] = int) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not (number := kind(text)) >= minimum:
            raise argparse.ArgumentTypeError(f"{text} is too small; give {minimum:g} or more")
        return number

    return read


def parse_arguments(argv: list[str] | None, description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=" ".join(description.split("\n\n    ", 1)[0].split()),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_models(parser.add_argument)
    add_files(parser.add_argument)
    add_texts(parser.add_argument)
    add_tolerances(parser.add_argument)
    add_repository(parser.add_argument)
    arguments = parser.parse_args(argv)
    arguments.quantisations = list(dict.fromkeys(arguments.quantisations))
    if arguments.logit_tolerance is None:
        arguments.logit_tolerance = 0.06 if arguments.reference_dtype == "bfloat16" else 0.02
    if not re.fullmatch(WORD, arguments.name, re.ASCII):
        parser.error(f"--name is {arguments.name!r}; give letters, digits, '.', '_' and '-'")
    if arguments.heldout and arguments.dataset:
        parser.error("give either --heldout or --dataset")
    if arguments.imatrix and not (arguments.calibration or arguments.dataset):
        parser.error("--imatrix needs --calibration or --dataset")
    repo, tag = arguments.push_to, arguments.push_tag
    if (repo is None) != (tag is None) or not re.fullmatch(WORD, tag or "x", re.ASCII):
        remedy = "give --push-to and --push-tag together, the tag of letters, digits, '.', '_'"
        parser.error(f"{remedy} and '-'; it is {tag!r}")
    return arguments


def add_models(add: Callable[..., Any]) -> None:
    add("--base", required=True, help="model folder, or a model id on the Hub")
    add("--base-revision", help="its commit")
    adapter = "folder that train_sft.py wrote, or a model id on the Hub"
    add("--adapter", help=f"{adapter}; its tokenizer and chat template are used")
    add("--adapter-revision", help="its commit")
    template = "Jinja file to embed instead of the tokenizer's chat template"
    add("--chat-template", type=Path, help=template)
    converter = "folder with convert_hf_to_gguf.py, conversion and gguf-py"
    add("--llama-cpp", type=Path, help=f"{converter}; fetched when not given")
    library = "shared library of llama.cpp; xllamacpp's when not given"
    add("--library", type=Path, help=library)
    pattern = "only for custom-made tokenizers: llama.cpp's name of their pattern"
    add("--fallback-pre-tokenizer", help=f"{pattern}, e.g. qwen2")
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    add("--threads", type=at_least(1), default=threads, help="threads of llama.cpp")


def add_files(add: Callable[..., Any]) -> None:
    output = "folder for the GGUF files, the Modelfile and export.json"
    add("--output", type=Path, required=True, help=output)
    add("--name", required=True, help="files are called NAME-f16.gguf, NAME-q4_k_m.gguf, ...")
    first = "quantised files to make; the Modelfile uses the first one"
    add("--quantisations", nargs="+", default=["q4_k_m"], choices=KINDS, help=first)
    weighed = "round weights less the more the training conversations use them (importance matrix)"
    add("--imatrix", action="store_true", help=weighed)
    keep_f16 = "keep the 16-bit GGUF in the output"
    add("--keep-f16", action="store_true", default=True, help=keep_f16)
    discard = {"dest": "keep_f16", "action": "store_false", "default": argparse.SUPPRESS}
    add("--discard-f16", **discard, help="neither keep nor push it")
    preflight = "only check that llama.cpp reads template and tokenizer as the training does"
    add("--preflight", action="store_true", help=f"{preflight}; no weights are read")
    kept = "folder in which intermediate files and measurements are kept"
    add("--keep", type=Path, help=f"{kept} when a tolerance is exceeded")
    context = "num_ctx of the Modelfile: the maximum length in training"
    add("--context", type=at_least(1), default=4096, help=context)
    temperature = "temperature of the Modelfile; Ollama's default when not given"
    add("--temperature", type=at_least(0, float), help=temperature)
    add("--system-file", type=Path, help="system prompt for the Modelfile and the checks")


def add_texts(add: Callable[..., Any]) -> None:
    rows = "parquet file with a 'messages' column, on which losses are compared"
    add("--heldout", type=Path, help=f"{rows}; the model's own replies when not given")
    trained = "such a file with the training conversations, for --imatrix"
    add("--calibration", type=Path, help=trained)
    read = "number of its tokens to read, from conversations drawn at random"
    add("--calibration-tokens", type=at_least(512), default=16_384, help=read)
    dataset = "a dataset id on the Hub; its splits validation and train are used"
    add("--dataset", help=f"instead of these files: {dataset}")
    add("--dataset-revision", help="its commit")
    folder = "folder of the dataset with the splits, such as conversations/"
    add("--dataset-folder", default="", help=folder)
    spread = "number of held-out rows to use, spread evenly"
    add("--heldout-examples", type=at_least(1), default=8, help=spread)
    beginning = "number of tokens of each row to use, from its start"
    add("--heldout-tokens", type=at_least(2), default=1024, help=beginning)
    greedy = "number of tokens that both models generate greedily after each prompt"
    add("--greedy-tokens", type=at_least(1), default=48, help=greedy)
    ending = "tokens within which a reply must end by itself, if there is an adapter"
    add("--reply-tokens", type=at_least(1), default=400, help=ending)
    endless = "only report replies that do not end, instead of failing"
    add("--allow-endless", action="store_true", help=endless)


def add_tolerances(add: Callable[..., Any]) -> None:
    number = at_least(0, float)
    dtypes = {"choices": ["float32", "bfloat16"], "default": "float32"}
    add("--reference-dtype", **dtypes, help="arithmetic of the merged model in all comparisons")
    spread = "allowed spread of the differences between f16 GGUF and merged model, as a share of"
    wider = "0.02 when not given, 0.06 with a reference in bfloat16"
    add("--logit-tolerance", type=number, help=f"{spread} the logits' spread; {wider}")
    likeliest = "minimum share of positions with the same likeliest token, or one nearly as likely"
    add("--min-agreement", type=number, default=0.98, help=likeliest)
    equal = "minimum share of greedy tokens that must be equal; where two tokens are nearly equally"
    equal = f"{equal} likely and the replies part, the rest of a reply does not count"
    add("--min-greedy-agreement", type=number, default=0.98, help=equal)
    nats = "allowed difference in nats per token between base with adapter, merged model and f16"
    nats = f"{nats} GGUF"
    add("--loss-tolerance", type=number, default=0.05, help=nats)
    bound = "maximum divergence (KL) from the f16 GGUF, in nats per token, of the recommended file,"
    bound = f"{bound} which is the smallest within it. By Pinsker's inequality, at 0.02 at most one"
    bound = f"{bound} drawn token of ten differs"
    add("--kl-bound", type=number, default=0.02, help=bound)
    rise = "allowed rise of a quantised file's loss over the f16 GGUF's, in nats per token; it"
    rise = f"{rise} fails if the whole 95 %% interval is above; only a warning without an adapter"
    add("--quantisation-tolerance", type=number, default=0.1, help=rise)


def add_repository(add: Callable[..., Any]) -> None:
    add("--push-to", help="model repository on the Hub for the result")
    tag = "tag of the finished commit; if it already exists, nothing is done"
    add("--push-tag", help=tag)
    public = "allow a public repository, which is refused otherwise"
    add("--public", action="store_true", help=public)
    pause = "pause before a failed call of the Hub is repeated; it doubles each time"
    add("--retry-seconds", type=at_least(0, float), default=1.0, help=pause)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Check that the files exist; read the system prompt into `arguments.system`."""
    for option, name in (("base", "config.json"), ("adapter", "adapter_config.json")):
        model = getattr(arguments, option)
        is_id = model and not Path(model).exists() and re.fullmatch(HUB_ID, model)
        if model and not is_id and not (Path(model) / name).is_file():
            wrong = f"{option.capitalize()} {model!r} is neither a folder with {name}"
            raise JobError(f"{wrong} nor a model id like 'Qwen/Qwen3-4B'; correct --{option}.")
    converter = arguments.llama_cpp and arguments.llama_cpp / "convert_hf_to_gguf.py"
    files = {
        "--llama-cpp": converter,
        "--heldout": arguments.heldout,
        "--calibration": arguments.calibration,
        "--chat-template": arguments.chat_template,
        "--system-file": arguments.system_file,
    }
    for option, path in files.items():
        if path and not path.is_file():
            raise JobError(f"File {str(path)!r} does not exist; correct {option}.")
    system = arguments.system_file and arguments.system_file.read_text(encoding="utf-8")
    arguments.system = as_read(system or "")
