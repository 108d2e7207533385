// All ranks score their share of every task, then every rank puts all answers together.
#include "eval/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "eval/deal.h"
#include "eval/prompt.h"
#include "eval/sha256.h"
#include "eval/shots.h"
#include "eval/statistics.h"
#include "tensor/threads.h"
#include "text/python_string.h"

namespace eyrie::eval {
namespace {

// Tasks that are evaluated in one call of the model: those of one name in the options.
struct Unit {
  std::string name;
  std::vector<std::string> leaves;
};

// What is known of a leaf task before it is scored; the same on every rank.
struct Plan {
  std::shared_ptr<const text::Task> task;
  int shots = 0;
  std::int64_t documents = 0;
  std::vector<std::vector<std::int64_t>> chosen;
  std::string shared_head;  // of all documents; empty where each has shots of its own

  const std::vector<text::TaskItem>& items() const {
    return task->items(task->definition().evaluated_split());
  }
  const std::vector<text::TaskItem>& pool() const {
    return task->items(task->definition().shot_split());
  }
  bool shares_head() const {
    return shots == 0 || task->definition().sampler == text::ShotSampler::kFirst;
  }
};

struct Work {
  const Plan* plan = nullptr;
  std::int64_t document = 0;
};

// The limit of a leaf task: its own, else that of the nearest group around it, else that of all
// others.
std::int64_t limit_of(const std::string& leaf, const text::TaskCatalog& catalog,
                      const std::map<std::string, std::int64_t>& limits) {
  std::set<std::string> reached = {leaf};
  for (std::vector<std::string> level = {leaf}; !level.empty();) {
    for (const std::string& name : level) {
      const auto found = limits.find(name);
      if (found != limits.end()) return found->second;
    }
    std::vector<std::string> above;
    for (const auto& [name, group] : catalog.groups) {
      const bool holds =
          std::any_of(group.members.begin(), group.members.end(), [&](const std::string& member) {
            return std::find(level.begin(), level.end(), member) != level.end();
          });
      if (holds && reached.insert(name).second) above.push_back(name);
    }
    level = above;
  }
  const auto others = limits.find("");
  return others == limits.end() ? -1 : others->second;
}

void check_limits(const EvaluateOptions& options, const text::TaskCatalog& catalog) {
  for (const auto& [name, limit] : options.limits) {
    if (!name.empty()) catalog.leaves(name);
    if (limit < 1) {
      throw base::InputError(fmt::format("limit {}{}: at least one document a task is evaluated",
                                         limit, name.empty() ? "" : " of " + name));
    }
  }
  if (options.shots && *options.shots < 0)
    throw base::InputError(fmt::format("{} shots: not negative", *options.shots));
  if (options.max_length < 0) {
    throw base::InputError(
        fmt::format("max length {}: at least 1, or 0 for no limit", options.max_length));
  }
}

Plan make_plan(std::shared_ptr<const text::Task> task, const text::TaskCatalog& catalog,
               const EvaluateOptions& options) {
  Plan plan;
  plan.task = std::move(task);
  plan.shots = options.shots.value_or(plan.task->definition().shots);
  plan.documents = static_cast<std::int64_t>(plan.items().size());
  const std::int64_t limit = limit_of(plan.task->name(), catalog, options.limits);
  if (limit >= 0) plan.documents = std::min(plan.documents, limit);
  plan.chosen = choose_shots(*plan.task, plan.shots, plan.documents);
  if (plan.shares_head()) {
    const std::span<const std::int64_t> first = plan.chosen[0];
    plan.shared_head =
        prompt_head(plan.task->definition(), first.empty() ? plan.items() : plan.pool(), first);
  }
  return plan;
}

// In bytes of text: what the model has to read for a document when the choices share its prompt,
// and the documents of a task their shots.
double cost_of(const Work& work) {
  constexpr double kRequest = 8;  // what a request takes however short it is
  const text::TaskItem& item = work.plan->items()[work.document];
  double bytes = static_cast<double>(item.prompt.size());
  for (std::size_t choice = 0; choice < item.targets.size(); ++choice) {
    bytes += kRequest + static_cast<double>(item.targets[choice].size());
    if (!item.prompts.empty()) bytes += static_cast<double>(item.prompts[choice].size());
  }
  if (work.plan->shares_head()) {
    if (work.document == 0) bytes += static_cast<double>(work.plan->shared_head.size());
  } else {
    for (const std::int64_t at : work.plan->chosen[work.document]) {
      const text::TaskItem& shot = work.plan->pool()[at];
      bytes +=
          static_cast<double>(shot.prompt.size() + shot.targets[std::max(0, shot.gold)].size());
    }
  }
  return bytes;
}

// Logs at most every few seconds.
class ProgressLog {
 public:
  explicit ProgressLog(std::string task) : task_(std::move(task)) {}
  void operator()(std::int64_t done, std::int64_t of) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::seconds(3) && done < of) return;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    base::log_info(
        done < of ? fmt::format("evaluating {}: {} of {} requests of this rank, {:.0f} s left",
                                task_, done, of,
                                seconds / static_cast<double>(std::max<std::int64_t>(done, 1)) *
                                    static_cast<double>(of - done))
                  : fmt::format("evaluated {}: {} requests of this rank in {:.1f} s", task_, of,
                                seconds));
  }

 private:
  std::string task_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), last_ = start_;
};

// Answers on their way between ranks: numbers one behind the other, in the machine's own form.
template <class T>
void put(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}
template <class T>
T take(std::string_view& bytes) {
  T value;
  EYRIE_CHECK(bytes.size() >= sizeof(T), "a rank's answers are cut off");
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return value;
}
constexpr std::size_t kShaDigits = 64;

// The requests of one document, one a choice.
struct Prepared {
  std::vector<EncodedRequest> requests;
  std::vector<std::string> context_sha256;
};

Prepared prepare(const Work& work, RequestEncoder& encoder) {
  const text::TaskDefinition& task = work.plan->task->definition();
  const text::TaskItem& item = work.plan->items()[work.document];
  const std::string head = work.plan->shares_head() ? work.plan->shared_head
                                                    : prompt_head(task, work.plan->pool(),
                                                                  work.plan->chosen[work.document]);
  Prepared prepared;
  std::string context, context_sha256;
  for (std::size_t choice = 0; choice < item.targets.size(); ++choice) {
    if (choice == 0 || !item.prompts.empty()) {
      context = head + item.prompt_of(choice);
      context_sha256 = sha256(context);
    }
    try {
      prepared.requests.push_back(encoder.encode(context, continuation(task, item, choice)));
    } catch (const base::InputError& error) {
      throw base::InputError(
          fmt::format("task {}, document {}: {}", task.name, work.document, error.what()));
    }
    prepared.context_sha256.push_back(context_sha256);
  }
  return prepared;
}

// Scores this rank's share of a unit and appends the answers to `bytes`.
void score_share(const std::string& unit, std::span<const Work> share, model::LanguageModel& model,
                 const text::Tokenizer& tokenizer, const EvaluateOptions& options,
                 std::string& bytes) {
  // Without a document too: the model's other ranks may need this one.
  std::vector<Prepared> prepared(share.size());
  tensor::parallel_for(static_cast<std::int64_t>(share.size()), 4,
                       [&](std::int64_t begin, std::int64_t end) {
                         RequestEncoder encoder(tokenizer, options.max_length);
                         for (std::int64_t i = begin; i < end; ++i) {
                           prepared[i] = prepare(share[static_cast<std::size_t>(i)], encoder);
                         }
                       });
  std::vector<model::ScoreRequest> requests;
  std::vector<RequestResult> answers;
  for (Prepared& one : prepared) {
    for (std::size_t choice = 0; choice < one.requests.size(); ++choice) {
      EncodedRequest& encoded = one.requests[choice];
      answers.push_back({0, false, encoded.context_tokens, encoded.continuation_tokens,
                         std::move(one.context_sha256[choice])});
      requests.push_back(std::move(encoded.request));
    }
  }

  ProgressLog log(unit);
  const auto of = static_cast<std::int64_t>(requests.size());
  const std::vector<model::Score> scores = model.score(requests, [&](std::int64_t done) {
    if (of == 0) return;
    if (options.progress) {
      options.progress(unit, done, of);
    } else {
      log(done, of);
    }
  });
  EYRIE_CHECK(scores.size() == answers.size(), "one score a request");

  std::size_t at = 0;
  for (const Work& work : share) {
    put(bytes, work.document);
    const std::string& name = work.plan->task->name();
    put(bytes, static_cast<std::int64_t>(name.size()));
    bytes += name;
    const std::size_t choices = work.plan->items()[work.document].targets.size();
    put(bytes, static_cast<std::int64_t>(choices));
    for (std::size_t choice = 0; choice < choices; ++choice, ++at) {
      if (std::isnan(scores[at].log_likelihood)) {
        throw base::Error(fmt::format(
            "task {}, document {}: the model's log-likelihood is not a number; its weights are "
            "damaged or its training diverged",
            name, work.document));
      }
      put(bytes, scores[at].log_likelihood);
      put(bytes, scores[at].is_greedy);
      put(bytes, answers[at].context_tokens);
      put(bytes, answers[at].continuation_tokens);
      bytes += answers[at].context_sha256;
    }
  }
}

void read_answers(std::string_view bytes, std::map<std::string, TaskResult>& tasks) {
  while (!bytes.empty()) {
    const auto document = static_cast<std::size_t>(take<std::int64_t>(bytes));
    const auto name_size = static_cast<std::size_t>(take<std::int64_t>(bytes));
    const std::string name(bytes.substr(0, name_size));
    bytes.remove_prefix(name_size);
    std::vector<RequestResult>& answers = tasks.at(name).documents.at(document);
    answers.resize(static_cast<std::size_t>(take<std::int64_t>(bytes)));
    for (RequestResult& answer : answers) {
      answer.log_likelihood = take<double>(bytes);
      answer.is_greedy = take<bool>(bytes);
      answer.context_tokens = take<std::int64_t>(bytes);
      answer.continuation_tokens = take<std::int64_t>(bytes);
      answer.context_sha256 = bytes.substr(0, kShaDigits);
      bytes.remove_prefix(kShaDigits);
    }
  }
}

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
    check_limits(options, catalog);
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
