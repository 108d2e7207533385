// Format of a part file: xxh3 of everything that follows, length of the JSON, the JSON (counts,
// findings, lengths), the arrays.
#include "data_pipeline/tokenized_block.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/listing.h"
#include "base/new_file.h"

namespace eyrie::data_pipeline {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
void put(std::string& out, const std::vector<T>& values) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <class T>
void take(std::string_view& in, std::size_t count, std::vector<T>& values) {
  values.resize(count);
  if (count != 0) std::memcpy(values.data(), in.data(), count * sizeof(T));
  in.remove_prefix(count * sizeof(T));
}

}  // namespace

void write_tokenized_block(const base::Path& path, const TokenizedBlock& part) {
  const DocumentCounts& c = part.counts;
  const ShardDocuments& d = part.documents;
  const std::string header = Json{
      {"counts",
       {c.read, c.bad_lines, c.empty, c.filtered, c.excluded, c.written, c.validation, c.tokens,
        c.validation_tokens}},
      {"bad_lines", Json::parse(to_json(part.bad_lines))},
      {"findings", to_json(part.findings)},
      {"tokens", d.tokens.size()},
      {"documents",
       d.quality.size()}}.dump();
  std::string body;
  put(body, std::vector<std::uint64_t>{header.size()});
  body += header;
  put(body, d.tokens);
  put(body, d.offsets);
  put(body, d.quality);
  put(body, d.hash);
  put(body, d.validation);
  std::string all;
  put(all, std::vector<std::uint64_t>{base::hash_text(body)});
  all += body;
  // Not synced: if a crash damages a part file, its hash shows that, and it is made again.
  base::NewFile file(path);
  file.file().write_at(std::as_bytes(std::span(all)), 0);
  file.commit(base::NewFile::Sync::kNo);
}

std::optional<TokenizedBlock> read_tokenized_block(const base::Path& path) {
  if (!base::is_there(path)) return std::nullopt;
  const std::string all = base::read_file(path);
  std::string_view in = all;
  std::vector<std::uint64_t> number;
  if (in.size() < 16) return std::nullopt;
  take(in, 1, number);
  if (number[0] != base::hash_text(in)) return std::nullopt;
  take(in, 1, number);
  if (number[0] > in.size()) return std::nullopt;
  const Json header = Json::parse(in.substr(0, number[0]));
  in.remove_prefix(number[0]);
  TokenizedBlock part;
  const auto c = header.at("counts").get<std::vector<std::int64_t>>();
  part.counts = {c.at(0), c.at(1), c.at(2), c.at(3), c.at(4), c.at(5), c.at(6), c.at(7), c.at(8)};
  part.bad_lines = bad_lines_from_json(header.value("bad_lines", Json::array()).dump());
  part.findings = findings_from_json(header.at("findings").get<std::string>());
  const std::size_t tokens = header.at("tokens"), documents = header.at("documents");
  const std::size_t most = in.size();  // so that the products below cannot overflow
  constexpr std::size_t kToken = sizeof(std::int32_t), kOffset = sizeof(std::int64_t),
                        kOthers = sizeof(float) + sizeof(std::uint64_t) + sizeof(std::uint8_t);
  if (tokens > most || documents > most ||
      in.size() != tokens * kToken + (documents + 1) * kOffset + documents * kOthers)
    return std::nullopt;
  take(in, tokens, part.documents.tokens);
  take(in, documents + 1, part.documents.offsets);
  take(in, documents, part.documents.quality);
  take(in, documents, part.documents.hash);
  take(in, documents, part.documents.validation);
  const std::vector<std::int64_t>& offsets = part.documents.offsets;
  if (offsets.front() != 0 || offsets.back() != static_cast<std::int64_t>(tokens) ||
      !std::is_sorted(offsets.begin(), offsets.end()))
    return std::nullopt;
  return part;
}

}  // namespace eyrie::data_pipeline
