#!/usr/bin/env bash
# eyrie slurm on a real cluster of two nodes on this machine (slurm/lab): a chain of two stages with their evaluations,
# arrays of evaluations and of branches, a preemption, a cancelled and resubmitted run, jobs that crash at each start,
# submissions that are refused; eyrie doctor.
# Exit status 77: this machine cannot have the lab. Arguments: the eyrie command; further ones name the parts to run
# ("long": those of scripts/soak too).
. "$(dirname "$0")/support.sh"

lab=$(realpath slurm/lab)
if [ -e /run/eyrie-lab/slurmctld.pid ] && kill -0 "$(cat /run/eyrie-lab/slurmctld.pid)" 2>/dev/null; then
  echo "skipped: a lab is up on this machine, and is not this test's to take down"
  exit 77
fi
run "$lab/up" --nodes 2 --cpus 2
if [ "$status" -eq 3 ]; then
  echo "skipped: $(cat "$output")"
  exit 77
fi
expect_status 0 "slurm/lab/up"
trap '"$lab/down" --quiet; clean_up' EXIT
export SLURM_CONF=/run/eyrie-lab/slurm.conf
# MPI would take these ranks for its own.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

eval "$(declare -f fail | sed '1s/fail/fail_alone/')"
fail() {
  tail -n 30 "$folder"/*/slurm/logs/*.log >&2 || true
  fail_alone "$@"
}

# until_true SECONDS COMMAND…: waits until it is true.
until_true() {
  local limit=$((SECONDS + $1))
  shift
  until "$@"; do
    if [ "$SECONDS" -ge "$limit" ]; then
      squeue >&2 || true
      fail "waited in vain for: $*"
    fi
    sleep 0.2
  done
}
# job_of NAME STAGE: its number.
job_of() { sed -nE 'N; s/.*"id": "([0-9_]+)",\n *"stage": "'"$2"'".*/\1/p; D' "$folder/$1/slurm/jobs.json"; }
state_of() { scontrol --oneliner show job "$1" | head -n 1 | sed -E 's/.*JobState=([A-Z_]*).*/\1/'; }
in_state() { [ "$(state_of "$1")" = "$2" ]; }
restarts_of() { scontrol --oneliner show job "$1" | sed -E 's/.*Restarts=([0-9]*).*/\1/'; }
was_requeued() { [ "$(restarts_of "$1")" -ge "$2" ]; }
all_idle() { [ "$(sinfo --noheader --partition=low --states=idle --format=%D)" = 2 ]; }
why_of() { grep '"event": "end"' "$folder/$1/slurm/starts.jsonl" | sed -E 's/.*"why": "([^"]*)".*/\1/' | paste -s -d ,; }

submit() { # NAME OPTION…
  local name=$1
  shift
  run "$eyrie" slurm submit "$folder/$name.yaml" --time 10:00 --signal 30 "$@"
}
# preempt: a short job on all nodes that goes first.
preempt() {
  sbatch --parsable --quiet --partition=high --nodes=2 --ntasks-per-node=2 --mem=100M --output=/dev/null --wrap "sleep 1" >/dev/null
}

# slow RATE: the nodes' cables carry so much (nothing: as fast as they can), so that a run of two nodes takes a while on
# every machine: a step sends some 250 kB.
slow() {
  local node
  for node in n1 n2; do
    "$lab/node" rate $node "${1:-10gbit}" || fail "slurm/lab/node rate"
  done
}

chain() {
  say "two stages on 2 nodes x 2 tasks, each evaluated, as a chain of jobs"
  write_run chain 30 20
  sed -i 's#^    validate: .*#&\n    evaluate: {tasks: [piqa], limit: 6}#' "$folder/chain.yaml"
  # The nodes share this folder, so that both copy to it at the same time.
  submit chain --nodes 2 --tasks-per-node 2 --evaluate piqa,hellaswag --evaluate-limit 3 --local-shards "$folder/local disk"
  expect_status 0 "eyrie slurm submit"
  run "$eyrie" slurm status "$folder/chain"
  expect_in_output "evaluation of step-00000030 on piqa, hellaswag" "table of the evaluations: "
  local first second
  first=$(job_of chain first) second=$(job_of chain second)
  squeue --noheader --format="%i %T %r" | grep -qx "$second PENDING Dependency" || fail "the second stage is not queued behind the first: $(squeue)"
  until_true 120 in_state "$second" COMPLETED
  until_true 120 test -s "$folder/chain/eval/checkpoints.md"
  local words
  for words in "step-00000030" "step-00000050" "| piqa " "| hellaswag "; do
    grep -qF -- "$words" "$folder/chain/eval/checkpoints.md" || fail "the table does not have $words: $(cat "$folder/chain/eval/checkpoints.md")"
  done
  grep -q "copied to $folder/local disk on each node" "$folder"/chain/slurm/logs/first-*.log || fail "the shards were not copied"
  grep -q "0 files .* were there and are the same" "$folder"/chain/slurm/logs/second-*.log || fail "the copies were not used again"
  in_state "$first" COMPLETED || fail "the first stage's job is $(state_of "$first")"
  for stage in first second; do
    [ -s "$folder/chain/eval/$stage/results.json" ] || fail "stage $stage was not evaluated"
  done
  run "$eyrie" slurm status "$folder/chain"
  expect_status 0 "eyrie slurm status"
  expect_in_output "stage first: COMPLETED" "step       50 of 50" "starts     2" "node-hours"
  run "$eyrie" slurm logs "$folder/chain" --lines 3
  expect_in_output "stage second" "train.sbatch: done"
  run "$eyrie" slurm submit "$folder/chain.yaml" --dry-run --nodes 2 --tasks-per-node 2
  expect_in_output "nothing was submitted"
  sed "s#directory: .*#directory: $folder/chain_alone#" "$folder/chain.yaml" >"$folder/chain_alone.yaml"
  train_on 1 chain_alone
  expect_status 0 "the same run on one rank"
  expect_same_run chain chain_alone "the chain"
}

evaluated() {
  say "an array of 2 tasks x 2 checkpoints, and one table"
  write_run evaluated 6 3
  train_on 1 evaluated
  expect_status 0 "training"
  run "$eyrie" slurm evaluate "$folder/evaluated" --tasks piqa,hellaswag --checkpoints 6,9 --limit 4 --time 10:00 --signal 30
  expect_status 0 "eyrie slurm evaluate"
  until_true 120 test -s "$folder/evaluated/eval/checkpoints.md"
  local words
  for words in "step-00000006" "step-00000009" "| piqa " "| hellaswag "; do
    grep -qF -- "$words" "$folder/evaluated/eval/checkpoints.md" || fail "the table does not have $words: $(cat "$folder/evaluated/eval/checkpoints.md")"
  done
  ! grep -qF "| - " "$folder/evaluated/eval/checkpoints.md" || fail "a result is missing: $(cat "$folder/evaluated/eval/checkpoints.md")"
  run "$eyrie" slurm evaluate "$folder/evaluated" --tasks piqa --checkpoints 7
  expect_status 2 "a checkpoint that is not there"
  expect_in_output "has those of 3, 6, 9"
}

branches() {
  say "three ends of one trunk, as one array"
  write_run trunk 6 4
  train_on 1 trunk
  local end ids=()
  for end in 1 2 3; do write_run "end_$end" 6 $((2 + end)); done
  run "$eyrie" branch "$folder/trunk" --at 6 "$folder"/end_{1,2,3}.yaml
  expect_status 0 "eyrie branch"
  run "$eyrie" slurm submit "$folder"/end_{1,2,3}.yaml --time 10:00 --signal 30
  expect_status 0 "three runs submitted as one"
  for end in 1 2 3; do
    ids+=("$(job_of "end_$end" all)")
    until_true 120 in_state "${ids[-1]}" COMPLETED
    [ -e "$(checkpoint_of "end_$end" $((8 + end)))/manifest.json" ] || fail "end $end did not get to its end"
  done
  [ "${ids[0]%_*}" = "${ids[2]%_*}" ] || fail "they are not tasks of one array: ${ids[*]}"
  run "$eyrie" slurm status "$folder/end_2"
  expect_in_output "stage all: COMPLETED" "step       10 of 10"
  run "$eyrie" slurm logs "$folder/end_2"
  expect_in_output "train.sbatch: done"
  # The second is the trunk itself.
  expect_same_run end_2 trunk "a branch with the trunk's own end"
}

preempted() { # TIMES
  say "preempted ${1:-1} times in mid-stage: saved, requeued, the bits of an undisturbed run"
  write_run preempted $((${1:-1} * 200 + 200)) 5
  write_run undisturbed $((${1:-1} * 200 + 200)) 5
  sed -i 's#every: 3#every: 1000#' "$folder"/{preempted,undisturbed}.yaml
  slow 100mbit
  submit preempted --nodes 2 --tasks-per-node 2
  expect_status 0 "eyrie slurm submit"
  local job time
  job=$(job_of preempted first)
  for ((time = 1; time <= ${1:-1}; ++time)); do
    until_true 60 has_lines preempted $((time * 150 - 100))
    preempt
    until_true 60 was_requeued "$job" "$time"
  done
  run "$eyrie" slurm status "$folder/preempted"
  expect_in_output "stage second: PENDING (Dependency)"
  slow
  until_true 180 in_state "$(job_of preempted second)" COMPLETED
  local ends
  ends=,$(why_of preempted),
  [[ $ends == *,preempted,* ]] || fail "the starts ended so: $ends"
  # A start that crashed was requeued, as it should be, but must not have crashed: show what it said.
  [[ $ends != *,failed* ]] || grep -hv "loss " "$folder"/preempted/slurm/logs/*.log >&2 || true
  train_on 1 undisturbed
  expect_same_run preempted undisturbed "after ${1:-1} preemptions"
}

cancelled() {
  say "cancelled with a checkpoint, submitted again"
  write_run cancelled 2000 5
  sed -i 's#every: 3#every: 1000#' "$folder/cancelled.yaml"
  slow 100mbit
  submit cancelled --nodes 2 --tasks-per-node 2
  until_true 60 has_lines cancelled 40
  submit cancelled --nodes 2 --tasks-per-node 2
  expect_status 2 "a second chain on the same run"
  expect_in_output "eyrie slurm cancel"
  run "$eyrie" slurm cancel "$folder/cancelled" --wait
  expect_status 0 "eyrie slurm cancel"
  expect_in_output "saves a checkpoint and ends" "has left the queue"
  [ -z "$(squeue --noheader)" ] || fail "jobs are left: $(squeue)"
  [ "$(why_of cancelled)" = cancelled ] || fail "the start ended so: $(why_of cancelled)"
  [ -e "$(checkpoint_of cancelled)/manifest.json" ] || fail "no checkpoint was saved"
  slow
  submit cancelled --nodes 1 --tasks-per-node 2
  until_true 120 in_state "$(job_of cancelled second)" COMPLETED
}

# A time limit of two minutes comes in mid-stage: 30 to 90 seconds after the start, as Slurm looks only from time to time.
time_limit() {
  say "a time limit in mid-stage: saved by the early signal, requeued, the same bits"
  write_run limited 1500 5
  write_run unlimited 1500 5
  sed -i 's#every: 3#every: 1000#; s#validate: .*#validate: {sequences: 3}#' "$folder"/{limited,unlimited}.yaml
  slow 16mbit
  run "$eyrie" slurm submit "$folder/limited.yaml" --nodes 2 --tasks-per-node 2 --time 2:00 --signal 30
  expect_status 0 "eyrie slurm submit"
  until_true 150 was_requeued "$(job_of limited first)" 1
  slow
  until_true 180 in_state "$(job_of limited second)" COMPLETED
  [[ $(why_of limited) == "time limit,done,done" ]] || fail "the starts ended so: $(why_of limited)"
  train_on 1 unlimited
  expect_same_run limited unlimited "after a time limit"
}

evaluation_limit() {
  say "a time limit during an evaluation: its answers are kept, requeued, finished from there"
  write_run answering 4 3
  sed -i 's#^    validate: .*#&\n    evaluate: {tasks: [hellaswag]}#' "$folder/answering.yaml"
  run "$eyrie" slurm submit "$folder/answering.yaml" --nodes 1 --time 2:00 --signal 60
  expect_status 0 "eyrie slurm submit"
  local job
  job=$(job_of answering first)
  until_true 200 was_requeued "$job" 1
  until_true 400 in_state "$job" COMPLETED
  grep -h "the evaluation goes on" "$folder"/answering/slurm/logs/first-*.log || fail "no answers were taken over"
  [[ $(why_of answering) == "time limit,"* ]] || fail "the starts ended so: $(why_of answering)"
  run "$eyrie" slurm cancel "$folder/answering" --wait
  sed "s#directory: .*#directory: $folder/answering_alone#" "$folder/answering.yaml" >"$folder/answering_alone.yaml"
  train_on 2 answering_alone --until-stage first
  expect_status 0 "the same evaluation without a limit"
  local name
  for name in answering answering_alone; do
    grep -E '"(acc|acc_norm)[,_a-z]*":' "$folder/$name/eval/first/results.json" >"$folder/$name.scores"
    [ -s "$folder/$name.scores" ] || fail "no scores in the results of $name"
  done
  cmp "$folder"/answering{,_alone}.scores || fail "the scores differ"
}

# The node that a job has alone loses its cable: the job runs on there, unseen, while Slurm starts it on the other node.
owned_again() { ls "$folder"/twin/.owner-2* >/dev/null 2>&1; }
nothing_runs_on() { ! "$lab/node" run "$1" pgrep -x eyrie >/dev/null; }
unplugged() {
  say "a lost twin: its cable is pulled, it runs on, and does not harm the folder"
  write_run twin 1000000 5
  sed -i 's#every: 3#every: 200#; s#validate: .*#validate: {sequences: 3}#' "$folder/twin.yaml"
  submit twin --nodes 1 --tasks-per-node 2
  local job node step
  job=$(job_of twin first)
  until_true 60 has_lines twin 300
  node=$(squeue --noheader --jobs "$job" --format=%N)
  "$lab/node" unplug "$node"
  until_true 120 was_requeued "$job" 1
  step=$(steps_of twin)
  until_true 120 owned_again
  # The twin learns of it when it saves, if Slurm's own daemon on that node has not ended it before.
  until_true 60 nothing_runs_on "$node"
  until_true 60 has_lines twin $((step + 1000))
  grep -hE "train.sbatch|going on|owner|took|error" "$folder"/twin/slurm/logs/*.log
  "$lab/node" plug "$node"
  run "$eyrie" slurm cancel "$folder/twin" --wait
  expect_status 0 "eyrie slurm cancel"
  [ "$(squeue --noheader --jobs "$job" --format=%N)" != "$node" ] || fail "it went on at the lost node"
  step=$(basename "$(checkpoint_of twin)")
  step=$((10#${step#step-}))
  sed "s#directory: .*#directory: $folder/alone#" "$folder/twin.yaml" >"$folder/alone.yaml"
  train_on 1 alone --stop-after "$step"
  expect_status 75 "the same steps on one rank"
  metrics_of twin >"$folder/metrics.twin"
  metrics_of alone | cmp - "$folder/metrics.twin" || fail "the losses differ"
  [ "$(digest_of twin)" = "$(digest_of alone)" ] || fail "the weights differ at step $step"
}

# One of two nodes loses its cable: the watchdog of the other names who is gone, and the run goes on without that node.
cut_off() {
  say "a node is cut off: named by the watchdog, requeued on what is left, the same bits"
  write_run cut 400 5
  write_run whole 400 5
  sed -i 's#every: 3#every: 50#; s#validate: .*#validate: {sequences: 3}#' "$folder"/{cut,whole}.yaml
  echo "watchdog: 5" >>"$folder/cut.yaml"
  slow 100mbit
  submit cut --nodes 1-2 --tasks-per-node 2
  local job
  job=$(job_of cut first)
  until_true 60 has_lines cut 120
  "$lab/node" unplug n2
  until_true 120 was_requeued "$job" 1
  until_true 240 in_state "$(job_of cut second)" COMPLETED
  grep -hE "rank [0-9]+: .*(rank|n2)|train.sbatch" "$folder"/cut/slurm/logs/first-*.log | grep -v loss
  grep -hE "rank [01]: .*ranks? [23].*n2" "$folder"/cut/slurm/logs/first-*.log >/dev/null || fail "the lost ranks were not named"
  grep -q '"nodes": 1,' "$folder/cut/slurm/starts.jsonl" || fail "it did not go on with one node"
  train_on 1 whole
  expect_same_run cut whole "after a node was cut off"
  "$lab/node" plug n2
  until_true 60 all_idle
}

crashes() {
  say "a job that crashes at each start stops after the third"
  write_run crashing 30 5
  submit crashing --nodes 2 --tasks-per-node 1 --dry-run
  expect_status 0 "--dry-run"
  [ -z "$(squeue --noheader)" ] || fail "--dry-run submitted: $(squeue)"
  printf '#!/bin/sh\necho "a fault of the test" >&2\nexit 1\n' >"$folder/crash"
  chmod +x "$folder/crash"
  sed -i "s#^EYRIE=.*#EYRIE=$folder/crash#" "$folder/crashing/slurm/first.sbatch"
  local first second
  first=$(sbatch --parsable "$folder/crashing/slurm/first.sbatch")
  second=$(sbatch --parsable --dependency="afterok:$first" --kill-on-invalid-dep=yes "$folder/crashing/slurm/second.sbatch")
  until_true 120 in_state "$first" FAILED
  [ "$(restarts_of "$first")" = 2 ] || fail "$(restarts_of "$first") restarts instead of 2"
  until_true 30 in_state "$second" CANCELLED
  grep -q "the start number 3 without a new checkpoint" "$folder"/crashing/slurm/logs/first-*.log || fail "no reason in the log"
}

build() {
  say "shards built by a job of 4 ranks, which a signal ends at its first start"
  run "$eyrie" slurm build "$folder/data.yaml" "output=$folder/built" --nodes 2 --tasks-per-node 2 --time 10:00 --signal 30 --mem 400 --dry-run
  expect_status 0 "eyrie slurm build --dry-run"
  # What the ranks would do at the signal of the time limit.
  printf '#!/bin/sh\n[ -e %s ] || { [ "$SLURM_PROCID" != 0 ] || : >%s; sleep 1; kill -USR1 $$; sleep 60; }\nexec %s "$@"\n' \
    "$folder/once" "$folder/once" "$eyrie" >"$folder/interrupted"
  chmod +x "$folder/interrupted"
  sed -i "s#^EYRIE=.*#EYRIE=$folder/interrupted#" "$folder/built/slurm/build.sbatch"
  local job
  job=$(sbatch --parsable "$folder/built/slurm/build.sbatch")
  until_true 120 in_state "$job" COMPLETED
  [ "$(restarts_of "$job")" = 1 ] || fail "$(restarts_of "$job") restarts instead of 1: $(cat "$folder"/built/slurm/logs/*)"
  local shard
  for shard in "$folder"/shards/*.h5; do
    cmp "$shard" "$folder/built/$(basename "$shard")" || fail "another shard than that of one rank"
  done
  run "$eyrie" slurm build "$folder/data.yaml" tokenizer=nothing.json
  expect_status 2 "a build without its tokenizer"
}

unwritable() {
  say "a run's folder that the nodes cannot write"
  write_run unwritable 30 5
  submit unwritable --nodes 2 --tasks-per-node 1 --dry-run
  expect_status 0 "--dry-run"
  local node job
  for node in n1 n2; do
    "$lab/node" run $node mount --bind "$folder/unwritable" "$folder/unwritable"
    "$lab/node" run $node mount -o remount,bind,ro "$folder/unwritable"
  done
  submit unwritable --nodes 2 --tasks-per-node 1
  job=$(job_of unwritable first)
  until_true 60 in_state "$job" FAILED
  run "$eyrie" slurm status "$folder/unwritable"
  expect_in_output "JobLaunchFailure" "could not open its log"
  until_true 30 in_state "$(job_of unwritable second)" CANCELLED
  for node in n1 n2; do "$lab/node" run $node umount "$folder/unwritable"; done
}

doctor() {
  say "eyrie doctor on two nodes: each rank on its core, links, the folder as each node sees it"
  run srun --nodes=2 --ntasks=4 --cpus-per-task=1 --mpi=pmix "$eyrie" doctor --folder "$folder" --machine "$folder/machine.yaml"
  expect_status 0 "eyrie doctor"
  expect_in_output "n1 to n2" "n1, inside" "Open MPI"
  # Affinity, from inside: the ranks of a node have one core each, and not the same.
  ! grep -q "may use the same" "$output" || fail "ranks share cores under Slurm's binding"
  [ "$(grep -cE '^ +[0-9]+ +n[12] +[01] +1 ' "$output")" = 4 ] || fail "not every rank has one core and one thread"
  write_run planned 5 5
  run "$eyrie" plan "$folder/planned.yaml" --machine "$folder/machine.yaml" --mesh data=4
  expect_status 0 "eyrie plan with the machine that was measured"
}

refused() {
  say "wrong submissions are refused before the queue"
  write_run refused 30 5
  submit refused --partition nowhere
  expect_status 2 "no such partition"
  expect_in_output "this cluster has low, high"
  submit refused --nodes 2 --tasks-per-node 2 mesh.tensor=3
  expect_status 2 "a mesh that does not fit"
  submit refused --nodes 5
  expect_status 2 "more nodes than there are"
  expect_in_output "partition low has 2 nodes"
  submit refused --tasks-per-node 2 --cpus-per-task 2
  expect_status 2 "more processors than a node has"
  submit refused "model={preset: griffin-1.3b, vocabulary: 258}"
  expect_status 2 "more memory than a node has"
  expect_in_output "memory"
  run "$eyrie" slurm submit "$folder/refused.yaml" --time 0:20 --signal 30
  expect_status 2 "a time limit shorter than the signal's"
  expect_in_output "--signal"
  submit refused "stages.0.evaluate={tasks: [mmlu]}"
  expect_status 2 "shards that were not cleared of a task"
  expect_in_output "not screened for task mmlu"
  submit refused --evaluate piqa,mmlu
  expect_status 2 "shards that were not cleared of a task of the evaluations"
  expect_in_output "--evaluate piqa,mmlu" "not screened for"
  submit refused --evaluate nothing
  expect_status 2 "no such task"
  [ -z "$(squeue --noheader)" ] || fail "something was submitted: $(squeue)"
}

node_lost() {
  say "a node dies: requeued on what is left, the same bits"
  write_run lost 400 5
  write_run kept 400 5
  sed -i 's#every: 3#every: 50#; s#validate: .*#validate: {sequences: 3}#' "$folder"/{lost,kept}.yaml
  slow 100mbit
  submit lost --nodes 1-2 --tasks-per-node 2
  local job
  job=$(job_of lost first)
  until_true 60 has_lines lost 120
  "$lab/node" kill n2
  until_true 120 was_requeued "$job" 1
  until_true 240 in_state "$(job_of lost second)" COMPLETED
  grep -q '"start": 2, .*"nodes": 1,' "$folder/lost/slurm/starts.jsonl" || fail "it did not go on with one node"
  train_on 1 kept
  expect_same_run lost kept "after a node was lost"
  "$lab/node" up n2
  until_true 30 all_idle
}

make_data piqa,hellaswag
parts=("${@:2}")
[ ${#parts[@]} -gt 0 ] || parts=(doctor chain branches preempted cancelled crashes refused unwritable)
[ "${parts[0]}" != long ] || parts=(build doctor chain evaluated branches "preempted 3" cancelled crashes refused unwritable node_lost cut_off unplugged time_limit evaluation_limit)
for part in "${parts[@]}"; do
  # shellcheck disable=SC2086
  $part
done
echo "slurm_test: passed"
