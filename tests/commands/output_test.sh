#!/usr/bin/env bash
# Where output goes: links, pipes and devices; what could not be written, or printed, is an error, known at the start
# where it can be; what a terminal would obey is shown. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
[ "$(id -u)" -eq 0 ] || nobody=""

# printed_to FILE COMMAND…: stdout to FILE; stderr is the output.
printed_to() {
  local to=$1
  shift
  status=0
  "$@" >"$to" 2>"$output" </dev/null || status=$?
}
# no_escapes WHAT: neither the output nor what was printed has a character that a terminal obeys.
no_escapes() {
  ! LC_ALL=C grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]' "$output" "$folder/printed" ||
    fail "$1: control characters come through"
}

make_data piqa
write_run run 2 1
run "$eyrie" train "$folder/run.yaml"
expect_status 0 "eyrie train"
printf '{"context": "a", "continuation": " b"}\n' >"$folder/requests"
printf '{"prompt": "a", "id": 1}\n{"prompt": "b", "id": [2]}\n' >"$folder/prompts"
score=(timeout 60 "$eyrie" score "$folder/run" --requests "$folder/requests")
generate=(timeout 60 "$eyrie" generate "$folder/run" --max-new 2)
screen=(timeout 60 "$eyrie" data screen --tasks piqa "$folder/raw/web.jsonl")
printed_to "$folder/scores" "${score[@]}"
expect_status 0 "eyrie score"
printed_to "$folder/answers" "${generate[@]}" --prompts "$folder/prompts"
expect_status 0 "eyrie generate --prompts"

say "a device that is full, a stdout that is closed"
for command in "eval $folder/run --tasks piqa --limit 1" "score $folder/run --requests $folder/requests" \
  "generate $folder/run --max-new 2 --prompts $folder/prompts" "generate $folder/run --max-new 2 --prompt a" \
  "data screen --tasks piqa $folder/raw/web.jsonl" "data build $folder/data.yaml" "data inspect $folder/shards" \
  "checkpoint list $folder/run" "checkpoint verify $folder/run" "model info --preset griffin-10m" "eval list" \
  "version" "train --help" "help"; do
  # shellcheck disable=SC2086
  printed_to /dev/full "$eyrie" $command
  expect_status 1 "eyrie $command >/dev/full"
  expect_in_output "No space left on device"
  status=0
  # shellcheck disable=SC2086
  "$eyrie" $command >&- 2>"$output" </dev/null || status=$?
  expect_status 1 "eyrie $command >&-"
  expect_in_output "stdout is closed"
done
status=0
"${score[@]}" --output "$folder/closed" >&- 2>"$output" || status=$?
expect_status 0 "a command that prints nothing needs no stdout"
expect_equal "$folder/closed" "$folder/scores" "the scores without stdout"
printed_to /dev/full "$eyrie" trian
expect_status 2 "what fails otherwise keeps its status"

say "closed descriptors are nobody else's"
for closed in "0<&-" "1>&-" "2>&-" "0<&- 1>&- 2>&-"; do
  rm -rf "$folder/run2"
  sed "s|/run\$|/run2|" "$folder/run.yaml" >"$folder/run2.yaml"
  status=0
  eval '"$eyrie" train "$folder/run2.yaml" '"$closed" 2>/dev/null || status=$?
  expect_status 0 "eyrie train $closed"
  expect_same_run run2 run "closed: $closed"
done

say "a reader that goes away"
for command in "eval list" "model info --preset griffin-10m" "generate $folder/run --prompt a --ignore-end --max-new 100000000"; do
  status=0
  # shellcheck disable=SC2086
  "$eyrie" $command 2>"$output" | head -n 0 || status=${PIPESTATUS[0]}
  expect_status 141 "eyrie $command | head -n 0"
  [ ! -s "$output" ] || fail "eyrie $command | head -n 0 says something"
done

say "links, pipes and devices as outputs"
answers_to() {  # answers_to PATH: of three commands, in turn
  printed_to /dev/null "${score[@]}" --output "$1" && [ "$status" -eq 0 ] || return 1
  check "$folder/scores"
  printed_to /dev/null "${generate[@]}" --prompts "$folder/prompts" --output "$1" && [ "$status" -eq 0 ] || return 1
  check "$folder/answers"
  printed_to /dev/null "${screen[@]}" --output "$1" && [ "$status" -eq 0 ] || return 1
  check "$folder/screened"
}
check() { :; }
printed_to /dev/null "${screen[@]}" --output "$folder/screened"
expect_status 0 "eyrie data screen --output"
mkdir "$folder/elsewhere"
ln -s elsewhere/target "$folder/link"
check() {
  [ -L "$folder/link" ] || fail "the link is gone"
  expect_equal "$folder/elsewhere/target" "$1" "what the link leads to"
}
answers_to "$folder/link" || fail "--output to a link"
[ "$(ls -A "$folder/elsewhere")" = target ] || fail "something is left beside the target"
mkfifo "$folder/pipe"
check() {
  [ -p "$folder/pipe" ] || fail "the pipe is gone"
  wait "$reader"
  expect_equal "$folder/read" "$1" "what came through the pipe"
  { timeout 60 cat "$folder/pipe" >"$folder/read" || true; } &
  reader=$!
}
{ timeout 60 cat "$folder/pipe" >"$folder/read" || true; } &
reader=$!
answers_to "$folder/pipe" || fail "--output to a pipe"
printf "" >"$folder/pipe"  # the last reader ends
wait "$reader"
check() { [ -c /dev/null ] || fail "/dev/null is gone"; }
answers_to /dev/null || fail "--output /dev/null"
printed_to "$folder/printed" "${score[@]}" --output /dev/stdout
expect_equal "$folder/printed" "$folder/scores" "--output /dev/stdout"
{ echo before; "${score[@]}" --output /dev/fd/1 2>/dev/null; echo after; } >"$folder/printed"
{ echo before; cat "$folder/scores"; echo after; } >"$folder/expected"
expect_equal "$folder/printed" "$folder/expected" "--output /dev/fd/1 between other lines"
for command in "score $folder/run --requests $folder/requests" \
  "generate $folder/run --max-new 2 --prompts $folder/prompts" "data screen --tasks piqa $folder/raw/web.jsonl"; do
  # shellcheck disable=SC2086
  run "$eyrie" $command --output /dev/full
  expect_status 1 "eyrie $command --output /dev/full"
  expect_last_line "no space left" "/dev/full"
done
run "${generate[@]}" --prompt a --save-state "$folder/pipe"
expect_status 2 "--save-state to a pipe"
expect_last_line "$folder/pipe" "pipe"
mkdir "$folder/kept"
for file in run.yaml metrics.jsonl; do
  mv "$folder/run2/$file" "$folder/kept/$file"
  ln -s "../kept/$file" "$folder/run2/$file"
done
run "$eyrie" train "$folder/run2.yaml" stages.1.steps=2
expect_status 0 "a run whose files are links"
[ -L "$folder/run2/run.yaml" ] && [ -L "$folder/run2/metrics.jsonl" ] || fail "a link of the run is gone"
[ "$(lines_of "$folder/kept/metrics.jsonl")" -gt "$(lines_of "$folder/run/metrics.jsonl")" ] ||
  fail "metrics.jsonl is not where its link leads"

say "known at the start"
echo "kept" >"$folder/kept/answers"
printf '{"prompt": "a"}\n\n{"promt": "b"}\n' >"$folder/bad-prompts"
run "$eyrie" generate "$folder/nowhere" --prompts "$folder/bad-prompts" --output "$folder/kept/answers"
expect_status 2 "a bad line of a prompts file"
expect_last_line "$folder/bad-prompts:3:"
printf '{"context": "a", "continuation": "b"}\n{"context": "a"}\n' >"$folder/bad-requests"
run "$eyrie" score "$folder/nowhere" --requests "$folder/bad-requests" --output "$folder/kept/answers"
expect_status 2 "a bad line of a requests file"
expect_last_line "$folder/bad-requests:2:"
[ "$(cat "$folder/kept/answers")" = kept ] || fail "the answers of before are gone"
# The model is not there either: what is wrong with the output is told first.
refused_output() {
  run $nobody "$eyrie" "$@"
  expect_status 2 "eyrie $*"
  expect_last_line "cannot be written" "--output"
}
chmod 755 "$folder"
mkdir -m 555 "$folder/closed-folder"
for place in "$folder/closed-folder" "$folder/prompts/x" "$folder/no/folder"; do
  refused_output score "$folder/nowhere" --requests "$folder/requests" --output "$place/file"
  refused_output generate "$folder/nowhere" --prompts "$folder/prompts" --output "$place/file"
  refused_output data screen --tasks piqa "$folder/raw/web.jsonl" --output "$place/file"
  [ "$place" = "$folder/no/folder" ] || refused_output eval "$folder/nowhere" --tasks piqa --output "$place/folder"
done
run $nobody "$eyrie" model init --preset griffin-10m "$folder/closed-folder/model"
expect_status 2 "eyrie model init into a folder that is closed"
expect_last_line "$folder/closed-folder/model" "cannot be written"
sed "s|^output:.*|output: $folder/closed-folder/shards|" "$folder/data.yaml" >"$folder/closed.yaml"
run $nobody "$eyrie" data build "$folder/closed.yaml"
expect_status 2 "eyrie data build into a folder that is closed"
expect_last_line "$folder/closed-folder/shards" "cannot be written"
for directory in "$folder/closed-folder/run" "$folder/closed-folder" "$folder/prompts/run"; do
  for flag in --check ""; do
    # shellcheck disable=SC2086
    run $nobody "$eyrie" train "$folder/run.yaml" "directory=$directory" $flag
    expect_status 2 "eyrie train directory=$directory $flag"
    expect_last_line "$directory" "cannot be written"
  done
done
for name in checkpoints log; do
  mkdir -p "$folder/blocked-$name"
  echo >"$folder/blocked-$name/$name"
  run "$eyrie" train "$folder/run.yaml" "directory=$folder/blocked-$name" --check
  expect_status 2 "eyrie train --check with a file in the place of $name"
  expect_last_line "$folder/blocked-$name/$name"
done
run "$eyrie" train "$folder/run.yaml" "directory=$folder/free/run" --check
expect_status 0 "eyrie train --check"
[ ! -e "$folder/free" ] || fail "--check leaves something"

say "a finished table is printed"
mkdir "$folder/results"
ln -s /dev/full "$folder/results/results.json"
printed_to "$folder/printed" "$eyrie" eval "$folder/run" --tasks piqa --limit 1 --output "$folder/results"
expect_status 1 "eyrie eval whose results cannot be written"
grep -q "piqa.*acc" "$folder/printed" || fail "the table was not printed"

say "names that are not UTF-8"
bad=$(printf 'daten-\xfcber')
cp -r "$folder/shards" "$folder/$bad"
for setting in "stages.0.data.shards=$folder/$bad" "directory=$folder/$bad-run" "stages.0.name=$bad" "name=$bad"; do
  run "$eyrie" train "$folder/run.yaml" "$setting" --check
  expect_status 2 "eyrie train with a name that is not UTF-8"
  expect_last_line "command line" "daten-\\xfcber" "not UTF-8"
done
sed "s|shards: $folder/shards, best|shards: $folder/$bad, best|" "$folder/run.yaml" >"$folder/latin.yaml"
run "$eyrie" train "$folder/latin.yaml" --check
expect_status 2 "a RUN.yaml that is not UTF-8"
expect_last_line "$folder/latin.yaml:$(grep -na "best" "$folder/latin.yaml" | cut -d : -f 1)" "stages[1].data.shards"
mkdir "$folder/names"
cp "$folder/raw/web.jsonl" "$folder/names/$bad.jsonl"
sed "s|$folder/raw/web.jsonl|$folder/names/*.jsonl|" "$folder/data.yaml" >"$folder/names.yaml"
run "$eyrie" data build "$folder/names.yaml"
expect_status 2 "a document file whose name is not UTF-8"
expect_last_line "$folder/names.yaml:" "files" "not UTF-8"
run "$eyrie" data screen --tasks piqa "$folder/names/$bad.jsonl"
expect_status 2 "the same for eyrie data screen"
expect_last_line "not UTF-8"

say "what a terminal would obey is shown"
escape=$(printf '\033[31m')
mkdir "$folder/escapes"
awk 'BEGIN { for (d = 0; d < 30; ++d) printf "{\"text\": \"red \\u001b[31m \\u009b2J \\u202e over\\rwritten %d and so on, a few words more\"}\n", d }' \
  >"$folder/escapes/$escape.jsonl"
cat >"$folder/escapes.yaml" <<YAML
tokenizer: bytes
output: $folder/escapes/shards
sources: [{name: web, files: $folder/escapes/*.jsonl, on_error: skip}]
YAML
printed_to "$folder/printed" "$eyrie" data build "$folder/escapes.yaml"
expect_status 0 "eyrie data build"
no_escapes "data build"
printed_to "$folder/printed" "$eyrie" data inspect "$folder/escapes/shards" --documents 3
expect_status 0 "eyrie data inspect"
no_escapes "data inspect"
grep -qF 'red \x1b[31m \x9b2J \u202e over\x0dwritten' "$folder/printed" || fail "the document is not shown"
printed_to "$folder/printed" "$eyrie" data screen --items "$folder/escapes/$escape.jsonl" "$folder/escapes/$escape.jsonl"
no_escapes "data screen"
echo "x: [" >"$folder/$escape.yaml"
printed_to "$folder/printed" "$eyrie" train "$folder/$escape.yaml"
expect_status 2 "a file with a name like that"
expect_in_output '\x1b[31m.yaml'
no_escapes "a message"
printed_to "$folder/printed" "$eyrie" train "$folder/run.yaml" "--no$escape"
no_escapes "a message of the flags"
printed_to "$folder/printed" "$eyrie" train "$folder/run.yaml" "directory=$folder/shown" "stages.0.name=first$escape"
expect_status 2 "a stage with a control character in its name"
no_escapes "a name that is refused"
turned=$'\xe2\x80\xae'  # text from right to left, from here on
printed_to "$folder/printed" "$eyrie" train "$folder/run.yaml" "directory=$folder/shown" "stages.0.name=first$turned" "name=shown$turned"
expect_status 0 "a stage with a name like that"
no_escapes "train"
grep -qF 'first\u202e' "$folder/shown/log/rank-0000.log" || fail "the log does not show it"
for command in "checkpoint list" "checkpoint verify" "model info"; do
  # shellcheck disable=SC2086
  printed_to "$folder/printed" "$eyrie" $command "$folder/shown"
  expect_status 0 "eyrie $command"
  no_escapes "$command"
done
printed_to "$folder/printed" timeout 60 "$eyrie" generate "$folder/run" --prompt "a$escape" --max-new 400 --ignore-end --temperature 3
expect_status 0 "generated text"
no_escapes "generate"
printf '{"prompt": "\\u009b", "id": "\\u202e"}\n' >"$folder/prompts"
printed_to "$folder/printed" timeout 60 "$eyrie" generate "$folder/run" --prompts "$folder/prompts" --max-new 400 --ignore-end --temperature 3
expect_status 0 "generated JSON"
no_escapes "generate --prompts"
grep -qF '{"id":"\u202e","prompt":"\u009b"' "$folder/printed" || fail "the JSON does not show it"
