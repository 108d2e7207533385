// The tensors of a Hugging Face directory.
#include "model/weights/hugging_face.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "model/weights/finite.h"
#include "model/weights/safetensors.h"
#include "model/weights/weight_files.h"

namespace eyrie::model {

using tensor::DType;

namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";  // tied: a copy of the embedding

}  // namespace

// All files of a directory as one set of tensors.
struct HuggingFaceWeights::Files {
  std::vector<Safetensors> files;
  std::map<std::string, const Safetensors*> file_of;
  std::set<StoredType> types;

  explicit Files(const base::Path& directory) {
    const WeightFiles there = find_weight_files(directory);
    for (const base::Path& path : there.paths) files.emplace_back(path);
    for (const Safetensors& file : files) {
      std::vector<std::string> names;
      for (const auto& [name, entry] : file.entries()) names.push_back(name);
      check_index(there, file.place(), names);
    }
    for (const Safetensors& file : files) {
      for (const auto& [name, entry] : file.entries()) {
        const auto [place, is_new] = file_of.emplace(name, &file);
        if (!is_new) {
          throw base::InputError(fmt::format("{}: tensor {} is in {} as well", file.place(), name,
                                             place->second->place()));
        }
        if (!entry.type()) {
          throw base::InputError(
              fmt::format("{}: tensor {} is of dtype {}; weights are F32, BF16 or F16",
                          file.place(), name, entry.dtype));
        }
        types.insert(*entry.type());
      }
    }
  }

  // The output layer of Griffin is the embedding: if a file has both, they must be equal.
  void check_tied() const {
    const auto head = file_of.find(kHead), embedding = file_of.find(kEmbedding);
    if (head == file_of.end() || embedding == file_of.end()) return;
    const auto& one = head->second->entries().at(kHead);
    const auto& other = embedding->second->entries().at(kEmbedding);
    bool equal = one.shape == other.shape;
    std::vector<float> a(static_cast<std::size_t>(std::min(one.count, kPieceElements))), b(a);
    for (std::int64_t first = 0; equal && first < one.count; first += kPieceElements) {
      const std::int64_t count = std::min(kPieceElements, one.count - first);
      head->second->read(kHead, first, count, a.data());
      embedding->second->read(kEmbedding, first, count, b.data());
      check_finite(head->second->place(), kHead, a.data(), count, one.count);
      equal = std::equal(a.begin(), a.begin() + count, b.begin());
    }
    if (!equal) {
      throw base::InputError(
          fmt::format("{}: {} is not equal to {}; a Griffin model has one table for both",
                      head->second->place(), kHead, kEmbedding));
    }
  }
};

HuggingFaceWeights::HuggingFaceWeights(const base::Path& directory)
    : directory_(directory), config_(read_hugging_face_config(directory)) {
  files_ = std::make_shared<const Files>(directory);
  const auto all = files_;
  all->check_tied();
  if (all->types.size() == 1) type_ = *all->types.begin();
  NamedTensors tensors;
  tensors.place = directory.string();
  for (const auto& [name, file] : all->file_of) {
    if (name != kHead) tensors.shapes[name] = file->entries().at(name).shape;
  }
  tensors.read = [all](const std::string& name, std::int64_t first, std::int64_t count,
                       float* out) { all->file_of.at(name)->read(name, first, count, out); };
  rows_ = std::make_unique<NamedRows>(std::move(tensors), Naming::kHuggingFace, rows_of(config_));
}

// A tensor that lies in the file as it is used, or is quantized from there, is not read and copied.
bool HuggingFaceWeights::can_be_mapped(const NamedTensor& tensor, DType wanted) const {
  const auto& entry = files_->file_of.at(tensor.name)->entries().at(tensor.name);
  const bool fp32 = entry.type() == StoredType::kFloat32,
             bf16 = entry.type() == StoredType::kBFloat16;
  if (entry.begin % (bf16 ? 2 : 4) != 0) return false;
  return wanted == DType::kInt8 ? fp32 || bf16 : wanted == DType::kFloat32 ? fp32 : bf16;
}

void HuggingFaceWeights::map(InferenceParameters& parameters) const {
  std::map<const Safetensors*, std::shared_ptr<const base::MappedFile>> mapped;
  for (std::size_t u = 0; u < parameters.units().size(); ++u) {
    for (std::size_t i = 0; i < parameters.units()[u].parameters.size(); ++i) {
      const parallel::ParameterInfo& info = parameters.units()[u].parameters[i];
      const int r = static_cast<int>(i);
      const auto tensors = tensors_of(info, Naming::kHuggingFace);
      const DType wanted = parameters.stored_dtype(u, r);
      if (!info.product || !std::all_of(tensors.begin(), tensors.end(), [&](const auto& tensor) {
            return can_be_mapped(tensor, wanted);
          })) {
        read_parameter(*this, u, r, parameters);
        continue;
      }
      const std::int64_t part_count = info.count() / info.parts, columns = columns_of(info);
      for (const NamedTensor& tensor : tensors) {
        const Safetensors* file = files_->file_of.at(tensor.name);
        auto& memory = mapped[file];
        if (!memory) memory = std::make_shared<const base::MappedFile>(base::Path(file->place()));
        const SafetensorsEntry& entry = file->entries().at(tensor.name);
        const std::byte* data = memory->bytes().data() + entry.begin;
        // This reads the whole tensor, as the first token would anyway.
        const StoredType type = *entry.type();
        const std::int64_t not_finite = count_not_finite(type, data, tensor.count());
        if (not_finite > 0)
          refuse_not_finite(directory_.string(), tensor.name, not_finite, tensor.count());
        const std::int64_t parts = tensor.count() / part_count;
        const DType stored = type == StoredType::kFloat32 ? DType::kFloat32 : DType::kBFloat16;
        const auto bytes = static_cast<std::uint64_t>(part_count * size_of(stored));
        for (std::int64_t p = 0; p < parts; ++p) {
          const std::byte* part = data + static_cast<std::uint64_t>(p) * bytes;
          const std::int64_t number = tensor.part * parts + p;
          if (wanted != DType::kInt8) {
            parameters.map(u, r, number, part, memory);
          } else {
            const std::int64_t other = part_count / columns;
            parameters.quantize(u, r, number,
                                {const_cast<std::byte*>(part), stored,
                                 info.linear ? columns : other, info.linear ? other : columns});
          }
        }
        if (wanted == DType::kInt8)
          memory->release(entry.begin, static_cast<std::size_t>(parts) * bytes);
      }
    }
  }
}

}  // namespace eyrie::model
