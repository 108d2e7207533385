// Finds ranks that compute wrongly without noticing it (a flipped bit in memory, a faulty core):
// the same tokens on the same weights must give the same gradients, bit for bit, on every data
// rank.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "data_pipeline/batch_stream.h"
#include "model/griffin.h"
#include "parallel/sharding/mesh.h"
#include "tensor/arena.h"
#include "trainer/objectives/objective.h"

namespace eyrie::trainer {

// Hashes the gradients of one micro-shard, in two buffers: the embedding's, which is written
// throughout the backward pass, and one for the other units in turn.
class GradientDigest : public model::GradientSink {
 public:
  GradientDigest(const std::vector<parallel::Unit>& units, tensor::Device device);
  tensor::Tensor gradient(std::size_t unit) override;
  void finished(std::size_t unit) override;
  std::uint64_t take();  // of all units finished since the last call

  // Bytes of the buffers.
  static std::int64_t bytes(const std::vector<parallel::Unit>& units);

 private:
  const std::vector<parallel::Unit>& units_;
  tensor::Buffer embedding_, other_;
  std::size_t open_;  // the unit that other_ is for; units_.size(): none
  bool embedding_open_ = false;
  std::unique_ptr<base::Hasher> hash_ = std::make_unique<base::Hasher>();
};

// What one data rank found for the micro-shards of itself and those after it: digests[i] belongs to
// data rank (own + i) modulo the number of data ranks.
using Digests = std::vector<std::uint64_t>;

// Who is wrong, from the digests of all ranks of the world in its order, with their hosts: "" if
// all agree. A rank that differs from two others that agree is named; of two that differ both are.
// A single data rank computes its own micro-shard twice.
std::string disagreement(const std::vector<Digests>& digests, const parallel::MeshShape& shape,
                         const std::vector<std::string>& hosts);

// Collective. Computes the first micro-shards of this data rank and the next two of batch `batch`
// and compares. Returns disagreement() on all ranks.
std::string check_gradients(const Objective& objective, const model::Griffin& griffin,
                            const model::Parameters& parameters, const parallel::Mesh& mesh,
                            const data_pipeline::BatchStream& stream, std::int64_t micro_shards,
                            std::int64_t batch, model::Workspace& workspace);

}  // namespace eyrie::trainer
