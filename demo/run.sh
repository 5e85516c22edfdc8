#!/bin/sh
# The demo: records a flaky test until it fails, finds out who corrupted its file, and gets the file back as it was.
# Exits with 0 only if all of that worked. Needs root (or sudo) and dist/diffkeeper; `npm run demo` builds it first.
# DEMO_KEEP=1 keeps the folder with the recording.
set -eu
demo=$(cd "$(dirname "$0")" && pwd)
diffkeeper=$demo/../dist/diffkeeper
RUNS_MAX=300

fail() {
  echo "demo: error: $1" >&2
  echo "demo: hint: $2" >&2
  exit 1
}
say() { printf '\n%s\n' "$1"; }
# Shows a command as a user would type it, then runs it.
show() {
  printf '\n$ diffkeeper'
  for word; do
    case $word in *'#'*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  echo
  "$diffkeeper" "$@"
}

[ -x "$diffkeeper" ] || fail "there is no dist/diffkeeper" "run: npm run build"
sudo=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null 2>&1 || fail "recording needs root" "run it as root"
  sudo=sudo
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/diffkeeper-demo-XXXXXX")
clean() {
  cd /
  if [ "${DEMO_KEEP:-}" = 1 ]; then echo "demo: kept in $work"; else rm -rf "$work"; fi
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$work/app"
cd "$work/app"

say "A test that fails in one run of many. Its last words are no help, and it cleans up: the file it complains
about is gone. So every run is recorded, and the first that fails is kept."
echo
echo '$ diffkeeper record -- connection_test    # again and again'
run=0
code=0
while [ "$code" = 0 ] && [ "$run" -lt "$RUNS_MAX" ]; do
  run=$((run + 1))
  echo "OK: Connected" >status.log
  $sudo "$diffkeeper" record --overwrite --state-dir ../trace --name "run $run" \
    -- "$demo/flaky/connection_test" >../output 2>&1 || code=$?
done
[ "$code" != 0 ] || fail "the test passed $run times in a row" "run the demo again"
cat ../output
[ "$code" = 1 ] || fail "recording ended with $code" "see the message above"
echo "(run $run exits with $code; $((run - 1)) passed)"
[ ! -e status.log ] || fail "status.log is still there" "look at demo/flaky/connection_test"

trace=../trace
say "1. What happened to status.log? Nobody creates it: the primary renames status.tmp into place, as it should."
show timeline --state-dir $trace --path status.log
# One line of JSON per event: the number of the last, and of the first, that changed what status.log says.
changes=$("$diffkeeper" timeline --state-dir $trace --path status.log --op rename,write --json |
  sed -n 's/^{"seq":\([0-9]*\),.*/\1/p')
first=$(echo "$changes" | head -n 1)
last=$(echo "$changes" | tail -n 1)
[ -n "$first" ] || fail "no change of status.log was recorded" "report this"

say "2. And who wrote the file that was renamed? At that moment two processes use the same temporary name."
show timeline --state-dir $trace --around "#$first" --limit 12
culprit=$("$diffkeeper" timeline --state-dir $trace --path 'status.*' --op write --to "#$last" --json |
  sed -n 's/.*"comm":"\([^"]*\)".*/\1/p' | tail -n 1)
say "   The last write to it, up to #$last, is by: $culprit"
[ "$first" = "$last" ] || echo "   (it had opened status.tmp just before the rename: the same file has another name by then)"

say "3. The folder right before and right after, with a file that no longer exists."
show export --state-dir $trace --time "before:#$first" --out ../before
show export --state-dir $trace --time "#$last" --out ../after
printf '\n$ cat before/status.log\n'
cat ../before/status.log
printf '\n$ cat after/status.log\n'
cat ../after/status.log

say "Checks:"
failed=0
check() {
  if [ "$2" = "$3" ]; then echo "  ok    $1"; else
    echo "  FAIL  $1: expected \"$3\", found \"$2\""
    failed=1
  fi
}
lost=$("$diffkeeper" info --state-dir $trace --json | sed -n 's/.*"lost":\([0-9]*\).*/\1/p')
check "nothing was lost" "$lost" 0
check "the culprit is the standby monitor" "$culprit" standby
check "before #$first status.log says OK: Connected" "$(cat ../before/status.log)" "OK: Connected"
check "after #$last status.log says ERROR: Connection Lost" "$(cat ../after/status.log)" "ERROR: Connection Lost"
check "standby and primary write the same temporary name" \
  "$(grep -l '>status.tmp' "$demo/flaky/primary" "$demo/flaky/standby" | wc -l | tr -d ' ')" 2
[ "$failed" = 0 ] || fail "a check failed" "run with DEMO_KEEP=1 and look at the recording"
say "The fix: a temporary name of its own for each monitor."
