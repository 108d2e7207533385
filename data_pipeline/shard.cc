// Writes shards through the HDF5 layer, and reads them through a memory mapping.
#include "data_pipeline/shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/hash.h"
#include "base/hdf5_file.h"

namespace eyrie::data_pipeline {
namespace {

constexpr const char* kFormat = "eyrie-shard";
constexpr const char* kAdvice = "build the shards again (eyrie data build)";
constexpr std::int64_t kWidestNarrow = 65536;  // largest vocabulary whose ids fit into uint16

template <class T>
std::vector<std::uint64_t> checksums_of(std::span<const T> tokens) {
  std::vector<std::uint64_t> sums;
  for (std::size_t at = 0; at < tokens.size(); at += kChecksumTokens)
    sums.push_back(base::hash_bytes(std::as_bytes(
        tokens.subspan(at, std::min<std::size_t>(kChecksumTokens, tokens.size() - at)))));
  return sums;
}

std::string documents_checksum(std::span<const std::int64_t> offsets,
                               std::span<const float> quality, std::span<const std::uint64_t> hash,
                               std::span<const std::uint8_t> validation) {
  base::Hasher hasher;
  hasher.add(std::as_bytes(offsets));
  hasher.add(std::as_bytes(quality));
  hasher.add(std::as_bytes(hash));
  hasher.add(std::as_bytes(validation));
  return base::hex(hasher.value());
}

std::string content_of(std::span<const std::uint64_t> checksums, const std::string& documents) {
  base::Hasher hasher;
  hasher.add(std::as_bytes(checksums));
  hasher.add(documents);
  return base::hex(hasher.value());
}

template <class T>
std::vector<std::uint64_t> write_tokens(base::Hdf5Writer& writer,
                                        const std::vector<std::int32_t>& tokens) {
  const std::vector<T> stored(tokens.begin(), tokens.end());
  writer.write("tokens", stored);
  return checksums_of(std::span<const T>(stored));
}

}  // namespace

void ShardDocuments::add(std::span<const std::int32_t> document, float score,
                         std::uint64_t document_hash, bool held_out) {
  tokens.insert(tokens.end(), document.begin(), document.end());
  offsets.push_back(static_cast<std::int64_t>(tokens.size()));
  quality.push_back(score);
  hash.push_back(document_hash);
  validation.push_back(held_out);
}

void ShardDocuments::append(const ShardDocuments& more) {
  const std::int64_t base = offsets.back();
  tokens.insert(tokens.end(), more.tokens.begin(), more.tokens.end());
  for (std::size_t i = 1; i < more.offsets.size(); ++i) offsets.push_back(base + more.offsets[i]);
  quality.insert(quality.end(), more.quality.begin(), more.quality.end());
  hash.insert(hash.end(), more.hash.begin(), more.hash.end());
  validation.insert(validation.end(), more.validation.begin(), more.validation.end());
}

std::string write_shard(const base::Path& path, const ShardInfo& info,
                        const ShardDocuments& documents) {
  EYRIE_CHECK(!documents.tokens.empty(), "a shard without tokens");
  EYRIE_CHECK(documents.offsets.size() == documents.quality.size() + 1,
              "offsets that are not one a document");
  for (const std::int32_t token : documents.tokens)
    EYRIE_CHECK(token >= 0 && token < info.vocabulary, "a token outside of the vocabulary");
  base::Hdf5Writer writer(path);
  const std::vector<std::uint64_t> checksums =
      info.vocabulary <= kWidestNarrow ? write_tokens<std::uint16_t>(writer, documents.tokens)
                                       : write_tokens<std::uint32_t>(writer, documents.tokens);
  writer.write("offsets", documents.offsets);
  writer.write("quality", documents.quality);
  writer.write("hash", documents.hash);
  writer.write("validation", documents.validation);
  writer.write("checksums", checksums);
  const std::string sum = documents_checksum(documents.offsets, documents.quality, documents.hash,
                                             documents.validation);
  const std::string content = content_of(checksums, sum);
  const auto set = [&](const char* name, const base::Hdf5Attribute& value) {
    writer.set_attribute("", name, value);
  };
  set("format", std::string(kFormat));
  set("version", kShardVersion);
  set("source", info.source);
  set("index", info.index);
  set("tokens", static_cast<std::int64_t>(documents.tokens.size()));
  set("documents", documents.documents());
  set("vocabulary", info.vocabulary);
  set("bos", info.bos);
  set("eos", info.eos);
  set("tokenizer_hash", info.tokenizer_hash);
  set("screened_tasks", info.screened_tasks);
  set("exclusion_method", info.exclusion_method);
  set("exclusion_hash", info.exclusion_hash);
  set("filters", info.filters);
  set("build", info.build);
  set("documents_checksum", sum);
  set("content", content);
  writer.commit();
  return content;
}

void Shard::damaged(const std::string& what) const {
  throw base::InputError(fmt::format("{}: {}: {}", path_.string(), what, kAdvice));
}

template <class T>
std::span<const T> Shard::mapped(std::uint64_t offset, std::int64_t count) const {
  const std::span<const std::byte> bytes = file_->bytes();
  const std::uint64_t size = static_cast<std::uint64_t>(count) * sizeof(T);
  if (offset > bytes.size() || size > bytes.size() - offset)
    damaged(
        fmt::format("cut off: {} bytes where at least {} are needed", bytes.size(), offset + size));
  if (offset % alignof(T) != 0) damaged(fmt::format("a data set begins at byte {}", offset));
  return {reinterpret_cast<const T*>(bytes.data() + offset), static_cast<std::size_t>(count)};
}

Shard::Shard(const base::Path& path) : path_(path) {
  const base::Hdf5Reader reader(path, kAdvice);
  const auto text = [&](const char* name) { return reader.attribute<std::string>("", name); };
  const auto number = [&](const char* name) { return reader.attribute<std::int64_t>("", name); };
  const auto list = [&](const char* name) {
    return reader.attribute<std::vector<std::string>>("", name);
  };
  if (!reader.has_attribute("", "format") || text("format") != kFormat)
    damaged("not a shard of Eyrie");
  if (number("version") != kShardVersion)
    damaged(fmt::format("version {} of the format, this program reads version {}",
                        number("version"), kShardVersion));
  info_ = {text("source"),         number("index"),
           number("vocabulary"),   number("bos"),
           number("eos"),          text("tokenizer_hash"),
           list("screened_tasks"), text("exclusion_method"),
           text("exclusion_hash"), list("filters"),
           text("build")};
  content_ = text("content");
  tokens_ = number("tokens");
  const std::int64_t documents = number("documents");

  file_ = std::make_unique<base::MappedFile>(path);
  const auto data = [&]<class T>(const char* name, std::int64_t count, std::span<const T>& out) {
    if (reader.type(name) != base::hdf5_type<T>())
      damaged(fmt::format("data set {} is {}, not {}", name, base::name_of(reader.type(name)),
                          base::name_of(base::hdf5_type<T>())));
    if (reader.count(name) != count)
      damaged(fmt::format("data set {} has {} values, not {}", name, reader.count(name), count));
    out = mapped<T>(reader.offset(name), count);
  };
  if (documents < 1 || tokens_ < 1 || info_.vocabulary < 1)
    damaged("no documents, tokens or vocabulary");
  if (info_.vocabulary <= kWidestNarrow) {
    data("tokens", tokens_, narrow_);
  } else {
    data("tokens", tokens_, wide_);
  }
  data("offsets", documents + 1, offsets_);
  data("quality", documents, quality_);
  data("hash", documents, hash_);
  data("validation", documents, validation_);
  data("checksums", (tokens_ + kChecksumTokens - 1) / kChecksumTokens, checksums_);

  const std::string sum = documents_checksum(offsets_, quality_, hash_, validation_);
  if (sum != text("documents_checksum")) damaged("its table of documents is damaged (checksum)");
  if (content_ != content_of(checksums_, sum)) damaged("its checksums are damaged");
  check_documents();
}

// Checks every value that is later used as an index or an offset. Matching checksums do not prove
// that these values make sense: another program may have written the file.
void Shard::check_documents() const {
  if (documents() > std::numeric_limits<std::uint32_t>::max())
    damaged(fmt::format("it has {} documents, more than a shard can", documents()));
  for (const auto& [name, id] : {std::pair{"bos", info_.bos}, {"eos", info_.eos}})
    if (id < 0 || id >= info_.vocabulary)
      damaged(fmt::format("{} is {}, the vocabulary has {} ids", name, id, info_.vocabulary));
  if (offsets_.front() != 0 || offsets_.back() != tokens_)
    damaged("its offsets do not rise from 0 to the number of tokens");
  for (std::int64_t d = 0; d < documents(); ++d) {
    if (offsets_[d + 1] < offsets_[d])
      damaged(
          fmt::format("document {} is of the tokens {} to {}", d, offsets_[d], offsets_[d + 1]));
    if (!std::isfinite(quality_[d]))
      damaged(fmt::format("document {} has the quality {}", d, quality_[d]));
  }
}

void Shard::read(std::int64_t begin, std::span<std::int32_t> out) const {
  EYRIE_CHECK(begin >= 0 && begin + static_cast<std::int64_t>(out.size()) <= tokens_,
              "tokens outside of the shard");
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint32_t token = narrow_.empty() ? wide_[begin + i] : narrow_[begin + i];
    if (token >= info_.vocabulary) {
      const auto at = begin + static_cast<std::int64_t>(i);
      const auto document =
          std::upper_bound(offsets_.begin(), offsets_.end(), at) - offsets_.begin() - 1;
      damaged(fmt::format("token {}, in document {}, has id {}, the vocabulary {} ids", at,
                          document, token, info_.vocabulary));
    }
    out[i] = static_cast<std::int32_t>(token);
  }
}

void Shard::verify() const {
  const std::vector<std::uint64_t> now =
      narrow_.empty() ? checksums_of(wide_) : checksums_of(narrow_);
  for (std::size_t i = 0; i < now.size(); ++i)
    if (now[i] != checksums_[i])
      damaged(fmt::format("tokens {} to {} are damaged (checksum)", i * kChecksumTokens,
                          std::min<std::int64_t>(tokens_, (i + 1) * kChecksumTokens) - 1));
  for (std::int64_t at = 0; at < tokens_; at += kChecksumTokens) {
    std::vector<std::int32_t> ids(std::min(kChecksumTokens, tokens_ - at));
    read(at, ids);
  }
}

}  // namespace eyrie::data_pipeline
