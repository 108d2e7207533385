#!/usr/bin/env bash
# A step's time as planned and as measured, on two nodes whose cable is shaped (slurm/lab; as root):
#
#   bench/network.sh [STEPS]       steps per measurement (12)
#
# For each rate `eyrie doctor` measures the nodes, `eyrie plan --machine` says what a step of each mesh takes, and the run
# is trained for real; printed is the median of its steps but for the first two.
set -euo pipefail
cd "$(dirname "$0")/.."
eyrie=$(realpath "${EYRIE:-build/release/eyrie}")
steps=${1:-12}
lab=slurm/lab
folder=$(mktemp -d "${TMPDIR:-/tmp}/eyrie-network.XXXXXX")
trap '"$lab/down" --quiet; rm -rf "$folder"' EXIT
export SLURM_CONF=/run/eyrie-lab/slurm.conf OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_WAIT_POLICY=PASSIVE

cat >"$folder/data.yaml" <<YAML
tokenizer: bytes
output: $folder/shards
sources:
  - {name: text, files: $folder/text.jsonl}
YAML
awk 'BEGIN { for (d = 0; d < 400; ++d) { text = ""; for (w = 0; w < 300; ++w) text = text substr("abcdefghijklm", 1 + (d * w) % 9, 4) " "; print "{\"text\": \"" text "\"}" } }' >"$folder/text.jsonl"
"$eyrie" data build "$folder/data.yaml" >/dev/null 2>&1
cat >"$folder/run.yaml" <<YAML
name: run
directory: $folder/run
model: {preset: griffin-10m, vocabulary: 258}
tokenizer: bytes
threads: 1
precision: fp32
stages:
  - name: train
    steps: $steps
    batch_sequences: 8
    micro_shards: 4
    sequence_length: 128
    data: {shards: $folder/shards}
    learning_rate: {peak: 1e-3, warmup: 2, final: 1e-4, shape: cosine}
checkpoint: {every: 100000}
YAML

start() { # RANKS, then the command
  local ranks=$1
  shift
  srun --quiet --nodes=2 --ntasks="$ranks" --ntasks-per-node=$((ranks / 2)) --cpus-per-task=1 --mpi=pmix "$eyrie" "$@"
}
median_step() {
  sed -nE 's/.*"step":([0-9]+),.*"step_s":([0-9.e+-]+).*/\1 \2/p' "$folder/run/metrics.jsonl" | awk '$1 > 2 { print $2 }' | sort -g |
    awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

"$lab/up" --nodes 2 --cpus 2 >/dev/null
printf '%-10s %-6s %-44s %10s %10s %6s\n' cable ranks mesh planned measured ratio
for rate in 1gbit 10gbit; do
  for node in n1 n2; do "$lab/node" rate $node $rate; done
  for case in "2 data=2,zero=1" "2 data=2,zero=2" "2 data=2,zero=3" "2 data=2,zero=1,gradients=bf16" "2 data=1,context=2" \
    "2 data=1,tensor=2" "4 data=4,zero=1" "4 data=4,zero=3" "4 data=4,zero=1,replicas=nodes" "4 data=4,zero=3,replicas=nodes" \
    "4 data=2,tensor=2"; do
    ranks=${case%% *}
    mesh=${case#* }
    [ -e "$folder/$rate-$ranks.yaml" ] || start "$ranks" doctor --machine "$folder/$rate-$ranks.yaml" >/dev/null
    assignments=()
    for part in ${mesh//,/ }; do assignments+=("mesh.${part%%=*}=${part#*=}"); done
    rm -rf "$folder/run"
    start "$ranks" train "$folder/run.yaml" "${assignments[@]}" >"$folder/log" 2>&1 || { tail "$folder/log"; exit 1; }
    planned=$("$eyrie" plan "$folder/run.yaml" --machine "$folder/$rate-$ranks.yaml" --mesh "${mesh/replicas=nodes/replicas=2}" --json |
      sed -nE 's/^  "duration_s": *([0-9.e+-]+).*/\1/p' | awk -v steps="$steps" '{ print $1 / steps }')
    measured=$(median_step)
    printf '%-10s %-6s %-44s %9.3fs %9.3fs %6.2f\n' "$rate" "$ranks" "$mesh" "$planned" "$measured" \
      "$(awk -v p="$planned" -v m="$measured" 'BEGIN { print p / m }')"
  done
done
