// The types that weights have in files, and conversions between them and fp32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace eyrie::model {

enum class StoredType { kFloat32, kBFloat16, kFloat16 };

constexpr std::int64_t size_of(StoredType type) { return type == StoredType::kFloat32 ? 4 : 2; }
const char* name_of(StoredType type);              // "bf16", as in flags
const char* safetensors_name_of(StoredType type);  // "BF16"
const char* torch_name_of(StoredType type);        // "bfloat16", as in config.json

// Throws InputError for anything but "fp32", "bf16" and "fp16".
StoredType stored_type(const std::string& name);

// Converts to fp32, exactly.
void widen(StoredType type, const std::byte* in, std::int64_t count, float* out);

// Rounds to the nearest, ties to even; values from widen() come back bit for bit, NaNs too. Returns
// false if a finite value is out of the type's range (it became an infinity).
bool narrow(StoredType type, const float* in, std::int64_t count, std::byte* out);

}  // namespace eyrie::model
