#!/usr/bin/env bash
# Nonsense on the command line: every flag that holds a number, and keys of the files, with values that nobody means. Each ends
# at once with status 2 and a message that names flag or key; none with a crash, a hang or silence. (Every key of RUN.yaml:
# tests/trainer/run_config_test.cc.) Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

# refused TEXT ARGUMENT…: by a message, of no more than two lines of a terminal, that has TEXT.
refused() {
  local text=$1
  shift
  within 30 run "$eyrie" "$@"
  expect_status 2 "eyrie $*"
  expect_no_dump
  expect_in_output "$text"
  [ "$(wc -c <"$output")" -lt 1200 ] || fail "a message without end: eyrie $*"
}
# nonsense FLAG "VALUE…" COMMAND…: each value of the flag.
nonsense() {
  local flag=$1 values=$2 value
  shift 2
  for value in $values; do refused "$flag" "$@" "$flag" "$value"; done
}
whole="-1 1.5 1e30 nan x 99999999999999999999"  # never a count
counts="0 $whole"                              # where at least one is wanted

say "flags that are numbers"
nonsense --limit "$counts" eval nowhere --tasks piqa
nonsense --num-fewshot "$whole" eval nowhere --tasks piqa
nonsense --max-length "$whole 9e18" eval nowhere --tasks piqa
nonsense --batch-tokens "$counts" score nowhere --requests none
nonsense --threads "$whole 100000" score nowhere --requests none
nonsense --doc "$whole" eval show piqa
nonsense --max-new "$whole" generate nowhere
nonsense --samples "$counts" generate nowhere
nonsense --temperature "-1 nan inf 1e300" generate nowhere
nonsense --top-k "$whole" generate nowhere
nonsense --top-p "-1 0 1.1 nan" generate nowhere
nonsense --min-p "-1 1.1 nan" generate nowhere
nonsense --repetition-penalty "-1 0 nan inf" generate nowhere
nonsense --seed "-1 1.5 x 18446744073709551616" generate nowhere
nonsense --batch "$counts" generate nowhere
nonsense --ranks "$counts 4000000000" plan nowhere.yaml
nonsense --length "$counts 9e18" model info --preset griffin-10m
nonsense --micro-shards "$counts 9e18" model info --preset griffin-10m
nonsense --ranks "$counts 9e18" model info --preset griffin-10m
nonsense --seed "-1 18446744073709551616" model init --preset griffin-10m "$folder/out"
nonsense --shard-size "0 -1 20 much nanGB" model init --preset griffin-10m "$folder/out"
nonsense --threads "$whole 100000" model init --preset griffin-10m "$folder/out"
nonsense --documents "$whole" data inspect nowhere
nonsense --show "$whole" data screen --tasks piqa nowhere
nonsense --stop-after "$counts" train nowhere.yaml
nonsense --keep "$counts" checkpoint prune nowhere
nonsense --step "$whole" checkpoint verify nowhere
refused "--batch × --length" model info --preset griffin-10m --batch 1Gi --length 1Gi
[ ! -e "$folder/out" ] || fail "a refused command wrote something"

say "sizes of models"
for change in width=0 width=-4 width=9e18 vocabulary=0 vocabulary=9e18 heads=0 heads=3 gate_blocks=0 window=0 window=9e18 layers= layers=X \
  mlp_width=9e18 rnn_width=9e18 soft_cap=-1 soft_cap=nan; do
  refused "${change%%=*}" model init --preset griffin-10m "$folder/out" "$change"
done

say "keys of data files"
write_data_config
for change in shard_tokens=0 shard_tokens=-1 shard_tokens=9e18 validation=-1 validation=1 validation=nan exclude.tasks=piqa,mmlu tokenizer= \
  tokenizer="$folder" sources.0.filters=utf8,utf9; do
  key=${change%%=*}
  refused "${key##*.}" data build "$folder/data.yaml" "$change"
done
refused "[piqa,mmlu]" data build "$folder/data.yaml" exclude.tasks=piqa,mmlu
sed 's/^tokenizer: bytes/x: \&x {tokenizer: bytes}\n<<: *x/' "$folder/data.yaml" >"$folder/merge.yaml"
refused "merge.yaml:2: merge keys (<<)" data build "$folder/merge.yaml"

say "plans of what cannot be"
write_run run
printf 'flops: {bf16: 1e12}\n' >"$folder/machine.yaml"
for change in mesh.data=4000000000 mesh.tensor=0 "mesh={data: 1Mi, tensor: 1Mi}" stages.0.steps=9e18 stages.0.batch_sequences=9e18 \
  stages.0.sequence_length=9e18 stages.0.micro_shards=0 checkpoint.every=-1 memory_limit=24 seed=-1 threads=-2; do
  key=${change%%=*}
  refused "${key##*.}" plan "$folder/run.yaml" --machine "$folder/machine.yaml" "$change"
done
for line in "node: {bandwidth: 20}" "memory_bandwidth: -1GB" "efficiency: 2" "ranks_a_node: -1" "network: {latency: -1}"; do
  printf 'flops: {bf16: 1e12}\n%s\n' "$line" >"$folder/machine.yaml"
  refused "$folder/machine.yaml:2: " plan "$folder/run.yaml" --machine "$folder/machine.yaml"
done

say "a check makes no model, and compares the plan with the memory that is there"
make_data
within 20 run "$eyrie" train "$folder/run.yaml" --check
expect_status 0 "a check"
expect_in_output "everything fits" "from the beginning"
refused "batch_sequences" train "$folder/run.yaml" stages.0.batch_sequences=1e9 --check
large=(model.preset=griffin-14b model.vocabulary=256000 model.width=5120 model.rnn_width=8192 model.mlp_width=15360 model.heads=40
  model.gate_blocks=16 "model.layers=$(printf 'RRA%.0s' {1..50})" stages.0.batch_sequences=8Ki stages.0.sequence_length=4Ki
  precision=bf16)
(
  ulimit -v 8000000 # far less than the model
  refused "memory_limit" train "$folder/run.yaml" "${large[@]}" --check
  refused "memory_limit" train "$folder/run.yaml" "${large[@]}"
) || exit 1
within 20 run "$eyrie" train "$folder/run.yaml" --check --ranks 4 --nodes 2
expect_status 0 "a check for ranks that are not started"
expect_in_output "on 4 ranks"
refused "does not split over 3 data ranks" train "$folder/run.yaml" --check --ranks 3
refused "--check" train "$folder/run.yaml" --ranks 3
run "$eyrie" train "$folder/run.yaml" --check threads=4000
expect_status 0 "a check of a run with many threads"
expect_in_output "4000 threads of a rank, but this machine has"
refused "threads" train "$folder/run.yaml" threads=4000
[ ! -e "$folder/run" ] || fail "a check left something"

say "what is wrong is named with its place"
line_of() { grep -n "$1" "$folder/wrong.yaml" | head -n 1 | cut -d : -f 1; }
sed "s#^tokenizer: .*#tokenizer: $folder#" "$folder/run.yaml" >"$folder/wrong.yaml"
refused "$folder/wrong.yaml:$(line_of ^tokenizer): tokenizer: " train "$folder/wrong.yaml" --check
sed "s/web: 0.7/wbe: 0.7/" "$folder/run.yaml" >"$folder/wrong.yaml"
refused "$folder/wrong.yaml:$(line_of wbe): stages[0].data: " train "$folder/wrong.yaml" --check
sed "s/validate: {every: 4/evaluate: {tasks: [piqqa]}\n    &/" "$folder/run.yaml" >"$folder/wrong.yaml"
refused "$folder/wrong.yaml:$(line_of piqqa): stages[0].evaluate.tasks: unknown task" train "$folder/wrong.yaml" --check
refused "command line: stages[0].batch_sequences: " train "$folder/run.yaml" stages.0.batch_sequences=6 --check

say "words that are no commands"
refused "did you mean 'data build'?" data bild "$folder/data.yaml"
for words in "help train" "train help" "train --help" "help data build" "data build help"; do
  # shellcheck disable=SC2086
  run "$eyrie" $words
  expect_status 0 "eyrie $words"
  expect_in_output "Usage: eyrie " "ASSIGNMENTS"
done
for words in "help data" "data help" "data --help"; do
  # shellcheck disable=SC2086
  run "$eyrie" $words
  expect_status 0 "eyrie $words"
  expect_in_output "data build" "data inspect"
done
for words in --version -V version; do
  run "$eyrie" $words
  expect_status 0 "eyrie $words"
  expect_in_output "eyrie " "compiler"
done
