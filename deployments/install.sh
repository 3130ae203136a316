#!/usr/bin/env bash
# Installs the locked dependencies into .venv and keeps what was downloaded or built for the next checkout.
#
#   deployments/install.sh              everything: pipeline, training, llama.cpp, development tools
#   deployments/install.sh light        without torch and llama.cpp: enough to generate and assess
#
# UNDERSTUDY_CACHE  where built wheels and the llama.cpp sources are kept (default ~/.cache/understudy)
# CMAKE_ARGS        how llama.cpp is built (default: with this machine's own optimisations)
set -euo pipefail
cd "$(dirname "$0")/.."

group=${1:-full}
cache=${UNDERSTUDY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/understudy}
python=${PYTHON:-python3}
uv_version=0.13.9
llama_version=$(sed -n 's/.*"llama-cpp-python==\([0-9.]*\)".*/\1/p' pyproject.toml)
torch_version=$(sed -n 's/.*"torch==\([0-9.]*\)".*/\1/p' pyproject.toml)

say() { printf '%s\n' "$*" >&2; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { say "Python is $("$python" -V 2>&1); 3.11 or newer is needed. Set PYTHON=python3.12 or the like."; exit 1; }

stamp=.venv/.installed-$group
wanted=$(cat pyproject.toml uv.lock deployments/install.sh | cksum)-${CMAKE_ARGS:-native}
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
[ -x .venv/bin/uv ] && [ "$(.venv/bin/uv --version | cut -d' ' -f2)" = "$uv_version" ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
uv=.venv/bin/uv
# A folder of local wheels that pip is configured with (a CPU build of torch, say) is not known to uv unless told.
UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$(.venv/bin/python -m pip config get global.find-links 2>/dev/null || true)}}
export UV_FIND_LINKS UV_NO_PROGRESS=1

# The wheel of llama.cpp, built once for each version, machine type and set of flags.
llama_wheel() {
  local flags=${CMAKE_ARGS:-} machine key dir sdist
  machine=$(uname -sm)
  case "$flags" in *GGML_NATIVE=OFF*) ;; *) machine="$machine $(grep -m1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null || sysctl -n machdep.cpu.brand_string 2>/dev/null || true)" ;; esac
  key=$(printf '%s|%s' "$flags" "$machine" | cksum | cut -d' ' -f1)
  dir=$cache/wheels/llama_cpp_python-$llama_version-$key
  if ! ls "$dir"/*.whl >/dev/null 2>&1; then
    say "Building llama.cpp ($llama_version) once; it takes some minutes on two cores and is kept in $cache."
    mkdir -p "$dir.part" && rm -f "$dir.part"/*
    .venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$dir.part" "$(llama_sdist)" >&2
    rm -rf "$dir" && mv "$dir.part" "$dir"
  fi
  ls "$dir"/*.whl
}

llama_sdist() {
  local sdist=$cache/sdists/llama_cpp_python-$llama_version.tar.gz
  if [ ! -f "$sdist" ]; then
    mkdir -p "$cache/sdists/part"
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary=llama-cpp-python --dest "$cache/sdists/part" "llama-cpp-python==$llama_version" >&2
    mv "$cache/sdists/part/llama_cpp_python-$llama_version.tar.gz" "$sdist"
  fi
  printf '%s\n' "$sdist"
}

# The converter is in the sources of llama-cpp-python alone; gguf on the registry is older and does not fit it.
converter() {
  local dir=$cache/llama.cpp-$llama_version
  [ -f "$dir/convert_hf_to_gguf.py" ] && return
  rm -rf "$dir.part" && mkdir -p "$dir.part"
  local top=llama_cpp_python-$llama_version/vendor/llama.cpp
  tar -xzf "$(llama_sdist)" -C "$dir.part" --strip-components=3 "$top/convert_hf_to_gguf.py" "$top/conversion" "$top/gguf-py" "$top/LICENSE"
  rm -rf "$dir" && mv "$dir.part" "$dir"
}

locked() { "$uv" export --frozen --no-hashes --no-emit-project --quiet "$@"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "$group" = light ]; then
  locked --group dev --extra s3 > "$work/requirements.txt"
  "$uv" pip install --quiet --python .venv/bin/python -r "$work/requirements.txt"
else
  command -v "${CC:-cc}" >/dev/null || { say "No C compiler found: llama.cpp is built from source. Install one (Debian: apt-get install build-essential) or use 'deployments/install.sh light'."; exit 1; }
  wheel=$(llama_wheel)
  converter
  # torch and the CUDA packages that its registry build pulls in are left to the installer, which then takes a local CPU build where there is one;
  # all other versions stay those of the lock.
  locked --group dev --extra s3 --extra train --extra serve --prune torch --prune llama-cpp-python > "$work/requirements.txt"
  locked --group dev --extra s3 --extra train --extra serve --prune llama-cpp-python > "$work/constraints.txt"
  "$uv" pip install --quiet --python .venv/bin/python -r "$work/requirements.txt" -c "$work/constraints.txt" "torch==$torch_version" "$wheel"
fi
"$uv" pip install --quiet --python .venv/bin/python --no-deps -e .
printf '%s' "$wanted" > "$stamp"
