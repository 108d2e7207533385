// Twenty steps on meshes: the same losses and gradients as on one rank, and on data ranks the same
// bits. (All meshes of up to 8 ranks: mesh_table_program, which scripts/soak runs.)
#include <gtest/gtest.h>

#include "base/hash.h"
#include "support/mesh_run.h"
#include "trainer/resolve_mesh.h"

namespace eyrie::trainer {
namespace {

using parallel::MeshShape;
using test::MeshProblem;
using test::run_mesh;

const test::TinyRun& data() {
  static const test::TinyRun run;
  return run;
}

std::uint64_t digest(const test::MeshResult& result) {
  base::Hasher hasher;
  for (const auto& [name, values] : result.weights)
    hasher.add(std::as_bytes(std::span<const float>(values)));
  hasher.add(std::as_bytes(std::span<const double>(result.losses)));
  hasher.add(std::as_bytes(std::span<const double>(result.grad_norms)));
  return hasher.value();
}

void expect_like_one_rank(char model, const std::vector<MeshShape>& shapes) {
  const MeshProblem problem{.which = model, .steps = 6};
  const test::MeshResult one = run_mesh(data(), problem, {});
  EXPECT_LT(one.losses.back(), one.losses.front());
  for (const MeshShape& shape : shapes) {
    const test::MeshDifference off = difference(run_mesh(data(), problem, shape), one);
    EXPECT_LE(off.loss, 1e-5) << parallel::describe(shape);
    EXPECT_LE(off.gradient, 2e-5) << parallel::describe(shape) << ": " << off.tensor;
  }
}

TEST(MeshTraining, DataAndContext) {
  expect_like_one_rank('A', {{.data = 2, .context = 2, .zero = 0},
                             {.data = 2, .context = 4, .zero = 1},
                             {.data = 4, .context = 2, .zero = 2},
                             {.context = 4, .zero = 3},
                             {.data = 2, .context = 3, .zero = 3}});
}

TEST(MeshTraining, Tensor) {
  expect_like_one_rank('B', {{.tensor = 4, .zero = 0},
                             {.data = 2, .tensor = 2, .zero = 1},
                             {.data = 4, .tensor = 2, .sequence = true, .zero = 2},
                             {.data = 2, .tensor = 4, .sequence = true, .zero = 3},
                             {.data = 2, .context = 2, .tensor = 2, .sequence = true, .zero = 3},
                             {.tensor = 8, .sequence = true, .zero = 3}});
}

// The in-process communicator holds meshes far larger than the machine.
TEST(MeshTraining, SixtyFourRanks) {
  const MeshProblem problem{.which = 'B', .steps = 3};
  const test::MeshResult one = run_mesh(data(), problem, {});
  for (const MeshShape& shape :
       {MeshShape{.data = 4, .context = 4, .tensor = 4, .sequence = true, .zero = 3},
        MeshShape{.data = 8, .context = 1, .tensor = 8, .zero = 2, .replicas = 2}}) {
    ASSERT_EQ(shape.ranks(), 64);
    const test::MeshDifference off = difference(run_mesh(data(), problem, shape), one);
    EXPECT_LE(off.loss, 1e-5) << parallel::describe(shape);
    EXPECT_LE(off.gradient, 2e-5) << parallel::describe(shape) << ": " << off.tensor;
  }
}

TEST(MeshTraining, SameBitsOnAnyDataRanksAndEveryStage) {
  for (const bool bf16 : {false, true}) {
    const MeshProblem problem{.which = 'A', .bf16 = bf16, .keep_gradients = false};
    const std::uint64_t expected = digest(run_mesh(data(), problem, {}));
    for (const int ranks : {1, 2, 4, 8}) {
      for (const int zero : {0, 1, 2, 3}) {
        const MeshShape shape{.data = ranks, .zero = zero};
        EXPECT_EQ(digest(run_mesh(data(), problem, shape)), expected) << parallel::describe(shape);
      }
    }
  }
}

TEST(MeshTraining, SameBitsInReplicas) {
  const MeshProblem problem{.which = 'A', .steps = 6, .keep_gradients = false};
  const std::uint64_t expected = digest(run_mesh(data(), problem, {}));
  for (const auto& [ranks, replicas] : {std::pair{2, 2}, {4, 2}, {8, 2}, {8, 4}}) {
    for (const int zero : {0, 1, 2, 3}) {
      const MeshShape shape{.data = ranks, .zero = zero, .replicas = replicas};
      EXPECT_EQ(digest(run_mesh(data(), problem, shape)), expected) << parallel::describe(shape);
    }
  }
}

// Three groups of four micro-shards: 1, 3, 6 or 12 ranks.
TEST(MeshTraining, SameBitsWithGroupsOfMicroShards) {
  const MeshProblem problem{.which = 'A', .steps = 3, .keep_gradients = false, .micro_shards = 12};
  const std::uint64_t expected = digest(run_mesh(data(), problem, {}));
  for (const int ranks : {3, 6, 12}) {
    for (const int zero : {1, 2, 3}) {
      const MeshShape shape{.data = ranks, .zero = zero};
      EXPECT_EQ(digest(run_mesh(data(), problem, shape)), expected) << parallel::describe(shape);
    }
  }
}

// On other meshes too the data axis does not show, whatever is sharded.
TEST(MeshTraining, SameBitsOnTheDataAxisOfOtherMeshes) {
  for (const MeshShape& mesh : {MeshShape{.context = 2}, MeshShape{.tensor = 2},
                                MeshShape{.context = 2, .tensor = 2, .sequence = true}}) {
    const MeshProblem problem{.which = 'B', .steps = 4, .keep_gradients = false};
    for (const int zero : {1, 3}) {
      MeshShape shape = mesh;
      shape.zero = zero;
      const std::uint64_t expected = digest(run_mesh(data(), problem, shape));
      for (const int ranks : {2, 4}) {
        shape.data = ranks;
        EXPECT_EQ(digest(run_mesh(data(), problem, shape)), expected) << parallel::describe(shape);
      }
    }
  }
}

// Rounded on the wire the gradients are near; from ZeRO 2 on every micro-shard's is rounded by
// itself, so that ranks do not show either.
TEST(MeshTraining, GradientsInBfloat16) {
  const MeshProblem problem{.which = 'A', .steps = 4};
  const test::MeshResult one = run_mesh(data(), problem, {});
  std::uint64_t bits = 0;
  for (const int ranks : {2, 4}) {
    for (const int zero : {1, 2, 3}) {
      const MeshShape shape{.data = ranks, .zero = zero, .bf16_gradients = true};
      const test::MeshResult got = run_mesh(data(), problem, shape);
      const test::MeshDifference off = difference(got, one);
      EXPECT_GT(off.gradient, 1e-4) << parallel::describe(shape);
      EXPECT_LT(off.loss, 1e-3) << parallel::describe(shape);
      if (zero == 1) continue;
      if (bits == 0) bits = digest(got);
      EXPECT_EQ(digest(got), bits) << parallel::describe(shape);
    }
  }
}

std::string refusal(const std::vector<std::string>& changes, int ranks, int hosts = 1) {
  try {
    resolve_mesh(data().config("refused", changes), ranks, hosts);
  } catch (const base::InputError& error) {
    return error.what();
  }
  return "";
}

TEST(FitMesh, RefusesWithTheNumbersAndTheNearest) {
  EXPECT_EQ(refusal({"mesh.data=4"}, 2),
            "mesh.data is 4, but the job has 2 ranks; start it with 4 ranks, or set mesh.data to "
            "auto. The nearest meshes that fit 2 ranks: data 2 × context 1 × tensor 1; data 1 × "
            "context 1 × tensor 2; data 1 × context 2 × tensor 1");
  EXPECT_EQ(refusal({"mesh.tensor=4"}, 4),
            "mesh.tensor 4 does not divide heads 2 of this model (mlp_width 72, heads 2, "
            "gate_blocks 4): tensor ranks own whole heads and gate blocks. What divides: 1, 2. The "
            "nearest meshes that fit 4 ranks: data 2 × context 1 × tensor 2; data 4 × context 1 × "
            "tensor 1; data 1 × context 2 × tensor 2");
  EXPECT_NE(refusal({"mesh.context=2", "mesh.tensor=2"}, 6).find("do not divide the job's 6 ranks"),
            std::string::npos);
  EXPECT_NE(refusal({"mesh.context=8"}, 8).find("fewer than 3 tokens"), std::string::npos);
  EXPECT_NE(refusal({}, 3).find("Rank counts that fit: 1, 2, 4"), std::string::npos);
  EXPECT_NE(refusal({"mesh.replicas=3"}, 4).find("mesh.replicas 3 does not divide mesh.data 4"),
            std::string::npos);
  EXPECT_NE(refusal({"mesh.replicas=nodes"}, 4, 3).find("3 hosts do not share out 4 data ranks"),
            std::string::npos);
}

TEST(FitMesh, PutsInWhatIsLeftOpen) {
  const MeshShape shape = resolve_mesh(
      data().config("open", {"mesh.tensor=2", "mesh.replicas=nodes", "mesh.zero=3"}), 8, 2);
  EXPECT_EQ(parallel::describe(shape), "data 4 × context 1 × tensor 2, ZeRO 3 in 2 replicas");
}

}  // namespace
}  // namespace eyrie::trainer
