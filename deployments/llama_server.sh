#!/usr/bin/env bash
# Builds llama.cpp's llama-server once, from the sources that llama-cpp-python carries, and prints its path. Nobody needs it: the installed one is prebuilt.
#
#   export UNDERSTUDY_LLAMA_SERVER=$(CMAKE_ARGS=-DGGML_CUDA=on deployments/llama_server.sh)
#
# UNDERSTUDY_CACHE  where it is kept (default ~/.cache/understudy)
# CMAKE_ARGS        how it is built, such as -DGGML_CUDA=on or -DGGML_METAL=on (default: for any machine)
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
[ ! -x .venv/bin/python ] || python=.venv/bin/python
[ "${INSTALL_LOCK_HOLDER:-}" = "$$" ] || exec "$python" deployments/lock.py "${UNDERSTUDY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/understudy}/install.lock" "$PWD/deployments/llama_server.sh"
exec "$python" deployments/llama.py server
