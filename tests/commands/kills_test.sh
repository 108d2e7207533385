#!/usr/bin/env bash
# SIGKILL of a random rank, or of all, at random moments (while starting, in mid-step, while a checkpoint is written
# behind the training, while it is committed); each time the same command starts again on a random number of ranks with
# a random stage of ZeRO. No checkpoint that is not whole is ever used, and the end has the bits of an undisturbed run.
# Arguments: the eyrie command, the number of kills (6; scripts/soak: 100).
. "$(dirname "$0")/support.sh"
kills=${2:-6}
RANDOM=${EYRIE_SEED:-11}

make_data
write_run whole $((kills * 12)) 6
sed -i 's/micro_shards: 4/micro_shards: 8/' "$folder/whole.yaml"  # up to 8 ranks
train_on 2 whole checkpoint.every=50
expect_status 0 "the undisturbed run"
total=$((kills * 12 + 6))

# The run's own mark of how far it came: lines of steps.
lines() { grep -c '"loss"' "$folder/often/metrics.jsonl" 2>/dev/null || true; }

killed_all=0 killed_one=0 in_start=0 unfinished=0 half_written=0 kept_on=0
for ((round = 1; round <= kills; ++round)); do
  counts=(1 2 4)
  [ "$kills" -gt 20 ] && counts=(1 2 2 4 4 8)
  ranks=${counts[RANDOM % ${#counts[@]}]}
  before=$(lines)
  # A checkpoint every step or two: most moments lie in the writing of one.
  start_on "$ranks" train "$folder/whole.yaml" "directory=$folder/often" "checkpoint.every=$((RANDOM % 2 + 1))" \
    checkpoint.keep=2 "mesh.zero=$((RANDOM % 4))"
  if ((RANDOM % 5 == 0)); then
    sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
    in_start=$((in_start + 1))
  else
    goal=$((before + RANDOM % 12 + 1))
    for ((i = 0; i < 3000; ++i)); do
      { [ "$(lines)" -ge "$goal" ] && [ "$(lines)" -ne "$before" ]; } && break
      kill -0 "$job" 2>/dev/null || break
      sleep 0.02
    done
    sleep "0.0$((RANDOM % 90 + 10))"
  fi
  if ! kill -0 "$job" 2>/dev/null; then
    wait_for_job
    [ "$status" -eq 0 ] || fail "round $round: the job ended by itself with status $status"
    kept_on=$((kept_on + 1))
    continue
  fi
  # The launcher may not have started them yet.
  pids=
  for ((i = 0; i < 500; ++i)); do
    pids=$(processes_of_job)
    [ -z "$pids" ] && kill -0 "$job" 2>/dev/null || break
    sleep 0.02
  done
  if ((RANDOM % 2 == 0)); then
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
    killed_all=$((killed_all + 1))
  else
    read -ra victims <<<"${pids//$'\n'/ }"
    [ ${#victims[@]} -eq 0 ] || kill -KILL "${victims[RANDOM % ${#victims[@]}]}" 2>/dev/null || true
    killed_one=$((killed_one + 1))
  fi
  within 20 wait_for_job
  for checkpoint in "$folder"/often/checkpoints/step-*; do
    [ -d "$checkpoint" ] || continue
    [ -e "$checkpoint/manifest.json" ] || unfinished=$((unfinished + 1))
    ! compgen -G "$checkpoint/.*.tmp-*" >/dev/null || half_written=$((half_written + 1))
  done
  if [ -d "$folder/often/checkpoints" ] && ls "$folder"/often/checkpoints/step-*/manifest.json >/dev/null 2>&1; then
    run "$eyrie" checkpoint verify "$folder/often"
    expect_status 0 "round $round: what the killed run left"
  fi
done
train_on 2 whole "directory=$folder/often" checkpoint.every=50
expect_status 0 "the run after $kills kills"
expect_same_run often whole "after $kills kills"
echo "killed: one rank $killed_one times, all ranks $killed_all times, $in_start of them by the clock after the start;" \
  "left behind: $unfinished unfinished checkpoints, $half_written with a file half written;" \
  "$kept_on jobs had ended before; $total steps, same bits"
