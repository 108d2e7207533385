// Parsing a command's flags, and flags that hold numbers: each with its range, read as a
// configuration's numbers are (12, 16Ki, 1e6). A value that is no number, or out of range, ends the
// command with a message that names flag and value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/host_memory.h"
#include "base/number.h"
#include "checkpoint/open_model.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace eyrie::cli {

using base::kLargestWhole;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 31;  // of one sequence, or of one pass

// Reads the command line into what the flags are bound to. Returns nothing where the command is to
// go on; otherwise the status to exit with, after --help or a wrong flag, of which this process
// prints a message where `prints`.
std::optional<int> parse(CLI::App& app, int argc, char** argv, bool prints = true);

// `value` keeps what it holds where the flag is not given; `help` then tells it as the default.
CLI::Option* add_whole(CLI::App& app, const std::string& flag, std::int64_t& value,
                       const std::string& help, std::int64_t least,
                       std::int64_t most = kLargestWhole);
CLI::Option* add_whole(CLI::App& app, const std::string& flag, int& value, const std::string& help,
                       int least, int most);
CLI::Option* add_number(CLI::App& app, const std::string& flag, double& value,
                        const std::string& help, double least, double most);
// These flags have no default.
CLI::Option* add_whole(CLI::App& app, const std::string& flag, std::optional<std::int64_t>& value,
                       const std::string& help, std::int64_t least,
                       std::int64_t most = kLargestWhole);
CLI::Option* add_whole(CLI::App& app, const std::string& flag, std::optional<int>& value,
                       const std::string& help, int least, int most);
// 0 to 2^64 − 1.
CLI::Option* add_seed(CLI::App& app, std::uint64_t& seed, const std::string& help);
// An amount of bytes with its unit (500MB, 2GiB).
CLI::Option* add_bytes(CLI::App& app, const std::string& flag, std::int64_t& bytes,
                       const std::string& help, std::int64_t least);

// --weights int8.
void add_weights(CLI::App& app, checkpoint::OpenModelOptions& opening);

// Of the commands that score texts with a model on any number of ranks.
void add_scoring_flags(CLI::App& app, checkpoint::OpenModelOptions& opening,
                       std::int64_t& max_length, std::int64_t& threads);

}  // namespace eyrie::cli
