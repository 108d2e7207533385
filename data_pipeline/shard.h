// Shards: HDF5 files of tokenised documents (docs/formats/shard.md).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::data_pipeline {

constexpr std::int64_t kShardVersion = 1;
constexpr std::int64_t kChecksumTokens = 65536;  // tokens per checksum

// The metadata of a shard.
struct ShardInfo {
  std::string source;
  std::int64_t index = 0;  // index among the shards of its source
  std::int64_t vocabulary = 0;
  std::int64_t bos = 0, eos = 0;
  std::string tokenizer_hash;
  std::vector<std::string> screened_tasks;  // sorted; groups and leaf tasks
  std::string exclusion_method = "none", exclusion_hash;
  std::vector<std::string> filters;
  std::string build;  // hash of everything that decides the contents
};

// The documents of a shard, in memory.
struct ShardDocuments {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> offsets = {0};
  std::vector<float> quality;
  std::vector<std::uint64_t> hash;
  std::vector<std::uint8_t> validation;

  std::int64_t documents() const { return static_cast<std::int64_t>(quality.size()); }
  void add(std::span<const std::int32_t> document, float score, std::uint64_t hash, bool held_out);
  void append(const ShardDocuments& more);
};

// Writes the file whole or not at all. There must be at least one document and one token. Returns
// the shard's content hash.
std::string write_shard(const base::Path& path, const ShardInfo& info,
                        const ShardDocuments& documents);

// A shard, mapped into memory. Thread-safe. Its functions throw InputError, which names the file
// and says to build it again, if the file is not a shard, is of another version, or is cut off or
// damaged. The constructor checks everything except the tokens.
class Shard {
 public:
  explicit Shard(const base::Path& path);

  const base::Path& path() const { return path_; }
  const ShardInfo& info() const { return info_; }
  const std::string& content() const { return content_; }  // hash of the contents
  std::int64_t documents() const { return static_cast<std::int64_t>(quality_.size()); }
  std::int64_t tokens() const { return tokens_; }

  // Document d consists of tokens [offset(d), offset(d + 1)).
  std::int64_t offset(std::int64_t document) const { return offsets_[document]; }
  float quality(std::int64_t document) const { return quality_[document]; }
  std::uint64_t hash(std::int64_t document) const { return hash_[document]; }
  bool validation(std::int64_t document) const { return validation_[document] != 0; }

  // Copies tokens [begin, begin + out.size()). Throws InputError naming file, document, token and
  // id if an id is not in the vocabulary.
  void read(std::int64_t begin, std::span<std::int32_t> out) const;

  // Reads all tokens and compares their checksums. Throws InputError naming the damaged tokens.
  void verify() const;

 private:
  template <class T>
  std::span<const T> mapped(std::uint64_t offset, std::int64_t count) const;
  [[noreturn]] void damaged(const std::string& what) const;
  void check_documents() const;

  base::Path path_;
  ShardInfo info_;
  std::string content_;
  std::unique_ptr<base::MappedFile> file_;
  std::int64_t tokens_ = 0;
  // Tokens as uint16, or as uint32 in wide_; the other one is empty.
  std::span<const std::uint16_t> narrow_;
  std::span<const std::uint32_t> wide_;
  std::span<const std::int64_t> offsets_;
  std::span<const float> quality_;
  std::span<const std::uint64_t> hash_, checksums_;
  std::span<const std::uint8_t> validation_;
};

}  // namespace eyrie::data_pipeline
