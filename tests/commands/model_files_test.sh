#!/usr/bin/env bash
# Models as files: init, export and import give the same bytes; a run's checkpoint becomes a directory that the other
# commands open; wrong inputs are refused with their names. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

fixture=tests/fixtures/griffin/hf_tiny

# refused ARGUMENT…: exit status 2, in good order, and nothing is left at $folder/out.
refused() {
  run "$eyrie" "$@"
  expect_status 2 "eyrie $*"
  expect_no_dump
  [ ! -e "$folder/out" ] || fail "a refused command left $folder/out"
}
done_well() {
  run "$eyrie" "$@"
  expect_status 0 "eyrie $*"
}

say "import, export and import again: the same bytes"
done_well model import "$fixture" "$folder/imported"
expect_in_output "215488 parameters, fp32" "no tokenizer.model"
done_well model export "$folder/imported" "$folder/exported"
done_well model import "$folder/exported" "$folder/sharded" --shard-size 100KB
[ -e "$folder/sharded/model.safetensors.index.json" ] || fail "no index of the shards"
done_well model import "$folder/sharded" "$folder/again"
for file in model.safetensors config.json generation_config.json; do
  expect_equal "$folder/imported/$file" "$folder/exported/$file" "the export changed $file"
  expect_equal "$folder/imported/$file" "$folder/again/$file" "the second import changed $file"
done
grep -q '"attention_window_size": 64' "$folder/exported/config.json" || fail "another window in the export"
grep -q 'attention_window_size` is 64' "$folder/exported/README.md" || fail "the card says nothing of the window"
done_well model export "$folder/imported" "$folder/same" --window same --dtype bf16
grep -q '"attention_window_size": 63' "$folder/same/config.json" || fail "--window same wrote another"
[ "$(stat -c %s "$folder/same/model.safetensors")" -lt 450000 ] || fail "bf16 is not half of fp32"

say "random weights: by the seed, whatever the threads"
preset="--preset griffin-10m"
done_well model init $preset "$folder/one" --seed 5 --threads 1
expect_in_output "6907136 parameters, fp32"
done_well model init $preset "$folder/two" --seed 5 --threads 2
expect_equal "$folder/one/model.safetensors" "$folder/two/model.safetensors" "threads change the weights"
done_well model init $preset "$folder/other" --seed 6 --dtype bf16
[ "$(stat -c %s "$folder/other/model.safetensors")" -lt 14000000 ] || fail "bf16 is not half of fp32"
refused model export "$folder/one" "$folder/out"
expect_in_output "soft_cap is 0" "scale_embedding is false" "--adapt"
done_well model export "$folder/one" "$folder/adapted" --adapt
grep -q '"model_type": "recurrent_gemma"' "$folder/adapted/config.json" || fail "the adapted model is no RecurrentGemma"
# Scores of the adapted weights: the same but for rounding.
printf '{"tokens": [256, 7, 9, 11, 3, 200, 8000], "from": 1}\n' >"$folder/requests.jsonl"
score() { "$eyrie" score "$folder/$1" --requests "$folder/requests.jsonl" --tokenizer bytes | sed -E 's/.*"loglikelihood":([^,]*),.*/\1/'; }
awk -v a="$(score one)" -v b="$(score adapted)" 'BEGIN { exit !(a < -1 && (a - b) ^ 2 < 1e-8) }' ||
  fail "the adapted model scores otherwise: $(score one) and $(score adapted)"

say "a tokenizer beside the weights"
done_well model init $preset "$folder/speaking" --tokenizer data/tokenizers/small.model
expect_equal "$folder/speaking/tokenizer.model" data/tokenizers/small.model "the tokenizer is another"
grep -q '"add_prefix_space": false' "$folder/speaking/tokenizer_config.json" || fail "no tokenizer_config.json of it"
done_well generate "$folder/speaking" --prompt "The" --max-new 3
done_well model export "$folder/speaking" "$folder/speaking-out" --adapt
expect_equal "$folder/speaking-out/tokenizer.model" data/tokenizers/small.model "the export's tokenizer is another"

say "a run's newest checkpoint"
make_data
write_run run 3 1
sed -i 's/^model: {/model: {soft_cap: 30, scale_embedding: true, /; s/gate_blocks: 4/gate_blocks: 2/' "$folder/run.yaml"
train_on 1 run
expect_status 0 "the run"
done_well model export "$folder/run" "$folder/trained"
grep -q '256 starts a document' "$folder/trained/README.md" || fail "the card says nothing of the tokens"
printf '{"tokens": [256, 7, 9, 11, 3, 200], "from": 1}\n' >"$folder/requests.jsonl"
[ "$(score run)" = "$(score trained)" ] || fail "the exported checkpoint scores otherwise"
done_well model export "$(checkpoint_of run)" "$folder/of-step"
expect_equal "$folder/trained/model.safetensors" "$folder/of-step/model.safetensors" "the run is not its checkpoint"

say "official names"
done_well model import tests/fixtures/griffin/griffin_tiny.h5 "$folder/official" --preset recurrentgemma-2b
refused model import tests/fixtures/griffin/griffin_tiny.h5 "$folder/out"
expect_in_output "griffin_tiny.h5: shapes do not say window" "--preset"

say "wrong inputs"
refused model import "$folder/nowhere" "$folder/out"
expect_last_line "$folder/nowhere: no model there"
refused model import "$fixture" "$folder/out" --preset griffin-10m
expect_last_line "$fixture has a configuration of its own"
refused model import "$fixture" "$folder/out" --dtype fp8
expect_last_line "'fp8' is no type of weights; use fp32, bf16 or fp16"
refused model export "$fixture" "$folder/out" --window 7
expect_in_output "--window"
refused model init --preset griffin-11m "$folder/out"
expect_last_line "griffin-11m" "griffin-10m"
refused model init "$folder/out"
expect_in_output "--preset is required"
refused model imprt "$fixture" "$folder/out"
expect_in_output "did you mean 'model import'?"
run "$eyrie" model import "$fixture" "$folder/one"
expect_status 2 "an import into a folder that is not empty"
expect_last_line "$folder/one: the folder is there and not empty"
cp -r "$fixture" "$folder/broken"
truncate -s -4 "$folder/broken/model.safetensors"
refused model import "$folder/broken" "$folder/out"
expect_last_line "$folder/broken/model.safetensors: not a whole safetensors file"
cp "$fixture/model.safetensors" "$folder/broken/"
sed -i -E 's/"intermediate_size": /"intermediate_size": 2/' "$folder/broken/config.json"
refused model import "$folder/broken" "$folder/out"
expect_last_line "$folder/broken: the weights are not those of the configuration" "in place of"
