#!/usr/bin/env bash
# What users have lying about: odd names, odd compression, odd JSON. It is read, or refused by name.
source "$(dirname "$0")/support.sh"

line() { printf '{"text": "document %s of some words"}\n' "$1"; }
# build FILES [FILTERS [ON_ERROR]]: one source, in a new folder; sets $written.
build() {
  printf 'tokenizer: bytes\noutput: %s/o\nvalidation: 0\nsources: [{name: s, files: %s, filters: [%s], on_error: %s}]\n' \
    "$folder" "$1" "${2:-}" "${3:-stop}" >"$folder/data.yaml"
  rm -rf "$folder/o"
  run "$eyrie" data build "$folder/data.yaml"
  written=$(sed -nE 's/.*"written": ([0-9]+).*/\1/p' "$folder/o/dataset.json" 2>/dev/null || true)
}
built() { [ "$status" -eq 0 ] && [ "$written" = "$1" ] || fail "$2: status $status, $written of $1 documents"; }

say "numbers and halves of surrogate pairs that nobody reads"
{
  line 1
  echo '{"text": "x y z", "id": 123456789012345678901234567890, "score": 1e400, "title": "half \ud83d"}'
} >"$folder/d.jsonl"
build "$folder/d.jsonl"
built 2 "fields that are not read"
run "$eyrie" data screen --items "$folder/d.jsonl" "$folder/d.jsonl"
expect_status 0 "data screen"

say "half of a pair in the text: filtered, refused with its place, or passed over and named"
echo '{"text": "smile \ud83d end"}' >>"$folder/d.jsonl"
build "$folder/d.jsonl" utf8
built 2 "filtered"
build "$folder/d.jsonl"
expect_status 2 "half of a pair"
expect_last_line "$folder/d.jsonl:3:17" "half of a surrogate pair"
build "$folder/d.jsonl" "" skip
built 2 "passed over"
expect_in_output "1 bad line among 3 documents" "$folder/d.jsonl:3:17: \\ud83d is half of a surrogate pair"
grep -q '"line": 3' "$folder/o/dataset.json" || fail "dataset.json does not name the bad line"

say "compressed forms"
for i in $(seq 40); do line "$i"; done >"$folder/p.jsonl"
(gzip -c "$folder/p.jsonl"; head -c 512 /dev/zero; gzip -c "$folder/p.jsonl") >"$folder/padded.jsonl.gz"
build "$folder/padded.jsonl.gz"
built 80 "gzip with members and zeros"
cp "$folder/padded.jsonl.gz" "$folder/plain.jsonl"
: >"$folder/empty.jsonl.gz"
cp "$folder/p.jsonl" "$folder/p.jsonl.xz"
cp "$folder/p.jsonl" "$folder/not.jsonl.zst"
for name in plain.jsonl empty.jsonl.gz p.jsonl.xz not.jsonl.zst; do
  build "[$folder/$name, $folder/p.jsonl]" utf8 skip
  expect_status 2 "$name"
  expect_last_line "$folder/$name"
done

say "files that are no lines of JSON"
{ printf '\377\376'; printf '{\0"\0t\0"\0:\0'; } >"$folder/wide.jsonl"
echo '[{"text": "a"}, {"text": "b"}]' >"$folder/list.jsonl"
head -c 4096 /dev/zero >"$folder/binary.jsonl"
mkdir "$folder/dir.jsonl"
for case in "wide UTF-16" "list jq" "binary binary" "dir folder"; do
  read -r name word <<<"$case"
  build "[$folder/$name.jsonl, $folder/p.jsonl]" utf8 skip
  expect_status 2 "$name"
  expect_last_line "$folder/$name.jsonl" "$word"
done
: >"$folder/nothing.jsonl"
build "$folder/nothing.jsonl"
expect_status 2 "a source without documents"
expect_last_line "source s: nothing is left of its 0 documents"

say "names with brackets, parentheses and blanks"
mkdir "$folder/data (copy) [v1]"
cp "$folder/p.jsonl" "$folder/data (copy) [v1]/a [1].jsonl"
for name in "data (copy) [v1]/a [1].jsonl" "data (copy) [v1]/*.jsonl(.gz)" 'data \(copy\) \[v1\]/a*'; do
  build "['$folder/$name']"
  built 40 "$name"
done
run "$eyrie" data screen --items "$folder/d*.jsonl" "$folder/data (copy) [v1]/a [1].jsonl"
expect_status 2 "data screen with a bad line among its items"
expect_last_line "$folder/d.jsonl:3:17"

say "ids of requests and prompts are passed on as they are written"
run "$eyrie" model init --preset griffin-10m "$folder/m" width=64 rnn_width=64 mlp_width=96 heads=4 gate_blocks=4 \
  layers=RRA window=16 vocabulary=8192 --tokenizer data/tokenizers/small.model
expect_status 0 "eyrie model init"
for id in 9223372036854775808 null '"a \u00e9"' '{"b": [1e400, 1.50]}'; do
  echo "{\"id\": $id, \"context\": \"a\", \"continuation\": \" b\", \"more\": 1e999}" >"$folder/q"
  run "$eyrie" score "$folder/m" --requests "$folder/q"
  expect_status 0 "score with the id $id"
  grep -qF "{\"id\":$id,\"loglikelihood\":" "$output" || fail "the id $id was not passed on by score"
  echo "{\"prompt\": \"a\", \"id\": $id}" >"$folder/q"
  run "$eyrie" generate "$folder/m" --prompts "$folder/q" --max-new 1
  expect_status 0 "generate with the id $id"
  grep -qF "{\"id\":$id,\"prompt\":\"a\"," "$output" || fail "the id $id was not passed on by generate"
done
run "$eyrie" generate "$folder/m" --prompts "$folder/dir.jsonl" --max-new 1
expect_status 2 "a folder of prompts"
expect_last_line "$folder/dir.jsonl" directory
echo '{"id": 1, "context": "a", "context": "b", "continuation": "c"}' >"$folder/q"
run "$eyrie" score "$folder/m" --requests "$folder/q"
expect_status 2 "a key twice"
expect_last_line "$folder/q:1:" context twice

say "the configuration of a foreign model"
cp -r tests/fixtures/griffin/hf_tiny "$folder/hf"
chmod -R u+w "$folder/hf"
sed -i '0,/{/s//{ "unread": 1e400, "more": "\\ud83d",/' "$folder/hf/config.json"
run "$eyrie" model info "$folder/hf"
expect_status 0 "fields that are not read"
sed -i '0,/{/s//{ "vocab_size": 7, "vocab_size": 7,/' "$folder/hf/config.json"
run "$eyrie" model info "$folder/hf"
expect_status 2 "a key twice"
expect_last_line "$folder/hf/config.json:1:" vocab_size twice
