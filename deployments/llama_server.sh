#!/usr/bin/env bash
# Builds llama.cpp's llama-server once, from the sources within llama-cpp-python, and prints its path. Use it for a build with other flags: the installed
# server is prebuilt.
#
#   export UNDERSTUDY_LLAMA_SERVER=$(CMAKE_ARGS=-DGGML_CUDA=on deployments/llama_server.sh)
#
# UNDERSTUDY_CACHE  folder of the build (default ~/.cache/understudy)
# CMAKE_ARGS        flags of the build, such as -DGGML_CUDA=on or -DGGML_METAL=on (default: a portable build)
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
[ ! -x .venv/bin/python ] || python=.venv/bin/python
[ "${INSTALL_LOCK_HOLDER:-}" = "$$" ] || exec "$python" deployments/lock.py "${UNDERSTUDY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/understudy}/install.lock" "$PWD/deployments/llama_server.sh"
exec "$python" deployments/llama.py server
