// Positions of tokens in their documents, and what follows from them for attention.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace eyrie::tensor {

// positions int32 (1, sequences · T): for each sequence its start, start + 1, …
void continue_positions(std::span<const std::int64_t> starts, const Tensor& positions);

// first_key int32 (1, sequences · T): the first key that a query sees, where `past` keys of its
// sequence come before the T new ones and a query sees at most `reach` keys before its own, none of
// them of an earlier document. Aborts if a position reaches back before the first key.
void first_keys(const Tensor& positions, std::int64_t sequences, std::int64_t past,
                std::int64_t reach, const Tensor& first_key);

// Whether all ids, int32 (1, n), are in [0, end); those whose weight (1, n) fp32 is 0 don't count,
// if weights are given.
bool all_in_range(const Tensor& ids, std::int64_t end, const Tensor& weight = {});

}  // namespace eyrie::tensor
