// Weights into safetensors files of limited size, their index, and the configurations.
#include "model/weights/hugging_face_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/listing.h"
#include "base/output_place.h"
#include "model/weights/safetensors_writer.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::model {
namespace {

// A tensor to write and the parameter that it belongs to.
struct Item {
  NamedTensor tensor;
  const parallel::ParameterInfo* row;
};

std::vector<std::vector<Item>> shards_of(const std::vector<parallel::ParameterInfo>& rows,
                                         StoredType type, std::int64_t shard_bytes) {
  std::vector<std::vector<Item>> shards(1);
  std::int64_t used = 0;
  for (const auto& row : rows) {
    for (const NamedTensor& tensor : tensors_of(row, Naming::kHuggingFace)) {
      const std::int64_t bytes = tensor.count() * size_of(type);
      if (used > 0 && used + bytes > shard_bytes) {
        shards.emplace_back();
        used = 0;
      }
      shards.back().push_back({tensor, &row});
      used += bytes;
    }
  }
  return shards;
}

void write_tensor(const WeightSource& source, const Item& item, SafetensorsWriter& writer) {
  const NamedTensor& tensor = item.tensor;
  const std::int64_t count = tensor.count(), begin = tensor.part * count;
  if (!tensor.transposed) {
    std::vector<float> piece(static_cast<std::size_t>(std::min(count, kPieceElements)));
    for (std::int64_t done = 0; done < count; done += kPieceElements) {
      const std::int64_t some = std::min(kPieceElements, count - done);
      source.read(*item.row, begin + done, some, piece.data());
      writer.append(piece.data(), some);
    }
    return;
  }
  // The parameter is (columns, rows); a few of its columns at a time become rows of the tensor.
  std::vector<float> whole(static_cast<std::size_t>(count));
  source.read(*item.row, begin, count, whole.data());
  const std::int64_t rows = tensor.shape.front(), columns = count / rows;
  const std::int64_t step = std::clamp<std::int64_t>(kPieceElements / columns, 1, rows);
  std::vector<float> piece(static_cast<std::size_t>(step * columns));
  for (std::int64_t r = 0; r < rows; r += step) {
    const std::int64_t some = std::min(step, rows - r);
    tensor::transpose({whole.data() + r, tensor::DType::kFloat32, columns, some, rows},
                      {piece.data(), tensor::DType::kFloat32, some, columns});
    writer.append(piece.data(), some * columns);
  }
}

void write_shard(const WeightSource& source, const std::vector<Item>& items, StoredType type,
                 const base::Path& path) {
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (const Item& item : items) tensors.push_back({item.tensor.name, type, item.tensor.shape});
  SafetensorsWriter writer(path, std::move(tensors));
  for (const Item& item : items) write_tensor(source, item, writer);
  writer.commit();
}

}  // namespace

void check_empty(const base::Path& directory) {
  if (base::is_there(directory)) {
    if (!base::is_folder(directory)) {
      throw base::InputError(
          fmt::format("{}: a file is there where a folder was to be written", directory.string()));
    }
    if (!base::list_folder(directory).empty()) {
      throw base::InputError(fmt::format(
          "{}: the folder is there and not empty; remove it or name another", directory.string()));
    }
  }
  base::check_output_folder("the directory to write", directory);
}

namespace {

// Removes the files added to it, unless keep() is called.
class Undo {
 public:
  ~Undo() {
    std::error_code ignored;
    for (const base::Path& path : paths_) std::filesystem::remove(path, ignored);
  }
  const base::Path& add(base::Path path) { return paths_.emplace_back(std::move(path)); }
  void keep() { paths_.clear(); }

 private:
  std::vector<base::Path> paths_;
};

}  // namespace

HuggingFaceWritten write_hugging_face(const WeightSource& source, const base::Path& directory,
                                      const HuggingFaceOptions& options) {
  check_empty(directory);
  HuggingFaceWritten written;
  written.type = options.type.value_or(source.type());
  const auto rows = rows_of(source.config());
  const auto shards = shards_of(rows, written.type, options.shard_bytes);
  written.weight_files = shards.size();
  base::make_directories(directory);
  Undo undo;
  nlohmann::ordered_json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", {}}};
  for (std::size_t s = 0; s < shards.size(); ++s) {
    const std::string name =
        shards.size() == 1 ? "model.safetensors"
                           : fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards.size());
    write_shard(source, shards[s], written.type, undo.add(directory / name));
    for (const Item& item : shards[s]) {
      written.parameters += item.tensor.count();
      index["weight_map"][item.tensor.name] = name;
    }
  }
  written.bytes = written.parameters * size_of(written.type);
  index["metadata"]["total_size"] = written.bytes;
  if (shards.size() > 1) {
    base::write_file(undo.add(directory / "model.safetensors.index.json"), index.dump(2) + "\n");
  }
  for (const auto& [name, contents] : options.files)
    base::write_file(undo.add(directory / name), contents);
  if (!options.files.contains("generation_config.json")) {
    base::write_file(undo.add(directory / "generation_config.json"),
                     generation_config(options.tokens));
  }
  base::write_file(undo.add(directory / "config.json"),
                   hugging_face_config(source.config(), written.type, options.tokens,
                                       options.same_window, options.tokenizer_hash));
  undo.keep();
  return written;
}

}  // namespace eyrie::model
