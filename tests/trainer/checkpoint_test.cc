// Checkpoints: any layout is read from any other, every damage is noticed and named, and a save
// that fails or is cut short at any operation leaves the earlier checkpoint sound.
#include "trainer/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/hdf5_file.h"
#include "support/scratch_folder.h"
#include "trainer/checkpoint_format.h"
#include "trainer/checkpoint_retention.h"

namespace eyrie::trainer {
namespace {

using base::InputError;
using base::Path;
using test::message_of;
using test::ScratchFolder;
using Axes = std::vector<std::int64_t>;

const std::map<std::string, Axes> kTensors = {
    {"scalar", {}},   {"one", {1}},           {"norm/scale", {7}},    {"blocks.0/up/w", {5, 6}},
    {"wide", {1, 9}}, {"gates", {3, 4, 5}},   {"conv", {2, 1, 3, 2}}, {"nothing", {0, 4}},
    {"tall", {9, 1}}, {"embedding", {33, 20}}};

float value_of(const std::string& name, std::int64_t global_index) {
  return static_cast<float>(name.size() * 10'000) + static_cast<float>(global_index) * 0.5f;
}

// The index in the tensor of an element of a range, the long way.
std::int64_t global_index(const Axes& shape, const TensorRange& range, std::int64_t element) {
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

TensorRange range_of(const Axes& shape, Layout layout, int ranks, int rank) {
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

// Owns what its pieces point to.
struct Pieces {
  std::vector<std::vector<float>> values;
  std::vector<TensorPiece> pieces;

  Pieces(Layout layout, int ranks, int rank) {
    values.reserve(kTensors.size());
    for (const auto& [name, shape] : kTensors) {
      const TensorRange range = range_of(shape, layout, ranks, rank);
      std::vector<float>& data = values.emplace_back(static_cast<std::size_t>(range.flat_count));
      for (std::size_t i = 0; i < data.size(); ++i) {
        data[i] = value_of(name, global_index(shape, range, static_cast<std::int64_t>(i)));
      }
      pieces.push_back({name, shape, range.start, range.extent, range.flat_begin, range.flat_count,
                        data.data()});
    }
  }
};

void save(const Path& directory, Layout layout, int ranks, std::int64_t step = 200,
          const std::string& state = R"({"stage":"pretrain","tokens":123,"rate":1e-3})") {
  parallel::run_in_process(ranks, [&](parallel::Communicator& communicator) {
    const Pieces mine(layout, ranks, communicator.rank());
    save_checkpoint(directory, communicator, mine.pieces, step, state);
  });
}

// One small tensor, one rank: for tests that look at every operation or byte.
void save_small(const Path& directory, std::int64_t step = 200, float first = 1) {
  const std::vector<float> w = {first, 2, 3, 4, 5, 6};
  const std::vector<float> b = {0.25f, -0.5f};
  const TensorPiece pieces[] = {{"layer/w", {2, 3}, {0, 0}, {2, 3}, 0, 6, w.data()},
                                {"layer/b", {2}, {0}, {2}, 0, 2, b.data()}};
  save_checkpoint(directory, *parallel::open_single(), pieces, step, R"({"stage_step": 20})");
}

std::vector<Path> files_in(const Path& directory) {
  std::vector<Path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file())
      files.push_back(std::filesystem::relative(entry.path(), directory));
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string read_fault(const Path& directory) {
  return message_of<InputError>([&] { CheckpointReader(directory).verify(); });
}

void overwrite(const Path& path, const std::string& contents) {
  base::File file = base::File::create(path);
  file.write_at(std::as_bytes(std::span(contents)), 0);
}

class Checkpoint : public testing::Test {
 protected:
  ~Checkpoint() override { base::set_fault_hook(nullptr); }
  ScratchFolder folder_;
  const Path run_ = folder_ / "run";
  const Path step1_ = checkpoint_path(run_, 1);
  const Path step2_ = checkpoint_path(run_, 2);
};

TEST_F(Checkpoint, AnyLayoutIsReadFromAnyOther) {
  for (const Layout layout : kLayouts) {
    for (int writers = 1; writers <= 4; ++writers) {
      const Path directory = folder_ / fmt::format("step-{}-{}", static_cast<int>(layout), writers);
      save(directory, layout, writers);
      const CheckpointReader reader(directory);
      reader.verify();
      EXPECT_EQ(reader.step(), 200);
      EXPECT_EQ(reader.state(), R"({"stage":"pretrain","tokens":123,"rate":0.001})");
      EXPECT_EQ(reader.names().size(), kTensors.size());
      for (const auto& [name, shape] : kTensors) {
        EXPECT_EQ(reader.shape(name), shape);
        for (const Layout wanted : kLayouts) {
          for (int readers = 1; readers <= 4; ++readers) {
            for (int rank = 0; rank < readers; ++rank) {
              const TensorRange range = range_of(shape, wanted, readers, rank);
              std::vector<float> out(static_cast<std::size_t>(range.flat_count), -1);
              reader.read(name, range, out.data());
              for (std::size_t i = 0; i < out.size(); ++i) {
                ASSERT_EQ(out[i],
                          value_of(name, global_index(shape, range, static_cast<std::int64_t>(i))))
                    << name << " " << static_cast<int>(layout) << " " << writers << " "
                    << static_cast<int>(wanted) << " " << readers << " " << rank << " " << i;
              }
            }
          }
        }
      }
    }
  }
}

TEST_F(Checkpoint, RanksWithoutPiecesWriteNoFile) {
  parallel::run_in_process(3, [&](parallel::Communicator& communicator) {
    const Pieces mine(Layout::kFlat, 1, 0);
    save_checkpoint(
        step1_, communicator,
        communicator.rank() == 1 ? std::span(mine.pieces) : std::span<const TensorPiece>(), 1,
        "{}");
  });
  EXPECT_EQ(files_in(step1_), (std::vector<Path>{"manifest.json", "shard-0001.h5"}));
  std::vector<float> out(30);
  CheckpointReader(step1_).read_all("blocks.0/up/w", out.data());
  EXPECT_EQ(out[29], value_of("blocks.0/up/w", 29));
}

TEST_F(Checkpoint, RandomRangesMeetAsElementByElement) {
  std::mt19937 random(1);
  auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n + 1));
  };
  auto random_range = [&](const Axes& shape) {
    TensorRange range;
    for (const std::int64_t axis : shape) {
      range.start.push_back(below(2) > 0 ? 0 : below(axis));
      const std::int64_t rest = axis - range.start.back();
      range.extent.push_back(below(2) > 0 ? rest : below(rest));
    }
    const std::int64_t count = elements_of(range.extent);
    range.flat_begin = below(1) > 0 ? 0 : below(count);
    range.flat_count = below(count - range.flat_begin);
    return range;
  };
  int met = 0;
  for (int round = 0; round < 20'000; ++round) {
    Axes shape;
    for (std::int64_t axes = below(2); axes >= 0; --axes) shape.push_back(3 + below(5));
    const TensorRange source = random_range(shape);
    const TensorRange target = random_range(shape);
    std::map<std::int64_t, std::int64_t> place;  // of a tensor's element in the source
    for (std::int64_t i = 0; i < source.flat_count; ++i) place[global_index(shape, source, i)] = i;
    std::vector<std::int64_t> expected(static_cast<std::size_t>(target.flat_count), -1);
    for (std::int64_t i = 0; i < target.flat_count; ++i) {
      const auto found = place.find(global_index(shape, target, i));
      if (found != place.end()) expected[static_cast<std::size_t>(i)] = found->second;
    }
    std::vector<std::int64_t> actual(expected.size(), -1);
    for (const Copy& copy : copies_between(source, target)) {
      ASSERT_GT(copy.count, 0);
      for (std::int64_t i = 0; i < copy.count; ++i) {
        actual.at(static_cast<std::size_t>(copy.to + i)) = copy.from + i;
      }
      ++met;
    }
    ASSERT_EQ(actual, expected) << round;
  }
  EXPECT_GT(met, 5000);
}

TEST_F(Checkpoint, OverlappingPiecesJustWork) {
  parallel::run_in_process(3, [&](parallel::Communicator& communicator) {
    const Pieces mine(Layout::kFlat, 1, 0);  // every rank writes everything
    save_checkpoint(step1_, communicator, mine.pieces, 1, "{}");
  });
  const CheckpointReader reader(step1_);
  reader.verify();
  std::vector<float> out(20);
  reader.read("embedding", {3, 5}, {10, 4}, 7, 20, out.data());
  for (std::int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(out[static_cast<std::size_t>(i)],
              value_of("embedding", global_index({33, 20}, {{3, 5}, {10, 4}, 7, 20}, i)));
  }
}

TEST_F(Checkpoint, OtherTypes) {
  const std::vector<std::uint16_t> half = {0x3f80, 0xbf80, 0x7f7f};
  const std::vector<std::int32_t> whole = {-1, 7, INT32_MAX};
  const std::vector<std::uint8_t> small = {0, 255};
  const TensorPiece pieces[] = {{"half", {3}, {0}, {3}, 0, 3, half.data(), PieceType::kBFloat16},
                                {"whole", {3}, {0}, {3}, 0, 3, whole.data(), PieceType::kInt32},
                                {"small", {2}, {0}, {2}, 0, 2, small.data(), PieceType::kUint8}};
  save_checkpoint(step1_, *parallel::open_single(), pieces, 1, "{}");
  const CheckpointReader reader(step1_);
  EXPECT_EQ(reader.type("half"), PieceType::kBFloat16);
  std::vector<std::uint16_t> half_out(2);
  reader.read("half", TensorRange{{1}, {2}, 0, 2}, half_out.data());
  EXPECT_EQ(half_out, (std::vector<std::uint16_t>{0xbf80, 0x7f7f}));
  std::vector<std::int32_t> whole_out(3);
  reader.read("whole", TensorRange{{0}, {3}, 0, 3}, whole_out.data());
  EXPECT_EQ(whole_out, whole);
  std::vector<std::uint8_t> small_out(1);
  reader.read("small", TensorRange{{0}, {2}, 1, 1}, small_out.data());
  EXPECT_EQ(small_out[0], 255);
  float wrong[3];
  EXPECT_NE(message_of<InputError>([&] {
              reader.read_all("half", wrong);
            }).find("tensor half is of bfloat16, not float32"),
            std::string::npos);
}

TEST_F(Checkpoint, UnknownTensorNamesTheNearest) {
  save_small(step1_, 1);
  const CheckpointReader reader(step1_);
  EXPECT_TRUE(reader.has("layer/w"));
  EXPECT_FALSE(reader.has("layer/v"));
  const std::string message = message_of<InputError>([&] { reader.shape("layers/w"); });
  EXPECT_NE(message.find("has no tensor layers/w (the nearest is layer/w)"), std::string::npos)
      << message;
}

TEST_F(Checkpoint, EqualSavesAreEqualBytes) {
  save(folder_ / "a", Layout::kColumns, 3);
  save(folder_ / "b", Layout::kColumns, 3);
  const std::vector<Path> files = files_in(folder_ / "a");
  EXPECT_EQ(files, files_in(folder_ / "b"));
  EXPECT_EQ(files.size(), 4u);
  for (const Path& file : files) {
    EXPECT_EQ(base::read_file(folder_ / "a" / file), base::read_file(folder_ / "b" / file)) << file;
  }
}

TEST_F(Checkpoint, ValuesThatAreNotFiniteAreRefused) {
  save_small(step1_, 1);
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    const std::string message = message_of<base::Error>([&] { save_small(step2_, 2, value); });
    EXPECT_NE(message.find("tensor layer/w is not saved: element 0"), std::string::npos) << message;
    EXPECT_FALSE(std::filesystem::exists(step2_));
  }
  const std::uint16_t half[] = {0x3f80, 0x7fc0};
  const TensorPiece piece[] = {{"half", {2}, {0}, {2}, 0, 2, half, PieceType::kBFloat16}};
  EXPECT_NE(message_of<base::Error>([&] {
              save_checkpoint(step2_, *parallel::open_single(), piece, 2, "{}");
            }).find("tensor half is not saved: element 1"),
            std::string::npos);
  EXPECT_EQ(newest_valid_checkpoint(run_), step1_);
}

TEST_F(Checkpoint, TensorsThatAreNotCoveredAreRefused) {
  const float data[6] = {};
  const TensorPiece half[] = {{"w", {2, 3}, {0, 0}, {1, 3}, 0, 3, data}};
  EXPECT_NE(message_of<base::Error>([&] {
              save_checkpoint(step1_, *parallel::open_single(), half, 1, "{}");
            }).find("the ranks' pieces have 3 of the 6 elements of tensor w"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(step1_));
  EXPECT_NE(message_of<base::Error>([&] {
              save_checkpoint(step1_, *parallel::open_single(), {}, 1, "[1]");
            }).find("no JSON object"),
            std::string::npos);
  // As many elements as needed, but twice the same ones: seen by verify and by a read.
  const TensorPiece twice[] = {{"w", {2, 3}, {0, 0}, {1, 3}, 0, 3, data},
                               {"w", {2, 3}, {0, 0}, {1, 3}, 0, 3, data}};
  save_checkpoint(step1_, *parallel::open_single(), twice, 1, "{}");
  EXPECT_NE(read_fault(step1_).find("tensor w: element 3 is in no shard"), std::string::npos);
  float out[6];
  EXPECT_NE(message_of<InputError>([&] {
              CheckpointReader(step1_).read_all("w", out);
            }).find("tensor w: element 3 of the range wanted is in no shard"),
            std::string::npos);
}

TEST_F(Checkpoint, RanksThatDisagreeAreRefused) {
  const std::string message = message_of<base::Error>([&] {
    parallel::run_in_process(2, [&](parallel::Communicator& communicator) {
      const float data[3] = {};
      const std::int64_t count = 2 + communicator.rank();
      const TensorPiece piece[] = {{"w", {count}, {0}, {count}, 0, count, data}};
      save_checkpoint(step1_, communicator, piece, 1, "{}");
    });
  });
  EXPECT_NE(message.find("rank 1 has another shape or dtype of tensor w"), std::string::npos)
      << message;
}

TEST_F(Checkpoint, EveryFlippedByteIsNoticedAndNamed) {
  save_small(step1_, 1);
  std::set<std::string> named;
  for (const Path& file : files_in(step1_)) {
    const std::string whole = base::read_file(step1_ / file);
    for (std::size_t at = 0; at < whole.size(); ++at) {
      test::flip_bit(step1_ / file, at, at % 8);
      const std::string message = read_fault(step1_);
      ASSERT_NE(message.find((step1_ / file).string() + ": "), std::string::npos) << at << message;
      ASSERT_NE(message.find("; use an older checkpoint"), std::string::npos) << at << message;
      for (const char* tensor :
           {"tensor layer/w: its data is damaged", "tensor layer/b: its data is damaged",
            "structure does not match its seal", "the manifest is damaged"}) {
        if (message.find(tensor) != std::string::npos) named.insert(tensor);
      }
      test::flip_bit(step1_ / file, at, at % 8);
    }
  }
  EXPECT_EQ(named.size(), 4u);
  CheckpointReader(step1_).verify();
}

TEST_F(Checkpoint, AReadOfDamagedDataIsRefusedAndOthersAreNot) {
  save_small(step1_, 1);
  const base::Hdf5Reader shard(step1_ / "shard-0000.h5", "");
  ASSERT_EQ(shard.list(), (std::vector<std::string>{"layer.b@1", "layer.w@0"}));
  std::string bytes = base::read_file(step1_ / "shard-0000.h5");
  bytes[shard.offset("layer.w@0") + 21] ^= 1;
  overwrite(step1_ / "shard-0000.h5", bytes);
  const CheckpointReader reader(step1_);
  float out[6];
  reader.read_all("layer/b", out);
  EXPECT_EQ(out[1], -0.5f);
  // Even an element that was not hit: the piece as a whole is not to be trusted.
  const std::string message = message_of<InputError>([&] {
    reader.read("layer/w", {0, 0}, {1, 1}, 0, 1, out);
  });
  EXPECT_NE(message.find("shard-0000.h5: tensor layer/w: its data is damaged"), std::string::npos)
      << message;
}

TEST_F(Checkpoint, TruncatedMissingAndForeignShardsAreNamed) {
  save(step1_, Layout::kFlat, 2, 1);
  const Path shard = step1_ / "shard-0001.h5";
  const std::string whole = base::read_file(shard);
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{100}, whole.size() / 2, whole.size() - 1}) {
    overwrite(shard, whole.substr(0, length));
    const std::string message = read_fault(step1_);
    EXPECT_NE(message.find(fmt::format("shard-0001.h5: the shard has {} bytes instead of {}",
                                       length, whole.size())),
              std::string::npos)
        << message;
    EXPECT_NE(message.find("use an older checkpoint"), std::string::npos);
  }
  base::remove_tree(shard);
  EXPECT_NE(read_fault(step1_).find("shard-0001.h5: the shard cannot be read (No such file"),
            std::string::npos);
  // A sound shard of the same size from another step.
  save(step2_, Layout::kFlat, 2, 2);
  std::filesystem::copy(step2_ / "shard-0000.h5", shard);
  EXPECT_NE(read_fault(step1_).find("shard-0001.h5: "), std::string::npos);
  save_small(folder_ / "a", 1, 1);
  save_small(folder_ / "b", 1, 9);
  overwrite(folder_ / "a/shard-0000.h5", base::read_file(folder_ / "b/shard-0000.h5"));
  EXPECT_NE(read_fault(folder_ / "a").find("of another save"), std::string::npos);
}

TEST_F(Checkpoint, WithoutManifestItIsNone) {
  save_small(step1_, 1);
  base::remove_tree(step1_ / "manifest.json");
  const std::string message = read_fault(step1_);
  EXPECT_NE(message.find("no manifest.json: this save was never finished; use an older checkpoint"),
            std::string::npos)
      << message;
  EXPECT_NE(read_fault(folder_ / "none").find("there is no such checkpoint directory"),
            std::string::npos);
  const auto all = list_checkpoints(run_ / "checkpoints");
  ASSERT_EQ(all.size(), 1u);
  EXPECT_FALSE(all[0].complete);
  // The next save of that step replaces what is left.
  base::write_file(step1_ / "shard-0007.h5", "left over");
  save_small(step1_, 1);
  EXPECT_EQ(files_in(step1_), (std::vector<Path>{"manifest.json", "shard-0000.h5"}));
  CheckpointReader(step1_).verify();
}

TEST_F(Checkpoint, NewerFormatsAreRefused) {
  save_small(step1_, 1);
  std::string text = base::read_file(step1_ / "manifest.json");
  const std::string version = "\"version\": 1";
  text.replace(text.find(version), version.size(), "\"version\": 2");
  text.resize(text.rfind("\"checksum\""));
  text += fmt::format("\"checksum\": \"{}\"\n}}\n", base::hex(base::hash_text(text)));
  overwrite(step1_ / "manifest.json", text);
  EXPECT_NE(read_fault(step1_).find("version 2"), std::string::npos);
}

TEST_F(Checkpoint, FaultUnderEveryOperationLeavesTheEarlierOne) {
  save_small(step1_, 1);
  int operations = 0;
  base::set_fault_hook([&](std::string_view, const Path&) { return ++operations, 0; });
  save_small(step2_, 2);
  base::set_fault_hook(nullptr);
  ASSERT_GT(operations, 15);
  base::remove_tree(step2_);
  for (const int error : {ENOSPC, EIO, base::kShortWrite}) {
    for (const bool and_later : {false, true}) {
      for (int at = 0; at < operations - 1; ++at) {  // the last one comes after the commit
        int now = 0;
        base::set_fault_hook([&](std::string_view, const Path&) {
          const int mine = now++;
          return mine == at || (and_later && mine > at) ? error : 0;
        });
        const std::string message = message_of<base::Error>([&] { save_small(step2_, 2); });
        base::set_fault_hook(nullptr);
        EXPECT_NE(message.find(error == ENOSPC ? "no space left" : "Input/output error"),
                  std::string::npos)
            << at << ": " << message;
        // After the manifest's rename there is a whole checkpoint, if nothing more can be removed.
        const bool renamed = and_later && at == operations - 2;
        if (!and_later) {
          EXPECT_FALSE(std::filesystem::exists(step2_)) << at;
        }
        EXPECT_EQ(newest_valid_checkpoint(run_), renamed ? step2_ : step1_) << at;
        base::remove_tree(step2_);
      }
    }
  }
  save_small(step2_, 2);
  EXPECT_EQ(newest_valid_checkpoint(run_), step2_);
}

TEST_F(Checkpoint, ReplacingOneOfTheSameStepKeepsTheOldUntilTheEnd) {
  auto first_value = [](const Path& directory) {
    float out[6];
    CheckpointReader(directory).read_all("layer/w", out);
    return out[0];
  };
  save_small(step1_, 1, 1);
  int operations = 0;
  base::set_fault_hook([&](std::string_view, const Path&) { return ++operations, 0; });
  save_small(step1_, 1, 2);
  base::set_fault_hook(nullptr);
  EXPECT_EQ(first_value(step1_), 2);
  EXPECT_EQ(list_checkpoints(run_ / "checkpoints").size(), 1u);
  for (int at = 0; at < operations; ++at) {
    for (const bool and_later : {false, true}) {
      save_small(step1_, 1, 3);
      int now = 0;
      base::set_fault_hook([&](std::string_view, const Path&) {
        const int mine = now++;
        return mine == at || (and_later && mine > at) ? EIO : 0;
      });
      const std::string message = message_of<base::Error>([&] { save_small(step1_, 1, 4); });
      base::set_fault_hook(nullptr);
      const auto valid = newest_valid_checkpoint(run_);
      ASSERT_TRUE(valid) << at;
      if (message == "nothing was thrown") {
        EXPECT_EQ(first_value(*valid), 4) << at;  // only the old one's removal failed
      } else if (!and_later) {
        EXPECT_EQ(*valid, step1_) << at;
        EXPECT_EQ(first_value(*valid), 3) << at;
      } else {
        EXPECT_TRUE(first_value(*valid) == 3 || first_value(*valid) == 4) << at;
      }
      base::remove_tree(run_ / "checkpoints");
    }
  }
}

TEST_F(Checkpoint, PowerLossAtAnyOperation) {
  // Before every operation the disk is copied as it would be found after a loss of power: files
  // that were written and not synced are empty there. Whatever the moment, the newest valid
  // checkpoint is a whole one.
  save_small(step1_, 1);
  std::set<Path> dirty;
  std::vector<Path> moments;
  auto lose_power = [&] {
    const Path copy = folder_ / fmt::format("moment-{}", moments.size());
    std::filesystem::copy(run_, copy, std::filesystem::copy_options::recursive);
    for (const Path& file : dirty) {
      const Path there = copy / std::filesystem::relative(file, run_);
      if (std::filesystem::exists(there)) std::filesystem::resize_file(there, 0);
    }
    moments.push_back(copy);
  };
  base::set_fault_hook([&](std::string_view operation, const Path& path) {
    lose_power();
    if (operation == "write" || operation == "truncate") dirty.insert(path);
    if (operation == "sync") dirty.erase(path);
    return 0;
  });
  save_small(step2_, 2);
  base::set_fault_hook(nullptr);
  lose_power();
  int old_ones = 0;
  int new_ones = 0;
  for (const Path& moment : moments) {
    const auto valid = newest_valid_checkpoint(moment);
    ASSERT_TRUE(valid) << moment;
    (*valid == checkpoint_path(moment, 2) ? new_ones : old_ones) += 1;
  }
  EXPECT_GT(old_ones, 10);
  EXPECT_GE(new_ones, 1);
  EXPECT_TRUE(dirty.empty());
}

TEST_F(Checkpoint, AFailureOnOneRankIsAllRanksFailure) {
  save(step1_, Layout::kFlat, 3, 1);
  base::set_fault_hook([](std::string_view operation, const Path& path) {
    return operation == "write" && path.string().find("shard-0002") != std::string::npos ? ENOSPC
                                                                                         : 0;
  });
  std::mutex mutex;
  std::vector<std::string> messages;
  EXPECT_THROW(parallel::run_in_process(3,
                                        [&](parallel::Communicator& communicator) {
                                          const Pieces mine(Layout::kFlat, 3, communicator.rank());
                                          try {
                                            save_checkpoint(step2_, communicator, mine.pieces, 2,
                                                            "{}");
                                          } catch (const base::Error& error) {
                                            const std::lock_guard lock(mutex);
                                            messages.push_back(error.what());
                                            throw;
                                          }
                                        }),
               base::Error);
  base::set_fault_hook(nullptr);
  ASSERT_EQ(messages.size(), 3u);
  for (const std::string& message : messages) {
    EXPECT_NE(message.find("rank 2: no space left"), std::string::npos) << message;
  }
  EXPECT_FALSE(std::filesystem::exists(step2_));
  EXPECT_EQ(newest_valid_checkpoint(run_), step1_);
}

TEST_F(Checkpoint, FallsBackToTheNewestSoundOne) {
  EXPECT_EQ(newest_valid_checkpoint(run_), std::nullopt);
  for (std::int64_t step : {1, 2, 3, 4})
    save(checkpoint_path(run_, step), Layout::kColumns, 2, step);
  base::remove_tree(checkpoint_path(run_, 4) / "manifest.json");
  const Path shard = checkpoint_path(run_, 3) / "shard-0001.h5";
  std::string bytes = base::read_file(shard);
  const base::Hdf5Reader reader(shard, "");
  bytes[reader.offset(reader.list().front())] ^= 64;
  overwrite(shard, bytes);
  std::vector<std::string> why_not;
  EXPECT_EQ(newest_valid_checkpoint(run_, &why_not), checkpoint_path(run_, 2));
  ASSERT_EQ(why_not.size(), 2u);
  EXPECT_NE(why_not[0].find("step-00000004: no manifest.json"), std::string::npos) << why_not[0];
  EXPECT_NE(why_not[1].find("shard-0001.h5: tensor blocks.0/up/w: its data is damaged"),
            std::string::npos)
      << why_not[1];
  parallel::run_in_process(3, [&](parallel::Communicator& communicator) {
    std::vector<std::string> reasons;
    EXPECT_EQ(newest_valid_checkpoint(run_, communicator, &reasons), checkpoint_path(run_, 2));
    EXPECT_EQ(reasons, why_not);
  });
}

TEST_F(Checkpoint, PruneKeepsTheNewestAndTheMilestones) {
  for (std::int64_t step : {10, 20, 25, 30, 40, 50}) save_small(checkpoint_path(run_, step), step);
  base::make_directories(checkpoint_path(run_, 45));   // a save that was interrupted
  base::make_directories(run_ / "checkpoints/notes");  // somebody's own
  base::make_directories(checkpoint_path(run_, 60));   // one that may be going on
  const std::vector<Path> removed = prune_checkpoints(run_, {2, 20, 0});
  EXPECT_EQ(std::set<Path>(removed.begin(), removed.end()),
            (std::set<Path>{checkpoint_path(run_, 45), checkpoint_path(run_, 30),
                            checkpoint_path(run_, 25), checkpoint_path(run_, 10)}));
  std::vector<std::int64_t> left;
  for (const CheckpointInfo& info : list_checkpoints(run_ / "checkpoints"))
    left.push_back(info.step);
  EXPECT_EQ(left, (std::vector<std::int64_t>{20, 40, 50, 60}));
  EXPECT_TRUE(std::filesystem::exists(run_ / "checkpoints/notes"));
}

TEST_F(Checkpoint, PruneNeverLetsADamagedOneStandForASoundOne) {
  for (std::int64_t step : {1, 2, 3}) save_small(checkpoint_path(run_, step), step);
  overwrite(checkpoint_path(run_, 3) / "shard-0000.h5", "damaged");
  prune_checkpoints(run_, {0, 0, 0});
  EXPECT_EQ(newest_valid_checkpoint(run_), checkpoint_path(run_, 2));
  EXPECT_FALSE(std::filesystem::exists(checkpoint_path(run_, 1)));
}

TEST_F(Checkpoint, StepsOfNineDigitsSortAsNumbers) {
  for (std::int64_t step : {99'999'999, 100'000'000}) save_small(checkpoint_path(run_, step), step);
  EXPECT_EQ(newest_valid_checkpoint(run_), checkpoint_path(run_, 100'000'000));
}

}  // namespace
}  // namespace eyrie::trainer
