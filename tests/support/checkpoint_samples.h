// Checkpoints for tests: a set of odd-shaped tensors in several layouts, and a very small one.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "checkpoint/format.h"
#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "checkpoint/save.h"
#include "parallel/communication/communicator.h"
#include "support/scratch_folder.h"

namespace eyrie::checkpoint {

using base::InputError;
using base::Path;
using test::message_of;
using test::ScratchFolder;
using Axes = std::vector<std::int64_t>;

inline const std::map<std::string, Axes> kTensors = {
    {"scalar", {}},   {"one", {1}},           {"norm/scale", {7}},    {"blocks.0/up/w", {5, 6}},
    {"wide", {1, 9}}, {"gates", {3, 4, 5}},   {"conv", {2, 1, 3, 2}}, {"nothing", {0, 4}},
    {"tall", {9, 1}}, {"embedding", {33, 20}}};

inline float value_of(const std::string& name, std::int64_t global_index) {
  return static_cast<float>(name.size() * 10'000) + static_cast<float>(global_index) * 0.5f;
}

// The index in the tensor of an element of a range, the long way.
inline std::int64_t global_index(const Axes& shape, const TensorRange& range,
                                 std::int64_t element) {
  std::int64_t rest = range.flat_begin + element;
  std::int64_t index = 0;
  std::int64_t stride = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    index += (range.start[i] + rest % range.extent[i]) * stride;
    rest /= range.extent[i];
    stride *= shape[i];
  }
  return index;
}

// Ways to lay a tensor over ranks. kFlat: equal runs of the whole tensor. kRows: first axis.
// kColumns: last axis over the tensor ranks (all, or 2 of 4), and each slice in runs over the data
// ranks.
enum class Layout { kFlat, kRows, kColumns };
constexpr Layout kLayouts[] = {Layout::kFlat, Layout::kRows, Layout::kColumns};

inline TensorRange range_of(const Axes& shape, Layout layout, int ranks, int rank) {
  TensorRange range{Axes(shape.size()), shape, 0, 0};
  int parts = ranks;
  int part = rank;
  auto split = [](std::int64_t count, int parts, int part) { return count * part / parts; };
  if (!shape.empty() && layout != Layout::kFlat) {
    const std::size_t axis = layout == Layout::kRows ? 0 : shape.size() - 1;
    const int slices = layout == Layout::kColumns && ranks == 4 ? 2 : ranks;
    const std::int64_t begin = split(shape[axis], slices, rank % slices);
    range.start[axis] = begin;
    range.extent[axis] = split(shape[axis], slices, rank % slices + 1) - begin;
    parts = ranks / slices;
    part = rank / slices;
  }
  const std::int64_t count = elements_of(range.extent);
  range.flat_begin = split(count, parts, part);
  range.flat_count = split(count, parts, part + 1) - range.flat_begin;
  return range;
}

// Owns what its pieces point to. `shift` is added to every value, to tell saves apart.
struct Pieces {
  std::vector<std::vector<float>> values;
  std::vector<TensorPiece> pieces;

  Pieces(Layout layout, int ranks, int rank, float shift = 0) {
    values.reserve(kTensors.size());
    for (const auto& [name, shape] : kTensors) {
      const TensorRange range = range_of(shape, layout, ranks, rank);
      std::vector<float>& data = values.emplace_back(static_cast<std::size_t>(range.flat_count));
      for (std::size_t i = 0; i < data.size(); ++i) {
        data[i] = value_of(name, global_index(shape, range, static_cast<std::int64_t>(i))) + shift;
      }
      pieces.push_back({name, shape, range.start, range.extent, range.flat_begin, range.flat_count,
                        data.data()});
    }
  }
};

inline void save(const Path& directory, Layout layout, int ranks, std::int64_t step = 200,
                 const std::string& state = R"({"stage":"pretrain","tokens":123,"rate":1e-3})") {
  parallel::run_in_process(ranks, [&](parallel::Communicator& communicator) {
    const Pieces mine(layout, ranks, communicator.rank());
    save_checkpoint(directory, communicator, mine.pieces, step, state);
  });
}

// One small tensor, one rank: for tests that look at every operation or byte.
inline void save_small(const Path& directory, std::int64_t step = 200, float first = 1,
                       const std::string& state = R"({"stage_step": 20})") {
  const std::vector<float> w = {first, 2, 3, 4, 5, 6};
  const std::vector<float> b = {0.25f, -0.5f};
  const TensorPiece pieces[] = {{"layer/w", {2, 3}, {0, 0}, {2, 3}, 0, 6, w.data()},
                                {"layer/b", {2}, {0}, {2}, 0, 2, b.data()}};
  save_checkpoint(directory, *parallel::open_single(), pieces, step, state);
}

inline std::vector<Path> files_in(const Path& directory) {
  std::vector<Path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file())
      files.push_back(std::filesystem::relative(entry.path(), directory));
  }
  std::sort(files.begin(), files.end());
  return files;
}

inline std::string read_fault(const Path& directory) {
  return message_of<InputError>([&] { CheckpointReader(directory).verify(); });
}

inline void overwrite(const Path& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary) << contents;
}

// The first value of what save_small() wrote; checks all of it.
inline float first_value(const Path& directory) {
  const CheckpointReader reader(directory);
  reader.verify();
  float w[6], b[2];
  reader.read_all("layer/w", w);
  reader.read_all("layer/b", b);
  EXPECT_EQ(std::vector<float>(w + 1, w + 6), (std::vector<float>{2, 3, 4, 5, 6}));
  EXPECT_EQ(std::vector<float>(b, b + 2), (std::vector<float>{0.25f, -0.5f}));
  return w[0];
}

// Whether a checkpoint holds all of kTensors, every value with this shift.
inline bool holds_all(const Path& directory, float shift) {
  const CheckpointReader reader(directory);
  reader.verify();
  if (reader.names().size() != kTensors.size()) return false;
  for (const auto& [name, shape] : kTensors) {
    std::vector<float> values(static_cast<std::size_t>(elements_of(shape)));
    reader.read_all(name, values.data());
    for (std::size_t i = 0; i < values.size(); ++i)
      if (values[i] != value_of(name, static_cast<std::int64_t>(i)) + shift) return false;
  }
  return true;
}

// A run's folder; no fault is left behind.
class CheckpointFolder : public testing::Test {
 protected:
  ~CheckpointFolder() override { base::set_fault_hook(nullptr); }
  ScratchFolder folder_;
  const Path run_ = folder_ / "run";
  const Path step1_ = checkpoint_path(run_, 1);
  const Path step2_ = checkpoint_path(run_, 2);
};

}  // namespace eyrie::checkpoint
