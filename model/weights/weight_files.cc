// Finds the weight files of a directory.
#include "model/weights/weight_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/json_text.h"
#include "base/listing.h"

namespace eyrie::model {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

base::InputError two_descriptions(const base::Path& one, const base::Path& other) {
  return base::InputError(
      fmt::format("{}: the weights are there twice, {} and {}; nobody knows which are meant: move "
                  "one of them away",
                  one.parent_path().string(), one.filename().string(), other.filename().string()));
}

// Whether a file has one of the names that transformers and others use for a model's whole weights.
// (The directory may also hold optimizer state, adapters and other files.)
bool holds_weights(const base::Path& file) {
  const std::string name = file.filename(), ending = file.extension();
  const auto is_one_of = [](const auto& all, const auto& fits) {
    return std::any_of(std::begin(all), std::end(all), fits);
  };
  constexpr const char* kNames[] = {"model",      "pytorch_model", "tf_model",
                                    "flax_model", "weights",       "consolidated"};
  constexpr const char* kEndings[] = {".safetensors", ".bin", ".npz", ".msgpack",
                                      ".h5",          ".pt",  ".pth", ".ckpt"};
  return is_one_of(kNames, [&](const char* one) { return name.starts_with(one); }) &&
         is_one_of(kEndings, [&](const char* one) { return ending == one; });
}

void read_index(const base::Path& directory, WeightFiles& files) {
  files.index = directory / kIndex;
  const auto read = nlohmann::json::parse(base::read_json_object(files.index.string()));
  if (!read.contains("weight_map") || !read["weight_map"].is_object()) {
    throw base::InputError(fmt::format("{}: no weight_map in it", files.index.string()));
  }
  std::set<std::string> names;
  for (const auto& [tensor, file] : read["weight_map"].items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || base::Path(name).filename() != name) {
      throw base::InputError(fmt::format("{}: weight_map gives no file of this folder for {}",
                                         files.index.string(), tensor));
    }
    files.file_of[tensor] = name;
    if (!names.insert(name).second) continue;
    files.paths.push_back(directory / name);
    if (!base::is_there(files.paths.back())) {
      throw base::InputError(fmt::format("{}: weight_map names {} for {}, which is not there",
                                         files.index.string(), name, tensor));
    }
  }
  std::sort(files.paths.begin(), files.paths.end());
}

}  // namespace

WeightFiles find_weight_files(const base::Path& directory) {
  WeightFiles files;
  if (base::is_there(directory / kIndex)) {
    read_index(directory, files);
  } else {
    files.paths = {directory / kSingle};
  }
  const base::Path described = files.index.empty() ? files.paths.front() : files.index;
  for (const base::Path& path : base::list_folder(directory)) {
    if (!holds_weights(path) ||
        std::find(files.paths.begin(), files.paths.end(), path) != files.paths.end())
      continue;
    if (!base::is_there(described)) {
      throw base::InputError(
          fmt::format("{}: not there; {} beside it is not read without: weights are {}, or several "
                      "files and {}",
                      described.string(), path.filename().string(), kSingle, kIndex));
    }
    throw two_descriptions(described, path);
  }
  return files;
}

void check_index(const WeightFiles& files, const base::Path& file,
                 const std::vector<std::string>& tensors) {
  if (files.index.empty()) return;
  const std::string name = file.filename();
  for (const std::string& tensor : tensors) {
    const auto said = files.file_of.find(tensor);
    if (said != files.file_of.end() && said->second == name) continue;
    throw base::InputError(
        fmt::format("{}: it has the tensor {}, which {} says is {}: they are of different saves",
                    file.string(), tensor, files.index.filename().string(),
                    said == files.file_of.end() ? "nowhere" : "in " + said->second));
  }
  for (const auto& [tensor, there] : files.file_of) {
    if (there != name || std::binary_search(tensors.begin(), tensors.end(), tensor)) continue;
    throw base::InputError(fmt::format("{}: the tensor {} is not in it, where {} says it is",
                                       file.string(), tensor, files.index.filename().string()));
  }
}

}  // namespace eyrie::model
