// Weights and states that are infinities or not numbers: refused where they come in, whoever reads
// them. Everything computed with them would be nonsense.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "model/weights/stored_type.h"

namespace eyrie::model {

// How many of `count` values are no finite numbers; on all threads. The second form looks at values
// as they lie in a file, aligned or not.
std::int64_t count_not_finite(const float* values, std::int64_t count);
std::int64_t count_not_finite(StoredType type, const std::byte* values, std::int64_t count);

// InputError "PLACE: tensor NAME has 3 values of 4096 that are no finite numbers; ADVICE".
[[noreturn]] void refuse_not_finite(const std::string& place, const std::string& tensor,
                                    std::int64_t not_finite, std::int64_t count);

// The same, if some of these values are none. `whole` (may be empty) counts those of the whole
// tensor, of `of` values, where these are a part of it; it is called only to refuse.
void check_finite(const std::string& place, const std::string& tensor, const float* values,
                  std::int64_t count, std::int64_t of,
                  const std::function<std::int64_t()>& whole = {});

}  // namespace eyrie::model
