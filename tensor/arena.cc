// Arena and Buffer: aligned memory in stack order.
#include "tensor/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "tensor/ops/elementwise.h"

namespace eyrie::tensor {
namespace {

constexpr std::size_t kAlignment = 64;
// Large buffers ask for huge pages: with small ones the processor spends a third of its time on
// address translation when it streams weights.
constexpr std::size_t kLargePage = std::size_t{2} << 20, kLarge = 2 * kLargePage;

std::size_t aligned(std::size_t bytes, std::size_t to = kAlignment) {
  return (bytes + to - 1) / to * to;
}

// Addresses that no processor can read: who looks at an element on meta crashes at once.
std::byte* meta_address(std::size_t bytes) {
  static std::atomic<std::uintptr_t> next = std::uintptr_t{1} << 60;
  return reinterpret_cast<std::byte*>(next.fetch_add(aligned(bytes) + kAlignment));
}

std::atomic<std::int64_t> buffers_made = 0;

}  // namespace

std::int64_t Buffer::made() { return buffers_made; }

void Buffer::Free::operator()(std::byte* p) const {
  if (device == Device::kCpu) std::free(p);
}

Buffer::Buffer(std::size_t bytes, Device device) : data_(nullptr, Free{device}), size_(bytes) {
  if (device == Device::kCuda) throw base::Error("this build of Eyrie has no CUDA");
  if (device == Device::kMeta) {
    data_.reset(meta_address(bytes));
    return;
  }
  const std::size_t to = bytes >= kLarge ? kLargePage : kAlignment;
  auto* p = static_cast<std::byte*>(std::aligned_alloc(to, std::max(aligned(bytes, to), to)));
  if (p == nullptr) throw std::bad_alloc();
  ++buffers_made;
  if (to == kLargePage) ::madvise(p, aligned(bytes, to), MADV_HUGEPAGE);  // a hint, may be ignored
  data_.reset(p);
}

void Buffer::zero() {
  if (size_ > 0 && device() == Device::kCpu) std::memset(data(), 0, size_);
}

void Buffer::copy_from(const Buffer& from, std::size_t first, std::size_t bytes, std::size_t to) {
  EYRIE_CHECK(first + bytes <= from.size() && to + bytes <= size_, "bytes outside of a buffer");
  if (bytes > 0 && device() == Device::kCpu) std::memcpy(data() + to, from.data() + first, bytes);
}

ArenaLayout::Place ArenaLayout::place(std::size_t bytes) {
  bytes = aligned(bytes);
  // A piece that does not fit into the rest of this chunk goes to the next chunk that can hold it;
  // the skipped space is free again when an earlier mark is released. If no chunk can hold it, the
  // first free chunk is replaced by a larger one, so that pieces that grow from call to call do not
  // leave many small chunks behind.
  const std::size_t first_free = used_ == 0 ? chunk_ : chunk_ + 1;
  while (chunk_ < chunks_.size() && used_ + bytes > chunks_[chunk_]) ++chunk_, used_ = 0;
  if (chunk_ == chunks_.size()) {
    chunk_ = std::min(first_free, chunks_.size());
    if (chunk_ == chunks_.size()) {
      chunks_.push_back(0);
      touched_.push_back(0);
    }
    touched_[chunk_] = 0;
    held_ -= chunks_[chunk_];
    chunks_[chunk_] = std::max(chunk_bytes_, bytes);
    held_ += chunks_[chunk_];
  }
  const Place place{chunk_, used_};
  used_ += bytes;
  touched_[chunk_] = std::max(touched_[chunk_], used_);
  peak_ = std::max(peak_, used_bytes());
  return place;
}

std::size_t ArenaLayout::used_bytes() const {
  std::size_t used = used_;
  for (std::size_t i = 0; i < chunk_; ++i) used += chunks_[i];
  return used;
}

std::size_t ArenaLayout::touched_bytes() const {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < chunks_.size(); ++i)
    bytes += aligned(touched_[i], chunks_[i] >= kLarge ? kLargePage : kAlignment);
  return bytes;
}

Tensor Arena::allocate(DType dtype, std::int64_t rows, std::int64_t columns) {
  const auto place = layout_.place(static_cast<std::size_t>(rows * columns * size_of(dtype)));
  if (place.chunk == chunks_.size()) chunks_.emplace_back();
  if (const std::size_t size = layout_.chunk_size(place.chunk);
      chunks_[place.chunk].size() != size) {
    chunks_[place.chunk] = Buffer();  // free the smaller one first
    chunks_[place.chunk] = Buffer(size, device_);
  }
  return chunks_[place.chunk].view(dtype, rows, columns, static_cast<std::int64_t>(place.offset));
}

Tensor Arena::on_device(const Tensor& x) {
  if (!x || x.device() == device_) return x;
  const Tensor there = allocate(x.dtype(), x.rows(), x.columns());
  copy(x, there);
  return there;
}

Tensor Arena::zeros(DType dtype, std::int64_t rows, std::int64_t columns) {
  Tensor tensor = allocate(dtype, rows, columns);
  zero(tensor);
  return tensor;
}

}  // namespace eyrie::tensor
