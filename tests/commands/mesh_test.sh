#!/usr/bin/env bash
# Meshes over real MPI: the losses of one rank within 1e-5, on data ranks the same bits; a run that moves from mesh to
# mesh through its checkpoints; refusals that name what divides. The order of collectives is checked on the way.
# Argument: the eyrie command.
. "$(dirname "$0")/support.sh"
export EYRIE_CHECK_ORDER=1

make_data
write_run whole
train_on 1 whole
expect_status 0 "one rank"

# expect_near NAME WHAT: every loss within 1e-5 (relative) of the whole run's.
expect_near() {
  local off
  off=$(paste <(sed -nE 's/.*"loss":([^,]+),.*/\1/p' "$folder/whole/metrics.jsonl") \
    <(sed -nE 's/.*"loss":([^,]+),.*/\1/p' "$folder/$1/metrics.jsonl") |
    awk '{ d = ($2 - $1) / $1; d = d < 0 ? -d : d; if (NF != 2) d = 1; if (d > most) most = d }
         END { print (NR == 9 && most <= 1e-5) ? "near" : "off by " most " in " NR " steps" }')
  [ "$off" = near ] || fail "$2: losses are $off"
}

say "data ranks, every stage of ZeRO"
for zero in 0 2 3; do
  train_on 4 whole "directory=$folder/zero$zero" mesh.zero=$zero
  expect_status 0 "ZeRO $zero"
  expect_same_run "zero$zero" whole "ZeRO $zero on 4 ranks"
done

say "tensor, context and all together"
train_on 2 whole "directory=$folder/tensor" mesh.tensor=2 mesh.sequence=true
expect_status 0 "tensor 2"
expect_near tensor "tensor 2"
train_on 3 whole "directory=$folder/context" mesh.context=3 mesh.zero=2
expect_status 0 "context 3"
expect_near context "context 3"
train_on 8 whole "directory=$folder/all" mesh.tensor=2 mesh.context=2 mesh.sequence=true mesh.zero=3
expect_status 0 "data 2 × context 2 × tensor 2"
expect_in_output "data 2 × context 2 × tensor 2, sequence, ZeRO 3"
expect_near all "data 2 × context 2 × tensor 2"

say "one run over four meshes"
moved() { train_on "$1" whole "directory=$folder/moved" "${@:2}"; }
moved 4 mesh.tensor=2 mesh.zero=3 --stop-after 2
expect_status 75 "the first part"
moved 2 mesh.context=2 --stop-after 3
expect_status 75 "the second part"
moved 1 --stop-after 2
expect_status 75 "the third part"
moved 4 mesh.replicas=2 mesh.zero=3
expect_status 0 "the last part"
expect_near moved "a run over four meshes"
run "$eyrie" checkpoint list "$folder/moved"
expect_status 0 "checkpoint list"
expect_in_output "4 (data 2 × context 1 × tensor 2, ZeRO 3)" "2 (data 1 × context 2 × tensor 1, ZeRO 1)"

say "refusals"
train_on 4 whole "directory=$folder/refused" mesh.tensor=4
expect_status 2 "tensor 4 on 2 heads"
expect_last_line "mesh.tensor 4 does not divide heads 2" "What divides: 1, 2" "The nearest meshes that fit 4 ranks: data 2"
train_on 3 whole "directory=$folder/refused" mesh.tensor=2
expect_status 2 "tensor 2 on 3 ranks"
expect_last_line "do not divide the job's 3 ranks" "nearest meshes that fit 3 ranks"
train_on 2 whole "directory=$folder/refused" mesh.zero=7
expect_status 2 "ZeRO 7"
expect_last_line "command line: mesh.zero" "7 is no stage of ZeRO"
