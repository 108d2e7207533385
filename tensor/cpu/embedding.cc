// Embedding lookup, and its gradient over sorted tokens.
#include "tensor/cpu/kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/embedding.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

void Embed(const Tensor& table, const Tensor& tokens, float scale, const Tensor& out,
           std::int64_t first) {
  with_type(table, [&](auto* rows) {
    parallel_for(tokens.count(), 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        const std::int64_t row = tokens.as<std::int32_t>()[t] - first;
        float* to = out.f32() + t * out.stride();
        if (row < 0 || row >= table.rows()) {
          std::fill(to, to + table.columns(), 0.0f);
          continue;
        }
        const auto* from = rows + row * table.stride();
        for (std::int64_t c = 0; c < table.columns(); c += lanes()) {
          const std::int64_t part = table.columns() - c;
          store(hn::Mul(load(from + c, part), set(scale)), to + c, part);
        }
      }
    });
  });
}

void EmbedBackward(const Tensor& dout, const Tensor& tokens, float scale, const Tensor& dtable,
                   std::int64_t first) {
  const auto* ids = tokens.as<std::int32_t>();
  std::vector<std::int64_t> order;
  for (std::int64_t t = 0; t < tokens.count(); ++t) {
    if (ids[t] >= first && ids[t] < first + dtable.rows()) order.push_back(t);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return ids[a] < ids[b]; });
  // Each thread owns columns, so that every token's rows are added in order, whatever the number of
  // threads.
  const std::int64_t tile = 4 * lanes(), columns = dtable.columns();
  parallel_for((columns + tile - 1) / tile, 1, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t low = begin * tile, high = std::min(end * tile, columns);
    for (const std::int64_t t : order) {
      const float* from = dout.f32() + t * dout.stride();
      float* to = dtable.f32() + (ids[t] - first) * dtable.stride();
      for (std::int64_t c = low; c < high; c += lanes()) {
        store(hn::MulAdd(load(from + c, high - c), set(scale), load(to + c, high - c)), to + c,
              high - c);
      }
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(Embed);
void embed(const Tensor& table, const Tensor& tokens, float scale, const Tensor& out,
           std::int64_t first) {
  HWY_DYNAMIC_DISPATCH(Embed)(table, tokens, scale, out, first);
}
HWY_EXPORT(EmbedBackward);
void embed_backward(const Tensor& dout, const Tensor& tokens, float scale, const Tensor& dtable,
                    std::int64_t first) {
  HWY_DYNAMIC_DISPATCH(EmbedBackward)(dout, tokens, scale, dtable, first);
}

}  // namespace eyrie::tensor::cpu
#endif
