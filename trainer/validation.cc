// Validation loss.
#include "trainer/validation.h"

#include <algorithm>

#include "trainer/objectives/next_token.h"

namespace eyrie::trainer {
namespace {

struct Row {
  std::size_t source;
  std::int64_t row;
};

}  // namespace

ValidationLoss validation_loss(const model::Griffin& griffin, const model::Parameters& parameters,
                               const data_pipeline::ValidationStream& held_out,
                               std::int64_t sequences, parallel::Communicator& ranks,
                               model::Workspace& workspace, parallel::StopNotice* stop) {
  const std::size_t sources = held_out.sources().size();
  if (sources == 0) return {};
  std::vector<Row> rows;
  for (std::size_t s = 0; s < sources; ++s) {
    // Equal shares; the first sources take the remainder.
    const auto share =
        sequences / static_cast<std::int64_t>(sources) +
        (static_cast<std::int64_t>(s) < sequences % static_cast<std::int64_t>(sources) ? 1 : 0);
    for (std::int64_t r = 0; r < std::min(share, held_out.sequences(s)); ++r)
      rows.push_back({s, r});
  }
  const auto at_once = static_cast<std::size_t>(validation_rows_at_once(held_out.length()));
  // Each rank fills in the sums of its own sequences; the sum of disjoint vectors is exact.
  const std::size_t count = rows.size();
  std::vector<double> sums(2 * count, 0.0);  // nll, then targets
  const auto size = static_cast<std::size_t>(ranks.size()),
             rank = static_cast<std::size_t>(ranks.rank());
  const std::size_t end = count * (rank + 1) / size;
  for (std::size_t first = count * rank / size; first < end;) {
    if (stop != nullptr && stop->requested()) break;
    std::size_t last = first + 1;  // neighbouring sequences of one source share a pass
    while (last < end && last - first < at_once && rows[last].source == rows[first].source) ++last;
    const auto n = static_cast<std::int64_t>(last - first);
    const data_pipeline::NextTokenBatch batch =
        held_out.rows(rows[first].source, rows[first].row, n);
    const std::vector<float> nll = model::token_nll(griffin, parameters, view_of(batch), workspace);
    for (std::int64_t r = 0; r < n; ++r) {
      const std::size_t at = first + static_cast<std::size_t>(r);
      for (std::int64_t t = r * batch.length; t < (r + 1) * batch.length; ++t) {
        sums[at] += static_cast<double>(nll[static_cast<std::size_t>(t)]);
        sums[count + at] += static_cast<double>(batch.loss_mask[static_cast<std::size_t>(t)]);
      }
    }
    first = last;
  }
  parameters.finish_passes();
  if (stop != nullptr && stop->finish()) return {0, {}, true};
  ranks.all_reduce(std::span<double>(sums), parallel::Reduce::kSum);

  ValidationLoss loss;
  double all = 0, all_targets = 0;
  for (std::size_t s = 0; s < sources; ++s) {
    double nll = 0, targets = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (rows[i].source != s) continue;
      nll += sums[i];
      targets += sums[count + i];
    }
    if (targets > 0) loss.by_source.emplace_back(held_out.sources()[s], nll / targets);
    all += nll;
    all_targets += targets;
  }
  loss.all = all_targets > 0 ? all / all_targets : 0;
  return loss;
}

}  // namespace eyrie::trainer
