#!/usr/bin/env bash
# A Prefect server, the deployments and a worker, until Ctrl-C.   PORT=4200 deployments/ui.sh
set -euo pipefail
cd "$(dirname "$0")/.."

export PREFECT_SERVER_API_PORT=${PORT:-4200}  # not --port: the UI would go on looking at 4200
export PREFECT_API_URL=http://127.0.0.1:$PREFECT_SERVER_API_PORT/api
bin=$PWD/.venv/bin

if curl -sf -o /dev/null "$PREFECT_API_URL/health"; then
  echo "Something answers on port $PREFECT_SERVER_API_PORT already. Stop it, or choose another port: make ui PORT=4300" >&2
  exit 1
fi
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM

"$bin/prefect" server start >.prefect/server.log 2>&1 &
server=$!
for _ in $(seq 120); do
  kill -0 $server 2>/dev/null || { echo "The Prefect server did not start; see .prefect/server.log" >&2; exit 1; }
  curl -sf -o /dev/null "$PREFECT_API_URL/health" && break
  sleep 1
done
"$bin/python" deployments/setup.py
"$bin/prefect" --no-prompt deploy --all
printf '\nOpen http://127.0.0.1:%s and run the deployment "pipeline". Ctrl-C stops the server and the worker.\n\n' "$PREFECT_SERVER_API_PORT"
"$bin/prefect" worker start --pool understudy --name "understudy-$$"
