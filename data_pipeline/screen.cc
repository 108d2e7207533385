// Screens files on all ranks.
#include "data_pipeline/screen.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/error.h"
#include "data_pipeline/documents.h"

namespace eyrie::data_pipeline {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::int64_t kDealtLines = 64;  // consecutive lines that one rank takes at a time

Json hits_json(const std::vector<ScreenResult::Hit>& hits) {
  Json all = Json::array();
  for (const ScreenResult::Hit& hit : hits)
    all.push_back({{"file", hit.file},
                   {"line", hit.line},
                   {"task", hit.match.task},
                   {"item", hit.match.item},
                   {"words", hit.match.words},
                   {"text", hit.match.text}});
  return all;
}

}  // namespace

ScreenResult screen_files(const std::vector<base::Path>& files, const std::string& field,
                          const ExclusionIndex& index, parallel::Communicator& communicator) {
  ScreenResult own;
  own.findings.resize(index.groups().size());
  parallel::agree(communicator, [&] {
    for (const base::Path& file : files) {
      LineReader lines(file);
      DocumentParser parser(field);
      Findings findings(index.groups().size());  // of the current group of kDealtLines lines
      const auto keep = [&] {
        for (std::size_t g = 0; g < findings.size(); ++g) own.findings[g].add(findings[g]);
        findings.assign(findings.size(), {});
      };
      for (std::string_view line; lines.next(line);) {
        if (lines.number() / kDealtLines % communicator.size() != communicator.rank()) continue;
        if (!lines.problem().empty())
          throw base::InputError(at_line(file, lines.number(), 0, lines.problem()));
        if (!parser.parse(line))
          throw base::InputError(at_line(file, lines.number(), parser.column(), parser.problem()));
        ++own.documents;
        own.bytes += static_cast<std::int64_t>(parser.text().size());
        ExclusionIndex::Match match;
        if (index.screen(parser.text(), findings, &match))
          own.hits.push_back({file.string(), lines.number(), match});
        if (lines.number() % kDealtLines == kDealtLines - 1) keep();
      }
      keep();
    }
  });
  const Json said = {{"documents", own.documents},
                     {"bytes", own.bytes},
                     {"hits", hits_json(own.hits)},
                     {"findings", to_json(own.findings)}};
  ScreenResult all;
  all.findings.resize(index.groups().size());
  for (const std::string& rank : communicator.all_gather(said.dump())) {
    const Json theirs = Json::parse(rank);
    all.documents += theirs.at("documents").get<std::int64_t>();
    all.bytes += theirs.at("bytes").get<std::int64_t>();
    for (const Json& hit : theirs.at("hits"))
      all.hits.push_back({hit.at("file"),
                          hit.at("line"),
                          {hit.at("task"), hit.at("item"), hit.at("words"), hit.at("text")}});
    const Findings findings = findings_from_json(theirs.at("findings").get<std::string>());
    for (std::size_t g = 0; g < findings.size(); ++g) all.findings[g].add(findings[g]);
  }
  std::sort(all.hits.begin(), all.hits.end(), [](const auto& a, const auto& b) {
    return std::tie(a.file, a.line) < std::tie(b.file, b.line);
  });
  return all;
}

std::string to_json(const ScreenResult& result, const ExclusionIndex& index) {
  Json hits = hits_json(result.hits);
  for (Json& hit : hits) hit["task"] = index.groups()[hit["task"].get<std::size_t>()].name;
  return Json{{"documents", result.documents},
              {"bytes", result.bytes},
              {"contaminated", result.hits.size()},
              {"exclusion_hash", index.hash()},
              {"tasks", Json::parse(report_json(index, result.findings))},
              {"hits", hits}}
             .dump(1) +
         "\n";
}

}  // namespace eyrie::data_pipeline
