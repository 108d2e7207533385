#!/usr/bin/env bash
# Results stand only for what they are of: a stage that was extended, rewound, or is evaluated otherwise, is evaluated
# anew; one folder holds the results of one evaluation; shards are screened for the edition that is evaluated.
# Argument: the eyrie command.
. "$(dirname "$0")/support.sh"
. "$(dirname "$0")/quiz.sh"

write_quiz quiz 9
write_quiz other 5
make_data "quiz, other"
write_run run 4 3
sed -i -E 's#^( +)validate:.*#\1evaluate: {tasks: [quiz], limit: 6}#' "$folder/run.yaml"
results=$folder/run/eval
train_on 2 run
expect_status 0 "a run with evaluations"

# evaluated KEY STAGE: what results.json says that it is of.
evaluated() { tr -d ' \n' <"$results/$2/results.json" | sed -E "s/.*\"evaluated\":\{.*\"$1\":\"?([^,\"}]*).*/\1/"; }
[ "$(evaluated step first)" = 4 ] || fail "the results of stage first are of step $(evaluated step first)"
[ "$(evaluated step second)" = 7 ] || fail "the results of stage second are of step $(evaluated step second)"
[ "$(evaluated weights first)" != "$(evaluated weights second)" ] || fail "both stages have the same weights"
# expect_evaluated_as STEP STAGE WHAT [ARGUMENT…]: the stage's results are those of `eyrie eval` of that checkpoint.
expect_evaluated_as() {
  local step=$1 stage=$2 what=$3
  shift 3
  rm -rf "$folder/now"
  run "$eyrie" eval "$(checkpoint_of run "$step")" --tasks quiz --output "$folder/now" --log-samples "$@"
  expect_status 0 "eyrie eval of step $step"
  for file in results.json samples_quiz.jsonl; do
    grep -v model_args "$folder/now/$file" >"$folder/a"
    grep -v model_args "$results/$stage/$file" >"$folder/b"
    expect_equal "$folder/a" "$folder/b" "$what: $file"
  done
}
expect_evaluated_as 7 second "at first" --limit 6

say "the same again changes nothing"
before=$(stat -c %y "$results/second/results.json")
train_on 1 run
expect_status 0 "the same run again"
expect_in_output "the results of stage second are there already"
[ "$(stat -c %y "$results/second/results.json")" = "$before" ] || fail "results that fit were written again"

say "a stage that is extended is evaluated anew"
train_on 1 run stages.1.steps=5
expect_status 0 "the run with a longer stage"
expect_in_output "stage second is evaluated anew" "step 7, now 9"
expect_evaluated_as 9 second "extended" --limit 6

say "and so is one with another limit, other tasks, or damaged results"
train_on 2 run stages.1.steps=5 stages.1.evaluate.limit=8
expect_status 0 "the run with another limit"
expect_in_output "evaluated anew" "limit 6, now 8"
expect_evaluated_as 9 second "another limit" --limit 8
train_on 1 run stages.1.steps=5 "stages.1.evaluate={tasks: [quiz, other]}"
expect_status 0 "the run with another task"
expect_in_output "evaluated anew"
[ -e "$results/second/samples_other.jsonl" ] || fail "the other task was not evaluated"
truncate -s 100 "$results/second/results.json"
train_on 1 run stages.1.steps=5
expect_status 0 "the run with damaged results"
expect_in_output "evaluated anew" "damaged"
expect_evaluated_as 9 second "damaged" --limit 6
[ ! -e "$results/second/samples_other.jsonl" ] || fail "samples of another task stand beside the results"

say "what is not as it is asked for of a stage that lies behind is told"
train_on 1 run stages.1.steps=5 stages.0.evaluate.limit=5
expect_status 0 "the run with another limit in its first stage"
expect_in_output "stage first lies behind and is not evaluated any more" "limit 6, now 5"

say "a run that is rewound and trained otherwise is evaluated anew, by its weights"
old=$(evaluated weights first)
for step in 4 6 7 9; do rm -rf "$(checkpoint_of run "$step")"; done
train_on 1 run stages.0.learning_rate.final=5e-3
expect_status 0 "the run from step 3 on"
expect_in_output "stage first is evaluated anew" "weights $old, now"
[ "$(evaluated step first)" = 4 ] || fail "the stage ends with another step"
expect_evaluated_as 4 first "rewound" --limit 6
expect_evaluated_as 7 second "rewound" --limit 6

say "eyrie eval: a folder holds one evaluation"
run "$eyrie" eval "$folder/run" --tasks quiz,other --limit 4 --output "$folder/out" --log-samples
expect_status 0 "eyrie eval into a new folder"
(cd "$folder/out" && sha256sum ./*) >"$folder/before"
run "$eyrie" eval "$folder/run" --tasks other,quiz --limit 4 --output "$folder/out" --log-samples
expect_status 0 "the same evaluation again"
for change in "--tasks quiz --limit 4" "--tasks quiz,other --limit 3" "--tasks quiz,other --limit 4 --precision bf16" \
  "--tasks quiz,other --limit 4 --max-length 90" "--tasks quiz,other --limit 4 --num-fewshot 1"; do
  # shellcheck disable=SC2086
  run_on 2 eval "$folder/run" $change --output "$folder/out" --log-samples
  expect_status 2 "eyrie eval $change into a folder with other results"
  expect_last_line "$folder/out/results.json holds results of" "Name another folder"
  expect_no_dump
done
run "$eyrie" eval "$(checkpoint_of run 4)" --tasks quiz,other --limit 4 --output "$folder/out"
expect_status 2 "eyrie eval of other weights into the folder"
expect_last_line "step 7, now 4"
(cd "$folder/out" && sha256sum ./*) >"$folder/after"
run "$eyrie" eval "$folder/run" --tasks quiz,other --limit 4 --output "$folder/out" --log-samples
expect_status 0 "the first evaluation once more"
(cd "$folder/out" && sha256sum ./*) >"$folder/after"
expect_equal "$folder/before" "$folder/after" "refused evaluations, or the same again, changed the folder"
rm "$folder/out/results.json"
run "$eyrie" eval "$folder/run" --tasks quiz --limit 4 --output "$folder/out"
expect_status 2 "eyrie eval beside samples of nobody knows what"
expect_last_line "$folder/out/samples_other.jsonl"

say "shards that were screened for another edition are refused"
write_quiz quiz 9 tree
train_on 1 run --check
expect_status 2 "a run on shards of another edition"
expect_last_line "screened for another edition of task quiz" "$folder/shards/dataset.json" "eyrie data build"
cp "$folder/shards/dataset.json" "$folder/kept.json"
run "$eyrie" data build "$folder/data.yaml"
expect_status 0 "eyrie data build for the new edition"
! cmp -s "$folder/kept.json" "$folder/shards/dataset.json" || fail "dataset.json does not follow the edition"
train_on 1 run stages.0.learning_rate.final=5e-3
expect_status 0 "the run on shards of the new edition"
expect_in_output "stage second is evaluated anew" "tasks.quiz.content"

say "a summary of an earlier version: a warning, until the build is started again"
tr -d '\n' <"$folder/shards/dataset.json" | sed -E 's/"contents": *\{[^}]*\}[^}]*\}[^}]*\}, *//' >"$folder/older.json"
! grep -q contents "$folder/older.json" || fail "the test did not take the contents out"
shards_before=$(cat "$folder"/shards/*.h5 | sha256sum)
cp "$folder/older.json" "$folder/shards/dataset.json"
train_on 2 run --check stages.0.learning_rate.final=5e-3
expect_status 0 "a run on shards of an earlier version"
expect_in_output "not which edition"
[ "$(grep -c "not which edition" "$output")" -eq 1 ] || fail "it is told more than once"
run "$eyrie" data build "$folder/data.yaml"
expect_status 0 "eyrie data build over an earlier version"
expect_in_output "holds these shards already"
[ "$(cat "$folder"/shards/*.h5 | sha256sum)" = "$shards_before" ] || fail "the shards were built anew"
train_on 2 run --check stages.0.learning_rate.final=5e-3
expect_status 0 "a run on shards with their contents named"
! grep -q "not which edition" "$output" || fail "it warns although the contents are named"
