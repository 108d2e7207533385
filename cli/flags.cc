// The command line: parsing, and numbers on it.
#include "cli/flags.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <charconv>

#include "base/error.h"
#include "trainer/bytes.h"

namespace eyrie::cli {
namespace {

// An error message with "eyrie" in front, like every other message.
CLI::ValidationError refusal(const std::string& message) {
  return CLI::ValidationError("eyrie", message);
}

std::int64_t read_whole(const std::string& flag, const std::string& text, std::int64_t least,
                        std::int64_t most) {
  const std::optional<std::int64_t> value = base::parse_whole(text);
  if (!value) {
    const bool number = base::parse_number(text).has_value();
    throw refusal(fmt::format("{} {} is not a whole number {}", flag, text,
                              !number                 ? "(12, 16Ki, 1e6)"
                              : most == kLargestWhole ? fmt::format("of at least {}", least)
                                                      : fmt::format("from {} to {}", least, most)));
  }
  const std::string why = base::out_of_range(*value, least, most);
  if (!why.empty()) throw refusal(fmt::format("{} {}", flag, why));
  return *value;
}

template <class Read>
CLI::Option* add(CLI::App& app, const std::string& flag, const std::string& help,
                 const std::string& kind, const Read& read) {
  return app.add_option_function<std::string>(flag, read, help)->type_name(kind);
}

template <class T>
CLI::Option* add_any_whole(CLI::App& app, const std::string& flag, T& value,
                           const std::string& help, std::int64_t least, std::int64_t most) {
  return add(app, flag, help, "N", [&value, flag, least, most](const std::string& text) {
    value = static_cast<typename std::conditional_t<
        std::is_same_v<T, int> || std::is_same_v<T, std::optional<int>>, int, std::int64_t>>(
        read_whole(flag, text, least, most));
  });
}

}  // namespace

std::optional<int> parse(CLI::App& app, int argc, char** argv, bool prints) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (prints) app.exit(error);
    return error.get_exit_code() == 0 ? base::kExitDone : base::kExitInput;
  }
}

CLI::Option* add_whole(CLI::App& app, const std::string& flag, std::int64_t& value,
                       const std::string& help, std::int64_t least, std::int64_t most) {
  return add_any_whole(app, flag, value, help, least, most)->default_str(std::to_string(value));
}

CLI::Option* add_whole(CLI::App& app, const std::string& flag, int& value, const std::string& help,
                       int least, int most) {
  return add_any_whole(app, flag, value, help, least, most)->default_str(std::to_string(value));
}

CLI::Option* add_whole(CLI::App& app, const std::string& flag, std::optional<std::int64_t>& value,
                       const std::string& help, std::int64_t least, std::int64_t most) {
  return add_any_whole(app, flag, value, help, least, most);
}

CLI::Option* add_whole(CLI::App& app, const std::string& flag, std::optional<int>& value,
                       const std::string& help, int least, int most) {
  return add_any_whole(app, flag, value, help, least, most);
}

CLI::Option* add_number(CLI::App& app, const std::string& flag, double& value,
                        const std::string& help, double least, double most) {
  return add(app, flag, help, "X",
             [&value, flag, least, most](const std::string& text) {
               const std::optional<double> number = base::parse_number(text);
               if (!number) throw refusal(fmt::format("{} {} is not a number", flag, text));
               const std::string why = base::out_of_range(*number, least, most);
               if (!why.empty()) throw refusal(fmt::format("{} {}", flag, why));
               value = *number;
             })
      ->default_str(fmt::format("{}", value));
}

CLI::Option* add_seed(CLI::App& app, std::uint64_t& seed, const std::string& help) {
  return add(app, "--seed", help, "N",
             [&seed](const std::string& text) {
               const char* end = text.data() + text.size();
               const auto [last, error] = std::from_chars(text.data(), end, seed);
               if (error != std::errc() || last != end)
                 throw refusal(fmt::format(
                     "--seed {} is not a whole number from 0 to 18446744073709551615", text));
             })
      ->default_str(std::to_string(seed));
}

CLI::Option* add_bytes(CLI::App& app, const std::string& flag, std::int64_t& bytes,
                       const std::string& help, std::int64_t least) {
  return add(app, flag, help, "BYTES",
             [&bytes, flag, least](const std::string& text) {
               const std::string why = trainer::amount_too_small(text, least);
               if (!why.empty()) throw refusal(fmt::format("{} {}", flag, why));
               bytes = trainer::parse_bytes(text);
             })
      ->default_str(trainer::bytes_text(bytes));
}

void add_weights(CLI::App& app, checkpoint::OpenModelOptions& opening) {
  const auto read = [&opening](const std::string& value) {
    if (value != "int8") throw refusal(fmt::format("--weights {} is not int8", value));
    opening.int8_weights = true;
  };
  app.add_option_function<std::string>(
         "--weights", read,
         "int8: linear layers and embedding in 8 bits, for half the memory of bf16")
      ->type_name("TEXT");
}

void add_scoring_flags(CLI::App& app, checkpoint::OpenModelOptions& opening,
                       std::int64_t& max_length, std::int64_t& threads) {
  add_whole(app, "--max-length", max_length,
            "tokens that the model is given at the most, cut off from the left; 0: all", 0,
            kMostTokens);
  add_whole(app, "--batch-tokens", opening.batch_tokens, "tokens of one pass", 1, kMostTokens);
  app.add_option("--precision", opening.precision, "fp32 or bf16; default: as trained");
  add_weights(app, opening);
  app.add_option("--tokenizer", opening.tokenizer, "a tokenizer file in place of the model's own");
  app.add_flag("--other-tokenizer", opening.other_tokenizer,
               "take a tokenizer that is not the model's own");
  add_whole(app, "--threads", threads, "a rank; 0: the host's cores shared out among its ranks", 0,
            base::most_threads());
}

}  // namespace eyrie::cli
