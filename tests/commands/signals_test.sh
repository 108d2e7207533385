#!/usr/bin/env bash
# Signals: hundreds of them while large products are computed, on processors' narrower instruction sets too; a stop
# saves and the run goes on to the same bits; readers that go away; commands that have nothing to save end at once.
# Arguments: the eyrie command; with "stops N": only N stops at random moments (scripts/soak).
. "$(dirname "$0")/support.sh"

# A model whose products are large, for a run of a few steps.
large="model={preset: griffin-10m, vocabulary: 258, width: 256, rnn_width: 256, mlp_width: 768, heads: 4, gate_blocks: 4, layers: RAR, window: 64}"
make_data
write_run whole 5 3
write_large() {  # NAME THREADS: two stages of large products
  write_run "$1" 12 4
  sed -i -E "s#^model: .*#$(printf '%s' "$large" | sed 's/=/: /')#; s#^threads: .*#threads: $2#; s#sequence_length: .*#sequence_length: 256#; s#validate: .*#validate: {sequences: 2}#" "$folder/$1.yaml"
}

# shower PID SIGNAL COUNT: as many signals, a few milliseconds apart, as long as the process lives.
shower() {
  local i
  for ((i = 0; i < $3; ++i)); do
    kill "-$2" "$1" 2>/dev/null || break
    sleep 0.00$((RANDOM % 9 + 1))
  done
}

# stop_at_random RANKS THREADS ISA NAME: starts or goes on with a run, and stops it at a random moment by a shower of
# signals to a rank; $status is the job's.
stop_at_random() {
  local before
  before=$(steps_of "$4")
  ONEDNN_MAX_CPU_ISA=$3 start_on "$1" train "$folder/$4.yaml" "${@:5}"
  # From the first word of the ranks on; often after a step or two.
  wait_for_start() {
    grep -q "stage .*: .* steps of" "$output" || [ "$(steps_of "$1")" -gt "$before" ] || ! kill -0 "$job" 2>/dev/null
  }
  local i
  for ((i = 0; i < 3000; ++i)); do
    wait_for_start "$4" && break
    sleep 0.02
  done
  sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
  local victim
  victim=$(processes_of_job | shuf -n 1)
  [ -z "$victim" ] || shower "$victim" USR1 150
  wait_for_job
}

if [ "${2-}" = stops ]; then
  stops=${3:-100}
  for isa in AVX2 DEFAULT; do
    write_large "reference-$isa" 1
    ONEDNN_MAX_CPU_ISA=$isa train_on 1 "reference-$isa"
    expect_status 0 "the undisturbed run, $isa"
  done
  done_stops=0 round=0
  while [ "$done_stops" -lt "$stops" ]; do
    isas=(AVX2 DEFAULT) counts=(1 2 4)
    isa=${isas[round % 2]} ranks=${counts[round / 2 % 3]}
    name=stopped-$round
    write_large "$name" 1
    while :; do
      stop_at_random "$ranks" 1 "$isa" "$name"
      [ "$status" -ne 0 ] || break
      expect_status 75 "stop $done_stops, $isa, $ranks ranks"
      done_stops=$((done_stops + 1))
    done
    expect_same_run "$name" "reference-$isa" "after stops on $ranks ranks, $isa"
    rm -rf "${folder:?}/$name"
    round=$((round + 1))
  done
  say "$done_stops stops in $round runs, each with status 75, and the same bits in the end"
  exit 0
fi

for shape in "AVX2 1 2" "AVX2 2 1" "DEFAULT 2 1"; do
  read -r isa ranks threads <<<"$shape"
  say "hundreds of signals in large products: $isa, $ranks ranks of $threads threads"
  name=shower-$isa-$ranks
  write_large "$name" "$threads"
  ONEDNN_MAX_CPU_ISA=$isa train_on "$ranks" "$name" "directory=$folder/whole-$name"
  expect_status 0 "the undisturbed run"
  stops=0
  until
    stop_at_random "$ranks" "$threads" "$isa" "$name"
    [ "$status" -eq 0 ]
  do
    expect_status 75 "a stop by a shower of signals"
    ! grep -qE -- "mpirun|-----" "$output" || fail "the launcher's notices are shown"
    stops=$((stops + 1))
    [ "$stops" -le 20 ] || fail "the run does not get on"
  done
  [ "$stops" -gt 0 ] || fail "no stop came in time"
  expect_same_run "$name" "whole-$name" "after $stops stops"
done

say "generation under signals"
run "$eyrie" model init --preset griffin-10m "$folder/model" width=256 rnn_width=256 mlp_width=768 heads=4 gate_blocks=4 \
  layers=RAR window=64 vocabulary=258
expect_status 0 "eyrie model init"
generate=("$eyrie" generate "$folder/model" --tokenizer bytes --threads 2)
documents 5 40 >"$folder/words"
prompt=$(tr -d '\n' <"$folder/words")
for i in 1 2; do
  rm -f "$folder/text"
  ONEDNN_MAX_CPU_ISA=AVX2 "${generate[@]}" --prompt "$prompt" --max-new 1000000 --ignore-end >"$folder/text" 2>"$output" &
  job=$!
  wait_until test -s "$folder/text"
  shower "$job" USR1 100
  wait_for_job
  expect_status 130 "eyrie generate under signals"
done

say "Ctrl-C at the prompt of a dialogue"
mkfifo "$folder/typed"
env --default-signal=INT "${generate[@]}" --chat --max-new 3 <"$folder/typed" >"$folder/dialogue" 2>"$output" &
job=$!
exec 5>"$folder/typed"
echo hello >&5
wait_until grep -q "first token after" "$output"
kill -INT "$job"
within 10 wait_for_job
expect_status 0 "a dialogue that Ctrl-C ended at the prompt"
exec 5>&-

say "a command that has nothing to save ends by the signal"
mkfifo "$folder/requests"
"$eyrie" score "$folder/model" --tokenizer bytes --requests "$folder/requests" >"$output" 2>&1 &
job=$!
exec 5>"$folder/requests"  # opens as soon as the command reads
kill -TERM "$job"
within 10 wait_for_job
expect_status 143 "eyrie score after SIGTERM"
exec 5>&-

say "signals of other batch systems, and a terminal that goes away"
for signal in TERM INT USR2 HUP XCPU; do
  rm -rf "$folder/whole"
  env --default-signal=INT --default-signal=HUP "$eyrie" train "$folder/whole.yaml" stages.0.steps=3000 >"$output" 2>&1 &
  job=$!
  wait_until has_lines whole 3
  kill "-$signal" "$job"
  wait_for_job
  expect_status 75 "a run after SIG$signal"
done
env --ignore-signal=HUP "$eyrie" train "$folder/whole.yaml" directory="$folder/nohup" stages.0.steps=30 >"$output" 2>&1 &
job=$!
wait_until has_lines nohup 3
kill -HUP "$job"
wait_for_job
expect_status 0 "a run that ignores SIGHUP, as under nohup"

say "a reader that goes away"
rm -rf "$folder/whole"
train_on 1 whole
expect_status 0 "the run with a reader"
for ranks in 0 2; do
  launcher=()
  [ "$ranks" -eq 0 ] || launcher=(scripts/mpi "$ranks")
  status=0
  { "${launcher[@]}" "$eyrie" train "$folder/whole.yaml" "directory=$folder/unread" 2>&1 || echo "$?" >"$folder/status"; } |
    head -n 1 >/dev/null
  [ ! -e "$folder/status" ] || fail "a run whose reader went away: status $(<"$folder/status")"
  expect_same_run unread whole "without a reader"
  grep -q "done: 8 steps" "$folder/unread/log/rank-0000.log" || fail "the run's own log does not go on"
  rm -rf "$folder/unread"
done

say "a limit on the size of files"
status=0
(ulimit -f 40 && exec "$eyrie" train "$folder/whole.yaml" "directory=$folder/limited") >"$output" 2>&1 || status=$?
expect_status 1 "a run under ulimit -f"
expect_last_line "File too large"
expect_no_dump

say "an entry of checkpoints/ that cannot be looked at is a warning"
for async in true false; do
  "$eyrie" train "$folder/whole.yaml" "directory=$folder/loop" checkpoint.async=$async stages.0.steps=300 \
    checkpoint.every=5 >"$output" 2>&1 &
  job=$!
  wait_until test -e "$folder/loop/checkpoints/step-00000005/manifest.json"
  ln -s step-00000001 "$folder/loop/checkpoints/step-00000001"
  wait_for_job
  expect_status 0 "a run with a checkpoint that cannot be looked at"
  expect_in_output "done: 303 steps" "an older checkpoint stays"
  expect_no_dump
  rm -rf "$folder/loop"
done

say "Ctrl-C to the launcher"
rm -rf "$folder/whole"
env --default-signal=INT scripts/mpi 2 "$eyrie" train "$folder/whole.yaml" stages.0.steps=3000 >"$output" 2>&1 &
job=$!
wait_until has_lines whole 3
kill -INT "$job"
wait_for_job
expect_status 75 "a job after Ctrl-C to its launcher"
expect_in_output "stopped on request after step"
! grep -qE -- "mpirun|-----" "$output" || fail "the launcher's notices are shown"
