// A steady training step takes no memory: neither buffers nor large pieces of the heap.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "model/griffin.h"
#include "model/token_loss.h"
#include "model/training_parameters.h"
#include "support/arrays.h"
#include "tensor/ops/adamw.h"

namespace {

// Counted while `counting` is set. Small pieces (closures, lists of tensors) may come and go.
constexpr std::size_t kLarge = 16384;
std::atomic<bool> counting = false;
std::atomic<std::int64_t> large_pieces = 0;

}  // namespace

// Not inlined: the compiler would see malloc beside delete and warn.
__attribute__((noinline)) void* operator new(std::size_t bytes) {
  if (counting && bytes >= kLarge) ++large_pieces;
  if (void* const p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
  throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* p) noexcept { std::free(p); }
__attribute__((noinline)) void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace eyrie::model {
namespace {

struct Gradients : GradientSink {
  explicit Gradients(const std::vector<parallel::Unit>& units) {
    for (const auto& unit : units)
      buffers.emplace_back(static_cast<std::size_t>(unit.size) * sizeof(float));
  }
  tensor::Tensor gradient(std::size_t unit) override { return buffers[unit].row(); }
  void finished(std::size_t) override {}
  std::vector<tensor::Buffer> buffers;
};

TEST(Allocations, ASteadyStepHasNone) {
  GriffinConfig config = preset("griffin-10m");
  config.vocabulary = 3000;
  config.layers = "RARG";
  constexpr std::int64_t kSequences = 2, kLength = 150, kTokens = kSequences * kLength;
  const Griffin griffin(config);
  std::vector<std::int32_t> tokens, positions;
  for (std::int64_t i = 0; i < kTokens; ++i) {
    tokens.push_back(static_cast<std::int32_t>(i * i % config.vocabulary));
    positions.push_back(static_cast<std::int32_t>(i % kLength));
  }
  const std::vector<float> weight(kTokens, 1.0f);
  for (const tensor::DType dtype : test::kBothDTypes) {
    TrainingParameters parameters(griffin.units(), dtype);
    parameters.initialise(1);
    Gradients gradients(griffin.units()), first(griffin.units()), second(griffin.units());
    for (auto* moments : {&first, &second})
      for (tensor::Buffer& buffer : moments->buffers) buffer.zero();
    Workspace workspace;
    std::int64_t step = 0;
    const auto train_step = [&] {
      token_loss(griffin, parameters,
                 {{kSequences, kLength, tensor::host_row(tokens), tensor::host_row(positions)},
                  tensor::host_row(tokens),
                  tensor::host_row(weight)},
                 workspace, 1.0f / kTokens, gradients);
      ++step;
      for (std::size_t u = 0; u < griffin.units().size(); ++u) {
        tensor::adamw(parameters.masters(u), gradients.buffers[u].row(), first.buffers[u].row(),
                      second.buffers[u].row(), {1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, step});
        parameters.refresh(u);
      }
    };
    train_step();
    train_step();
    const std::int64_t buffers = tensor::Buffer::made();
    large_pieces = 0;
    counting = true;
    train_step();
    counting = false;
    EXPECT_EQ(tensor::Buffer::made(), buffers) << name_of(dtype);
    EXPECT_EQ(large_pieces, 0) << name_of(dtype);
  }
}

TEST(Allocations, AreCounted) {
  const std::int64_t buffers = tensor::Buffer::made();
  large_pieces = 0;
  counting = true;
  const tensor::Buffer buffer(100);
  const std::vector<float> large(kLarge / sizeof(float));
  counting = false;
  EXPECT_EQ(tensor::Buffer::made(), buffers + 1);
  EXPECT_EQ(large_pieces, 1);
}

}  // namespace
}  // namespace eyrie::model
