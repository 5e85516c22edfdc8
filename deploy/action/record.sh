#!/bin/bash
# Records DIFFKEEPER_RUN, a bash script, in the current folder. Ends with 0 whatever the script does: the exit code is an output, so that
# the trace can be uploaded before the job fails. Reads DIFFKEEPER (the binary), DIFFKEEPER_WATCH, _INCLUDE, _EXCLUDE
# (lists, one a line), _NAME, _WAIT, _UPLOAD and the runner's RUNNER_TEMP, GITHUB_OUTPUT, GITHUB_STEP_SUMMARY.
set -u

fail() {
  echo "::error title=DiffKeeper::$1"
  exit 2
}

case $DIFFKEEPER_UPLOAD in
  always | failure | never) ;;
  *) fail "cannot use upload \"$DIFFKEEPER_UPLOAD\": it is always, failure or never" ;;
esac
case $DIFFKEEPER_WAIT in
  true | false) ;;
  *) fail "cannot use wait \"$DIFFKEEPER_WAIT\": it is true or false" ;;
esac

options=()
add() {
  local line
  while IFS= read -r line; do
    [[ $line =~ ^[[:space:]]*$ ]] || options+=("$1" "$line")
  done <<<"$2"
}
add --watch "${DIFFKEEPER_WATCH:-}"
add --include "${DIFFKEEPER_INCLUDE:-}"
add --exclude "${DIFFKEEPER_EXCLUDE:-}"
[ -z "${DIFFKEEPER_NAME:-}" ] || options+=(--name "$DIFFKEEPER_NAME")
[ "$DIFFKEEPER_WAIT" = false ] || options+=(--wait)

# a step may run in a job several times: each has its own files
folder=$(mktemp -d "$RUNNER_TEMP/diffkeeper-XXXXXX") || exit 1
trace="$folder/trace"
script="$folder/run.sh"
printf '%s\n' "$DIFFKEEPER_RUN" >"$script"

# as root the recorder is root; else sudo, which keeps the environment, and the command runs as who we are
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo --preserve-env)
# the command does not get our own variables
"${sudo[@]}" env -u DIFFKEEPER -u DIFFKEEPER_RUN -u DIFFKEEPER_WATCH -u DIFFKEEPER_INCLUDE -u DIFFKEEPER_EXCLUDE \
  -u DIFFKEEPER_NAME -u DIFFKEEPER_WAIT -u DIFFKEEPER_UPLOAD \
  "$DIFFKEEPER" record --state-dir "$trace" "${options[@]}" -- bash --noprofile --norc -eo pipefail "$script"
code=$?

upload=false
if [ -e "$trace/trace.db" ]; then
  # small enough to keep; a trace that cannot be packed is kept as it is
  "$DIFFKEEPER" compact --fast --state-dir "$trace" || echo "::warning title=DiffKeeper::the trace is uploaded unpacked"
  {
    echo "### DiffKeeper"
    echo '```text'
    "$DIFFKEEPER" info --state-dir "$trace" 2>&1
    echo '```'
  } >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
  [ "$DIFFKEEPER_UPLOAD" = always ] && upload=true
  [ "$DIFFKEEPER_UPLOAD" = failure ] && [ $code != 0 ] && upload=true
else
  trace=""
fi
{
  echo "exit-code=$code"
  echo "trace=$trace"
  echo "upload=$upload"
} >>"$GITHUB_OUTPUT"
exit 0
