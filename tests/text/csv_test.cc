#include "text/csv.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::text {
namespace {

using Fields = std::vector<std::string>;

std::vector<Fields> fields_of(std::string_view text) {
  std::vector<Fields> all;
  for (const CsvRow& row : parse_csv(text, "x.csv")) all.push_back(row.fields);
  return all;
}

TEST(Csv, ReadsPlainAndQuotedFields) {
  EXPECT_EQ(fields_of("a,b\nc,\n"), (std::vector<Fields>{{"a", "b"}, {"c", ""}}));
  EXPECT_EQ(fields_of("\"a,b\",\"say \"\"so\"\"\"\n"),
            (std::vector<Fields>{{"a,b", "say \"so\""}}));
  EXPECT_EQ(fields_of("\"two\nlines\",x"), (std::vector<Fields>{{"two\nlines", "x"}}));
  EXPECT_EQ(fields_of("5\" nails,\"\"\n"),
            (std::vector<Fields>{{"5\" nails", ""}}));  // a quote inside of a field is itself
  EXPECT_EQ(fields_of(","), (std::vector<Fields>{{"", ""}}));
}

TEST(Csv, KnowsEveryLineEndAndPassesOverEmptyLines) {
  EXPECT_EQ(fields_of("\xEF\xBB\xBF"
                      "a\r\n\r\nb\rc\n\n"),
            (std::vector<Fields>{{"a"}, {"b"}, {"c"}}));
  EXPECT_TRUE(fields_of("").empty());
  EXPECT_TRUE(fields_of("\n\n").empty());
}

TEST(Csv, CountsLines) {
  const auto rows = parse_csv("a\n\n\"b\nc\"\nd\n", "x.csv");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[1].line, 3);
  EXPECT_EQ(rows[2].line, 5);
}

TEST(Csv, NamesTheQuoteThatIsNeverClosed) {
  const std::string message =
      test::message_of<base::InputError>([] { parse_csv("a,b\nc,\"d\ne\n", "x.csv"); });
  EXPECT_EQ(message,
            "x.csv:2: a quote begins here and is never closed; the file is cut off or damaged");
}

}  // namespace
}  // namespace eyrie::text
