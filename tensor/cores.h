// The CPUs that this process may use, and how many threads its user wants.
#pragma once

#include <optional>
#include <vector>

namespace eyrie::tensor {

std::vector<int> core_list();  // numbers, ascending

// What the environment asks for: EYRIE_THREADS, else OMP_NUM_THREADS (which may be a list: its
// first number). None: nothing, or what OpenMP could not read either. InputError: EYRIE_THREADS is
// no number from 1 to 1024.
std::optional<int> threads_of_environment();

// The cores for one of the ranks of a host, which may use `mine`: all that no other rank may use as
// well, and an equal part of the rest. `ranks`: the lists of all ranks of the host, this one's too.
int share_of_cores(const std::vector<int>& mine, const std::vector<std::vector<int>>& ranks);

}  // namespace eyrie::tensor
