#!/usr/bin/env bash
# The example of a plain text, in short: the shards of configs/shakespeare.data.yaml, and the first steps of
# configs/shakespeare.yaml, which must learn the text's short words. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

say "one text, its last tenth held out"
run "$eyrie" data build configs/shakespeare.data.yaml "output=$folder/shards"
expect_status 0 "eyrie data build of the text"
run "$eyrie" data inspect "$folder/shards" --verify
expect_status 0 "eyrie data inspect of the text"
[ "$(sed -nE 's/.*"validation_tokens": ([0-9]+).*/\1/p' "$folder/shards/dataset.json")" = 111542 ] ||
  fail "not the last tenth of the text, BOS and EOS"

say "120 steps on 2 ranks"
run_on 2 train configs/shakespeare.yaml "directory=$folder/run" stages.0.data.shards="$folder/shards" \
  stages.0.steps=120 stages.0.learning_rate.warmup=20
expect_status 0 "the first steps"
expect_in_output "done: 120 steps, 92160 tokens"
loss=$(sed -nE 's/.*validation loss ([0-9.]+) .*/\1/p' "$output" | tail -n 1)
# Single letters, without the ones before them, leave 3.3 nats; pairs of letters 2.5.
awk -v loss="$loss" 'BEGIN { exit !(loss > 1 && loss < 2.3) }' || fail "a validation loss of '$loss' after 120 steps"
