#!/usr/bin/env bash
# eyrie model info: counts of the presets, a run's configuration wherever it lies, and what is refused. Argument: the eyrie
# command.
. "$(dirname "$0")/support.sh"

# info ARGUMENT…
info() {
  run "$eyrie" model info "$@"
  expect_status 0 "eyrie model info $*"
}
# refused ARGUMENT…
refused() {
  run "$eyrie" model info "$@"
  expect_status 2 "eyrie model info $*"
  expect_no_dump
}
# config_of: the configuration in the last --json output.
config_of() { sed -n '/"config": {/,/}/p' "$output"; }

say "presets"
info --preset griffin-10m
expect_in_output "RRARRA: 4 recurrent, 2 of local attention, 0 of global attention" "6,907,136" "4,809,984" \
  "micro-shards of 8 x 2048 tokens" "state of a sequence" "recurrent: gates"
info --preset recurrentgemma-2b --json
expect_in_output '"total": 2682862080' '"non_embedding": 2027502080' '"bytes": 17246208'
info --preset mqa-100m --json --length 512 --batch 2 --micro-shards 4 --ranks 3 --precision fp32
expect_in_output '"bytes_per_token": 6144' '"length": 512' '"batch": 2' '"micro_shards": 4' '"ranks": 3' '"fp32"'
info --help
expect_in_output "min(t, window + 1)"

say "a run by its file, its folder and its checkpoint"
make_data
write_run run
info "$folder/run.yaml" --json
expect_in_output '"layers": "RAR"' '"length": 37' '"batch": 2' '"micro_shards": 4' '"precision": "fp32"'
config_of >"$folder/of_file"
info "$folder/run.yaml" --ranks 2
expect_in_output "micro-shards of 2 x 37 tokens, 2 a rank and step, 2 ranks"
train_on 1 run --stop-after 2
expect_status 75 "the run, stopped after 2 steps"
for place in "$folder/run" "$(checkpoint_of run 2)"; do
  info "$place" --json
  config_of >"$folder/of_place"
  expect_equal "$folder/of_file" "$folder/of_place" "another configuration in $place"
done
info tests/fixtures/griffin/hf_tiny --json
expect_in_output '"layers": "RRAR"' '"vocabulary": 160'

say "the choice of init is part of a run"
write_run paper
train_on 1 paper model.init=paper --stop-after 1
expect_status 75 "a run with the paper's initialisation"
info "$folder/paper" --json
expect_in_output '"init": "paper"'
train_on 1 paper
expect_status 2 "the run with another initialisation"
expect_last_line "another model" 'init "paper", now "official"'

say "what is refused"
refused
expect_in_output "MODEL, or --preset NAME, is required"
refused "$folder/run" --preset griffin-10m
expect_in_output "--preset" "MODEL"
refused --preset grifin-10m
expect_last_line "'grifin-10m'" "did you mean 'griffin-10m'"
refused "$folder/nowhere"
expect_last_line "$folder/nowhere" "--preset NAME"
mkdir -p "$folder/empty/checkpoints"
refused "$folder/empty"
expect_last_line "$folder/empty" "no checkpoint yet"
refused --preset griffin-10m --precision fp8
expect_last_line "--precision fp8" "fp32 or bf16"
refused --preset griffin-10m --batch 0
expect_last_line "--batch 0"
refused "$folder/run.yaml" --ranks 3
expect_last_line "Rank counts that fit: 1, 2, 4"
refused "$folder/data.yaml"
expect_last_line "$folder/data.yaml"
refused --preset griffin-10m --lenght=5
expect_in_output "--lenght"
