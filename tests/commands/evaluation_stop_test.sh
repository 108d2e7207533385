#!/usr/bin/env bash
# A stop, or a death, during an evaluation: what is answered is kept, the exit status is 75, and the same command goes
# on to the very same files, on any number of ranks. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"
. "$(dirname "$0")/quiz.sh"

write_quiz quiz 4000
write_quiz small 5
make_data "quiz, small"
write_run whole 4 3
sed -i -E '0,/^( +)validate:.*/s//\1evaluate: {tasks: [small]}/; s#^( +)validate: \{sequences.*#\1evaluate: {tasks: [quiz, small]}#' \
  "$folder/whole.yaml"
train_on 2 whole
expect_status 0 "the undisturbed run"
kept=$folder/often/eval/second/unfinished
has_answers() { ls "$kept"/answers-*.jsonl >/dev/null 2>&1; }
# No rank has another one's results; model_args names the directory.
expect_same_results() {
  for file in results.json samples_small.jsonl samples_quiz.jsonl; do
    grep -v model_args "$1/$file" >"$folder/a"
    grep -v model_args "$2/$file" >"$folder/b"
    expect_equal "$folder/a" "$folder/b" "$3: another $file than without a stop"
  done
  [ ! -e "$1/unfinished" ] || fail "$3: the kept answers are still there"
}

say "a signal during the evaluation of the last stage: 75, and on from there"
start_on 2 train "$folder/whole.yaml" "directory=$folder/often"
wait_until has_answers
kill -USR1 "$job"
wait_for_job
expect_status 75 "a stop during the last evaluation"
expect_in_output "the evaluation stopped on request"
[ ! -e "$folder/often/eval/second/results.json" ] || fail "results of an evaluation that was stopped"
has_answers || fail "nothing was kept"

say "all ranks killed during the evaluation"
start_on 4 train "$folder/whole.yaml" "directory=$folder/often" mesh.zero=3
# Ranks that the stopped start did not have.
has_new_answers() { ls "$kept"/answers-0000[23].jsonl >/dev/null 2>&1; }
wait_until has_new_answers
mapfile -t ranks < <(processes_of_job)  # all at once: the first death ends the others
kill -KILL "${ranks[@]}"
wait_for_job
[ "$status" -ne 0 ] && [ "$status" -ne 75 ] || fail "killed, but status $status"
has_answers || fail "a killed evaluation keeps nothing"

say "and to its end on one rank"
train_on 1 whole "directory=$folder/often"
expect_status 0 "the run to its end"
expect_in_output "the evaluation goes on"
expect_same_results "$folder/often/eval/second" "$folder/whole/eval/second" "after a stop and a death"
grep -v model_args "$folder/often/eval/first/results.json" >"$folder/a"
grep -v model_args "$folder/whole/eval/first/results.json" >"$folder/b"
expect_equal "$folder/a" "$folder/b" "the first stage's results"

say "eyrie eval"
kept=$folder/out/unfinished
start_on 2 eval "$folder/whole" --tasks quiz,small --output "$folder/out" --log-samples --batch-tokens 2000
wait_until has_answers
kill -USR1 "$job"
wait_for_job
expect_status 75 "a stop during eyrie eval"
run_on 2 eval "$folder/whole" --tasks small --output "$folder/out"
expect_status 2 "another evaluation in the folder of an unfinished one"
expect_last_line "$kept" "unfinished evaluation"
run "$eyrie" eval "$folder/whole" --tasks quiz,small --output "$folder/out" --log-samples
expect_status 0 "eyrie eval that goes on"
expect_in_output "the evaluation goes on" "|quiz"
expect_same_results "$folder/out" "$folder/whole/eval/second" "eyrie eval"
