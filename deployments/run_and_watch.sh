#!/usr/bin/env bash
# Runs a deployment and waits for its end: exit code 0 if it completed, 1 if it did not, 2 if it did not end in time (it is cancelled then, also by Ctrl-C).
# A machine that runs this needs `pip install prefect`, PREFECT_API_URL and PREFECT_API_AUTH_STRING, nothing else of Understudy; the password of this
# checkout's own server (make ui) is found.
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

# made first and watched second: a watch that ends in time has no name for what it leaves behind
made=$("$prefect" deployment run "$@" 2>&1) || { printf '%s\n' "$made" >&2; exit 1; }
printf '%s\n' "$made"
id=$(grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' <<<"$made" | head -1)
[ -n "$id" ] || { echo "No id of a flow run in what prefect said." >&2; exit 1; }

cancel() { "$prefect" flow-run cancel "$id" >&2 || true; }
trap 'cancel; exit 130' INT TERM

until=$((SECONDS + limit)) last=
while [ $SECONDS -lt $until ]; do
  # a server that is restarted is asked again
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
