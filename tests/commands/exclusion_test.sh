#!/usr/bin/env bash
# Evaluation items planted in documents: `eyrie data build` removes and reports exactly those documents, `eyrie data
# screen` names the same and changes nothing. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

# The planted items, from the data files themselves: questions of 13 words and more, and a short one.
line() { zcat -f "data/eval/$1" | sed -n "$2p"; }
field() { sed -E "s/.*\"$1\": \"([^\"]*)\".*/\1/"; }
mmlu=$(line mmlu/test/anatomy_test.csv 6)
mmlu_question=${mmlu%%,*}
mmlu_answer=$(cut -d , -f 3 <<<"$mmlu")
[ "${mmlu##*,}" = B ] || fail "another answer than B in MMLU: $mmlu"
hellaswag=$(line hellaswag/hellaswag_val.jsonl.gz 3)
hellaswag_question=$(field ctx <<<"$hellaswag")
hellaswag_answer=$(sed -E 's/.*"endings": \["[^"]*", "[^"]*", "([^"]*)".*"label": 2}.*/\1/' <<<"$hellaswag")
piqa=$(line piqa/valid.jsonl 43)
piqa_question=$(field goal <<<"$piqa")
piqa_answer=$(field "sol$(($(line piqa/valid-labels.lst 43) + 1))" <<<"$piqa")
short=$(line piqa/valid.jsonl 142)
short_question=$(field goal <<<"$short")
short_answer=$(field "sol$(($(line piqa/valid-labels.lst 142) + 1))" <<<"$short")

words() { wc -w <<<"$1"; }
for text in "$mmlu_question" "$hellaswag_question" "$piqa_question"; do
  [ "$(words "$text")" -ge 13 ] || fail "a question of 13 words was expected: $text"
done
[ "$(words "$short_question $short_answer")" -le 12 ] || fail "a short item was expected: $short"

# Documents go to $raw; the numbers of lines that must be removed to $folder/planted, the others' to $folder/innocent.
mkdir "$folder/raw"
raw=$folder/raw/web.jsonl
document() {
  [[ $2 != *\"* ]] || fail "a document with a quote: $2"
  printf '{"text": "%s"}\n' "$2" >>"$raw"
  lines_of "$raw" >>"$folder/$1"
}
filler() { documents 100 20 | sed -E 's/.*: "(.*)"\}/\1/' | tr '\n' ' '; }
disguised() { tr a-z A-Z <<<"$1" | tr -d '.?,' | sed 's/ /,  /; s/ \([A-Z]*\)$/ -- \\n\\t(\1)!/; s/ \(T[A-Z]*\) / *\1*\\t/'; }
last_words() { awk -v n="$2" '{ for (i = NF - n + 1; i <= NF; ++i) printf "%s%s", $i, i < NF ? " " : "" }' <<<"$1"; }

plant() {  # QUESTION ANSWER
  document planted "$1 $2"
  document innocent "$(filler)"
  document planted "$(disguised "$1 $2")"
  document planted "$(filler) $1 $2 $(filler)"
  document planted "Somebody asked: $1 Nobody knew."
  document planted "$(last_words "$1" $((13 - $(words "$2")))) $2 And so on."
  # Twelve words in a row are no match, at either end of the question.
  document innocent "It began so: $(cut -d ' ' -f 1-12 <<<"$1") and then it went on in another way."
  document innocent "$(filler) $(last_words "$1" $((12 - $(words "$2")))) $2 And so on."
}
plant "$mmlu_question" "$mmlu_answer"
plant "$hellaswag_question" "$hellaswag_answer"
plant "$piqa_question" "$piqa_answer"
document planted "$short_question $short_answer"
document planted "A hint. Question: $short_question\\nAnswer: $short_answer That was it."
for text in \
  "The following are multiple choice questions (with answers) about anatomy." \
  "Which of the following best describes what the author of this passage thinks about the sea and the wind?" \
  "Which of these is not true? A. All of the above B. None of the above C. Both D. Neither Answer: A" \
  "Question: How do you make a good sandwich?\\nAnswer: with bread, butter, cheese and patience." \
  "A man is sitting on a roof. He looks at the sky, climbs down and goes home for his dinner with friends." \
  "$short_question Nobody could say." \
  "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"; do
  document innocent "$text"
done
cat >"$folder/data.yaml" <<YAML
tokenizer: bytes
output: $folder/shards
validation: 0
exclude: {tasks: [mmlu, hellaswag, piqa]}
sources: [{name: web, files: $raw}]
YAML
cksum "$raw" >"$folder/raw.before"
planted=$(lines_of "$folder/planted") innocent=$(lines_of "$folder/innocent")

say "eyrie data screen names the planted documents, on 1 and 2 ranks"
for ranks in 1 2; do
  run_on "$ranks" data screen --tasks mmlu,hellaswag,piqa --show 100 "$raw" --output "$folder/screen-$ranks.json"
  expect_status 0 "eyrie data screen on $ranks ranks"
  expect_in_output "$planted of $((planted + innocent)) documents share something"
  sed -nE "s#^$raw:([0-9]+): .*#\1#p" "$output" >"$folder/found"
  expect_equal "$folder/found" "$folder/planted" "the lines that were found (<) are not the planted ones (>)"
  grep -E "^$raw:" "$output" | awk '{ print $5 }' | sort | uniq -c | awk '{ print $1, $2 }' >"$folder/items"
done
expect_equal "$folder/screen-1.json" "$folder/screen-2.json" "the report depends on the number of ranks"
cat >"$folder/items.expected" <<TEXT
5 hellaswag/validation/2:
2 piqa/validation/141:
5 piqa/validation/42:
5 mmlu_anatomy/test/5:
TEXT
sort -k 2 "$folder/items.expected" -o "$folder/items.expected"
sort -k 2 "$folder/items" -o "$folder/items"
expect_equal "$folder/items" "$folder/items.expected" "other items than those planted"
cksum "$raw" >"$folder/raw.after"
expect_equal "$folder/raw.before" "$folder/raw.after" "data screen changed its input"
[ ! -e "$folder/shards" ] || fail "data screen wrote shards"

say "eyrie data build removes and reports them"
run_on 2 data build "$folder/data.yaml"
expect_status 0 "eyrie data build"
json=$(tr -d ' \n' <"$folder/shards/dataset.json")
expect_in_json() {
  local text
  for text in "$@"; do
    [[ $json == *"$text"* ]] || fail "dataset.json does not have $text: ${json:0:2000}"
  done
}
expect_in_json "\"read\":$((planted + innocent))," "\"excluded\":$planted," "\"written\":$innocent," \
  '"excluded_by_task":{"mmlu":5,"hellaswag":5,"piqa":7}' '"items_found":["mmlu_anatomy/test/5"]' \
  '"items_found":["hellaswag/validation/2"]' '"items_found":["piqa/validation/141","piqa/validation/42"]'

say "the shards hold the innocent documents and nothing else"
run "$eyrie" data inspect "$folder/shards" --documents 1000
expect_status 0 "eyrie data inspect"
[ "$(grep -c '^--- document' "$output")" -eq "$innocent" ] || fail "not $innocent documents in the shards"
expect_in_output "It began so: $(cut -d ' ' -f 1-12 <<<"$hellaswag_question")" "$short_question Nobody could say."
for text in "$mmlu_question" "$hellaswag_question" "$piqa_question" "$short_question $short_answer"; do
  ! grep -qiF -- "$text" "$output" || fail "the shards hold an item: $text"
done

say "shards that were screened for one task are refused where another is evaluated"
write_run run 2 2
run "$eyrie" data build "$folder/data.yaml" exclude.tasks=[piqa] "output=$folder/partly"
expect_status 0 "eyrie data build for piqa alone"
run "$eyrie" train "$folder/run.yaml" --check "stages.0.data={shards: $folder/shards}" \
  "stages.1.data={shards: $folder/partly}" stages.0.evaluate.tasks=[piqa] stages.1.evaluate.tasks=[mmlu]
expect_status 2 "a run on shards that were not screened for mmlu"
expect_last_line "$folder/partly/web-00000.h5" "not screened for task mmlu"
