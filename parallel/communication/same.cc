// Compares what ranks read: first hashes, then the facts themselves if the hashes differ.
#include "parallel/communication/same.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace eyrie::parallel {
namespace {

constexpr char kBetween = '\x1f', kEnd = '\x1e';
constexpr std::size_t kNamed = 8;  // at most this many ranks are named in a message

std::string pack(const Facts& facts) {
  std::string text;
  for (const auto& [name, value] : facts) text += name + kBetween + value + kEnd;
  return text;
}

Facts unpack(const std::string& text) {
  Facts facts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t between = text.find(kBetween, at), end = text.find(kEnd, at);
    facts.emplace_back(text.substr(at, between - at), text.substr(between + 1, end - between - 1));
    at = end + 1;
  }
  return facts;
}

// "seed is 2 here, 1 there", for the first fact that differs.
std::string difference(const Facts& here, const Facts& there) {
  for (std::size_t i = 0; i < std::max(here.size(), there.size()); ++i) {
    if (i >= here.size()) return fmt::format("{} is only there", there[i].first);
    if (i >= there.size()) return fmt::format("{} is only here", here[i].first);
    if (here[i].first != there[i].first)
      return fmt::format("{} here, {} there", here[i].first, there[i].first);
    if (here[i].second != there[i].second)
      return fmt::format("{} is {} here, {} there", here[i].first, here[i].second, there[i].second);
  }
  return "";
}

}  // namespace

void check_same(Communicator& ranks, const Facts& facts, const std::string& advice) {
  if (ranks.size() == 1) return;
  std::string text = pack(facts);
  const std::string own = base::hex(base::hash_text(text));
  const auto all = ranks.all_gather(own + base::host_name());
  std::vector<std::string> others;
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank].substr(0, own.size()) != all[0].substr(0, own.size()))
      others.push_back(std::to_string(rank));
  if (others.empty()) return;
  const std::size_t differing = others.size();
  if (differing > kNamed) {
    others.resize(kNamed);
    others.emplace_back("…");
  }
  std::array<std::int64_t, 1> bytes = {static_cast<std::int64_t>(text.size())};
  ranks.broadcast(std::as_writable_bytes(std::span(bytes)), 0);
  std::string first = ranks.rank() == 0 ? text : std::string(static_cast<std::size_t>(bytes[0]), 0);
  ranks.broadcast(std::as_writable_bytes(std::span<char>(first.data(), first.size())), 0);
  agree(ranks, [&] {
    if (own == all[0].substr(0, own.size())) return;
    throw base::InputError(fmt::format(
        "this rank on {} does not read what rank 0 on {} reads: {} ({} not as rank 0: {}). {}",
        base::host_name(), all[0].substr(own.size()), difference(facts, unpack(first)),
        differing == 1 ? "1 rank is" : fmt::format("{} ranks are", differing),
        fmt::join(others, ", "), advice));
  });
}

}  // namespace eyrie::parallel
