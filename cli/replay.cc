// eyrie replay RUN --step N: a past step again, and what was in it.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/output.h"
#include "base/output_place.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "parallel/communication/run_guarded.h"
#include "tensor/threads.h"
#include "text/tokenizer.h"
#include "trainer/replay.h"

namespace eyrie::cli {
namespace {

using trainer::Replay;

std::string compared(double now, const std::optional<double>& then) {
  if (!then) return fmt::format("{:.6g} (metrics.jsonl does not have this step)", now);
  if (now == *then) return fmt::format("{:.6g}, as recorded, bit for bit", now);
  return fmt::format("{:.9g}, recorded {:.9g}: NOT THE SAME", now, *then);
}

void print_replay(const Replay& replay, std::int64_t most, bool with_text,
                  const text::Tokenizer& tokenizer) {
  base::print("step       {} of stage {}, batch {}; replayed from {}\n", replay.step, replay.stage,
              replay.batch,
              replay.from == 0 ? "the beginning" : fmt::format("step {}", replay.from));
  base::print("loss       {}\n", compared(replay.taken.result.loss, replay.recorded_loss));
  base::print("grad_norm  {}\n",
              compared(replay.taken.result.grad_norm, replay.recorded_grad_norm));
  if (!replay.taken.skipped.empty()) base::print("skipped    {}\n", replay.taken.skipped);
  base::print("\nloss by source, before the step\n");
  for (const auto& [source, loss] : replay.by_source) base::print("  {:24} {:.4f}\n", source, loss);
  std::vector<const trainer::ReplayedDocument*> documents;
  for (const auto& document : replay.documents) documents.push_back(&document);
  std::stable_sort(documents.begin(), documents.end(),
                   [](const auto* a, const auto* b) { return a->loss() > b->loss(); });
  const auto shown = std::min(std::ssize(documents), most);
  base::print("\nthe {} documents of highest loss, of {}\n", shown, documents.size());
  for (std::int64_t i = 0; i < shown; ++i) {
    const trainer::ReplayedDocument& d = *documents[static_cast<std::size_t>(i)];
    base::print("  {:.4f}  {:12} {} document {}, tokens {} to {}; micro-shard {}, row {}\n",
                d.loss(), d.origin.source, d.origin.shard, d.origin.document, d.origin.first,
                d.origin.first + d.origin.count, d.micro_shard, d.origin.row);
    if (with_text) base::print("{}\n\n", tokenizer.decode(d.tokens));
  }
  auto norms = replay.grad_norms;
  std::stable_sort(norms.begin(), norms.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (std::ssize(norms) > most) norms.resize(static_cast<std::size_t>(most));
  base::print("\ngradient norms, the {} largest of {} parameters\n", norms.size(),
              replay.grad_norms.size());
  for (const auto& [name, norm] : norms) base::print("  {:<44} {:.6g}\n", name, norm);
}

std::string as_json(const Replay& replay) {
  nlohmann::ordered_json all = {{"step", replay.step},
                                {"stage", replay.stage},
                                {"batch", replay.batch},
                                {"from", replay.from},
                                {"loss", replay.taken.result.loss},
                                {"grad_norm", replay.taken.result.grad_norm},
                                {"skipped", replay.taken.skipped}};
  if (replay.recorded_loss) all["recorded_loss"] = *replay.recorded_loss;
  if (replay.recorded_grad_norm) all["recorded_grad_norm"] = *replay.recorded_grad_norm;
  for (const auto& [source, loss] : replay.by_source) all["loss_by_source"][source] = loss;
  for (const auto& [name, norm] : replay.grad_norms) all["grad_norms"][name] = norm;
  all["documents"] = nlohmann::ordered_json::array();
  for (const auto& d : replay.documents)
    all["documents"].push_back({{"source", d.origin.source},
                                {"shard", d.origin.shard},
                                {"document", d.origin.document},
                                {"first", d.origin.first},
                                {"tokens", d.origin.count},
                                {"targets", d.targets},
                                {"loss", d.loss()},
                                {"micro_shard", d.micro_shard},
                                {"row", d.origin.row},
                                {"at", d.origin.at},
                                {"ids", d.tokens}});
  return all.dump(1) + "\n";
}

}  // namespace

int run_replay(int argc, char** argv) {
  const auto world = parallel::open_world(argc, argv);
  std::string place, output;
  std::int64_t step = 0, most = 20;
  bool with_text = false;
  CLI::App app(
      "Computes a past step of a run again, bit for bit, from the checkpoint before it: loss per "
      "source and document, gradient norms per parameter. Writes nothing into the run. On any "
      "number of ranks that fits.",
      argv[0]);
  app.add_option("RUN", place, "the run's folder")->required();
  add_whole(app, "--step", step, "of the run, counted from 1", 1)->default_str("")->required();
  add_whole(app, "--documents", most, "how many documents and parameters to print", 0);
  app.add_flag("--text", with_text, "with the documents' texts");
  app.add_option("--output", output, "a JSON file with all of them");
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  return parallel::run_guarded(*world, [&] {
    trainer::RunConfig run;
    parallel::agree(*world, [&] {
      const base::Path file = base::Path(place) / "run.yaml";
      if (!base::is_there(file))
        throw base::InputError(place + " is no run's folder: it has no run.yaml");
      run = trainer::read_run(file, {});
      run.directory = place;
      if (!output.empty() && world->rank() == 0) base::check_output_file("--output", output);
    });
    tensor::set_thread_count(trainer::threads_for(run.threads, *world));
    const Replay replay = trainer::replay_step(run, *world, step);
    if (world->rank() != 0) return base::kExitDone;
    print_replay(replay, most, with_text, *trainer::open_run_data(run).tokenizer);
    if (!output.empty()) base::write_file(output, as_json(replay));
    return base::kExitDone;
  });
}

}  // namespace eyrie::cli
