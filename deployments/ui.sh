#!/usr/bin/env bash
# A Prefect server, the deployments and a worker, until Ctrl-C.   PORT=4200 deployments/ui.sh
set -euo pipefail
cd "$(dirname "$0")/.."

export PREFECT_SERVER_API_PORT=${PORT:-4200}  # not --port: the UI would go on looking at 4200
export PREFECT_API_URL=http://127.0.0.1:$PREFECT_SERVER_API_PORT/api
bin=$PWD/.venv/bin
logs=$PWD/.prefect
mkdir -p "$logs"

if curl -sf -o /dev/null "$PREFECT_API_URL/health"; then
  echo "Something answers on port $PREFECT_SERVER_API_PORT already. Stop it, or choose another port: make ui PORT=4300" >&2
  exit 1
fi

# Both in sessions of their own: Ctrl-C reaches this script only, which stops the worker first. A worker whose server is gone hangs.
apart() { exec "$bin/python" -c 'import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])' "$@"; }
server= worker=
stop() {
  trap - EXIT INT TERM
  [ -z "$worker" ] || { echo "Stopping the worker and the server."; kill -TERM "$worker" 2>/dev/null || true; wait "$worker" 2>/dev/null || true; }
  [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }
}
trap 'stop' EXIT
trap 'stop; exit 130' INT TERM

echo "Starting the Prefect server; its log is $logs/server.log"
apart "$bin/prefect" server start >"$logs/server.log" 2>&1 &
server=$!
for _ in $(seq 180); do
  kill -0 $server 2>/dev/null || { echo "The Prefect server did not start; see $logs/server.log" >&2; exit 1; }
  curl -sf -o /dev/null "$PREFECT_API_URL/health" && break
  sleep 1
done
"$bin/python" deployments/setup.py deploy >"$logs/deploy.log" 2>&1 || { cat "$logs/deploy.log" >&2; exit 1; }
printf '\nOpen http://127.0.0.1:%s and run the deployment "demo" (or "pipeline", with your keys in the environment). Ctrl-C stops the server and the worker.\n\n' "$PREFECT_SERVER_API_PORT"
apart "$bin/prefect" worker start --pool understudy --name "understudy-$$" &
worker=$!
wait $worker
