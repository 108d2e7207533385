// All ranks score their share of every task, then every rank puts all answers together.
#include "eval/evaluate.h"

#include <algorithm>
#include <span>

#include "base/error.h"
#include "eval/deal.h"
#include "eval/score_share.h"
#include "eval/statistics.h"
#include "eval/task_plan.h"
#include "text/python_string.h"

namespace eyrie::eval {
namespace {

// Tasks that are evaluated in one call of the model: those of one name in the options.
struct Unit {
  std::string name;
  std::vector<std::string> leaves;
};

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

Results evaluate(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                 parallel::Communicator& communicator, const EvaluateOptions& options) {
  Results results;
  results.model = options.model;
  results.tokenizer_hash = tokenizer.hash();
  results.limits = options.limits;
  results.max_length = options.max_length;

  text::TaskCatalog catalog;
  std::vector<Unit> units;
  std::map<std::string, Plan> plans;
  parallel::agree(communicator, [&] {
    catalog = text::read_tasks(options.places.task_directories);
    check_options(options, catalog);
    for (const std::string& name : options.tasks) {
      Unit unit{name, {}};
      for (auto& task : text::open_tasks(name, catalog, options.places)) {
        if (plans.contains(task->name())) continue;
        unit.leaves.push_back(task->name());
        plans.emplace(task->name(), make_plan(task, catalog, options));
      }
      units.push_back(std::move(unit));
    }
  });

  std::string bytes;
  parallel::agree(communicator, [&] {
    for (const Unit& unit : units) {
      std::vector<Work> work;
      std::vector<double> costs;
      for (const std::string& leaf : unit.leaves) {
        const Plan& plan = plans.at(leaf);
        for (std::int64_t i = 0; i < plan.documents; ++i) {
          work.push_back({&plan, i});
          costs.push_back(cost_of(work.back()));
        }
      }
      const auto [begin, end] = deal(costs, communicator.rank(), communicator.size());
      score_share(unit.name, std::span(work).subspan(begin, end - begin), model, tokenizer, options,
                  bytes);
    }
  });

  for (const auto& [name, plan] : plans) {
    TaskResult& task = results.tasks[name];
    task.task = plan.task;
    task.shots = plan.shots;
    task.documents.resize(static_cast<std::size_t>(plan.documents));
  }
  for (const std::string& one : communicator.all_gather(bytes)) read_answers(one, results.tasks);
  for (auto& [name, task] : results.tasks) task.metrics = task_metrics(task);
  for (const std::string& name : options.tasks) add_lines(name, 0, catalog, results);
  return results;
}

}  // namespace eyrie::eval
