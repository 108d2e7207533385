#!/usr/bin/env bash
# Wrong inputs: each ends within 10 seconds with exit status 2 and a message that names the culprit and what to do; in a
# job of two ranks that message is the last line of a rank. Checkpoints that were there stay. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

# refused_on RANKS ARGUMENT…: the command refuses its input, in good order.
refused_on() {
  within 10 run_on "$@"
  expect_status 2 "eyrie ${*:2} on $1 ranks"
  [[ $(last_rank_line) == "rank "* ]] || fail "the last message names no rank: $(last_rank_line)"
  expect_no_dump
}
# refused ARGUMENT…: the same without a launcher.
refused() {
  within 10 run "$eyrie" "$@"
  expect_status 2 "eyrie $*"
  expect_no_dump
}

make_data
write_run run

say "commands and flags"
refused trian "$folder/run.yaml"
expect_in_output "there is no command 'trian'; did you mean 'train'?"
refused
expect_in_output "Commands:" "data build"
refused train "$folder/run.yaml" --frsh
expect_in_output "--frsh"
refused train
expect_in_output "RUN.yaml is required"
refused eval "$folder/run" --limit 3
expect_in_output "--tasks is required"

say "the configuration"
sed 's/batch_sequences: 8/batch_sequenses: 8/' "$folder/run.yaml" >"$folder/typo.yaml"
line=$(grep -n batch_sequenses "$folder/typo.yaml" | head -n 1 | cut -d : -f 1)
refused_on 2 train "$folder/typo.yaml"
expect_last_line "$folder/typo.yaml:$line" "batch_sequenses" "batch_sequences"
sed 's/^seed: 3/seed: 3\nlerning_rate: 1/' "$folder/run.yaml" >"$folder/unknown.yaml"
refused train "$folder/unknown.yaml"
expect_last_line "$folder/unknown.yaml:4" "lerning_rate"
refused train "$folder/run.yaml" stages.0.learning_rate.paek=1
expect_last_line "command line: stages[0].learning_rate.paek" "peak"
refused train "$folder/run.yaml" stages.0.steps=many
expect_last_line "command line: stages[0].steps" "many"
printf 'name: run\n  seed: [1\n' >"$folder/broken.yaml"
refused train "$folder/broken.yaml"
expect_last_line "$folder/broken.yaml:"
refused train "$folder/nowhere.yaml"
expect_last_line "$folder/nowhere.yaml"

say "data, tokenizer and mesh"
refused train "$folder/run.yaml" "stages.1.data.shards=$folder/nowhere"
expect_last_line "$folder/nowhere" "eyrie data build"
cp -r "$folder/shards" "$folder/cut"
cut=$(ls "$folder"/cut/math-*.h5)
truncate -s -1000 "$cut"
refused_on 2 train "$folder/run.yaml" "stages.0.data.shards=$folder/cut"
expect_last_line "$cut" "eyrie data build"
truncate -s 100 "$cut"
refused train "$folder/run.yaml" "stages.0.data.shards=$folder/cut"
expect_last_line "$cut" "eyrie data build"
rm "$cut"
refused train "$folder/run.yaml" "stages.0.data.shards=$folder/cut"
expect_last_line "$cut"
refused_on 2 train "$folder/run.yaml" "stages.1.evaluate.tasks=[piqa]"
expect_last_line "$folder/shards/" ".h5" "not screened for task piqa"
refused train "$folder/run.yaml" stages.0.evaluate.tasks=[piqqa]
expect_last_line piqqa "piqa"
refused train "$folder/run.yaml" stages.1.evaluate.tasks=[piqa] "evaluation.data=$folder/nowhere"
expect_last_line "$folder/nowhere"
refused train "$folder/run.yaml" "tokenizer=$folder/nowhere.model"
expect_last_line "$folder/nowhere.model"
echo "no tokenizer" >"$folder/text.model"
refused_on 2 train "$folder/run.yaml" "tokenizer=$folder/text.model"
expect_last_line "$folder/text.model"
refused_on 3 train "$folder/run.yaml"
expect_last_line "micro_shards: 4: does not split over 3 data ranks" "Rank counts that fit: 1, 2, 4"
refused_on 2 train "$folder/run.yaml" mesh.data=4
expect_last_line "mesh.data is 4" "2 ranks"
[ ! -e "$folder/run" ] || fail "a run that was refused left a folder"

say "documents"
printf '{"text": "all right"}\n{"text": "never closed\n' >"$folder/raw/bad.jsonl"
refused data screen --tasks piqa "$folder/raw/nowhere.jsonl"
expect_last_line "$folder/raw/nowhere.jsonl"
refused_on 2 data screen --tasks piqa "$folder/raw/bad.jsonl"
expect_last_line "$folder/raw/bad.jsonl:2"
refused data build "$folder/data.yaml" "sources.0.files=$folder/raw/nowhere*.jsonl" "output=$folder/other"
expect_last_line "nowhere"

say "a flipped byte in the newest checkpoint: the run goes on from the one before"
train_on 2 run
expect_status 0 "the run"
mv "$folder/run" "$folder/whole"
train_on 2 run --stop-after 7
expect_status 75 "the run, stopped after 7 steps"
# flip FILE: one bit in the middle, where the data is.
flip() {
  local at=$(($(stat -c %s "$1") / 2)) byte
  byte=$(od -An -tu1 -j "$at" -N 1 "$1")
  printf "\\x$(printf %x $((byte ^ 16)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}
damaged=$(checkpoint_of run 7)/shard-0001.h5
flip "$damaged"
cp -r "$(checkpoint_of run 7)" "$folder/copy"
flip "$folder/copy/manifest.json"
refused_on 2 eval "$folder/copy" --tasks piqa --limit 1
expect_last_line "$folder/copy/manifest.json" "use an older checkpoint"
before=$(digest_of run 6)
train_on 2 run
expect_status 0 "going on past a damaged checkpoint"
expect_in_output "checkpoint passed over: $damaged" "going on from $(checkpoint_of run 6)"
[ "$(digest_of run 6)" = "$before" ] || fail "the older checkpoint has changed"
expect_same_run run whole "past a damaged checkpoint"

say "no sound checkpoint is left: the run is refused and nothing is touched"
for shard in "$folder"/run/checkpoints/*/shard-0000.h5; do flip "$shard"; done
find "$folder/run/checkpoints" -type f -exec cksum {} + | sort >"$folder/before"
metrics_of run >"$folder/metrics.before"
refused_on 2 train "$folder/run.yaml"
expect_last_line "$folder/run/checkpoints" "no checkpoint there is sound" "step-00000006" "Put back a copy" "another name"
find "$folder/run/checkpoints" -type f -exec cksum {} + | sort >"$folder/after"
expect_equal "$folder/before" "$folder/after" "a refused run changed its checkpoints"
metrics_of run >"$folder/metrics.after"
expect_equal "$folder/metrics.before" "$folder/metrics.after" "a refused run changed its metrics"
refused generate "$folder/run" --prompt x
expect_in_output "$folder/run"
rm -r "$folder/run/checkpoints"/*
mkdir "$folder/run/checkpoints/step-00000003"
train_on 2 run
expect_status 0 "a run whose first save was never finished"
expect_same_run run whole "begun again after an unfinished first save"
