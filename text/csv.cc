// A one-pass CSV parser.
#include "text/csv.h"

#include <fmt/format.h>

#include "base/error.h"

namespace eyrie::text {

std::vector<CsvRow> parse_csv(std::string_view contents, const std::string& name) {
  if (contents.starts_with("\xEF\xBB\xBF")) contents.remove_prefix(3);
  std::vector<CsvRow> rows;
  std::int64_t line = 1;
  std::size_t at = 0;
  const auto at_break = [&] {
    return at < contents.size() && (contents[at] == '\n' || contents[at] == '\r');
  };
  const auto pass_break = [&] {
    if (contents[at] == '\r' && at + 1 < contents.size() && contents[at + 1] == '\n') ++at;
    ++at;
    ++line;
  };
  while (at < contents.size()) {
    if (at_break()) {
      pass_break();
      continue;
    }
    CsvRow row{line, {""}};
    bool in_quotes = false, field_begins = true;
    std::int64_t quote_line = 0;
    for (; at < contents.size() && (in_quotes || !at_break()); ++at) {
      const char c = contents[at];
      std::string& field = row.fields.back();
      if (in_quotes) {
        if (c == '\n') ++line;
        if (c != '"') {
          field += c;
        } else if (at + 1 < contents.size() && contents[at + 1] == '"') {
          field += '"';
          ++at;
        } else {
          in_quotes = false;
        }
      } else if (c == '"' && field_begins) {
        in_quotes = true;
        quote_line = line;
      } else if (c == ',') {
        row.fields.emplace_back();
        field_begins = true;
        continue;
      } else {
        field += c;
      }
      field_begins = false;
    }
    if (in_quotes) {
      throw base::InputError(fmt::format(
          "{}:{}: a quote begins here and is never closed; the file is cut off or damaged", name,
          quote_line));
    }
    if (at < contents.size()) pass_break();
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace eyrie::text
