// The CPUs that this process may use, and how many threads the user wants.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace eyrie::tensor {

std::vector<int> core_list();  // CPU numbers, ascending

// The number of threads set in the environment: EYRIE_THREADS, else OMP_NUM_THREADS (of a list, its
// first number). Empty if neither is set, or if OpenMP could not read the value either. Throws
// InputError if EYRIE_THREADS is not a number from 1 to 1024.
std::optional<int> threads_of_environment();

// Returns the number of cores for one rank of a host, which may use the cores `mine`: all that no
// other rank may use, and an equal share of the others. `ranks` holds the core lists of all ranks
// of the host, including this one.
int share_of_cores(const std::vector<int>& mine, const std::vector<std::vector<int>>& ranks);

// Sets the calling thread's number of threads: `configured`; 0: what the environment asks for, else
// all cores that this process may use.
void use_threads(std::int64_t configured);

}  // namespace eyrie::tensor
