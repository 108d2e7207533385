// Writing safetensors.
#include "model/weights/safetensors_writer.h"

#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"

namespace eyrie::model {
namespace {

std::string header_of(const std::vector<SafetensorsWriter::Tensor>& tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};  // transformers requires it
  std::int64_t at = 0;
  for (const auto& tensor : tensors) {
    const std::int64_t end = at + tensor.count() * size_of(tensor.type);
    header[tensor.name] = {{"dtype", safetensors_name_of(tensor.type)},
                           {"shape", tensor.shape},
                           {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i)
    length[i] = static_cast<char>((text.size() >> (8 * i)) & 0xff);
  return length + text;
}

}  // namespace

std::int64_t SafetensorsWriter::Tensor::count() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

SafetensorsWriter::SafetensorsWriter(const base::Path& path, std::vector<Tensor> tensors)
    : file_(path), tensors_(std::move(tensors)) {
  const std::string header = header_of(tensors_);
  file_.file().write_at(std::as_bytes(std::span(header)), 0);
  offset_ = header.size();
}

void SafetensorsWriter::append(const float* values, std::int64_t count) {
  while (tensor_ < tensors_.size() && written_ == tensors_[tensor_].count())
    ++tensor_, written_ = 0;
  EYRIE_CHECK(tensor_ < tensors_.size() && count <= tensors_[tensor_].count() - written_,
              "more elements than the tensor has");
  const Tensor& tensor = tensors_[tensor_];
  buffer_.resize(static_cast<std::size_t>(count * size_of(tensor.type)));
  if (!narrow(tensor.type, values, count, buffer_.data())) {
    throw base::InputError(fmt::format("tensor {} has a value that is too large for {}; write fp32",
                                       tensor.name, name_of(tensor.type)));
  }
  file_.file().write_at(buffer_, offset_);
  offset_ += buffer_.size();
  written_ += count;
}

void SafetensorsWriter::commit() {
  while (tensor_ < tensors_.size() && written_ == tensors_[tensor_].count())
    ++tensor_, written_ = 0;
  EYRIE_CHECK(tensor_ == tensors_.size(), "a tensor is not written to its end");
  file_.commit();
}

}  // namespace eyrie::model
