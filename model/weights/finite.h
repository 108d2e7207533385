// Rejects weights and states with infinities or NaNs when they are read: everything computed with
// them would be nonsense.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "model/weights/stored_type.h"

namespace eyrie::model {

// Returns how many of `count` values are not finite; uses all threads. The second form takes values
// as they lie in a file, aligned or not.
std::int64_t count_not_finite(const float* values, std::int64_t count);
std::int64_t count_not_finite(StoredType type, const std::byte* values, std::int64_t count);

// Throws InputError "PLACE: tensor NAME has 3 values of 4096 that are no finite numbers; ADVICE".
[[noreturn]] void refuse_not_finite(const std::string& place, const std::string& tensor,
                                    std::int64_t not_finite, std::int64_t count);

// Throws the same if any of the values is not finite. If they are part of a tensor of `of` values,
// `whole` (may be empty) counts the non-finite values of the whole tensor; it is called only for
// the message.
void check_finite(const std::string& place, const std::string& tensor, const float* values,
                  std::int64_t count, std::int64_t of,
                  const std::function<std::int64_t()>& whole = {});

}  // namespace eyrie::model
