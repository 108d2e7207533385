#!/usr/bin/env bash
# Faults of the machine: a full disk, a rank killed in mid-step, all ranks killed while checkpoints are written. Each
# ends within 10 seconds with a message, the checkpoints that were there stay sound, and the same command goes on to the
# bits of an undisturbed run. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

make_data
write_run whole 60 6
train_on 2 whole checkpoint.every=20
expect_status 0 "the undisturbed run"

say "no space left while a checkpoint is written"
if [ "$(id -u)" -eq 0 ] && mkdir "$folder/small" && mount -t tmpfs -o size=4m none "$folder/small" 2>/dev/null; then
  # Room for the checkpoint of step 20, not for that of step 40.
  head -c 2400k /dev/zero >"$folder/small/filler"
  # Written behind the training or not. Behind it, the full disk may also be noticed first by the step's line of metrics.
  for async in false true; do
    within 10 train_on 2 whole "directory=$folder/small/full" checkpoint.every=20 checkpoint.async=$async
    expect_status 1 "a run on a full disk"
    expect_no_dump
    where=$folder/small/full/checkpoints/step-00000040
    [ $async = false ] || where=$folder/small/full/
    expect_last_line "$where" "no space left" "free some space"
    [ ! -e "$(checkpoint_of small/full 40)" ] || fail "half a checkpoint was left"
  done
  digest_of small/full 20 >"$folder/digest.here"
  digest_of whole 20 >"$folder/digest.there"
  expect_equal "$folder/digest.here" "$folder/digest.there" "the checkpoint of before the full disk"
  rm "$folder/small/filler"
  train_on 2 whole "directory=$folder/small/full" checkpoint.every=20 checkpoint.keep=1
  expect_status 0 "the run after space was freed"
  expect_in_output "going on from $(checkpoint_of small/full 20)"
  expect_same_run small/full whole "after a full disk"
  umount "$folder/small"
else
  echo "not tried: mounting a small file system needs root"
fi

say "a rank killed in mid-step"
start_on 2 train "$folder/whole.yaml" "directory=$folder/killed" checkpoint.every=24
wait_until has_lines killed 1
victim=$(pid_of_rank 1)
wait_until has_lines killed 32
wait_until test -e "$(checkpoint_of killed 24)/manifest.json"
kill -KILL "$victim"
within 10 wait_for_job
newest=$(checkpoint_of killed)
[[ $status -ne 0 && $status -ne 2 && $status -ne 75 ]] || fail "a job with a killed rank ended with status $status"
expect_last_line "rank 1 (pid $victim on " "is gone: killed" "step " "of stage first" "Start the same command again: it goes on from $newest."
expect_no_dump
train_on 2 whole "directory=$folder/killed" checkpoint.every=24
expect_status 0 "the run after a rank was killed"
expect_in_output "going on from $newest"
expect_same_run killed whole "after a rank was killed"

say "all ranks killed at moments when checkpoints are being written"
RANDOM=7
for round in 1 2 3; do
  # One checkpoint per step: nearly all of the time goes into writing them.
  start_on 2 train "$folder/whole.yaml" "directory=$folder/often" checkpoint.every=1 checkpoint.keep=2
  wait_until has_lines often $((round * 8))
  sleep "0.0$((RANDOM % 90 + 10))"
  for pid in $(pid_of_rank 0) $(pid_of_rank 1); do kill -KILL "$pid"; done
  wait_for_job
  [ "$status" -ne 0 ] || fail "a killed job ended with status 0"
  echo "killed with $(steps_of often) lines of metrics; there is $(cd "$folder/often/checkpoints" && echo *)"
done
train_on 1 whole "directory=$folder/often" checkpoint.every=20
expect_status 0 "the run after all ranks were killed"
expect_same_run often whole "after all ranks were killed three times"
