// Turns prompts into requests, requests into answers, and answers into bytes and back.
#include "eval/score_documents.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "eval/prompt.h"
#include "eval/sha256.h"
#include "tensor/threads.h"

namespace eyrie::eval {
namespace {

// Serialization of answers for other ranks: consecutive numbers in the machine's byte order.
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

// The requests of one document, one per choice.
struct Prepared {
  std::vector<EncodedRequest> requests;
  std::vector<std::string> context_sha256;
};

Prepared prepare(const WorkItem& work, RequestEncoder& encoder) {
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

}  // namespace

DocumentScorer::DocumentScorer(std::span<const WorkItem> work, const text::Tokenizer& tokenizer,
                               std::int64_t max_length, const Answers& known)
    : work_(work) {
  std::vector<Prepared> prepared(work.size());
  tensor::parallel_for(static_cast<std::int64_t>(work.size()), 4,
                       [&](std::int64_t begin, std::int64_t end) {
                         RequestEncoder encoder(tokenizer, max_length);
                         for (std::int64_t i = begin; i < end; ++i) {
                           prepared[i] = prepare(work[static_cast<std::size_t>(i)], encoder);
                         }
                       });
  for (std::size_t w = 0; w < work.size(); ++w) {
    const auto task = known.find(work[w].plan->task->name());
    for (std::size_t choice = 0; choice < prepared[w].requests.size(); ++choice) {
      EncodedRequest& encoded = prepared[w].requests[choice];
      results_.push_back({0, false, encoded.context_tokens, encoded.continuation_tokens,
                          std::move(prepared[w].context_sha256[choice])});
      if (task != known.end()) {
        const auto found = task->second.find({work[w].document, static_cast<std::int64_t>(choice)});
        if (found != task->second.end()) {
          results_.back().log_likelihood = found->second.log_likelihood;
          results_.back().is_greedy = found->second.is_greedy;
          continue;
        }
      }
      places_.push_back({w, choice, results_.size() - 1});
      requests_.push_back(std::move(encoded.request));
    }
  }
}

void DocumentScorer::answer(std::size_t request, const model::Score& score, Answers& answers) {
  const Place& place = places_[request];
  const WorkItem& work = work_[place.work];
  const std::string& name = work.plan->task->name();
  if (!std::isfinite(score.log_likelihood)) {
    throw base::Error(fmt::format(
        "task {}, document {}: the model's log-likelihood is not a number; its weights are damaged "
        "or its training diverged",
        name, work.document));
  }
  results_[place.result].log_likelihood = score.log_likelihood;
  results_[place.result].is_greedy = score.is_greedy;
  answers[name][{work.document, static_cast<std::int64_t>(place.choice)}] = score;
}

void DocumentScorer::append_to(std::string& bytes) const {
  std::size_t at = 0;
  for (const WorkItem& work : work_) {
    put(bytes, work.document);
    const std::string& name = work.plan->task->name();
    put(bytes, static_cast<std::int64_t>(name.size()));
    bytes += name;
    const std::size_t choices = work.plan->items()[work.document].targets.size();
    put(bytes, static_cast<std::int64_t>(choices));
    for (std::size_t choice = 0; choice < choices; ++choice, ++at) {
      put(bytes, results_[at].log_likelihood);
      put(bytes, results_[at].is_greedy);
      put(bytes, results_[at].context_tokens);
      put(bytes, results_[at].continuation_tokens);
      bytes += results_[at].context_sha256;
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

}  // namespace eyrie::eval
