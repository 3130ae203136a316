"""llama.cpp's server from the xllamacpp wheel, with llama-server's flags: `python -I prebuilt_server.py --model FILE --port N …`.

It serves until SIGTERM or SIGINT. It is run by its path and imports nothing from this package. Without -I, Python would import blocks/http.py instead of
its own http module.
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
    options = _read(arguments)
    try:
        _load_openmp()
        library: Any = import_module("xllamacpp")
    except ImportError as error:
        return _fail(f"xllamacpp cannot be imported ({error}). Run `make setup`.")
    _watch_for_signals()
    try:
        server = library.Server(_parameters(library.CommonParams(), options))
    except RuntimeError:  # llama.cpp has printed the reason
        return _fail(f"llama.cpp cannot serve {options.model}; the lines above say why.")
    sys.stderr.write(f"serving {options.model} on {server.listening_address}\n")
    threading.Event().wait()
    return 0


def _load_openmp() -> None:
    """Load torch's libgomp if the system has none. xllamacpp expects it, but systems without a compiler often lack it."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        torch = find_spec("torch")
        bundled = Path(str(torch.origin)).parent / "lib" / "libgomp.so.1" if torch else None
        if bundled and bundled.is_file():
            ctypes.CDLL(str(bundled), ctypes.RTLD_GLOBAL)


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
    add("--jinja", action="store_true", help="accepted and ignored: always on")
    page = parser.add_mutually_exclusive_group()
    page.add_argument("--webui", dest="page", action="store_true", default=True)
    page.add_argument("--no-webui", dest="page", action="store_false")
    add("--ui-config", "--webui-config", default="", help="the web page's settings as JSON, such as its system message")
    options = parser.parse_args(arguments)
    if options.ui_config:
        try:
            json.loads(options.ui_config)
        except json.JSONDecodeError as error:
            parser.error(f'--ui-config is not JSON ({error}); give an object such as {{"systemMessage": "…"}}')
    return options


def _parameters(parameters: Any, options: argparse.Namespace) -> Any:
    parameters.model.path, parameters.model_alias = str(options.model), {options.alias} if options.alias else set()
    parameters.hostnames, parameters.port, parameters.api_prefix = [options.host], options.port, options.api_prefix
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = options.ctx_size, options.parallel, options.gpu_layers
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = options.threads
    parameters.use_jinja, parameters.ui, parameters.ui_config_json = True, options.page, options.ui_config
    parameters.api_keys = [key] if (key := os.environ.get(KEY_VARIABLE)) else []
    if options.host in LOOPBACK:  # web pages of other sites must not read answers
        parameters.cors_origins, parameters.cors_origins_explicit = f"http://{options.host}:{options.port}", True
    return parameters


def _watch_for_signals() -> None:
    """Exit at once on SIGTERM and SIGINT; llama.cpp's threads hold nothing that must be saved."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)  # works for a signal to any thread
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
    os._exit(code)  # the library's threads would keep the interpreter from exiting
