// Reads DATA.yaml for the commands that build, or submit a build.
#include "cli/data_config.h"

#include "base/config.h"
#include "base/error.h"
#include "text/tokenizer.h"

namespace eyrie::cli {

data_pipeline::DataConfig read_checked_data_config(const std::string& file,
                                                   const std::vector<std::string>& assignments,
                                                   const text::TaskPlaces& places) {
  base::Config yaml = base::Config::read(file);
  for (const std::string& assignment : assignments) yaml.set(assignment);
  data_pipeline::DataConfig config = data_pipeline::read_data_config(yaml);
  std::string key = "tokenizer";
  try {
    text::open_tokenizer(config.tokenizer);
    key = "exclude.tasks";
    for (const std::string& task : config.exclude_tasks) text::open_tasks(task, places);
  } catch (const base::InputError& error) {
    throw yaml.error_at({key}, error.what());
  }
  return config;
}

}  // namespace eyrie::cli
