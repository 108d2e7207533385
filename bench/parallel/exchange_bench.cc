// The exchange of a step between MPI ranks: scripts/mpi N exchange_bench [ROUNDS] has every rank
// give 64 MB of fp32 partial sums for the others' slices and gather all slices again. Prints, as
// JSON, the bytes per second that one rank sends: medians of the rounds, the slowest rank's.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <vector>

#include "parallel/communication/exchange.h"
#include "tensor/arena.h"
#include "tensor/ops/sums.h"

namespace {

using namespace eyrie;

double median_rate(parallel::Communicator& world, int rounds,
                   const std::function<std::int64_t()>& exchange) {
  std::vector<double> rates;
  for (int round = 0; round <= rounds; ++round) {
    world.barrier();
    const auto start = std::chrono::steady_clock::now();
    const std::int64_t bytes = exchange();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    double slowest = static_cast<double>(bytes) / taken.count();
    world.all_reduce(std::span<double>(&slowest, 1), parallel::Reduce::kMin);
    if (round > 0) rates.push_back(slowest);  // the first one is a warm-up
  }
  std::nth_element(rates.begin(), rates.begin() + rounds / 2, rates.end());
  return rates[static_cast<std::size_t>(rounds / 2)];
}

void run(parallel::Communicator& world, int rounds) {
  constexpr std::int64_t kElements = std::int64_t{16} << 20;
  std::vector<std::int64_t> ends = {0};
  for (int rank = 1; rank <= world.size(); ++rank) ends.push_back(kElements * rank / world.size());
  const parallel::Cuts cuts(ends);
  tensor::Buffer buffer(kElements * sizeof(float));
  buffer.zero();
  parallel::ExchangeSpace space;
  const auto combine = [](std::span<const tensor::Tensor> parts, std::int64_t) {
    tensor::sum_tree(parts, 1);
  };
  const double gradients = median_rate(world, rounds, [&] {
    return parallel::scatter_partial_sums(world, buffer.row(), cuts, tensor::DType::kFloat32,
                                          combine, space);
  });
  const double parameters =
      median_rate(world, rounds, [&] { return parallel::all_gather(world, buffer.row(), cuts); });
  if (world.rank() == 0)
    fmt::print("{{\"gradients\": {:.4g}, \"parameters\": {:.4g}}}\n", gradients, parameters);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 20;
  const auto world = parallel::open_world(argc, argv);
  run(*world, rounds);
}
