#!/usr/bin/env bash
# `eyrie eval` on a stage's checkpoint gives, digit for digit, what the stage's end gave, on any number of ranks and
# threads; `eyrie eval list`, `eval show`, `score` and `generate`. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

# A part of MMLU, which data that was screened for all of it serves; and the small tokenizer, because few-shot prompts
# are long as bytes.
write_data_config "mmlu, hellaswag, piqa"
run_on 2 data build "$folder/data.yaml" tokenizer=data/tokenizers/small.model
expect_status 0 "eyrie data build"
write_run run 4 3
sed -i -E 's#^tokenizer: bytes#tokenizer: data/tokenizers/small.model#; s#vocabulary: 258#vocabulary: 8192#
  s#^( +)validate:.*#\1evaluate: {tasks: [piqa, hellaswag, mmlu_humanities], limit: 2}#' "$folder/run.yaml"
train_on 2 run
expect_status 0 "a run with evaluations"
expect_in_output "evaluation after stage first" "evaluation after stage second" "|hellaswag"

# results_of FOLDER: results.json without the line that names the model.
results_of() { grep -v '"model_args"' "$1/results.json"; }
# expect_same_results FOLDER STAGE WHAT
expect_same_results() {
  results_of "$1" >"$folder/results.here"
  results_of "$folder/run/eval/$2" >"$folder/results.there"
  expect_equal "$folder/results.here" "$folder/results.there" "$3: other results than at the end of stage $2"
  local samples
  for samples in samples_piqa samples_hellaswag samples_mmlu_philosophy samples_mmlu_world_religions; do
    expect_equal "$1/$samples.jsonl" "$folder/run/eval/$2/$samples.jsonl" "$3: other $samples than at the end of stage $2"
  done
}

say "evaluation on other meshes of the training"
# Four ranks that fetch their weights from each other and have unequal work; then tensor and context ranks.
train_on 4 run "directory=$folder/sharded" mesh.zero=3
expect_status 0 "a run with evaluations under ZeRO 3"
expect_same_results "$folder/sharded/eval/first" first "under ZeRO 3"
train_on 4 run "directory=$folder/mesh" mesh.tensor=2 mesh.context=2 mesh.sequence=true mesh.zero=3
expect_status 0 "a run with evaluations on tensor and context ranks"
[ "$(grep -c '"acc,none": ' "$folder/mesh/eval/second/results.json")" -ge 16 ] || fail "no evaluation on tensor and context ranks"

say "eyrie eval on the checkpoints of the stages' ends"
tasks=(--tasks "piqa,hellaswag,mmlu_humanities" --limit 2 --log-samples)
run "$eyrie" eval "$(checkpoint_of run 4)" "${tasks[@]}" --threads 2 --output "$folder/one"
expect_status 0 "eyrie eval with two threads"
expect_same_results "$folder/one" first "with two threads"
[ "$(grep -c '"acc,none": ' "$folder/one/results.json")" -ge 16 ] || fail "results.json has fewer than 16 accuracies"
run_on 2 eval "$folder/run" "${tasks[@]}" --output "$folder/two"
expect_status 0 "eyrie eval on two ranks"
expect_in_output "|piqa" "step-00000007"
expect_same_results "$folder/two" second "on two ranks"
run_on 3 eval "$folder/run" "${tasks[@]}" --batch-tokens 300 --output "$folder/three"
expect_status 0 "eyrie eval on three ranks"
expect_same_results "$folder/three" second "on three ranks, in small batches"
[ "$(grep -c likelihood "$folder/one/samples_piqa.jsonl")" -eq 2 ] || fail "samples_piqa.jsonl has not 2 lines"
! cmp -s "$folder/one/samples_piqa.jsonl" "$folder/two/samples_piqa.jsonl" || fail "both stages gave the same log-likelihoods"

say "eyrie eval list and show"
run "$eyrie" eval list
expect_status 0 "eyrie eval list"
expect_in_output mmlu hellaswag piqa
run "$eyrie" eval show piqa --doc 1
expect_status 0 "eyrie eval show"
expect_in_output "Question: dresser" "replace drawer with bobby pin" "finish, woodgrain with  bobby pin"
run "$eyrie" eval show mmlu_anatomy --doc 5 --num-fewshot 2
expect_status 0 "eyrie eval show with shots"
expect_in_output "The following are multiple choice questions (with answers) about anatomy." "A patient suffers a broken neck"
run "$eyrie" eval show piqqa
expect_status 2 "eyrie eval show of an unknown task"
expect_in_output piqqa piqa
expect_no_dump

say "eyrie score gives evaluation's own numbers, on 1 and 2 ranks"
# The requests of piqa's first document, once as text and once as the sums of its two choices.
{
  echo '{"id": "right", "context": "Question: dresser\nAnswer:", "continuation": " replace drawer with bobby pin "}'
  echo '{"id": "wrong", "context": "Question: dresser\nAnswer:", "continuation": " finish, woodgrain with  bobby pin "}'
  echo '{"id": 3, "tokens": [5, 17, 400, 2, 9], "from": 2}'
} >"$folder/requests.jsonl"
run "$eyrie" score "$folder/run" --requests "$folder/requests.jsonl" --output "$folder/answers-1.jsonl"
expect_status 0 "eyrie score"
run_on 2 score "$folder/run" --requests "$folder/requests.jsonl" --output "$folder/answers-2.jsonl"
expect_status 0 "eyrie score on two ranks"
expect_equal "$folder/answers-1.jsonl" "$folder/answers-2.jsonl" "the answers depend on the number of ranks"
[ "$(lines_of "$folder/answers-1.jsonl")" -eq 3 ] || fail "not an answer a request"
likelihoods() { grep -oE '"loglikelihood": ?-[0-9.e-]+' "$1" | sed 's/.*: *//'; }
sed -n 2p "$folder/two/samples_piqa.jsonl" >"$folder/document"
likelihoods "$folder/document" >"$folder/evaluated"
likelihoods "$folder/answers-1.jsonl" | head -n 2 >"$folder/scored"
[ "$(lines_of "$folder/evaluated")" -eq 2 ] || fail "samples_piqa.jsonl has not 2 requests a document"
expect_equal "$folder/scored" "$folder/evaluated" "eyrie score and eyrie eval give other log-likelihoods"
echo '{"context": "x"}' >>"$folder/requests.jsonl"
run "$eyrie" score "$folder/run" --requests "$folder/requests.jsonl"
expect_status 2 "eyrie score of a request without a continuation"
expect_last_line "$folder/requests.jsonl:4" continuation
expect_no_dump

say "eyrie generate"
# text_of ARGUMENT…: what it prints, without the line about speed.
text_of() {
  "$eyrie" generate "$folder/run" --prompt "The bird" --max-new 40 "$@" 2>"$output" || fail "eyrie generate $*"
}
text_of --temperature 0 >"$folder/a"
text_of --temperature 0 --threads 1 --seed 9 >"$folder/b"
expect_equal "$folder/a" "$folder/b" "the most probable text depends on threads or seed"
expect_in_output "40 tokens in"
[[ $(<"$folder/a") == "The bird"* ]] || fail "the text does not begin with its prompt"
text_of --seed 5 >"$folder/a"
text_of --seed 5 --threads 2 >"$folder/b"
expect_equal "$folder/a" "$folder/b" "the same seed gave another text"
text_of --seed 6 >"$folder/b"
! cmp -s "$folder/a" "$folder/b" || fail "another seed gave the same text"
# Stops before what it is told to stop at: the tenth character and the next two of the new text.
text=$(<"$folder/a")
new=${text#The bird}
stop=${new:10:3}
text_of --seed 5 --stop "$stop" >"$folder/b"
[ "$(<"$folder/b")" = "The bird${new%%"$stop"*}" ] || fail "--stop '$stop' gave '$(<"$folder/b")' of '$text'"
# The other precision: rounded when it is read, or stored and mapped.
text_of --temperature 0 --precision bf16 >"$folder/a"
run "$eyrie" model import "$folder/run" "$folder/copy" --dtype bf16
expect_status 0 "eyrie model import of a run"
"$eyrie" generate "$folder/copy" --prompt "The bird" --max-new 40 --temperature 0 >"$folder/b" 2>"$output" ||
  fail "eyrie generate from a copy in bf16"
expect_equal "$folder/a" "$folder/b" "a run computed in bf16 and its copy in bf16 give other texts"
run "$eyrie" score "$folder/run" --requests <(head -n 3 "$folder/requests.jsonl") --precision bf16
expect_status 0 "eyrie score in bf16"
# Weights in 8 bits, of a run and of a copy whose file is not mapped then.
for place in run copy; do
  run "$eyrie" generate "$folder/$place" --prompt "The bird" --max-new 5 --weights int8
  expect_status 0 "eyrie generate with int8 weights"
  expect_in_output "with int8 weights"
  run "$eyrie" score "$folder/$place" --requests <(head -n 3 "$folder/requests.jsonl") --weights int8
  expect_status 0 "eyrie score with int8 weights"
done
run "$eyrie" generate "$folder/run" --prompt x --weights int4
expect_status 2 "eyrie generate with int4 weights"
expect_last_line int4 int8
run "$eyrie" generate "$folder/nowhere" --prompt x
expect_status 2 "eyrie generate without a model"
expect_last_line "$folder/nowhere" "no model there"
mkdir -p "$folder/empty/checkpoints"
run "$eyrie" generate "$folder/empty" --prompt x
expect_status 2 "eyrie generate of a run without a checkpoint"
expect_last_line "$folder/empty" "no checkpoint yet"
run "$eyrie" generate "$folder/run" --prompt x --precision fp8
expect_status 2 "eyrie generate in fp8"
expect_last_line fp8 bf16
