// What stands out among a job's nodes and links, and the job as a machine to plan for.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "planning/job_check.h"

namespace eyrie::planning {
namespace {

constexpr double kSlow = 0.85;  // of the median

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Nodes whose slowest rank is below the median of all ranks.
void slow_nodes(const JobCheck& check, const char* what, double RankCheck::*value,
                std::vector<std::string>& found) {
  std::vector<double> all;
  std::map<std::string, double> slowest;
  for (const RankCheck& rank : check.ranks) {
    all.push_back(rank.*value);
    const auto [at, is_new] = slowest.emplace(rank.host, rank.*value);
    if (!is_new) at->second = std::min(at->second, rank.*value);
  }
  const double usual = median(all);
  for (const auto& [host, least] : slowest)
    if (least < kSlow * usual)
      found.push_back(
          fmt::format("{} is slow: {} {:.2f} of the median. Every step waits for it: leave "
                      "it out (--exclude={})",
                      host, what, least / usual, host));
}

void shared_cores(const JobCheck& check, std::vector<std::string>& found) {
  for (std::size_t a = 0; a < check.ranks.size(); ++a) {
    const RankCheck& rank = check.ranks[a];
    if (rank.threads > static_cast<int>(rank.cores.size()))
      found.push_back(
          fmt::format("rank {} on {} has {} threads for {} cores: give it more "
                      "(--cpus-per-task) or fewer threads",
                      a, rank.host, rank.threads, rank.cores.size()));
    if (rank.busy < 0.8)
      found.push_back(
          fmt::format("rank {} on {} got {:.0f} % of the processor time that its {} "
                      "threads could use: its cores are shared with something else",
                      a, rank.host, rank.busy * 100, rank.threads));
    for (std::size_t b = a + 1; b < check.ranks.size(); ++b) {
      if (check.ranks[b].host != rank.host) continue;
      std::vector<int> both;
      std::set_intersection(rank.cores.begin(), rank.cores.end(), check.ranks[b].cores.begin(),
                            check.ranks[b].cores.end(), std::back_inserter(both));
      if (!both.empty())
        found.push_back(
            fmt::format("ranks {} and {} on {} may use the same {} cores: start them "
                        "with a binding (srun --cpu-bind=cores, mpirun --bind-to core)",
                        a, b, rank.host, both.size()));
    }
  }
}

void slow_links(const JobCheck& check, std::vector<std::string>& found) {
  std::vector<double> bandwidths;
  for (const LinkCheck& link : check.links)
    if (link.from != link.to) bandwidths.push_back(link.bandwidth);
  const double usual = median(bandwidths);
  for (const LinkCheck& link : check.links)
    if (link.from != link.to && link.bandwidth < 0.7 * usual)
      found.push_back(fmt::format("the link from {} to {} carries {:.2f} of the median", link.from,
                                  link.to, link.bandwidth / usual));
}

}  // namespace

std::vector<std::string> findings(const JobCheck& check) {
  std::vector<std::string> found;
  slow_nodes(check, "fp32 products", &RankCheck::flops_fp32, found);
  slow_nodes(check, "bf16 products", &RankCheck::flops_bf16, found);
  slow_nodes(check, "copies", &RankCheck::memory_bandwidth, found);
  shared_cores(check, found);
  slow_links(check, found);
  for (const NodeCheck& node : check.nodes) {
    if (std::abs(node.clock_ahead) > 0.5 + node.clock_error)
      found.push_back(
          fmt::format("the clock of {} is {:.1f} s {} that of {}: its file times and "
                      "logs mislead",
                      node.host, std::abs(node.clock_ahead),
                      node.clock_ahead > 0 ? "ahead of" : "behind", check.nodes.front().host));
    if (!node.fault.empty())
      found.push_back(fmt::format("{} cannot use the folder: {}", node.host, node.fault));
    else if (node.seen_after < 0)
      found.push_back(
          fmt::format("{} does not see a file that {} renamed 10 seconds before: the "
                      "folder is not the same on both",
                      node.host, check.nodes.front().host));
  }
  return found;
}

std::string machine_yaml(const JobCheck& check, const std::string& name) {
  double fp32 = 0, bf16 = 0, memory = 0;
  int ranks = 0;
  for (const NodeCheck& node : check.nodes) ranks = std::max(ranks, node.ranks);
  for (const RankCheck& rank : check.ranks) {
    const auto least = [](double& all, double one) { all = all == 0 ? one : std::min(all, one); };
    least(fp32, rank.flops_fp32);
    least(bf16, rank.flops_bf16);
    least(memory, rank.memory_bandwidth);
  }
  std::string text = fmt::format(
      "# Measured by `eyrie doctor` on {}: what the slowest rank reaches while all compute, and "
      "the\n"
      "# median link. For `eyrie plan --machine` (docs/planning.md).\n"
      "name: {}\nranks_a_node: {}\nflops: {{bf16: {:.3g}, fp32: {:.3g}}}\nmemory_bandwidth: "
      "{:.0f}\n",
      fmt::join(
          [&] {
            std::vector<std::string> hosts;
            for (const NodeCheck& node : check.nodes) hosts.push_back(node.host);
            return hosts;
          }(),
          ", "),
      name, ranks, bf16, fp32, memory);
  for (const bool within : {true, false}) {
    std::vector<double> bandwidths, latencies;
    for (const LinkCheck& link : check.links) {
      if ((link.from == link.to) != within) continue;
      bandwidths.push_back(link.bandwidth);
      latencies.push_back(link.latency);
    }
    if (!bandwidths.empty())
      text += fmt::format("{}: {{bandwidth: {:.0f}, latency: {:.2g}}}\n",
                          within ? "node" : "network", median(bandwidths), median(latencies));
  }
  return text;
}

}  // namespace eyrie::planning
