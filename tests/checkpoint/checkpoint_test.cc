// Checkpoints: any layout is read from any other, and every damage is noticed and named.
#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "checkpoint/save.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/hdf5_file.h"
#include "checkpoint/format.h"
#include "support/checkpoint_samples.h"

namespace eyrie::checkpoint {
namespace {

class Checkpoint : public CheckpointFolder {};

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

// A rank whose range lies in one file is not touched by what happened to the others.
TEST_F(Checkpoint, ARankOpensTheFilesItNeedsAlone) {
  save(step1_, Layout::kRows, 3);
  for (const char* other : {"shard-0001.h5", "shard-0002.h5"}) {
    const std::string bytes = base::read_file(step1_ / other);
    overwrite(step1_ / other, std::string(bytes.size(), 'x'));
  }
  const CheckpointReader reader(step1_);  // looks at their sizes only
  std::vector<float> out(5 * 20);
  reader.read("embedding", {2, 0}, {5, 20}, 0, 100, out.data());
  EXPECT_EQ(out[3], value_of("embedding", 43));
  EXPECT_NE(message_of<DamagedCheckpoint>([&] {
              reader.read("embedding", {12, 0}, {5, 20}, 0, 100, out.data());
            }).find("tensor embedding: its data is damaged"),
            std::string::npos);
  EXPECT_NE(fault_of(step1_, true), "");
}

// A tensor that is read part by part is read from its file once, and verified then.
TEST_F(Checkpoint, WhatWasVerifiedIsNotReadAgain) {
  save_small(step1_, 1);
  const CheckpointReader reader(step1_);
  float first = 0, others[5];
  reader.read("layer/w", {0, 0}, {2, 3}, 0, 1, &first);
  const std::string bytes = base::read_file(step1_ / "shard-0000.h5");
  overwrite(step1_ / "shard-0000.h5", std::string(bytes.size(), 'x'));
  reader.read("layer/w", {0, 0}, {2, 3}, 1, 5, others);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(std::vector<float>(others, others + 5), (std::vector<float>{2, 3, 4, 5, 6}));
  EXPECT_THROW(reader.read_all("layer/b", others), DamagedCheckpoint);
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
            "structure does not match its checksum footer", "the manifest is damaged"}) {
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
  const std::string version = "\"version\": 2";
  text.replace(text.find(version), version.size(), "\"version\": 3");
  text.resize(text.rfind("\"checksum\""));
  text += fmt::format("\"checksum\": \"{}\"\n}}\n", base::hex(base::hash_text(text)));
  overwrite(step1_ / "manifest.json", text);
  EXPECT_NE(read_fault(step1_).find("eyrie-checkpoint\" version 3"), std::string::npos);
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

TEST_F(Checkpoint, StepsOfNineDigitsSortAsNumbers) {
  for (std::int64_t step : {99'999'999, 100'000'000}) save_small(checkpoint_path(run_, step), step);
  EXPECT_EQ(newest_valid_checkpoint(run_), checkpoint_path(run_, 100'000'000));
}

}  // namespace
}  // namespace eyrie::checkpoint
