// Computes metrics of tasks and groups from the answers.
#include "eval/evaluate.h"

#include <algorithm>

#include "base/error.h"
#include "eval/statistics.h"
#include "text/python_string.h"

namespace eyrie::eval {
namespace {

GroupResult group_result(const text::TaskGroup& group, const std::vector<std::string>& leaves,
                         const std::map<std::string, TaskResult>& tasks) {
  GroupResult result{group, leaves, {}};
  for (const std::string& metric : group.metrics) {
    std::vector<Part> parts;
    for (const std::string& leaf : leaves) {
      for (const MetricResult& one : tasks.at(leaf).metrics) {
        if (one.name == metric) {
          parts.push_back(
              {static_cast<std::int64_t>(tasks.at(leaf).documents.size()), one.value, one.error});
        }
      }
    }
    if (parts.size() == leaves.size())
      result.metrics.push_back({metric, pooled_mean(parts), pooled_error(parts)});
  }
  return result;
}

void add_lines(const std::string& name, int depth, const text::TaskCatalog& catalog,
               Results& results) {
  const bool there = std::any_of(results.lines.begin(), results.lines.end(),
                                 [&](const ResultLine& line) { return line.name == name; });
  if (there) return;
  results.lines.push_back({name, depth});
  const auto group = catalog.groups.find(name);
  if (catalog.tasks.contains(name) || group == catalog.groups.end()) return;
  results.groups.emplace(name, group_result(group->second, catalog.leaves(name), results.tasks));
  for (const std::string& member : group->second.members)
    add_lines(member, depth + 1, catalog, results);
}

}  // namespace

void add_lines(const std::vector<std::string>& names, const text::TaskCatalog& catalog,
               Results& results) {
  for (const std::string& name : names) add_lines(name, 0, catalog, results);
}

const MetricResult& Results::metric(const std::string& task_or_group,
                                    const std::string& name) const {
  const auto task = tasks.find(task_or_group);
  const std::vector<MetricResult>& all =
      task != tasks.end() ? task->second.metrics : groups.at(task_or_group).metrics;
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const MetricResult& one) { return one.name == name; });
  EYRIE_CHECK(found != all.end(), "no metric " + name + " of " + task_or_group);
  return *found;
}

double document_metric(const std::string& metric, const text::TaskDefinition& task,
                       const text::TaskItem& item, const std::vector<RequestResult>& requests) {
  if (task.type == text::TaskType::kLogLikelihood) {
    return metric == "acc" ? (requests[0].is_greedy ? 1.0 : 0.0) : requests[0].log_likelihood;
  }
  std::vector<double> scores;
  for (std::size_t choice = 0; choice < requests.size(); ++choice) {
    const double characters =
        metric == "acc_norm" ? static_cast<double>(text::length(item.targets[choice])) : 1.0;
    scores.push_back(requests[choice].log_likelihood / characters);
  }
  return first_largest(scores) == static_cast<std::size_t>(item.gold) ? 1.0 : 0.0;
}

std::vector<MetricResult> task_metrics(const TaskResult& result) {
  const text::TaskDefinition& task = result.task->definition();
  const auto& items = result.task->items(task.evaluated_split());
  std::vector<MetricResult> metrics;
  for (const std::string& metric : task.metrics) {
    std::vector<double> values;
    for (std::size_t i = 0; i < result.documents.size(); ++i) {
      values.push_back(document_metric(metric, task, items[i], result.documents[i]));
    }
    if (metric == "perplexity") {
      metrics.push_back({metric, perplexity(values), perplexity_error(values)});
    } else {
      metrics.push_back({metric, mean(values), mean_error(values)});
    }
  }
  return metrics;
}

}  // namespace eyrie::eval
