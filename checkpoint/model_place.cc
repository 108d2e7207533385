// Recognises a place by the file that each kind has.
#include "checkpoint/model_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/listing.h"
#include "model/weights/hugging_face.h"

namespace eyrie::checkpoint {
namespace {

struct Mark {
  const char* name;
  const char* meaning;
  ModelPlace place;
};
constexpr Mark kMarks[] = {{"manifest.json", "a checkpoint", ModelPlace::kCheckpoint},
                           {"checkpoints", "a run", ModelPlace::kRun},
                           {"run.yaml", "a run", ModelPlace::kRun},
                           {"config.json", "a Hugging Face directory", ModelPlace::kHuggingFace}};

}  // namespace

ModelPlace model_place(const base::Path& path) {
  const Mark* found = nullptr;
  for (const Mark& mark : kMarks) {
    if (!base::is_there(path / mark.name)) continue;
    if (found != nullptr && found->place != mark.place) {
      throw base::InputError(fmt::format(
          "{}: it holds {} ({}) and {} ({}), so nobody knows which model is meant: move "
          "one of them to a folder of its own",
          path.string(), found->name, found->meaning, mark.name, mark.meaning));
    }
    if (found == nullptr) found = &mark;
  }
  if (found != nullptr) return found->place;
  return base::is_regular_file(path) ? ModelPlace::kFile : ModelPlace::kNone;
}

void check_tokenizer(const text::Tokenizer& tokenizer, const std::string& name,
                     const std::string& place, std::int64_t vocabulary,
                     const std::string& trained_hash, bool other) {
  const std::int64_t pieces = tokenizer.size();
  if (pieces > vocabulary) {
    throw base::InputError(
        fmt::format("{}: the tokenizer {} has {} pieces, the model a vocabulary of {}", place, name,
                    pieces, vocabulary));
  }
  if (other) return;
  constexpr const char* kAdvice =
      "name the model's own with --tokenizer, or say --other-tokenizer where another is wanted";
  if (!trained_hash.empty() && trained_hash != tokenizer.hash()) {
    throw base::InputError(
        fmt::format("{}: the model's tokenizer is another (hash {}) than {} (hash {}), so that its "
                    "tokens mean something else; {}",
                    place, trained_hash, name, tokenizer.hash(), kAdvice));
  }
  constexpr std::int64_t kPadding = 1024;
  if (trained_hash.empty() && vocabulary > pieces + std::max(kPadding, pieces / 8)) {
    throw base::InputError(
        fmt::format("{}: the tokenizer {} has {} pieces, the model a vocabulary of {}, more than a "
                    "table is padded by: it cannot be the model's; {}",
                    place, name, pieces, vocabulary, kAdvice));
  }
}

std::string own_tokenizer_hash(const base::Path& directory, const std::string& named) {
  const std::string said = model::read_tokenizer_hash(directory);
  const base::Path beside = directory / "tokenizer.model";
  if (!said.empty() || named.empty() || !base::is_there(beside)) return said;
  return text::open_tokenizer(beside.string())->hash();
}

}  // namespace eyrie::checkpoint
