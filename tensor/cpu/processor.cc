// Describes the processor by what the libraries detected.
#include "tensor/processor.h"

#include <fmt/format.h>
#include <hwy/targets.h>

#include <dnnl.hpp>

#include "tensor/threads.h"

namespace eyrie::tensor {
namespace {

const char* isa_name(dnnl::cpu_isa isa) {
  switch (isa) {
    case dnnl::cpu_isa::sse41:
      return "SSE4.1";
    case dnnl::cpu_isa::avx:
      return "AVX";
    case dnnl::cpu_isa::avx2:
      return "AVX2";
    case dnnl::cpu_isa::avx512_core:
      return "AVX-512";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "AVX-512 VNNI";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "AVX-512 bf16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "AMX";
    default:
      return "other";
  }
}

}  // namespace

std::string describe_processor() {
  const std::int64_t targets = hwy::SupportedTargets();
  const std::int64_t best = targets & -targets;  // Highway numbers better targets lower
  return fmt::format("backends    cpu\nSIMD        {}\nproducts    {}\ncores       {}\n",
                     hwy::TargetName(best), isa_name(dnnl::get_effective_cpu_isa()), cores());
}

}  // namespace eyrie::tensor
