// DATA.yaml, read and checked as far as that takes no reading of documents.
#pragma once

#include <string>
#include <vector>

#include "data_pipeline/data_config.h"
#include "text/task.h"

namespace eyrie::cli {

// Applies key.path=value over the file. Throws InputError naming line and key, also for a tokenizer
// or tasks that are not there.
data_pipeline::DataConfig read_checked_data_config(const std::string& file,
                                                   const std::vector<std::string>& assignments,
                                                   const text::TaskPlaces& places);

}  // namespace eyrie::cli
