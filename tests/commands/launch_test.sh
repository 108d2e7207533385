#!/usr/bin/env bash
# Launchers and batch systems: one rank of an allocation is not trained on by mistake, and what works on one rank is
# done once. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

make_data
write_run whole 5 4
slurm=(env SLURM_JOB_ID=4711 SLURM_NTASKS=8 SLURM_NNODES=2)

say "training without a launcher inside of an allocation"
run "${slurm[@]}" "$eyrie" train "$folder/whole.yaml"
expect_status 2 "eyrie train in an allocation of 8 tasks"
expect_last_line "8 tasks on 2 nodes of Slurm job 4711" "srun --mpi=pmix eyrie train $folder/whole.yaml" --alone
[ ! -e "$folder/whole" ] || fail "the refused run has begun"
run "${slurm[@]}" "$eyrie" train "$folder/whole.yaml" --check
expect_status 0 "a check inside of an allocation"
run "${slurm[@]}" "$eyrie" train "$folder/whole.yaml" --alone
expect_status 0 "eyrie train --alone"
run env SLURM_JOB_ID=4711 SLURM_NTASKS=1 SLURM_NNODES=1 "$eyrie" train "$folder/whole.yaml"
expect_status 0 "eyrie train in an allocation of one task"
run "${slurm[@]}" scripts/mpi 2 "$eyrie" train "$folder/whole.yaml" "directory=$folder/launched"
expect_status 0 "eyrie train under mpirun in an allocation"
echo '{"context": "a", "continuation": "b"}' >"$folder/requests"
run "${slurm[@]}" "$eyrie" score "$folder/whole" --requests "$folder/requests"
expect_status 0 "eyrie score in an allocation"
expect_in_output "8 tasks on 2 nodes" "eyrie score works on one rank"

say "what works on one rank is done once"
once() {  # TEXT: in the output once
  [ "$(grep -cF -- "$1" "$output")" -eq 1 ] || fail "'$1' is in the output $(grep -cF -- "$1" "$output") times"
}
run_on 3 generate "$folder/whole" --prompt "abc xyz" --max-new 1
expect_status 0 "eyrie generate under mpirun"
once "abc xyz"
once "works on one rank"
run_on 3 model init --preset griffin-10m "$folder/model" width=32 rnn_width=32 mlp_width=64 heads=2 gate_blocks=2 layers=RAR \
  vocabulary=258
expect_status 0 "eyrie model init under mpirun"
once "parameters"
run_on 3 model export "$folder/whole" "$folder/exported" --adapt
expect_status 0 "eyrie model export under mpirun"
once "$folder/exported: "
run_on 3 model import "$folder/model" "$folder/imported"
expect_status 0 "eyrie model import under mpirun"
once "$folder/imported: "
run_on 3 checkpoint list "$folder/whole"
expect_status 0 "eyrie checkpoint list under mpirun"
once "newest, best"
run_on 3 version
expect_status 0 "eyrie version under mpirun"
run_on 3 generate "$folder/nowhere"
expect_status 2 "eyrie generate of nothing under mpirun"
once nowhere
