// eyrie doctor: what the nodes and links of this job can do, and which stands out.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/output.h"
#include "base/output_place.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "parallel/communication/communicator.h"
#include "parallel/communication/launch.h"
#include "parallel/communication/run_guarded.h"
#include "planning/job_check.h"
#include "tensor/processor.h"
#include "tensor/threads.h"
#include "trainer/trainer.h"

namespace eyrie::cli {
namespace {

// "0-3,8".
std::string core_text(const std::vector<int>& cores) {
  std::string text;
  for (std::size_t i = 0; i < cores.size();) {
    std::size_t end = i + 1;
    while (end < cores.size() && cores[end] == cores[end - 1] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", cores[i]);
    if (end - i > 1) text += fmt::format("-{}", cores[end - 1]);
    i = end;
  }
  return text;
}

std::string rate(double bytes) { return fmt::format("{:.2f} GB/s", bytes * 1e-9); }

void print_check(const planning::JobCheck& check) {
  base::print(
      "\nrank  host              cores        threads  busy  GFLOP/s fp32     bf16       copy\n");
  for (std::size_t r = 0; r < check.ranks.size(); ++r) {
    const planning::RankCheck& rank = check.ranks[r];
    base::print("{:>4}  {:16}  {:11}  {:>7}  {:>3.0f}%  {:>12.1f} {:>8.1f} {:>10}\n", r, rank.host,
                core_text(rank.cores), rank.threads, rank.busy * 100, rank.flops_fp32 * 1e-9,
                rank.flops_bf16 * 1e-9, rate(rank.memory_bandwidth));
  }
  base::print("\nlink                                latency   bandwidth\n");
  for (const planning::LinkCheck& link : check.links)
    base::print("{:34}  {:>5.1f} us  {:>10}\n",
                link.from == link.to ? link.from + ", inside" : link.from + " to " + link.to,
                link.latency * 1e6, rate(link.bandwidth));
  base::print(
      "\nnode              ranks  clock            writes       reads  sees a renamed file "
      "after\n");
  for (const planning::NodeCheck& node : check.nodes) {
    const bool tried = node.write_speed > 0;
    base::print("{:16}  {:>5}  {:>+8.3f} ms  {:>11}  {:>10}  {}\n", node.host, node.ranks,
                node.clock_ahead * 1e3, tried ? rate(node.write_speed) : "-",
                tried ? rate(node.read_speed) : "-",
                !tried                ? "-"
                : node.seen_after < 0 ? "never"
                                      : fmt::format("{:.0f} ms", node.seen_after * 1e3));
  }
}

}  // namespace

int run_doctor(int argc, char** argv) {
  const auto world = parallel::open_world(argc, argv);
  std::string folder, output;
  std::int64_t threads = 0;
  CLI::App app(
      "Measures what the nodes and links of a job can do: products and copies of each rank while "
      "all compute, cores, links between nodes, clocks, and the folder of the run as each node "
      "sees it. Names what stands out. Start it on all ranks of an allocation: srun --mpi=pmix "
      "eyrie doctor.",
      argv[0]);
  app.add_option("--folder", folder,
                 "where runs are written: its speed, and whether all nodes see the same");
  app.add_option("--machine", output, "write the job as a machine for `eyrie plan --machine`");
  add_whole(app, "--threads", threads, "per rank (0: as training would take)", 0, 1024);
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  return parallel::run_guarded(*world, [&] {
    parallel::agree(*world, [&] {
      const parallel::UnusedAllocation unused = parallel::unused_allocation();
      if (!unused.empty())
        throw base::InputError(
            fmt::format("this is {}, and eyrie doctor was started on one rank of "
                        "it: start it with `{} eyrie doctor …`",
                        unused.what, unused.launcher));
      if (!output.empty() && world->rank() == 0) base::check_output_file("--machine", output);
      if (!folder.empty()) base::check_output_folder("--folder", folder);
    });
    tensor::set_thread_count(trainer::threads_for(threads, *world));
    const planning::JobCheck check = planning::check_job(*world, folder);
    if (world->rank() != 0) return base::kExitDone;
    base::print("eyrie {}, {}\n{}", base::kVersion, parallel::library_version(),
                tensor::describe_processor());
    print_check(check);
    const auto found = planning::findings(check);
    base::print("\n");
    for (const std::string& finding : found) base::print("! {}\n", finding);
    if (found.empty()) base::print("nothing stands out\n");
    if (!output.empty()) {
      base::write_file(
          output, planning::machine_yaml(
                      check, fmt::format("{} of {}",
                                         base::counted(
                                             static_cast<std::int64_t>(check.nodes.size()), "node"),
                                         base::counted(check.nodes.front().ranks, "rank"))));
      base::print("written: {}\n", output);
    }
    return base::kExitDone;
  });
}

}  // namespace eyrie::cli
