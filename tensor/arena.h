// Memory for activations: an arena allocates aligned pieces in stack order and frees them by mark
// and release. It grows by whole chunks, keeps them for the next step, and never moves a piece that
// is still in use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace eyrie::tensor {

// Owns bytes of a device, aligned to 64, uninitialised.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes, Device device = Device::kCpu);
  std::byte* data() const { return data_.get(); }  // an address on the device
  std::size_t size() const { return size_; }
  Device device() const { return data_.get_deleter().device; }
  void zero();
  // How many buffers with memory this process has made so far: a steady step makes none.
  static std::int64_t made();

  // A view of elements from byte `offset` on, or of all of them as one row.
  Tensor view(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t offset = 0) const {
    return {data() + offset, dtype, rows, columns, columns, device()};
  }
  Tensor row(DType dtype = DType::kFloat32) const {
    return view(dtype, 1, static_cast<std::int64_t>(size_) / size_of(dtype));
  }
  float* f32() const { return row().f32(); }  // host memory only
  // Copies bytes of another buffer on the same device.
  void copy_from(const Buffer& from, std::size_t first, std::size_t bytes, std::size_t to);

 private:
  struct Free {
    Free() : device(Device::kCpu) {}
    explicit Free(Device where) : device(where) {}
    void operator()(std::byte* p) const;
    Device device;
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

// Where the pieces of an arena are placed: the arena without its memory, which is all that planning
// needs.
class ArenaLayout {
 public:
  explicit ArenaLayout(std::size_t chunk_bytes = std::size_t{8} << 20)
      : chunk_bytes_(chunk_bytes) {}

  struct Place {
    std::size_t chunk, offset;
  };
  Place place(std::size_t bytes);  // for the next piece; in a new chunk if none has room
  std::size_t chunk_size(std::size_t chunk) const { return chunks_[chunk]; }

  struct Mark {
    std::size_t chunk = 0, used = 0;
  };
  Mark mark() const { return {chunk_, used_}; }
  void release(Mark mark) { chunk_ = mark.chunk, used_ = mark.used; }

  std::size_t peak_bytes() const { return peak_; }
  void restart_peak() { peak_ = used_bytes(); }
  std::size_t held_bytes() const { return held_; }
  std::size_t touched_bytes() const;

 private:
  std::size_t used_bytes() const;

  std::vector<std::size_t> chunks_;   // sizes
  std::vector<std::size_t> touched_;  // bytes of each that were ever used
  std::size_t chunk_bytes_, chunk_ = 0, used_ = 0, peak_ = 0, held_ = 0;
};

// Used by one thread.
class Arena {
 public:
  static constexpr std::size_t kChunkBytes = std::size_t{8} << 20;
  explicit Arena(std::size_t chunk_bytes = kChunkBytes, Device device = Device::kCpu)
      : device_(device), layout_(chunk_bytes) {}

  Tensor allocate(DType dtype, std::int64_t rows, std::int64_t columns);  // uninitialised
  Tensor zeros(DType dtype, std::int64_t rows, std::int64_t columns);
  // x itself if it is on the arena's device, else a copy of it there.
  Tensor on_device(const Tensor& x);

  using Mark = ArenaLayout::Mark;
  Mark mark() const { return layout_.mark(); }
  // Frees everything allocated since `mark`.
  void release(Mark mark) { layout_.release(mark); }

  // The most bytes in use at once, including what was skipped at the ends of chunks.
  std::size_t peak_bytes() const { return layout_.peak_bytes(); }
  void restart_peak() { layout_.restart_peak(); }                  // counts from now on
  std::size_t held_bytes() const { return layout_.held_bytes(); }  // of all chunks
  // The bytes of them that were ever allocated, in whole pages: a page never written to is not
  // resident.
  std::size_t touched_bytes() const { return layout_.touched_bytes(); }

 private:
  Device device_;
  ArenaLayout layout_;
  std::vector<Buffer> chunks_;
};

// Releases at the end of a scope what was allocated in it. AnyArena is an arena or a stand-in for
// one.
template <class AnyArena>
class ArenaScope {
 public:
  explicit ArenaScope(AnyArena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  AnyArena& arena_;
  typename AnyArena::Mark mark_;
};

}  // namespace eyrie::tensor
