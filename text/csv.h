// Comma-separated values as spreadsheets and Python's csv module write them: fields in double
// quotes may contain commas, line breaks and doubled quotes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace eyrie::text {

struct CsvRow {
  std::int64_t line = 0;  // where the row begins, from 1
  std::vector<std::string> fields;
};

// Skips empty lines and a byte order mark. Throws InputError with `name` and the line for a quote
// that is never closed.
std::vector<CsvRow> parse_csv(std::string_view contents, const std::string& name);

}  // namespace eyrie::text
