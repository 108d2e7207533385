#!/usr/bin/env bash
# eyrie checkpoint list, verify and prune: what they say of a run's checkpoints, sound, damaged and unfinished, and what
# they never remove. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

# checkpoint VERB ARGUMENT…: succeeds.
checkpoint() {
  run "$eyrie" checkpoint "$@"
  expect_status 0 "eyrie checkpoint $*"
  expect_no_dump
}
# fails STATUS VERB ARGUMENT…
fails() {
  local expected=$1
  shift
  run "$eyrie" checkpoint "$@"
  expect_status "$expected" "eyrie checkpoint $*"
  expect_no_dump
}
# flip FILE BYTE: its lowest bit.
flip() {
  local value
  value=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "\\x$(printf %02x $((value ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
# line_of STEP: of the last list.
line_of() { grep -E "^ +$1 " "$output" || fail "no line of step $1"; }
# expect_line STEP TEXT…
expect_line() {
  local line text
  line=$(line_of "$1")
  for text in "${@:2}"; do [[ $line == *"$text"* ]] || fail "step $1 is listed as '$line'; it should have: $text"; done
}
# steps: those that are there, in one line.
steps() { (cd "$folder/$1/checkpoints" && echo step-* | sed -E 's/step-0*//g'); }
expect_steps() { [ "$(steps "$1")" = "$2" ] || fail "$3: there are steps $(steps "$1"), not $2"; }

make_data
write_run run 12 4
train_on 2 run checkpoint.every=2 checkpoint.keep=20
expect_status 0 "the run"
checkpoints=$folder/run/checkpoints

say "list"
checkpoint list "$folder/run"
expect_in_output "step" "stage" "written" "size" "ranks" "validation loss"
[ "$(grep -cE '^ +[0-9]+ ' "$output")" -eq 8 ] || fail "not 8 checkpoints are listed"
expect_line 4 first " 2 " kB
expect_line 16 second newest
grep -q best "$output" || fail "none is marked as the best"
# The validation loss is that of the metrics; step 2 was not validated.
loss=$(sed -nE 's/.*"step":8,.*"validation_loss":([0-9.]+).*/\1/p' "$folder/run/metrics.jsonl")
expect_line 8 "$(printf %.4f "$loss")"
expect_line 2 "  -"
mkdir "$checkpoints/step-00000099"
checkpoint list "$folder/run"
expect_line 99 unfinished
expect_line 16 newest
fails 2 list "$folder/nowhere"
expect_last_line "$folder/nowhere" "no such folder"
fails 2 list
expect_in_output "RUN is required"

say "verify"
checkpoint verify "$folder/run"
[ "$(grep -c ": sound, " "$output")" -eq 8 ] || fail "not 8 checkpoints are sound"
expect_in_output "step-00000099: unfinished, not a checkpoint"
checkpoint verify "$folder/run" --step 4
[ "$(wc -l <"$output")" -eq 1 ] || fail "--step 4 looked at others"
checkpoint verify "$folder/run" --newest
expect_in_output "step-00000016: sound"
checkpoint verify "$checkpoints/step-00000004"
expect_in_output "step-00000004: sound"
fails 2 verify "$folder/run" --step 5
expect_last_line "no checkpoint of step 5" "2, 4, 6, 8"
fails 2 verify "$folder"
expect_last_line "neither a run"

say "what is damaged is named"
shard=$checkpoints/step-00000008/shard-0001.h5
flip "$shard" $(($(stat -c %s "$shard") / 2))
flip "$checkpoints/step-00000012/manifest.json" 300
fails 1 verify "$folder/run"
expect_in_output "step-00000008: damaged" "$shard: tensor " "its data is damaged" \
  "step-00000012: damaged" "step-00000012/manifest.json: the manifest is damaged"
expect_last_line "2 of 8 checkpoints damaged"
fails 1 verify "$folder/run" --step 8
fails 1 verify "$checkpoints/step-00000012"
expect_in_output "the manifest is damaged"
checkpoint verify "$folder/run" --step 4
checkpoint list "$folder/run"
expect_line 12 "damaged"
expect_in_output "damaged: $checkpoints/step-00000012/manifest.json: the manifest is damaged"
# A run goes on from the newest sound one all the same.
cp -r "$folder/run" "$folder/copy"

say "prune"
checkpoint prune "$folder/run" --keep 2 --keep-every 4 --best 1 --dry-run
expect_in_output "step-00000016: stays (newest)" "step-00000014: stays (newest)" "step-00000004: stays (multiple of 4)" \
  "step-00000002: would go" "would remove"
expect_steps run "2 4 6 8 10 12 14 16 99" "a dry run removed something"
checkpoint prune "$folder/run" --keep 2 --keep-every 4 --best 1
expect_in_output "step-00000002: removed" "step-00000099: stays (unfinished, may be under way)"
[[ "$(steps run) " == "4 "*" 14 16 99 " ]] || fail "other checkpoints stay: $(steps run)"
# Without flags: the run's own retention.
train_on 1 run "directory=$folder/copy" checkpoint.keep=1 checkpoint.best=0 stages.1.steps=5
expect_status 0 "the copy of the run, one step further"
# 12: where its first stage ends.
expect_steps copy "12 16 17 99" "retention of the run, which went on from step 16"

say "the only sound one is never removed"
train_on 1 run "directory=$folder/few" checkpoint.every=4 checkpoint.keep=9
expect_status 0 "another run"
for step in 8 12 16; do
  shard=$(checkpoint_of few $step)/shard-0000.h5
  flip "$shard" $(($(stat -c %s "$shard") / 2))
done
checkpoint prune "$folder/few" --keep 1 --keep-every 0 --best 0
expect_in_output "step-00000004: stays (newest)" "step-00000016: stays (damaged"
checkpoint verify "$folder/few" --step 4
shard=$(checkpoint_of few 4)/shard-0000.h5
flip "$shard" $(($(stat -c %s "$shard") / 2))
fails 1 prune "$folder/few" --keep 1
expect_last_line "no checkpoint there is sound; nothing was removed"
expect_steps few "4 8 12 16" "prune without a sound one"
fails 2 prune "$folder/few" --keep 0
expect_last_line "--keep 0"
fails 2 prune "$(checkpoint_of few 4)"
expect_last_line "name the run's folder"
