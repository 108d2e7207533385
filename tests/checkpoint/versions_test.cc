// Checkpoints and shards of all versions that were ever written: they are read as they were.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/hdf5_file.h"
#include "checkpoint/checkpoint_weights.h"
#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "checkpoint/save.h"
#include "support/scratch_folder.h"

namespace eyrie::checkpoint {
namespace {

using nlohmann::json;

base::Path fixtures() { return base::Path(EYRIE_SOURCE_DIR) / "tests/fixtures/versions"; }

// One hash over the values of all tensors in the order of their names.
std::string values_of(const CheckpointReader& reader) {
  base::Hasher hasher;
  for (const std::string& name : reader.names()) {
    std::vector<float> values(static_cast<std::size_t>(elements_of(reader.shape(name))));
    reader.read_all(name, values.data());
    hasher.add(name);
    hasher.add(std::as_bytes(std::span(values)));
  }
  return base::hex(hasher.value());
}

json manifest_in(const base::Path& directory) {
  return json::parse(base::read_file(directory / "manifest.json"));
}

// Written by 4 ranks, data 2 × tensor 2, after 3 steps.
TEST(Versions, ACheckpointOfVersion1) {
  const base::Path directory = fixtures() / "checkpoint-1";
  ASSERT_EQ(manifest_in(directory).at("version"), 1);
  const CheckpointReader reader(directory);
  EXPECT_EQ(reader.step(), 3);
  EXPECT_EQ(values_of(reader), "9567e0dcf51c0a78");
  reader.verify();
  EXPECT_EQ(fault_of(directory, true), "");
  EXPECT_EQ(CheckpointWeights(directory).config().layers, "RA");
  EXPECT_EQ(json::parse(read_state(directory)).at("updates"), 3);
}

// Its pieces, written anew, are the same tensors.
TEST(Versions, IsWrittenInTheNewestVersion) {
  const test::ScratchFolder folder;
  const CheckpointReader old(fixtures() / "checkpoint-1");
  std::vector<std::vector<float>> values;
  std::vector<TensorPiece> pieces;
  for (const std::string& name : old.names()) {
    const std::vector<std::int64_t>& shape = old.shape(name);
    values.emplace_back(static_cast<std::size_t>(elements_of(shape)));
    old.read_all(name, values.back().data());
    pieces.push_back({name, shape, std::vector<std::int64_t>(shape.size()), shape, 0,
                      elements_of(shape), values.back().data()});
  }
  const auto alone = parallel::open_single();
  save_checkpoint(folder.path() / "step-00000003", *alone, pieces, old.step(), old.state());
  EXPECT_EQ(manifest_in(folder.path() / "step-00000003").at("version"), kCheckpointVersion);
  EXPECT_EQ(values_of(CheckpointReader(folder.path() / "step-00000003")), values_of(old));
}

}  // namespace
}  // namespace eyrie::checkpoint
