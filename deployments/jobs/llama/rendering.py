"""Prompts as llama.cpp's server renders them."""

import json
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import Any

from .interface import LibraryError

_SERVERS: list[Any] = []
"""Servers are kept alive, since deleting one can block forever. The process exits without it."""


def render(path: Path, chats: list[list[dict[str, str]]]) -> list[str]:
    """Return conversations as llama.cpp's server renders them with a file's chat template.

    Raises:
        LibraryError: xllamacpp's server cannot load the file or render the template.
    """
    try:
        xllamacpp: Any = import_module("xllamacpp")
        parameters = xllamacpp.CommonParams()
        parameters.model.path, parameters.n_ctx, parameters.n_parallel = str(path), 64, 1
        parameters.n_gpu_layers, parameters.warmup = 0, False
        server = xllamacpp.Server(parameters)
        _SERVERS.append(server)
        address, kind = server.listening_address, {"Content-Type": "application/json"}
        prompts = []
        for chat in chats:
            body = json.dumps({"messages": chat}).encode()
            request = urllib.request.Request(f"{address}/apply-template", body, kind)
            with urllib.request.urlopen(request, timeout=60) as reply:
                prompts.append(str(json.load(reply)["prompt"]))
    except (ImportError, RuntimeError, OSError, KeyError) as error:
        wrong = f"llama.cpp's server cannot render the chat template of {path.name} ({error})"
        raise LibraryError(f"{wrong}; give a simpler template.") from None
    return prompts
