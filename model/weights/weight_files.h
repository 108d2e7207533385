// The files of a Hugging Face directory that hold its weights.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::model {

struct WeightFiles {
  std::vector<base::Path> paths;
  // By the index, where there is one: tensor → name of the file that has it.
  std::map<std::string, std::string> file_of;
  base::Path index;  // empty: one file, and no index
};

// model.safetensors, or what model.safetensors.index.json names. InputError where the directory
// holds its weights twice, since one of the two would be read silently: both files, shards that the
// index does not name, or weights in another format beside these; and where a file is missing.
WeightFiles find_weight_files(const base::Path& directory);

// That a file has the tensors (sorted names) that the index gives it, and no other; InputError
// names the first that does not fit.
void check_index(const WeightFiles& files, const base::Path& file,
                 const std::vector<std::string>& tensors);

}  // namespace eyrie::model
