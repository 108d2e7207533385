// The pieces of a tokenizer.json, read as a stream: such a file has tens of megabytes.
#include "text/tokenizer_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <vector>

#include "base/error.h"

namespace eyrie::text {
namespace {

using nlohmann::json;

// model.vocab is {"piece": id, …}, or [["piece", score], …] in the order of the ids.
class Pieces : public json::json_sax_t {
 public:
  std::unordered_map<std::int64_t, std::string> by_id;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t value) override { return id(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return id(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t& value) override {
    if (in_vocabulary(4) && !open_[2].object && !open_[3].object)
      by_id.emplace(static_cast<std::int64_t>(by_id.size()), value);
    return true;
  }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return start(true); }
  bool key(string_t& value) override {
    open_.back().key = value;
    return true;
  }
  bool end_object() override { return end(); }
  bool start_array(std::size_t) override { return start(false); }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }

 private:
  struct Open {  // an object, with the key of the next value, or a list
    bool object;
    std::string key;
  };
  bool in_vocabulary(std::size_t depth) const {
    return open_.size() == depth && open_[0].key == "model" && open_[1].key == "vocab";
  }
  bool id(std::int64_t value) {
    if (in_vocabulary(3) && open_[2].object) by_id.emplace(value, open_[2].key);
    return true;
  }
  bool start(bool object) {
    open_.push_back({object, {}});
    return true;
  }
  bool end() {
    open_.pop_back();
    return true;
  }

  std::vector<Open> open_;
};

}  // namespace

void check_same_vocabulary(const Tokenizer& tokenizer, const base::Path& model,
                           const base::Path& tokenizer_json) {
  Pieces pieces;
  if (!json::sax_parse(base::read_file(tokenizer_json), &pieces))
    throw base::InputError(fmt::format("{}: not JSON", tokenizer_json.string()));
  std::int64_t others = 0;
  for (std::int32_t id = 0; id < tokenizer.size(); ++id) {
    const auto found = pieces.by_id.find(id);
    if (found == pieces.by_id.end() || found->second != tokenizer.piece(id)) ++others;
  }
  if (others * 100 <= tokenizer.size()) return;
  throw base::InputError(
      fmt::format("{} and {} are of different vocabularies: {} of {} ids are not the same piece in "
                  "both; nobody "
                  "knows which is the model's: move one of them away, or name one with --tokenizer",
                  model.string(), tokenizer_json.string(), others, tokenizer.size()));
}

}  // namespace eyrie::text
