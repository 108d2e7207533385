// Runs work that can fail on one rank alone and lets one vote decide, so that all ranks take the
// same path.
#include <array>
#include <cstring>
#include <exception>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/communicator.h"
#include "parallel/communication/run_guarded.h"

namespace eyrie::parallel {
namespace {

template <class Kind>
class Agreed : public Kind, public AgreedFailure {
 public:
  using Kind::Kind;
};

std::span<std::byte> bytes_of(std::string& text) {
  return std::as_writable_bytes(std::span<char>(text.data(), text.size()));
}

}  // namespace

void agree(Communicator& communicator, const std::function<void()>& work) {
  if (communicator.size() == 1) return work();

  enum Kind : std::int64_t { kFine, kOther, kInput };
  std::int64_t kind = kFine;
  std::string message;
  try {
    work();
  } catch (const base::InputError& error) {
    kind = kInput;
    message = error.what();
  } catch (const std::exception& error) {
    kind = kOther;
    message = error.what();
  } catch (...) {
    kind = kOther;
    message = "an exception that is no std::exception";
  }

  // The lowest failing rank's error is the one that all throw.
  std::array<std::int64_t, 1> first = {kind == kFine ? communicator.size() : communicator.rank()};
  communicator.all_reduce(first, Reduce::kMin);
  const int culprit = static_cast<int>(first[0]);
  if (culprit == communicator.size()) return;
  std::array<std::int64_t, 2> head = {kind, static_cast<std::int64_t>(message.size())};
  communicator.broadcast(std::as_writable_bytes(std::span(head)), culprit);
  message.resize(static_cast<std::size_t>(head[1]));
  communicator.broadcast(bytes_of(message), culprit);
  const std::string text = fmt::format("rank {}: {}", culprit, message);
  if (head[0] == kInput) throw Agreed<base::InputError>(text);
  throw Agreed<base::Error>(text);
}

}  // namespace eyrie::parallel
