#!/usr/bin/env bash
# `eyrie generate` with random weights: files of prompts in any batch, samples, saved states, dialogues, Ctrl-C, wrong
# input. Argument: the eyrie command.
. "$(dirname "$0")/support.sh"

run "$eyrie" model init --preset griffin-10m "$folder/model" --tokenizer data/tokenizers/small.model --dtype bf16
expect_status 0 "eyrie model init"
generate=("$eyrie" generate "$folder/model")

say "many prompts: the same answers in any batch, in the file's order"
{
  for n in $(seq 11); do
    words=$(seq -s ' ' "$n")
    echo "{\"id\": $n, \"prompt\": \"count $words\"}"
  done
  echo
  echo '{"prompt": "Grüße, 世界 🦅"}'
} >"$folder/prompts.jsonl"
# answers NAME ARGUMENT…
answers() {
  local name=$1
  shift
  run "${generate[@]}" --prompts "$folder/prompts.jsonl" --output "$folder/$name" --max-new 13 --samples 2 "$@"
  expect_status 0 "eyrie generate --prompts $*"
}
answers one --batch 1 --threads 1
expect_in_output "tokens/s" "first token after"
answers five --batch 5
answers forty --batch 40 --threads 2
expect_equal "$folder/one" "$folder/five" "the answers depend on --batch"
expect_equal "$folder/one" "$folder/forty" "the answers depend on --batch or --threads"
[ "$(lines_of "$folder/one")" -eq 24 ] || fail "not an answer for each sample"
[ "$(grep -o '"id":[0-9]*' "$folder/one" | tr '\n' ' ' | tr -d '"id:')" = "1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9 10 10 11 11 " ] ||
  fail "the answers are not in the file's order"
[ "$(grep -c '"finish":"length"' "$folder/one")" -ge 20 ] || fail "no finish of length"
tail -n 1 "$folder/one" | grep -q 'Grüße, 世界 🦅' || fail "the prompt did not come back"
run "${generate[@]}" --prompts "$folder/prompts.jsonl" --max-new 0
expect_status 0 "eyrie generate of no tokens"
[ "$(grep -c '"text":""' "$output")" -eq 12 ] || fail "texts of no tokens are not empty"

say "whole characters only"
"${generate[@]}" --prompt "Grüße" --max-new 60 --ignore-end --seed 3 2>/dev/null >"$folder/text"
iconv -f UTF-8 -t UTF-8 "$folder/text" >/dev/null || fail "the text is not UTF-8"
for most in 1 2 3 4 5 6 7 8; do  # random bytes, cut off anywhere
  "${generate[@]}" --tokenizer bytes --other-tokenizer --prompt "Grü" --max-new $((most * 9)) --seed "$most" --ignore-end 2>/dev/null >"$folder/text"
  iconv -f UTF-8 -t UTF-8 "$folder/text" >/dev/null || fail "the text of bytes is not UTF-8"
done

say "a saved state goes on as if nothing had happened"
greedy=(--temperature 0 --ignore-end)
"${generate[@]}" --prompt "The eagle" --max-new 30 "${greedy[@]}" 2>/dev/null >"$folder/whole"
"${generate[@]}" --prompt "The eagle" --max-new 18 "${greedy[@]}" --save-state "$folder/state.h5" 2>/dev/null >"$folder/first"
"${generate[@]}" --state "$folder/state.h5" --max-new 12 "${greedy[@]}" 2>/dev/null >"$folder/second"
[ "$(tr -d ' \n' <"$folder/whole")" = "$(cat "$folder/first" "$folder/second" | tr -d ' \n')" ] ||
  fail "$(cat "$folder/whole") is not $(cat "$folder/first" "$folder/second")"
run "${generate[@]}" --state "$folder/model/model.safetensors" --prompt x
expect_status 2 "a state that is none"
expect_last_line model.safetensors
run "${generate[@]}" --state "$folder/state.h5" --precision fp32
expect_status 2 "a state of another precision"
expect_last_line "$folder/state.h5" bf16

say "several samples of one prompt, one after the other"
run "${generate[@]}" --prompt "A nest" --max-new 5 --samples 3
expect_in_output "--- 1 of 3" "--- 3 of 3"

say "a dialogue keeps its state between turns"
printf 'hello\nand then\n/reset\nhello\n/exit\n' | "${generate[@]}" --chat --max-new 6 --temperature 0 >"$folder/chat" 2>"$folder/chat-log" ||
  fail "eyrie generate --chat"
[ "$(grep -c 'first token after' "$folder/chat-log")" -eq 3 ] || fail "not three turns: $(<"$folder/chat-log")"
! grep -q "written out as text" "$folder/chat-log" || fail "the tokenizer's control tokens were not found"
read_tokens() { grep -o '[0-9]* tokens read' "$folder/chat-log" | cut -d ' ' -f 1 | sed -n "$1p"; }
[ "$(read_tokens 1)" = "$(read_tokens 3)" ] || fail "/reset did not forget"

printf 'hello\n' | "${generate[@]}" --chat --max-new 6 --tokenizer bytes --other-tokenizer >"$folder/chat" 2>"$folder/chat-log" ||
  fail "eyrie generate --chat with bytes"
grep -q "written out as text" "$folder/chat-log" || fail "no word about the missing control tokens"

say "Ctrl-C ends it cleanly"
"${generate[@]}" --prompt "On" --max-new 1000000 --ignore-end >"$folder/long" 2>"$output" &
job=$!
for _ in $(seq 100); do
  [ "$(wc -c <"$folder/long")" -gt 40 ] && break
  sleep 0.1
done
kill -INT "$job"
wait_for_job
expect_status 130 "eyrie generate after Ctrl-C"
expect_in_output "tokens/s"
iconv -f UTF-8 -t UTF-8 "$folder/long" >/dev/null || fail "the text is not UTF-8"

say "wrong input is named"
run "${generate[@]}" --prompt x --top-p 1.5
expect_status 2 "--top-p 1.5"
expect_last_line "--top-p"
run "${generate[@]}" --prompts "$folder/nowhere.jsonl"
expect_status 2 "a file of prompts that is not there"
expect_last_line nowhere.jsonl
echo '{"text": "x"}' >>"$folder/prompts.jsonl"
run "${generate[@]}" --prompts "$folder/prompts.jsonl" --max-new 1
expect_status 2 "a line without a prompt"
expect_last_line "$folder/prompts.jsonl:14" prompt
run "${generate[@]}" --chat --samples 2
expect_status 2 "--chat with --samples"
expect_last_line --samples
