# shellcheck shell=bash
# What the tests of the eyrie command share; sourced with the path of the command. Gives a folder that is removed at
# exit, a tiny data set and run in it, and functions that run the command and look at what it did. Needs nothing but
# bash and what every Debian has.
set -Eeuo pipefail

eyrie=$(realpath "$1")
digest_program=$(dirname "$eyrie")/tests/checkpoint_digest_program
folder=$(mktemp -d "${TMPDIR:-/tmp}/eyrie-commands.XXXXXX")
output=$folder/output  # of the last command, both streams
status=0
export EYRIE_THREADS=1
unset EYRIE_EVAL_DATA

clean_up() {
  local job
  for job in $(jobs -p); do kill -KILL "$job" 2>/dev/null || true; done
  if mountpoint -q "$folder/small" 2>/dev/null; then umount -l "$folder/small" || true; fi
  rm -rf "$folder"
}
trap clean_up EXIT
# Without this a step that fails unexpectedly would end the script silently.
trap 'echo "FAILED: $0:$LINENO: $BASH_COMMAND" >&2' ERR

fail() {
  trap - ERR
  echo "FAILED: $*" >&2
  if [ -s "$output" ]; then
    echo "--- the last command's output:" >&2
    tail -n 40 "$output" | cut -c 1-500 >&2
  fi
  exit 1
}

say() { echo "== $*"; }

# run COMMAND…: its streams go to $output, its exit status to $status.
run() {
  status=0
  "$@" >"$output" 2>&1 </dev/null || status=$?
}

# run_on RANKS ARGUMENT…: the eyrie command on so many MPI ranks.
run_on() {
  local ranks=$1
  shift
  run scripts/mpi "$ranks" "$eyrie" "$@"
}

# start_on RANKS ARGUMENT…: the same in the background; $job is the process to signal, wait_for_job its end.
start_on() {
  local ranks=$1
  shift
  : >"$output"  # now, so that nobody takes the last command's words for this one's
  scripts/mpi "$ranks" "$eyrie" "$@" >"$output" 2>&1 </dev/null &
  job=$!
}
wait_for_job() {
  status=0
  wait "$job" || status=$?
}

children_of() { grep -ls "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status | sed 's/[^0-9]//g' || true; }
# processes_of_job: the ranks' processes of $job, which is the launcher's script.
processes_of_job() {
  local launcher child
  for launcher in $(children_of "$job"); do
    for child in $(children_of "$launcher"); do
      case $(cat "/proc/$child/comm" 2>/dev/null) in
        hydra*) children_of "$child" ;; # MPICH's launcher has one of these per node
        *) echo "$child" ;;
      esac
    done
  done
}

# pid_of_rank RANK: the process of a rank of $job.
pid_of_rank() {
  local pid
  for pid in $(processes_of_job); do
    if tr '\0' '\n' <"/proc/$pid/environ" | grep -qxE "(OMPI_COMM_WORLD|PMI)_RANK=$1"; then
      echo "$pid"
      return
    fi
  done
  fail "no process of rank $1 under $job"
}

# expect_status STATUS WHAT
expect_status() { [ "$status" -eq "$1" ] || fail "$2: exit status $status instead of $1"; }

# expect_in_output TEXT…: each is somewhere in the output.
expect_in_output() {
  local text
  for text in "$@"; do
    grep -qF -- "$text" "$output" || fail "the output does not have: $text"
  done
}

# The last line that a rank wrote, without the time that the log puts before it; of a command without a launcher, its
# message. (The launcher may print after it.)
last_rank_line() { sed -nE 's/^(\[[0-9: -]+\] )?((rank [0-9]+|eyrie): )/\2/p' "$output" | tail -n 1; }

# expect_last_line TEXT…: each is in that line.
expect_last_line() {
  local line text
  line=$(last_rank_line)
  for text in "$@"; do
    [[ $line == *"$text"* ]] || fail "the last message is '$line'; it should have: $text"
  done
}

# A message, not a dump of the process.
expect_no_dump() {
  ! grep -qE 'check failed|terminate called|received signal|Segmentation|\[0x[0-9a-f]+\]|basic_string|nlohmann|YAML::' \
    "$output" || fail "the output has a dump or a library's own message"
}

# expect_equal FILE FILE WHAT
expect_equal() {
  cmp -s "$1" "$2" && return
  diff "$1" "$2" | head -n 6 | cut -c 1-300 >&2 || true
  fail "$3"
}

# within SECONDS COMMAND…: the one place where these tests look at the clock.
within() {
  local limit=$1 began=${EPOCHREALTIME/./}
  shift
  "$@"
  local taken=$(((${EPOCHREALTIME/./} - began) / 1000))
  [ "$taken" -le $((limit * 1000)) ] || fail "took $taken ms: $*"
}

# wait_until COMMAND…: true within 60 seconds, while $job runs.
wait_until() {
  local i
  for ((i = 0; i < 3000; ++i)); do
    if "$@"; then return 0; fi
    kill -0 "$job" 2>/dev/null || fail "the job ended while the test waited for: $*"
    sleep 0.02
  done
  fail "waited in vain for: $*"
}

# documents SEED COUNT: JSONL documents of words, of odd lengths; an empty one and one of a single letter among them.
documents() {
  awk -v seed="$1" -v count="$2" '
    function random(n) { seed = (seed * 16807) % 2147483647; return seed % n }
    BEGIN {
      for (d = 0; d < count; ++d) {
        text = ""
        words = d == 3 ? 0 : 1 + random(40)
        for (w = 0; w < words; ++w) {
          letters = 1 + random(6)
          for (l = 0; l < letters; ++l) text = text substr("abcdefghi", 1 + random(9), 1)
          text = text " "
        }
        printf "{\"text\": \"%s\"}\n", d == 5 ? "x" : text
      }
    }'
}

# write_data_config [EXCLUDED_TASKS]: data.yaml of the tiny data set; shards/ when it is built.
write_data_config() {
  mkdir -p "$folder/raw"
  documents 11 60 >"$folder/raw/web.jsonl"
  documents 12 40 >"$folder/raw/math.jsonl"
  cat >"$folder/data.yaml" <<YAML
tokenizer: bytes
output: $folder/shards
shard_tokens: 2000
validation: 0.1
exclude: {tasks: [${1:-}]}
sources:
  - {name: web, files: $folder/raw/web.jsonl}
  - {name: math, files: $folder/raw/math.jsonl}
YAML
}

make_data() {
  write_data_config "$@"
  run "$eyrie" data build "$folder/data.yaml"
  expect_status 0 "eyrie data build of the tiny data set"
}

# write_run NAME [STEPS OF STAGE 1] [STEPS OF STAGE 2]: $folder/NAME.yaml, a run in $folder/NAME.
write_run() {
  cat >"$folder/$1.yaml" <<YAML
name: $1
directory: $folder/$1
seed: 3
model: {preset: griffin-10m, vocabulary: 258, width: 40, rnn_width: 56, mlp_width: 72, heads: 2, gate_blocks: 4, layers: RAR, window: 9}
tokenizer: bytes
threads: 1
precision: fp32
stages:
  - name: first
    steps: ${2:-5}
    batch_sequences: 8
    micro_shards: 4
    sequence_length: 37
    data: {shards: $folder/shards, mixture: {web: 0.7, math: 0.3}}
    learning_rate: {peak: 1e-2, warmup: 2, final: 1e-3, shape: cosine}
    validate: {every: 4, sequences: 5}
  - name: second
    steps: ${3:-4}
    batch_sequences: 8
    micro_shards: 4
    sequence_length: 23
    data: {shards: $folder/shards, best: 0.5}
    learning_rate: {peak: 1e-3, final: 0, shape: linear}
    validate: {sequences: 3}
checkpoint: {every: 3, keep: 10}
YAML
}

# train_on RANKS NAME [ARGUMENT…]
train_on() {
  local ranks=$1 name=$2
  shift 2
  run_on "$ranks" train "$folder/$name.yaml" "$@"
}

lines_of() { if [ -e "$1" ]; then wc -l <"$1"; else echo 0; fi; }
steps_of() { lines_of "$folder/$1/metrics.jsonl"; }
has_lines() { [ "$(steps_of "$1")" -ge "$2" ]; }

# metrics_of NAME: metrics.jsonl without what is measured by the clock.
metrics_of() {
  sed -E 's/,"(tokens_per_s|flops_per_s|mfu|step_s|data_s|exchange_s|exchange_bytes|checkpoint_s|memory_mb|time)":[^,}]*//g' \
    "$folder/$1/metrics.jsonl"
}

# checkpoint_of NAME [STEP]: the folder of a checkpoint, the newest by default.
checkpoint_of() {
  if [ $# -gt 1 ]; then
    printf '%s/%s/checkpoints/step-%08d\n' "$folder" "$1" "$2"
  else
    printf '%s\n' "$folder/$1"/checkpoints/step-* | tail -n 1
  fi
}

# digest_of NAME [STEP]: of every tensor of a checkpoint, whatever ranks wrote it.
digest_of() { "$digest_program" "$(checkpoint_of "$@")"; }

# expect_same_run NAME REFERENCE WHAT: the same losses, line by line, and the same weights and moments at the end.
expect_same_run() {
  metrics_of "$1" >"$folder/metrics.here"
  metrics_of "$2" >"$folder/metrics.there"
  expect_equal "$folder/metrics.here" "$folder/metrics.there" "$3: other metrics than $2"
  digest_of "$1" >"$folder/digest.here"
  digest_of "$2" >"$folder/digest.there"
  expect_equal "$folder/digest.here" "$folder/digest.there" "$3: another last checkpoint than $2"
}
