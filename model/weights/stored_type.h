// The types that weights have in files, and the way between them and fp32.
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

// InputError for anything but "fp32", "bf16" and "fp16".
StoredType stored_type(const std::string& name);

// As fp32, exactly.
void widen(StoredType type, const std::byte* in, std::int64_t count, float* out);

// To the nearest, ties to even; what widen() gave comes back bit for bit, NaNs too. False where a
// finite value is beyond the type's range (it became an infinity).
bool narrow(StoredType type, const float* in, std::int64_t count, std::byte* out);

}  // namespace eyrie::model
