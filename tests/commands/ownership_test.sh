#!/usr/bin/env bash
# Two jobs in one folder: the second is refused and the first keeps all it has; a killed job's folder is free at once; a
# job that comes back after another took its run commits nothing. And ranks that are given different files are named.
. "$(dirname "$0")/support.sh"

make_data
write_run whole 100 4
train_on 2 whole
expect_status 0 "the undisturbed run"

say "a second start beside the first"
# Held in mid-run for as long as the test looks.
start_on 2 train "$folder/whole.yaml" "directory=$folder/run"
wait_until test -e "$(checkpoint_of run 3)/manifest.json"
pids="$(pid_of_rank 0) $(pid_of_rank 1)"
first=$job
kill -STOP $pids
train_on 1 whole "directory=$folder/run"
expect_status 2 "a second start"
expect_last_line "$folder/run: another job is at work on this run: process ${pids%% *} on"
train_on 2 whole "directory=$folder/run"
expect_status 2 "a second start on two ranks"
run "$eyrie" checkpoint prune "$folder/run" --keep 1
expect_status 2 "pruning beside a job"
run "$eyrie" checkpoint prune "$folder/run" --keep 1 --dry-run
expect_status 0 "looking at what pruning would do"
run "$eyrie" checkpoint list "$folder/run"
expect_status 0 "listing beside a job"
run "$eyrie" train "$folder/whole.yaml" "directory=$folder/run" --check
expect_status 0 "a check beside a job"
expect_in_output "a start now would be refused"
kill -CONT $pids
job=$first
wait_for_job
expect_status 0 "the first job"
expect_same_run run whole "a run that another start was refused beside"
! compgen -G "$folder/run/.owner*" >/dev/null || fail "the mark is left behind"

say "a killed job's run is free at once"
start_on 2 train "$folder/whole.yaml" "directory=$folder/killed" checkpoint.every=2
wait_until has_lines killed 5
kill -KILL "$(pid_of_rank 0)" "$(pid_of_rank 1)"
wait_for_job
train_on 2 whole "directory=$folder/killed" checkpoint.every=2
expect_status 0 "the start after a kill"
expect_in_output "taken over from process"
expect_same_run killed whole "killed and started again"

say "a job that was suspended while Slurm started it again"
scripts/mpi 2 env SLURM_JOB_ID=77 "$eyrie" train "$folder/whole.yaml" "directory=$folder/late" checkpoint.every=2 \
  >"$folder/late.out" 2>&1 </dev/null &
job=$!
late=$job
wait_until has_lines late 5
pids="$(pid_of_rank 0) $(pid_of_rank 1)"
kill -STOP $pids
run scripts/mpi 2 env SLURM_JOB_ID=77 SLURM_RESTART_COUNT=1 "$eyrie" train "$folder/whole.yaml" \
  "directory=$folder/late" checkpoint.every=2
expect_status 0 "the later start of the same Slurm job"
expect_in_output "which Slurm has put back into the queue"
expect_same_run late whole "taken over"
kill -CONT $pids
job=$late
wait_for_job
[ "$status" -ne 0 ] && [ "$status" -ne 75 ] || fail "the late job ended with status $status"
grep -q "was taken over by" "$folder/late.out" || fail "the late job does not say why it ends"
expect_same_run late whole "after the late job came back"
run "$eyrie" checkpoint verify "$folder/late"
expect_status 0 "the checkpoints after the late job came back"

say "two builds into one folder"
documents 5 20000 >"$folder/raw/many.jsonl"
cat >"$folder/many.yaml" <<YAML
tokenizer: bytes
output: $folder/many
shard_tokens: 64Ki
sources: [{name: many, files: $folder/raw/many.jsonl}]
YAML
run "$eyrie" data build "$folder/many.yaml" "output=$folder/alone"
expect_status 0 "a build alone"
"$eyrie" data build "$folder/many.yaml" >"$folder/many.out" 2>&1 </dev/null &
job=$!
first=$job
has_parts() { compgen -G "$folder/many/.parts-*/many-*" >/dev/null; }
wait_until has_parts
kill -STOP "$first"
run "$eyrie" data build "$folder/many.yaml"
expect_status 2 "a second build"
expect_in_output "another job is at work on these shards: process $first on"
mkdir "$(compgen -G "$folder/many/.parts-*")/failed"  # what no rank of this build left
kill -CONT "$first"
job=$first
wait_for_job
expect_status 0 "the first build"
cmp -s "$folder/alone/many-00000.h5" "$folder/many/many-00000.h5" || fail "the first build made other shards"
[ "$(ls "$folder/alone")" = "$(ls "$folder/many")" ] || fail "the first build has not all shards"

say "ranks with other files"
for rank in 0 1; do
  mkdir -p "$folder/node$rank"
  sed "s#directory:.*#directory: $folder/nodes#" "$folder/whole.yaml" >"$folder/node$rank/run.yaml"
done
here() { run scripts/mpi 2 sh -c "cd $folder/node\${OMPI_COMM_WORLD_RANK:-\$PMI_RANK} && exec $eyrie $*"; }
sed -i 's/peak: 1e-2/peak: 2e-2/' "$folder/node1/run.yaml"
here train run.yaml
expect_status 2 "another configuration on rank 1"
expect_last_line "rank 1" "stages.0.learning_rate.peak is 2e-2 here, 1e-2 there"
[ ! -e "$folder/nodes" ] || fail "a refused start left a folder"
documents 13 60 >"$folder/node0/web.jsonl"
documents 14 60 >"$folder/node1/web.jsonl"
for rank in 0 1; do
  printf 'tokenizer: bytes\noutput: %s/built\nsources: [{name: web, files: web.jsonl}]\n' "$folder" >"$folder/node$rank/data.yaml"
done
here data build data.yaml
expect_status 2 "other documents on rank 1"
expect_last_line "rank 1" "source web: web.jsonl is"
[ ! -e "$folder/built" ] || fail "a refused build left a folder"
say "ranks that evaluate, score or screen other files"
. "$(dirname "$0")/quiz.sh"
write_quiz quiz 6
checkpoints=("$folder"/whole/checkpoints/step-*)
for rank in 0 1; do
  cp -r "$EYRIE_EVAL_DATA" "$folder/node$rank/eval"
  ln -s "${checkpoints[0]}" "$folder/node$rank/model"
  echo '{"tokens": [5, 6, 7, 8], "from": 1}' >"$folder/node$rank/requests.jsonl"
  documents 15 20 >"$folder/node$rank/screened.jsonl"
done
evaluated=(eval model --tasks quiz --data eval) scored=(score model --requests requests.jsonl)
screened=(data screen --tasks quiz --data eval screened.jsonl)
for command in "${evaluated[*]}" "${scored[*]}" "${screened[*]}"; do
  here "$command"
  expect_status 0 "$command on ranks with the same files"
done
ln -sfn "${checkpoints[-1]}" "$folder/node1/model"
for command in "${evaluated[*]}" "${scored[*]}"; do
  here "$command"
  expect_status 2 "$command with another model on rank 1"
  expect_last_line "rank 1" "the weights of model"
done
ln -sfn "${checkpoints[0]}" "$folder/node1/model"
EYRIE_EVAL_DATA=$folder/node1/eval write_quiz quiz 6 beast
here "${evaluated[*]}"
expect_status 2 "an evaluation of another edition on rank 1"
expect_last_line "rank 1" "the content of quiz, split test"
here "${screened[*]}"
expect_status 2 "screening for another edition on rank 1"
expect_last_line "rank 1" "what the evaluation items are"
echo '{"tokens": [5, 6, 7, 9], "from": 1}' >"$folder/node1/requests.jsonl"
here "${scored[*]}"
expect_status 2 "other requests on rank 1"
expect_last_line "rank 1" "the requests in requests.jsonl"
cp "$EYRIE_EVAL_DATA"/* "$folder/node1/eval"
documents 16 20 >"$folder/node1/screened.jsonl"
here "${screened[*]}"
expect_status 2 "other documents screened on rank 1"
expect_last_line "rank 1" "screened.jsonl is"

say "a run's folder on each node's own disk"
for rank in 0 1; do sed "s#directory:.*#directory: own#" "$folder/whole.yaml" >"$folder/node$rank/run.yaml"; done
here train run.yaml
expect_status 2 "two folders of one name"
expect_last_line "rank 1" "own: what rank 0 wrote there is not to be seen from"
