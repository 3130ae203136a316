#!/usr/bin/env bash
# Installs the locked dependencies into .venv, tests llama.cpp on this machine, and caches downloads and builds for the next checkout.
#
#   deployments/install.sh              everything: pipeline, training, llama.cpp, development tools; needs no compiler
#   deployments/install.sh light        everything but torch and llama.cpp: enough to generate and assess
#   deployments/install.sh llama-cpp    everything, and llama-cpp-python, which plays models named llama-cpp/…; needs a C++ compiler
#
# UNDERSTUDY_CACHE  folder of downloads and builds (default ~/.cache/understudy)
# PYTHON            interpreter of .venv (default: the one that .venv already has, else python3)
# CMAKE_ARGS        flags to build llama.cpp with, such as -DGGML_CUDA=on; remembered until it is set to nothing
# UNDERSTUDY_LLAMA  which llama.cpp to use: own (built with CMAKE_ARGS), prebuilt or portable; remembered until it is auto, which tests them again
set -euo pipefail
cd "$(dirname "$0")/.."

group=${1:-full}
cache=${UNDERSTUDY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/understudy}
python=${PYTHON:-python3}
uv_version=0.13.9
torch_version=$(sed -n 's/.*"torch==\([0-9.]*\)".*/\1/p' pyproject.toml)
here=.venv/bin/python

say() { printf '%s\n' "$*" >&2; }
# prints, for example, 3.12; nothing if the argument is not a Python interpreter
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

case "$group" in light|full|llama-cpp) ;; *) say "There is no group $group. Give light, full or llama-cpp."; exit 2 ;; esac
# once llama-cpp-python is installed, later installations update it too
if [ "$group" = full ] && [ -f .venv/.installed-llama-cpp ]; then group=llama-cpp; fi

asked=.venv/.llama-asked
if [ -f "$asked" ]; then
  { IFS= read -r kept_args || true; IFS= read -r kept_kind || true; } < "$asked"
  CMAKE_ARGS=${CMAKE_ARGS-${kept_args:-}} UNDERSTUDY_LLAMA=${UNDERSTUDY_LLAMA-${kept_kind:-}}
fi
export CMAKE_ARGS=${CMAKE_ARGS:-} UNDERSTUDY_LLAMA=${UNDERSTUDY_LLAMA:-}

# .venv belongs to one version of Python. PYTHON may name another, and the system's may have been updated or removed since.
has=$(version_of "$here")
[ -d ".venv/lib/python$has" ] || has=
[ -z "$has" ] || [ -n "${PYTHON:-}" ] || python=$here
version=$(version_of "$python")
sources=$(cat pyproject.toml uv.lock deployments/install.sh deployments/llama.py deployments/llama_build.py | cksum | tr ' ' -)-$version
features=$(grep -m1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null || sysctl -n machdep.cpu.brand_string 2>/dev/null || true)
wanted="$sources $(printf '%s' "$features" | cksum | cut -d' ' -f1) ${UNDERSTUDY_LLAMA:-auto} $CMAKE_ARGS"
for stamp in .venv/.installed-light .venv/.installed-full .venv/.installed-llama-cpp; do
  [ "$has" = "$version" ] || break
  case "$stamp" in *-light) [ "$group" = light ] || continue ;; *-full) [ "$group" != llama-cpp ] || continue ;; esac
  [ -f "$stamp" ] && found=$(cat "$stamp") || continue
  if [ "$group" = light ]; then [ "${found%% *}" = "$sources" ] && exit 0 || continue; fi
  if [ "$found" = "$wanted" ] && [ -z "${UNDERSTUDY_PROBE_DIES:-}" ] && [ "$UNDERSTUDY_LLAMA" != auto ] && "$here" deployments/llama.py check; then exit 0; fi
done

case "$version" in 3.11|3.12|3.13) ;; *) say "Python is ${version:-not found as $python}; 3.11, 3.12 or 3.13 is needed. Set PYTHON, for example PYTHON=python3.12."; exit 1 ;; esac
# One installation at a time: lock.py takes the lock and runs this script again, with this process's number in INSTALL_LOCK_HOLDER.
[ "${INSTALL_LOCK_HOLDER:-}" = "$$" ] || exec "$python" deployments/lock.py "$cache/install.lock" "$PWD/deployments/install.sh" "$@"

work=$(mktemp -d)
mkfifo "$work/never"
exec 8<> "$work/never"
beat=
still() { [ -z "$beat" ] || { kill "$beat" && wait "$beat"; beat=; } 2>/dev/null || true; }
trap 'still; rm -rf "$work"' EXIT

# Runs a step: prints its name, the time elapsed every 20 s, and how long it took.
step() {
  local what=$1 began=$SECONDS
  shift
  say "$what …"
  # `read -t` and not `sleep`, which would outlive its shell; no process that outlives this script may hold the lock (9)
  { while read -r -t 20 -u 8 || kill -0 $$; do say "  … $((SECONDS - began)) s"; done; } 9>&- &
  beat=$!
  "$@"  # not in a condition, which would switch -e off within it
  still
  say "  $((SECONDS - began)) s"
}

environment() {
  if [ "$has" != "$version" ]; then
    [ ! -d .venv ] || find .venv/ -mindepth 1 -maxdepth 1 ! -name .llama-asked -exec rm -rf {} +
    "$python" -m venv .venv
  fi
  [ -x .venv/bin/uv ] && [ "$(.venv/bin/uv --version | cut -d' ' -f2)" = "$uv_version" ] || "$here" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
}

locked() { .venv/bin/uv export --frozen --no-emit-project --quiet "$@"; }
install() { .venv/bin/uv pip install --quiet --python "$here" "$@"; }
# The list is complete, and each file must have a hash of the lock. uv runs in another folder, because here it would read the project's override of a
# requirement, which has no hash.
install_locked() { .venv/bin/uv pip install --quiet --directory "$work" --python "$PWD/$here" --no-deps --require-hashes -r "$work/requirements.txt"; }

all_packages() {
  # torch and the CUDA packages that its registry build requires are installed separately, so that a local CPU build of torch can be used instead. Their
  # versions are those of the lock; their hashes are not checked against it.
  locked --group dev --extra s3 --extra train --extra serve --prune torch > "$work/requirements.txt"
  locked --no-hashes --group dev --extra s3 --extra train --extra serve --extra llama-cpp --prune llama-cpp-python > "$work/constraints.txt"
  "$here" deployments/llama.py sources &
  local fetching=$!
  { install_locked && install -c "$work/constraints.txt" "torch==$torch_version"; } || { kill $fetching 2>/dev/null; return 1; }
  wait $fetching
}

light_packages() {
  locked --group dev --extra s3 > "$work/requirements.txt"
  install_locked
}

step "Making .venv" environment
# uv does not read pip's configuration, so pass it a folder of local wheels that pip is configured with (for example with a CPU build of torch).
UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$("$here" -m pip config get global.find-links 2>/dev/null || true)}}
export UV_FIND_LINKS UV_NO_PROGRESS=1
if [ "$group" = light ]; then
  step "Installing packages" light_packages
else
  step "Installing packages, torch and llama.cpp among them (1 GB and more)" all_packages
  step "Testing llama.cpp on this machine" "$here" deployments/llama.py choose
  [ "$group" = full ] || step "Installing llama-cpp-python" "$here" deployments/llama.py provider "$work/constraints.txt"
  printf '%s\n%s\n' "$CMAKE_ARGS" "${UNDERSTUDY_LLAMA#auto}" > "$asked"
fi
install --no-deps -e .
[ "$group" = light ] && printf '%s' "$sources" > .venv/.installed-light || printf '%s' "$wanted" > ".venv/.installed-$group"
