// Communicators that count: bytes and operations of exchanges that go nowhere, against the same
// exchanges between threads.
#include "parallel/communication/counting.h"

#include <gtest/gtest.h>

#include "parallel/communication/collectives.h"
#include "parallel/communication/exchange.h"
#include "parallel/sharding/mesh.h"

namespace eyrie::parallel {
namespace {

using tensor::Device;
using tensor::DType;

struct Counts {
  std::int64_t bytes, returned;
  friend bool operator==(const Counts&, const Counts&) = default;
};

Counts exchange(Communicator& ranks, Device device, DType comm_dtype, std::int64_t size) {
  std::vector<std::int64_t> cuts = {0};
  for (int rank = 1; rank <= ranks.size(); ++rank) cuts.push_back(size * rank * rank / 16);
  cuts.back() = size;
  const tensor::Buffer memory(static_cast<std::size_t>(size) * sizeof(float), device);
  tensor::Arena scratch(1 << 20, device);
  ExchangeSpace space;
  const std::int64_t before = ranks.bytes_sent();
  std::int64_t returned = scatter_partial_sums(
      ranks, memory.row(), cuts, comm_dtype, [](auto, std::int64_t) {}, space);
  returned += all_gather(ranks, memory.row(), cuts);
  const tensor::Tensor x = scratch.zeros(DType::kFloat32, 37, 11);
  all_reduce_rows(ranks, x, comm_dtype, scratch);
  return {ranks.bytes_sent() - before, returned};
}

TEST(Counting, CountsWhatThreadsSend) {
  for (const DType comm_dtype : {DType::kFloat32, DType::kBFloat16}) {
    std::vector<Counts> real(3), planned;
    run_in_process(3, [&](Communicator& ranks) {
      real[static_cast<std::size_t>(ranks.rank())] =
          exchange(ranks, Device::kCpu, comm_dtype, 1000000);
    });
    for (int rank = 0; rank < 3; ++rank) {
      CountingCommunicator ranks("planned", rank, 3);
      planned.push_back(exchange(ranks, Device::kMeta, comm_dtype, 1000000));
      EXPECT_EQ(ranks.operations(), 4);
    }
    EXPECT_EQ(planned, real);
  }
}

TEST(Counting, AMeshHasEveryRanksPlace) {
  const MeshShape shape{.data = 4, .context = 2, .tensor = 3, .replicas = 2};
  run_in_process(shape.ranks(), [&](Communicator& world) {
    const Mesh mesh(world, shape), planned = Mesh::planned(shape, world.rank());
    EXPECT_EQ(planned.data_rank(), mesh.data_rank());
    EXPECT_EQ(planned.replica(), mesh.replica());
    for (const auto axis : {&Mesh::world, &Mesh::tensor, &Mesh::context, &Mesh::data_context,
                            &Mesh::shard_group, &Mesh::replicate_group}) {
      EXPECT_EQ((planned.*axis)().rank(), (mesh.*axis)().rank());
      EXPECT_EQ((planned.*axis)().size(), (mesh.*axis)().size());
      EXPECT_EQ((planned.*axis)().name(), (mesh.*axis)().name());
    }
  });
}

TEST(Counting, CannotBeSplit) {
  CountingCommunicator ranks("planned", 1, 3);
  EXPECT_THROW(ranks.split(0, 0, "half"), base::Error);
  EXPECT_EQ(ranks.all_gather("x"), std::vector<std::string>(3, "x"));
  EXPECT_TRUE(ranks.gather("x", 0).empty());
}

}  // namespace
}  // namespace eyrie::parallel
