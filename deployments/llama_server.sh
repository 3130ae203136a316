#!/usr/bin/env bash
# Builds llama.cpp's llama-server once, from the same sources as the rest, and prints its path.
#
#   export UNDERSTUDY_LLAMA_SERVER=$(deployments/llama_server.sh)
#
# UNDERSTUDY_CACHE  where it is kept (default ~/.cache/understudy)
# CMAKE_ARGS        how it is built, such as -DGGML_CUDA=on or -DGGML_METAL=on (default: with this machine's own optimisations)
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${UNDERSTUDY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/understudy}
python=${PYTHON:-python3}
version=$(sed -n 's/.*"llama-cpp-python==\([0-9.]*\)".*/\1/p' pyproject.toml)
flags=${CMAKE_ARGS:-}
machine=$(uname -sm)
case "$flags" in *GGML_NATIVE=OFF*) ;; *) machine="$machine $(grep -m1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null || sysctl -n machdep.cpu.brand_string 2>/dev/null || true)" ;; esac
key=$(printf '%s|%s' "$flags" "$machine" | cksum | cut -d' ' -f1)
program=$cache/llama-server-$version-$key/llama-server
if [ -x "$program" ]; then printf '%s\n' "$program"; exit 0; fi

for needed in "${CC:-cc}" "${CXX:-c++}" tar; do
  command -v "$needed" >/dev/null || { printf 'No %s found. Install a C/C++ compiler (Debian: apt-get install build-essential).\n' "$needed" >&2; exit 1; }
done
printf 'Building llama-server (%s) once; it takes some minutes on two cores and is kept in %s.\n' "$version" "$cache" >&2

sdist=$cache/sdists/llama_cpp_python-$version.tar.gz
if [ ! -f "$sdist" ]; then
  mkdir -p "$cache/sdists/part"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary=llama-cpp-python --dest "$cache/sdists/part" "llama-cpp-python==$version" >&2
  mv "$cache/sdists/part/llama_cpp_python-$version.tar.gz" "$sdist"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$sdist" -C "$work" --strip-components=1
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "cmake<4.3" ninja >&2
PATH=$work/venv/bin:$PATH
# shellcheck disable=SC2086  flags are several words
cmake -S "$work/vendor/llama.cpp" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_BUILD_APP=OFF $flags >"$work/log" 2>&1 \
  && cmake --build "$work/build" --target llama-server >>"$work/log" 2>&1 || { tail -30 "$work/log" >&2; exit 1; }
mkdir -p "$(dirname "$program")"
cp "$work/build/bin/llama-server" "$program.part"
mv "$program.part" "$program"
printf '%s\n' "$program"
