#!/usr/bin/env bash
# Runs a deployment and waits until the run ends. Exit code: 0 if it completed, 1 if it did not, 2 if it did not end in time. A run that does not end in
# time, or is interrupted with Ctrl-C, is cancelled. The machine needs `pip install prefect`, PREFECT_API_URL and PREFECT_API_AUTH_STRING, and nothing else
# of Understudy. The password of this checkout's own server (understudy ui) is read from its file.
#
#   LIMIT=3600 deployments/run_and_watch.sh generation/generation -p conversations=10 -p settings=config/pipeline.yaml
set -uo pipefail

limit=${LIMIT:-3600}
prefect=${PREFECT:-prefect}
[ $# -gt 0 ] || { echo "usage: run_and_watch.sh flow/deployment [-p name=value …]" >&2; exit 64; }

kept=${PREFECT_HOME:-$(dirname "$0")/../.prefect}/server-password
case ${PREFECT_API_URL:-} in
  http://127.0.0.1:* | http://localhost:*)
    [ -n "${PREFECT_API_AUTH_STRING:-}" ] || [ ! -r "$kept" ] || export PREFECT_API_AUTH_STRING="$(<"$kept")" ;;
esac

# created first and polled afterwards: `prefect deployment run --watch` that times out does not print the run's id, which is needed to cancel it
output=$("$prefect" deployment run "$@" 2>&1) || { printf '%s\n' "$output" >&2; exit 1; }
printf '%s\n' "$output"
id=$(grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' <<<"$output" | head -1)
[ -n "$id" ] || { echo "The output of prefect contains no id of a flow run." >&2; exit 1; }

cancel() { "$prefect" flow-run cancel "$id" >&2 || true; }
trap 'cancel; exit 130' INT TERM

until=$((SECONDS + limit)) last=
while [ $SECONDS -lt $until ]; do
  # an error is ignored, so that the server can be restarted meanwhile
  state=$("$prefect" flow-run inspect "$id" --output json 2>/dev/null | python3 -c 'import json, sys; s = json.load(sys.stdin)["state"]; print(s["type"], s["name"], s.get("message") or "")' 2>/dev/null) || state=
  [ -z "$state" ] || [ "$state" = "$last" ] || { echo "$(date +%T) ${state#* }"; last=$state; }
  case $state in
    COMPLETED*) exit 0 ;;
    FAILED* | CRASHED* | CANCELLED*) exit 1 ;;
  esac
  sleep "${INTERVAL:-5}"
done
echo "The run did not end within $limit seconds and is cancelled." >&2
cancel
exit 2
