#!/usr/bin/env bash
# The example of docs/cluster_run.md can be run: its files are read and planned, and the page shows them as they are.
# Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

say "the page shows the files"
for file in configs/cluster/data.yaml configs/cluster/machine.yaml configs/cluster/run.yaml; do
  awk -v mark="# $file" '$0 == "```yaml" { getline line; showing = line == mark; if (showing) next } $0 == "```" { showing = 0 } showing' \
    docs/cluster_run.md >"$folder/shown"
  expect_equal "$file" "$folder/shown" "docs/cluster_run.md shows another $file"
done

say "the run is planned on its machine"
run "$eyrie" plan configs/cluster/run.yaml --machine configs/cluster/machine.yaml
expect_status 0 "eyrie plan configs/cluster/run.yaml"
expect_in_output "128 ranks" "ZeRO 2 in 16 replicas" "stage pretrain" "stage anneal" "time of the run" "days"
! grep -q "ABOVE THE LIMIT" "$output" || fail "the example is above its own limit"

say "its data file is read as far as its documents are named"
run "$eyrie" data build configs/cluster/data.yaml
expect_status 2 "a build without documents"
expect_last_line "configs/cluster/data.yaml" "no file matches documents/web-"

say "and checked for its 128 ranks, as far as there is a tokenizer"
run "$eyrie" train configs/cluster/run.yaml --check --ranks 128 --nodes 16
expect_status 2 "a check without a tokenizer"
expect_last_line "configs/cluster/run.yaml" "tokenizer" "tokenizers/32k.model"

say "a mesh of many ranks is planned at once"
within 60 run "$eyrie" plan configs/cluster/run.yaml --machine configs/cluster/machine.yaml --ranks 65536 \
  stages.0.batch_sequences=65536 stages.0.micro_shards=65536 stages.1.batch_sequences=65536 stages.1.micro_shards=65536 stages.0.learning_rate.warmup=9
expect_status 0 "the best meshes of 65,536 ranks"
expect_in_output "meshes of 65536 ranks, the fastest first" "the stage"
within 60 run "$eyrie" plan configs/cluster/run.yaml --machine configs/cluster/machine.yaml --mesh data=8192,tensor=8,zero=3 \
  stages.0.batch_sequences=65536 stages.0.micro_shards=65536 stages.1.batch_sequences=65536 stages.1.micro_shards=65536 stages.0.learning_rate.warmup=9
expect_status 0 "one mesh of 65,536 ranks"
