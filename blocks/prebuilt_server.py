"""llama.cpp's server out of the xllamacpp wheel, with llama-server's own flags: `python -I prebuilt_server.py --model FILE --port N …`.

It serves until SIGTERM or SIGINT. It is run by its path, so nothing of this package is imported: `python blocks/…` without -I would find our http.py in
place of Python's.
"""

import argparse
import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

KEY_VARIABLE = "LLAMA_API_KEY"
CANNOT_LOAD = 1
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    given = _read(arguments)
    try:
        _bring_openmp()
        library: Any = import_module("xllamacpp")
    except ImportError as error:
        return _fail(f"xllamacpp cannot be imported ({error}). Run `make setup`.")
    _watch_for_signals()
    try:
        server = library.Server(_parameters(library.CommonParams(), given))
    except RuntimeError:  # llama.cpp has said why
        return _fail(f"llama.cpp cannot serve {given.model}; the lines above say why.")
    sys.stderr.write(f"serving {given.model} on {server.listening_address}\n")
    threading.Event().wait()
    return 0


def _bring_openmp() -> None:
    """Load torch's own libgomp where the system has none: xllamacpp expects one, which comes with a compiler."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        torch = find_spec("torch")
        own = Path(str(torch.origin)).parent / "lib" / "libgomp.so.1" if torch else None
        if own and own.is_file():
            ctypes.CDLL(str(own), ctypes.RTLD_GLOBAL)


def _fail(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return CANNOT_LOAD


def _read(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prebuilt_server.py", description="llama.cpp's server, with llama-server's flags.", allow_abbrev=False)
    add = parser.add_argument
    add("--model", "-m", type=Path, required=True, help="GGUF file")
    add("--alias", "-a", default="", help="name of the model in answers")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8080)
    add("--ctx-size", "-c", type=int, default=0, help="tokens of all slots together; 0: what the model was trained with")
    add("--parallel", "-np", type=int, default=1, help="slots")
    add("--threads", "-t", type=int, default=os.cpu_count() or 1)
    add("--gpu-layers", "-ngl", type=int, default=-1, help="layers on the GPU; -1: llama.cpp decides")
    add("--api-prefix", default="", help="path that all addresses begin with")
    add("--jinja", action="store_true", help="so always")
    page = parser.add_mutually_exclusive_group()
    page.add_argument("--webui", dest="page", action="store_true", default=True)
    page.add_argument("--no-webui", dest="page", action="store_false")
    add("--ui-config", "--webui-config", default="", help="the web page's settings as JSON, such as its system message")
    given = parser.parse_args(arguments)
    if given.ui_config:
        try:
            json.loads(given.ui_config)
        except json.JSONDecodeError as error:
            parser.error(f'--ui-config is no JSON ({error}); give an object such as {{"systemMessage": "…"}}')
    return given


def _parameters(made: Any, given: argparse.Namespace) -> Any:
    made.model.path, made.model_alias = str(given.model), {given.alias} if given.alias else set()
    made.hostnames, made.port, made.api_prefix = [given.host], given.port, given.api_prefix
    made.n_ctx, made.n_parallel, made.n_gpu_layers = given.ctx_size, given.parallel, given.gpu_layers
    made.cpuparams.n_threads = made.cpuparams_batch.n_threads = given.threads
    made.use_jinja, made.ui, made.ui_config_json = True, given.page, given.ui_config
    made.api_keys = [key] if (key := os.environ.get(KEY_VARIABLE)) else []
    if given.host in LOOPBACK:  # no page of another site may read answers
        made.cors_origins, made.cors_origins_explicit = f"http://{given.host}:{given.port}", True
    return made


def _watch_for_signals() -> None:
    """End on SIGTERM and SIGINT at any moment; llama.cpp's threads hold nothing that would have to be saved."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)  # whichever thread the signal reaches
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def watch() -> None:
        os.read(read, 1)
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # the library's threads keep an interpreter from ending
