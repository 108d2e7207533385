#!/usr/bin/env bash
# An installed tree works from wherever it is put: task files, evaluation data, examples, the batch script and the man page
# are found. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"
build=$(dirname "$eyrie")
source_folder=$PWD

run cmake --install "$build" --prefix "$folder/first"
expect_status 0 "cmake --install"
mv "$folder/first" "$folder/moved"
installed=$folder/moved/bin/eyrie
cd "$folder" || exit

say "tasks and evaluation data of the tree itself"
run "$installed" eval list
expect_status 0 "eyrie eval list"
expect_in_output "moved/share/eyrie/evaluation_data/piqa/valid.jsonl" "171 data files, all there"
! grep -q "$source_folder" "$output" || fail "the installed command looks into the sources"
run "$installed" eval show piqa --doc 1
expect_status 0 "eyrie eval show"

say "examples, script and man page"
run "$installed" plan moved/share/eyrie/example/configs/cluster/run.yaml --machine moved/share/eyrie/example/configs/cluster/machine.yaml
expect_status 0 "a plan of the example"
cp -r moved/share/eyrie/example work
(cd work && "$installed" train configs/quickstart.yaml --check >"$output" 2>&1) && fail "there are no shards yet"
expect_in_output "data/shards"
for file in $(sed -nE 's/.*(data\/raw\/[a-z]+)\*.*/\1.jsonl.zst/p; s/^tokenizer: (.*)/\1/p' work/configs/data.yaml); do
  [ -s "work/$file" ] || fail "the example has no $file"
done
bash -n moved/share/eyrie/slurm/train.sbatch || fail "the batch script is no script"
run "$installed" --help
for command in $(sed -nE 's/^  ([a-z]+( [a-z]+)?)  .*/\1/p' "$output" | tr ' ' '_'); do
  grep -q "${command/_/ }" moved/share/man/man1/eyrie.1 || fail "the man page does not know ${command/_/ }"
done
