#!/usr/bin/env bash
# A job of real MPI ranks gives the same bits on any number of them, and after a stop by a signal, on the same and on
# another number of ranks. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

make_data
write_run whole 60 6
for precision in fp32 bf16; do
  changes=("precision=$precision" checkpoint.every=40)
  whole=whole-$precision
  say "$precision: the same run on 1, 2 and 4 ranks"
  for ranks in 1 2 4; do
    name=$precision-$ranks
    train_on "$ranks" whole "directory=$folder/$name" "${changes[@]}"
    expect_status 0 "training on $ranks ranks"
    expect_in_output "done: 66 steps" "of 1 thread ("
    if [ "$ranks" -eq 1 ]; then
      mv "$folder/$name" "$folder/$whole"
      [ "$(steps_of "$whole")" -eq 82 ] || fail "metrics.jsonl has $(steps_of "$whole") lines, not 66 steps and 16 validations"
    else
      expect_same_run "$name" "$whole" "$precision on $ranks ranks"
    fi
  done
done
# The comparison sees a difference where there is one.
metrics_of whole-fp32 >"$folder/a"
metrics_of whole-bf16 >"$folder/b"
! cmp -s "$folder/a" "$folder/b" || fail "fp32 and bf16 gave the same metrics"

# stop_and_go_on SIGNAL TARGET RANKS OTHER_RANKS PRECISION: TARGET is `launcher` or a rank.
stop_and_go_on() {
  local name=stopped-$1-$2 changes=("precision=$5" checkpoint.every=40) at
  say "$5: SIG$1 to $2 of $3 ranks, then on with $4"
  start_on "$3" train "$folder/whole.yaml" "directory=$folder/$name" "${changes[@]}"
  wait_until has_lines "$name" 10
  if [ "$2" = launcher ]; then
    kill "-$1" "$job"
  else
    kill "-$1" "$(pid_of_rank "$2")"
  fi
  wait_for_job
  expect_status 75 "a job stopped by SIG$1"
  expect_in_output "stopped on request after step"
  at=$(sed -nE 's/.*stopped on request after step ([0-9]+);.*/\1/p' "$output" | head -n 1)
  [ "$at" -lt 60 ] || fail "the signal came too late to stop in the first stage: step $at"
  [ -e "$(checkpoint_of "$name" "$at")/manifest.json" ] || fail "no checkpoint of step $at"
  train_on "$4" whole "directory=$folder/$name" "${changes[@]}"
  expect_status 0 "going on after SIG$1"
  expect_in_output "going on from $(checkpoint_of "$name" "$at")" "done: 66 steps"
  expect_same_run "$name" "whole-$5" "stopped by SIG$1 at step $at of $3 ranks, continued on $4"
}

stop_and_go_on USR1 launcher 2 4 fp32
stop_and_go_on TERM 1 2 1 bf16
