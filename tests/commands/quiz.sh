# shellcheck shell=bash
# A small benchmark of its own for tests of evaluation; sourced after support.sh. write_quiz makes its task file and data,
# which the commands then find through the environment.
export EYRIE_TASKS=$folder/tasks EYRIE_EVAL_DATA=$folder/eval

# write_quiz NAME DOCUMENTS [WORD]: another word makes another edition.
write_quiz() {
  mkdir -p "$EYRIE_TASKS" "$EYRIE_EVAL_DATA"
  awk -v name="$1" -v count="$2" -v word="${3:-bird}" 'BEGIN {
    for (i = 0; i < count; ++i)
      printf "{\"q\": \"what does the %s number %d of the %s say to all of its many good friends\", \"c\": [\"it says %d\", \"nothing at all\", \"something else, and %d\"], \"a\": %d}\n",
             word, i * i, name, i, i % 7, i % 3
  }' >"$EYRIE_EVAL_DATA/$1.jsonl"
  cat >"$EYRIE_TASKS/$1.yaml" <<YAML
task: $1
version: 1
data: {test: {file: $1.jsonl}}
test_split: test
question: "{q}"
prompt: "Question: {q}\nAnswer:"
choices: "{c}"
gold: "{a}"
metrics: [acc, acc_norm]
YAML
}
