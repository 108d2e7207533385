// The eyrie program: finds the command, runs it, and turns exceptions into an exit status.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "base/crash.h"
#include "base/error.h"
#include "base/output.h"
#include "cli/command.h"
#include "cli/launched.h"
#include "cli/short_spins.h"
#include "parallel/health/stop.h"

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
    {"eval compare", "several results side by side, with what differs by more than chance",
     run_eval_compare},
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
    {"slurm submit",
     "a chain of jobs on a Slurm cluster, one per stage: checked, written as scripts, submitted",
     run_slurm_submit},
    {"slurm evaluate", "an array of jobs that evaluates checkpoints on tasks, and one table",
     run_slurm_evaluate},
    {"slurm build", "a job that builds shards", run_slurm_build},
    {"slurm status", "the jobs of a run: state, step, loss, restarts, time to its end",
     run_slurm_status},
    {"slurm cancel", "saves a checkpoint, then ends the jobs of a run", run_slurm_cancel},
    {"slurm logs", "what the jobs of a run printed", run_slurm_logs},
    {"branch", "new runs that go on from a checkpoint of another", run_branch},
    {"replay", "a past step again, bit for bit: its documents, losses and gradients", run_replay},
    {"doctor", "what the nodes and links of a job can do, and which stands out", run_doctor},
    {"version", "version, compiler, and what the processor can run", run_version},
};

std::string command_list() {
  std::string text = "eyrie trains and evaluates Griffin models. Commands:\n\n";
  for (const Command& command : kCommands)
    text += fmt::format("  {:17} {}\n", command.name, command.summary);
  return text + "\n`eyrie COMMAND --help` lists a command's flags. Documentation: docs/.\n";
}

// Finds the command that `arguments` begin with, and sets `words` to its number of words; two words
// are tried before one. Returns null if there is none.
const Command* find(const std::vector<std::string>& arguments, int& words) {
  const auto named = [](const std::string& name) -> const Command* {
    for (const Command& command : kCommands)
      if (command.name == name) return &command;
    return nullptr;
  };
  words = 2;
  const Command* command =
      arguments.size() > 1 ? named(arguments[0] + " " + arguments[1]) : nullptr;
  if (command != nullptr || arguments.empty()) return command;
  words = 1;
  return named(arguments[0]);
}

// Prints help for arguments that are not a command, with a suggestion. Returns the exit status.
int unknown(const std::vector<std::string>& arguments) {
  const std::string& one = arguments[0];
  const std::string two = arguments.size() > 1 ? one + " " + arguments[1] : one;
  std::vector<std::string> names, verbs;
  for (const Command& command : kCommands) {
    names.emplace_back(command.name);
    if (names.back().starts_with(one + " ")) verbs.push_back(names.back().substr(one.size() + 1));
  }
  const bool help = arguments.size() > 1 &&
                    (arguments[1] == "help" || arguments[1] == "--help" || arguments[1] == "-h");
  if (!verbs.empty() && help) {
    for (const Command& command : kCommands) {
      if (std::string(command.name).starts_with(one + " "))
        eyrie::base::print("  {:17} {}\n", command.name, command.summary);
    }
    return eyrie::base::kExitDone;
  }
  if (!verbs.empty()) {  // the first word is right
    const std::string near = arguments.size() > 1 ? eyrie::base::nearest(arguments[1], verbs) : "";
    if (near.empty()) {
      eyrie::base::print_error(
          fmt::format("eyrie: '{}' is followed by one of: {}\n", one, fmt::join(verbs, ", ")));
    } else {
      eyrie::base::print_error(
          fmt::format("eyrie: there is no command '{}'; did you mean '{} {}'?\n", two, one, near));
    }
    return eyrie::base::kExitInput;
  }
  std::string near = eyrie::base::nearest(two, names);
  const bool both = !near.empty() && arguments.size() > 1;
  if (near.empty()) near = eyrie::base::nearest(one, names);  // the second word is an argument
  eyrie::base::print_error(fmt::format("eyrie: there is no command '{}'{}\n\n{}", both ? two : one,
                                       near.empty() ? "" : "; did you mean '" + near + "'?",
                                       command_list()));
  return eyrie::base::kExitInput;
}

// Turns "help train", "train help", "-V" and the like into commands and flags.
std::vector<std::string> plain(std::vector<std::string> arguments) {
  if (arguments.empty()) return arguments;
  if (arguments[0] == "--version" || arguments[0] == "-V") arguments[0] = "version";
  if (arguments[0] == "--help" || arguments[0] == "-h") arguments[0] = "help";
  if (arguments[0] == "help" && arguments.size() > 1) {
    arguments.erase(arguments.begin());
    arguments.emplace_back("--help");
  }
  int words = 0;
  if (find(arguments, words) != nullptr &&
      arguments.size() == static_cast<std::size_t>(words) + 1 && arguments.back() == "help")
    arguments.back() = "--help";
  return arguments;
}

int run(const std::vector<std::string>& given) {
  std::vector<std::string> arguments = plain(given);
  if (arguments.empty()) {
    eyrie::base::print_error(command_list());
    return eyrie::base::kExitInput;
  }
  if (arguments[0] == "help") {
    eyrie::base::print_text(command_list());
    return eyrie::base::kExitDone;
  }
  int words = 0;
  const Command* command = find(arguments, words);
  if (command == nullptr) return unknown(arguments);
  if (is_idle_rank(command->name)) return eyrie::base::kExitDone;
  arguments.erase(arguments.begin(), arguments.begin() + words);
  arguments.insert(arguments.begin(), std::string("eyrie ") + command->name);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  return command->run(static_cast<int>(arguments.size()), pointers.data());
}

int fail(const std::string& message, int status) {
  eyrie::base::print_error(fmt::format("eyrie: {}\n", eyrie::base::with_rank(message)));
  return status;
}

int run_guarded(const std::vector<std::string>& arguments) {
  try {
    return run(arguments);
  } catch (const eyrie::base::InputError& error) {
    return fail(error.what(), eyrie::base::kExitInput);
  } catch (const std::bad_alloc&) {
    return fail("out of memory: the system gave no more of it", eyrie::base::kExitFailure);
  } catch (const std::exception& error) {
    return fail(error.what(), eyrie::base::kExitFailure);
  }
}

}  // namespace

int main(int argc, char** argv) {
  eyrie::base::open_standard_streams();  // before anything opens a file or an event
  eyrie::parallel::block_stop_signals();
  spin_shortly(argv);
  eyrie::parallel::start_signal_thread();
  // A write beyond the file size limit then returns an error.
  ::signal(SIGXFSZ, SIG_IGN);
  eyrie::base::report_crashes();
  return eyrie::base::finish_output(run_guarded({argv + 1, argv + std::max(argc, 1)}));
}
