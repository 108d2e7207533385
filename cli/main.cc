// The eyrie command: finds the verb, runs it, and turns what it throws into an exit status.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/command.h"
#include "cli/short_spins.h"

namespace {

struct Command {
  const char* name;  // one or two words
  const char* summary;
  int (*run)(int argc, char** argv);
};

using namespace eyrie::cli;
constexpr Command kCommands[] = {
    {"train",
     "the main job: stages of training with an evaluation after each; goes on from the newest "
     "checkpoint",
     run_train},
    {"eval list", "the tasks known, their data files, and whether these are there", run_eval_list},
    {"eval show", "one item of a task as the model gets it, shots and all", run_eval_show},
    {"eval", "scores of a model on benchmarks, with lm-evaluation-harness's numbers", run_eval},
    {"score", "log-likelihoods of (context, continuation) pairs", run_score},
    {"generate", "text from a model", run_generate},
    {"plan", "memory, bytes between ranks and time of a run on a mesh, before a job is queued",
     run_plan},
    {"model info", "configuration, parameters by kind, state, FLOPs and memory of a model",
     run_model_info},
    {"data build", "documents to HDF5 shards, cleared of evaluation sets", run_data_build},
    {"data screen", "overlaps of documents with evaluation sets; changes nothing", run_data_screen},
    {"data inspect", "what a shard holds", run_data_inspect},
    {"model init", "a model with random weights, for trying sizes", run_model_init},
    {"model import", "weights from Hugging Face or an official release, checked and copied",
     run_model_import},
    {"model export", "a Hugging Face directory that transformers loads", run_model_export},
    {"checkpoint list",
     "the checkpoints of a run: step, stage, size, validation loss, newest, best",
     run_checkpoint_list},
    {"checkpoint verify", "every checksum of a run's checkpoints, or of one",
     run_checkpoint_verify},
    {"checkpoint prune", "removes the checkpoints that retention does not keep",
     run_checkpoint_prune},
    {"version", "version, compiler, and what the processor can run", run_version},
};

void print_commands(std::FILE* out) {
  fmt::print(out, "eyrie trains and evaluates Griffin models. Commands:\n\n");
  for (const Command& command : kCommands)
    fmt::print(out, "  {:17} {}\n", command.name, command.summary);
  fmt::print(out, "\n`eyrie COMMAND --help` lists a command's flags. Documentation: docs/.\n");
}

}  // namespace

int main(int argc, char** argv) {
  spin_shortly(argv);
  if (argc < 2 || std::string(argv[1]) == "--help" || std::string(argv[1]) == "-h" ||
      std::string(argv[1]) == "help") {
    print_commands(argc < 2 ? stderr : stdout);
    return argc < 2 ? eyrie::base::kExitInput : eyrie::base::kExitDone;
  }
  const std::string one = argv[1], two = argc > 2 ? one + " " + argv[2] : one;
  for (const Command& command : kCommands) {
    const int words = command.name == two && argc > 2 ? 2 : command.name == one ? 1 : 0;
    if (words == 0) continue;
    static std::string name = std::string("eyrie ") + command.name;
    argv[words] = name.data();
    try {
      return command.run(argc - words, argv + words);
    } catch (const eyrie::base::InputError& error) {
      fmt::print(stderr, "eyrie: {}\n", eyrie::base::with_rank(error.what()));
      return eyrie::base::kExitInput;
    } catch (const std::exception& error) {
      fmt::print(stderr, "eyrie: {}\n", eyrie::base::with_rank(error.what()));
      return eyrie::base::kExitFailure;
    }
  }
  std::vector<std::string> names, verbs;
  for (const Command& command : kCommands) {
    names.emplace_back(command.name);
    if (names.back().starts_with(one + " ")) verbs.push_back(names.back().substr(one.size() + 1));
  }
  const bool slip = argc > 2 && !eyrie::base::nearest(two, names).empty();
  if (!verbs.empty() && !slip) {
    fmt::print(stderr, "eyrie: '{}' is followed by one of: {}\n", one, fmt::join(verbs, ", "));
    return eyrie::base::kExitInput;
  }
  std::string near = eyrie::base::nearest(two, names);
  if (near.empty()) near = eyrie::base::nearest(one, names);  // the second word is an argument
  fmt::print(stderr, "eyrie: there is no command '{}'{}\n\n", one,
             near.empty() ? "" : "; did you mean '" + near + "'?");
  print_commands(stderr);
  return eyrie::base::kExitInput;
}
