#!/usr/bin/env bash
# run.sh ONNXC WORK JOBS SET -- `onnxc verify` over one set of ONNX's own tests (node, simple, ...). Fails when
#   - a test fails that is not in failing.txt, or one that is there passes;
#   - fewer tests pass than floors.txt says;
#   - (set node) a test of an operator in operators.txt is not supported and not in unsupported.txt, or an operator of
#     that list has tests and passes none.
set -euo pipefail
onnxc=$1 work=$2 jobs=$3 set=$4
source "$(dirname "$0")/common.sh"
find_onnx_tests "$work"
[ -n "$data" ] || skip "all of set '$set': there is no ../shared/onnx and no package libonnx-testdata"
[ -d "$data/$set" ] || skip "all of set '$set': $data_source does not have it"

# One line a test: outcome, operator, name, message.
results=$work/$data_source-$set.txt
status=0
"$onnxc" verify --json --jobs="$jobs" "$data/$set" >"$results.json" || status=$?
[ "$status" -eq 0 ] || [ "$status" -eq 1 ] || [ "$status" -eq 4 ] || fail "onnxc verify ended with status $status"
awk -F'"' '
  /^      "name": /     { name = $4 }
  /^      "operator": / { op = $4; gsub(/ /, "", op) }
  /^      "outcome": /  { outcome = $4; gsub(/ /, "-", outcome) }
  /^      "message": /  { sub(/^ *"message": "/, ""); sub(/"$/, ""); print outcome, op, name, $0 }
' "$results.json" >"$results"
rm "$results.json"

# listed FILE KEY NAME: is there a row "KEY PATTERN ..." whose pattern matches?
listed() {
  local row_key row_pattern
  while read -r row_key row_pattern _; do
    # shellcheck disable=SC2053
    [ "$row_key" = "$2" ] && [[ $3 == $row_pattern ]] && return 0
  done < <(rows "$1")
  return 1
}

failing=$work/failing-$data_source-$set.txt
rows "$here/failing.txt" | awk -v source="$data_source" -v set="$set" '$1 == source && $2 == set { print "test", $3 }' >"$failing"
known=0
while read -r outcome op name message; do
  if [ "$outcome" = fail ] && listed "$failing" test "$name"; then
    known=$((known + 1))
  elif [ "$outcome" = fail ]; then
    fail "$name ($op): $message"
  elif [ -s "$failing" ] && listed "$failing" test "$name"; then
    fail "$name passes, but failing.txt lists it"
  fi
done <"$results"

if [ "$set" = node ]; then
  operators=$(rows "$here/operators.txt")
  while read -r outcome op name message; do
    [[ " ${operators//$'\n'/ } " == *" $op "* ]] || continue
    if [ "$outcome" = unsupported ] && ! listed "$here/unsupported.txt" "$op" "$name"; then
      fail "$name ($op) is not supported: $message"
    fi
  done < <(grep -v '^pass ' "$results")
  for op in $operators; do
    grep -q "^pass $op " "$results" && continue
    grep -q "^[^ ]* $op " "$results" && fail "no test of operator $op passes"
    untested="${untested:-; without a test here:} $op"
  done
fi

count() { awk -v outcome="$1" '$1 == outcome { n++ } END { print n + 0 }' "$results"; }
passed=$(count pass)
floor=$(rows "$here/floors.txt" | awk -v source="$data_source" -v set="$set" '$1 == source && $2 == set { print $3 }')
[ -n "$floor" ] || fail "floors.txt has no row for $data_source $set"
[ "$passed" -ge "${floor:-0}" ] || fail "only $passed tests pass, floors.txt wants $floor"
echo "$set of $data_source: $passed passed (at least $floor must), $(count fail) failed ($known known)," \
  "$(count unsupported) skipped as unsupported, $(count no-code) without code${untested:-}"
[ -z "${failures:-}" ]
