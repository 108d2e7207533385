// The files of a Hugging Face directory that hold its weights.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::model {

struct WeightFiles {
  std::vector<base::Path> paths;
  // From the index, if there is one: tensor → name of the file that has it.
  std::map<std::string, std::string> file_of;
  base::Path index;  // empty: one file, and no index
};

// Returns model.safetensors, or the files that model.safetensors.index.json names. Throws
// InputError if a file is missing, or if the directory holds its weights twice (both of these,
// shards that the index does not name, or weights in another format), since one of the two would be
// read silently.
WeightFiles find_weight_files(const base::Path& directory);

// Checks that a file has exactly the tensors (sorted names) that the index lists for it. Throws
// InputError naming the first that does not fit.
void check_index(const WeightFiles& files, const base::Path& file,
                 const std::vector<std::string>& tensors);

}  // namespace eyrie::model
