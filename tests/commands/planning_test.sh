#!/usr/bin/env bash
# eyrie plan and memory_limit: what they say, what they refuse, and that a run sends what was planned. Argument: the eyrie
# command.
. "$(dirname "$0")/support.sh"

# planned ARGUMENT…
planned() {
  run "$eyrie" plan "$@"
  expect_status 0 "eyrie plan $*"
}
# refused ARGUMENT…
refused() {
  run "$eyrie" plan "$@"
  expect_status 2 "eyrie plan $*"
  expect_no_dump
}

cat >"$folder/machine.yaml" <<END
name: cluster of tests
ranks_a_node: 2
flops: {bf16: 1e12, fp32: 2e11}
memory_bandwidth: 20GB
node: {bandwidth: 8GB, latency: 5e-6}
network: {bandwidth: 1GB, latency: 2e-5}
END
write_run run

say "a mesh, without any data"
planned "$folder/run.yaml" --machine "$folder/machine.yaml"
expect_in_output "data 1 × context 1 × tensor 1, ZeRO 1: 1 rank" "activations" "tokens/s" "cluster of tests" "as described"
planned "$folder/run.yaml" --mesh data=2,tensor=2,sequence,zero=3 --machine "$folder/machine.yaml"
expect_in_output "data 2 × context 1 × tensor 2, sequence, ZeRO 3: 4 ranks" "gathered units" "data, sharing" "exchange_bytes"
planned "$folder/run.yaml" threads=1
expect_in_output "measured on 1 thread of" "are defaults"

say "the best meshes of a number of ranks"
planned "$folder/run.yaml" --ranks 4 --machine "$folder/machine.yaml"
expect_in_output "meshes of 4 ranks, the fastest first"
[ "$(grep -c "  data .* ZeRO" "$output")" -eq 8 ] || fail "not eight meshes"
planned "$folder/run.yaml" --ranks 4 --machine "$folder/machine.yaml" --json
expect_in_output '"ranks": 4' '"meshes": [' '"tokens_per_s"'

say "the best split of a node's cores"
planned "$folder/run.yaml" --cores 2
expect_in_output "2 cores per node, 1 node" "2 x 1" "1 x 2" "data "
planned "$folder/run.yaml" --cores 2 --nodes 2 --json
expect_in_output '"ranks_per_node": 1' '"ranks_per_node": 2' '"threads": 2' '"tokens_per_s"'
planned "$folder/run.yaml" --cores 2 memory_limit=1MB
expect_in_output "no mesh of 1 rank fits the run" "no mesh of 2 ranks fits the run"

say "what is refused"
refused "$folder/run.yaml" --cores 2 --machine "$folder/machine.yaml"
refused "$folder/run.yaml" --cores 4096
expect_last_line "this process may use" "run it on a node of the job"
refused "$folder/run.yaml" --nodes 2 --machine "$folder/machine.yaml"
refused "$folder/run.yaml" --mesh data=3 --machine "$folder/machine.yaml"
expect_last_line "Rank counts that fit"
refused "$folder/run.yaml" --mesh data=2 --ranks 4 --machine "$folder/machine.yaml"
expect_last_line "mesh.data is 2, but the job has 4 ranks"
refused "$folder/run.yaml" --mesh tensor --machine "$folder/machine.yaml"
expect_last_line "'tensor' has no number"
refused "$folder/run.yaml" --mesh tensors=2 --machine "$folder/machine.yaml"
expect_last_line "tensors" "tensor"
refused "$folder/run.yaml" --ranks 2 --machine "$folder/machine.yaml" memory_limit=1MB
expect_last_line "no mesh of 2 ranks fits memory_limit 1.0 MB; the least is"
refused "$folder/run.yaml" --machine "$folder/nowhere.yaml"
sed 's/^memory_bandwidth/memory_bandwith/' "$folder/machine.yaml" >"$folder/slip.yaml"
refused "$folder/run.yaml" --machine "$folder/slip.yaml"
expect_last_line "memory_bandwith" "memory_bandwidth"

say "a run under a limit"
make_data
train_on 1 run memory_limit=50MB --check
expect_status 2 "a run above the limit"
expect_last_line "memory_limit is 50.0 MB, but a rank of data 1" "process"
train_on 2 run memory_limit=1GB --stop-after 2
expect_status 75 "a run under the limit"
"$eyrie" plan "$folder/run.yaml" --mesh data=2 --machine "$folder/machine.yaml" --json >"$folder/plan.json"
sent=$(sed -n 's/.*"of_all_ranks": \([0-9]*\).*/\1/p' "$folder/plan.json" | head -n 1)
[ "$(grep -c "\"exchange_bytes\":$sent," "$folder/run/metrics.jsonl")" -eq 2 ] || fail "other bytes than $sent"
