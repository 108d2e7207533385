// Prompts to requests, requests to answers, answers to bytes and back.
#include "eval/score_share.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "eval/prompt.h"
#include "eval/sha256.h"
#include "tensor/threads.h"

namespace eyrie::eval {
namespace {

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

}  // namespace

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
      if (!std::isfinite(scores[at].log_likelihood)) {
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

}  // namespace eyrie::eval
