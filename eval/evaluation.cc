// Every rank scores its share of every task. Answers are kept every few seconds.
#include "eval/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <span>

#include "base/error.h"
#include "base/log.h"
#include "base/version.h"
#include "eval/identity.h"
#include "eval/partition_by_cost.h"
#include "eval/progress_log.h"
#include "eval/score_documents.h"
#include "parallel/health/stop_notice.h"

namespace eyrie::eval {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::int64_t requests_of(const WorkItem& work) {
  return static_cast<std::int64_t>(work.plan->items()[work.document].targets.size());
}

std::int64_t sum(parallel::Communicator& ranks, std::int64_t value) {
  ranks.all_reduce(std::span(&value, 1), parallel::Reduce::kSum);
  return value;
}

}  // namespace

// One rank's share of the work.
class Evaluation::Worker {
 public:
  Worker(const Evaluation& evaluation, model::LanguageModel& model, const EvaluationRanks& ranks,
         const AnswerCache* kept)
      : evaluation_(evaluation),
        model_(model),
        ranks_(ranks),
        kept_(kept),
        notice_(ranks.group, ranks.tensor) {}

  // Scores this rank's share of the unit. Returns whether to continue with the next unit.
  bool score(const Unit& unit, std::span<const WorkItem> work, const Answers& known) {
    parallel::agree(ranks_.world, [&] {
      share_.emplace(work, evaluation_.tokenizer_, evaluation_.options_.max_length, known);
    });
    std::span<const model::ScoreRequest> requests = share_->requests();
    const auto of = std::ssize(requests);
    if (evaluation_.stoppable_ && of > 0 && notice_.requested()) requests = {};
    ProgressLog log(unit.name);
    std::vector<bool> told(requests.size());
    std::int64_t done = 0;
    const auto progress = [&](std::span<const std::size_t> answered,
                              std::span<const model::Score> scores) {
      attempt([&] {
        for (std::size_t i = 0; i < answered.size(); ++i) {
          share_->answer(answered[i], scores[i], answers_);
          told[answered[i]] = true;
        }
        done += std::ssize(answered);
        const auto& report = evaluation_.options_.progress;
        report ? report(unit.name, done, of) : log(done, of);
        if (kept_ != nullptr && wants_keeping()) try_to_keep();
      });
      if (failure_) notice_.ask();
      if (done == of) return true;  // nothing is left to stop
      return !(failure_ || evaluation_.stoppable_) || !notice_.requested();
    };
    std::vector<model::Score> scores;
    try {
      scores = model_.score(requests, progress);
    } catch (const base::InputError&) {
      // Thrown because of an invalid request, before any forward pass.
      failure_ = std::current_exception();
      notice_.ask();
      notice_.requested();
    }
    const bool stopped = notice_.finish();
    attempt([&] {
      if (stopped) return;
      // For models that do not call progress().
      for (std::size_t r = 0; r < scores.size(); ++r) {
        if (!told[r]) share_->answer(r, scores[r], answers_);
      }
    });
    parallel::agree(ranks_.world, [&] {
      if (failure_) std::rethrow_exception(failure_);
      if (!stopped) share_->append_to(bytes_);
      if (stopped && kept_ != nullptr) keep();
    });
    return !stopped;
  }

  const std::string& bytes() const { return bytes_; }
  std::int64_t answered() const { return count(answers_); }

 private:
  void attempt(const std::function<void()>& work) {
    if (failure_) return;
    try {
      work();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  // After the first batch, then every few seconds, but so rarely that keeping takes at most a few
  // percent of the time.
  bool wants_keeping() const {
    constexpr double kEvery = 10, kShare = 0.04;
    return !last_kept_ || seconds_since(*last_kept_) > std::max(kEvery, keeping_s_ / kShare);
  }
  void try_to_keep() {
    try {
      keep();
    } catch (const base::Error& error) {
      base::log_warning(fmt::format("the answers so far are not kept: {}", error.what()));
      last_kept_ = Clock::now();
    }
  }
  void keep() {
    if (ranks_.tensor != nullptr && ranks_.tensor->rank() != 0) return;
    const auto start = Clock::now();
    kept_->write(ranks_.group.rank(), answers_);
    keeping_s_ = seconds_since(start);
    last_kept_ = Clock::now();
  }

  const Evaluation& evaluation_;
  model::LanguageModel& model_;
  const EvaluationRanks& ranks_;
  const AnswerCache* kept_;
  parallel::StopNotice notice_;
  std::optional<DocumentScorer> share_;
  Answers answers_;  // this rank's answers since the start
  std::string bytes_;
  std::exception_ptr failure_;
  std::optional<Clock::time_point> last_kept_;
  double keeping_s_ = 0;
};

Evaluation::Evaluation(const text::Tokenizer& tokenizer, const EvaluateOptions& options)
    : tokenizer_(tokenizer), options_(options) {
  catalog_ = text::read_tasks(options_.places.task_directories);
  check_options(options_, catalog_);
  for (const std::string& name : options_.tasks) {
    Unit unit{name, {}};
    for (auto& task : text::open_tasks(name, catalog_, options_.places)) {
      if (plans_.contains(task->name())) continue;
      unit.leaves.push_back(task->name());
      plans_.emplace(task->name(), make_task_plan(task, catalog_, options_));
    }
    units_.push_back(std::move(unit));
  }
  identity_ = identity_json(options_, tokenizer, catalog_, plans_);
}

text::TaskContents Evaluation::contents() const {
  text::TaskContents contents;
  for (const auto& [name, plan] : plans_) {
    const text::TaskDefinition& task = plan.task->definition();
    contents[name][task.evaluated_split()] = text::content_of(plan.items());
    if (plan.shots > 0) contents[name][task.shot_split()] = text::content_of(plan.pool());
  }
  return contents;
}

// Requests that are already answered cost nothing.
std::vector<WorkItem> Evaluation::work_of(const Unit& unit, const Answers& known,
                                          std::vector<double>& costs) const {
  std::vector<WorkItem> work;
  for (const std::string& leaf : unit.leaves) {
    const TaskPlan& plan = plans_.at(leaf);
    const auto answers = known.find(leaf);
    for (std::int64_t i = 0; i < plan.documents; ++i) {
      work.push_back({&plan, i});
      double cost = cost_of(work.back());
      if (answers != known.end()) {
        const auto& there = answers->second;
        const auto answered =
            std::distance(there.lower_bound({i, 0}), there.lower_bound({i + 1, 0}));
        cost *= 1 - static_cast<double>(answered) / static_cast<double>(requests_of(work.back()));
      }
      costs.push_back(cost);
    }
  }
  return work;
}

namespace {

// Rank 0 reads the kept answers, so that all ranks have the same ones.
Answers take_kept(AnswerCache& kept, parallel::Communicator& world) {
  std::string lines;
  parallel::agree(world, [&] {
    if (world.rank() == 0) lines = to_lines(kept.begin());
  });
  Answers known;
  for (const std::string& one : world.all_gather(lines)) add(from_lines(one), known);
  return known;
}

}  // namespace

Results Evaluation::results_of(const std::vector<std::string>& bytes) const {
  Results results;
  results.model = options_.model;
  results.tokenizer_hash = tokenizer_.hash();
  results.identity = identity_;
  results.limits = options_.limits;
  results.max_length = options_.max_length;
  for (const auto& [name, plan] : plans_) {
    TaskResult& task = results.tasks[name];
    task.task = plan.task;
    task.shots = plan.shots;
    task.documents.resize(static_cast<std::size_t>(plan.documents));
  }
  for (const std::string& one : bytes) read_answers(one, results.tasks);
  for (auto& [name, task] : results.tasks) task.metrics = task_metrics(task);
  add_lines(options_.tasks, catalog_, results);
  return results;
}

std::optional<Results> Evaluation::run(model::LanguageModel& model, const EvaluationRanks& ranks) {
  const bool keeps = !directory_.empty();
  Answers known;
  std::optional<AnswerCache> kept;
  if (keeps) {
    const int tensor = ranks.tensor == nullptr ? 1 : ranks.tensor->size();
    kept.emplace(directory_, identity_,
                 fmt::format("version {}, tensor {}", base::kVersion, tensor));
    known = take_kept(*kept, ranks.world);
  }
  std::int64_t all = 0;
  for (const auto& [name, plan] : plans_) {
    for (std::int64_t i = 0; i < plan.documents; ++i) all += requests_of({&plan, i});
  }
  if (count(known) > 0)
    base::log_info(fmt::format("the evaluation goes on: {} of {} requests are answered already",
                               count(known), all));

  Worker worker(*this, model, ranks, kept ? &*kept : nullptr);
  bool stopped = false;
  for (const Unit& unit : units_) {
    std::vector<double> costs;
    const std::vector<WorkItem> work = work_of(unit, known, costs);
    const auto [begin, end] = partition_by_cost(costs, ranks.group.rank(), ranks.group.size());
    stopped = !worker.score(unit, std::span(work).subspan(begin, end - begin), known);
    if (stopped) break;
  }
  if (stopped) {
    const std::int64_t answered = count(known) + sum(ranks.group, worker.answered());
    base::log_info(fmt::format(
        "the evaluation stopped on request: {} of {} requests are answered{}", answered, all,
        keeps ? fmt::format(", and kept in {}; it goes on from there",
                            AnswerCache::folder(directory_).string())
              : "; nothing keeps them"));
    return {};
  }
  return results_of(ranks.group.all_gather(worker.bytes()));
}

Results evaluate(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                 parallel::Communicator& communicator, const EvaluateOptions& options) {
  std::optional<Evaluation> evaluation;
  parallel::agree(communicator, [&] { evaluation.emplace(tokenizer, options); });
  evaluation->set_stoppable(false);
  return *evaluation->run(model, {communicator, communicator});
}

}  // namespace eyrie::eval
