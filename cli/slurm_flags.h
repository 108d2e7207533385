// What commands that submit jobs share: flags for resources, and where Eyrie and its script are.
#pragma once

#include <string>

#include "base/file.h"
#include "slurm/job_script.h"

namespace CLI {
class App;
}

namespace eyrie::cli {

// --nodes and on. `nodes`: as given, for read_nodes().
void add_resource_flags(CLI::App& app, slurm::Resources& resources, std::string& nodes);

// Sets the numbers of nodes from "4" or "2-4". Throws InputError for anything else.
void read_nodes(const std::string& text, slurm::Resources& resources);

// A folder as an absolute path with a name.
base::Path absolute_folder(const base::Path& folder);

// The text of slurm/train.sbatch. Throws Error if it is not beside this program.
std::string train_script();

// This program, as a job starts it.
std::string eyrie_command(const slurm::Resources& resources);

}  // namespace eyrie::cli
