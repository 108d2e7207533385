// Element-wise operations and column sums.
#include "tensor/cpu/kernels.h"

#include <cstring>

#include <algorithm>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/elementwise.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

// Calls walk(row, first, last) for pieces of the rows of two tensors of one shape, on all threads:
// whole rows, or if there are no gaps between them, pieces of one long row.
template <class Walk>
void for_pieces(const Tensor& a, const Tensor& b, const Walk& walk) {
  constexpr std::int64_t kPiece = 32768;
  const bool flat = a.contiguous() && b.contiguous();
  const std::int64_t rows = flat ? 1 : a.rows(), columns = flat ? a.count() : a.columns();
  const std::int64_t pieces = (columns + kPiece - 1) / kPiece;
  const std::int64_t together =
      std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, columns));
  parallel_for(rows * pieces, together, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; ++at) {
      const std::int64_t first = at % pieces * kPiece;
      walk(at / pieces, first, std::min(first + kPiece, columns));
    }
  });
}

void Convert(const Tensor& from, const Tensor& to) {
  with_type(from, [&](auto* source) {
    with_type(to, [&](auto* target) {
      for_pieces(from, to, [&](std::int64_t row, std::int64_t first, std::int64_t last) {
        const auto* x = source + row * from.stride();
        auto* y = target + row * to.stride();
        for_vectors(first, last,
                    [&](std::int64_t c, auto part) { store(load(x + c, part), y + c, part); });
      });
    });
  });
}

void RoundToBFloat16(const Tensor& x) {
  for_pieces(x, x, [&](std::int64_t row, std::int64_t first, std::int64_t last) {
    float* values = x.f32() + row * x.stride();
    for (std::int64_t c = first; c < last; ++c) values[c] = to_float(to_bfloat16(values[c]));
  });
}

void Add(const Tensor& x, const Tensor& y) {
  with_type(x, [&](auto* source) {
    for_pieces(x, y, [&](std::int64_t row, std::int64_t first, std::int64_t last) {
      const auto* from = source + row * x.stride();
      float* to = y.f32() + row * y.stride();
      for_vectors(first, last, [&](std::int64_t c, auto part) {
        store(hn::Add(load(to + c, part), load(from + c, part)), to + c, part);
      });
    });
  });
}

// Adds the rows of kVectors vectors of columns, of which `columns` exist, in registers.
template <int kVectors, class T>
void sum_columns(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t columns,
                 bool overwrite, float* out) {
  const bool whole = columns >= kVectors * lanes();
  V sums[kVectors];
  for (std::int64_t i = 0; i < kVectors; ++i)
    sums[i] = overwrite ? set(0.0f) : load(out + i * lanes(), columns - i * lanes());
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * stride;
    for (std::int64_t i = 0; i < kVectors; ++i) {
      const std::int64_t at = i * lanes();
      sums[i] = hn::Add(sums[i], whole ? load(row + at) : load(row + at, columns - at));
    }
  }
  for (std::int64_t i = 0; i < kVectors; ++i)
    store(sums[i], out + i * lanes(), columns - i * lanes());
}

void ColumnSum(const Tensor& x, const Tensor& out, bool overwrite) {
  constexpr std::int64_t kVectors = 8;
  with_type(x, [&](auto* source) {
    parallel_for((x.columns() + lanes() - 1) / lanes(), 1,
                 [&](std::int64_t begin, std::int64_t end) {
                   const auto some = [&](auto vectors, std::int64_t first) {
                     sum_columns<vectors>(source + first * lanes(), x.rows(), x.stride(),
                                          std::min(x.columns(), end * lanes()) - first * lanes(),
                                          overwrite, out.f32() + first * lanes());
                   };
                   std::int64_t first = begin;
                   for (; first + kVectors <= end; first += kVectors)
                     some(std::integral_constant<int, kVectors>(), first);
                   for (; first < end; ++first) some(std::integral_constant<int, 1>(), first);
                 });
  });
}

void GeluGate(const Tensor& gate, const Tensor& value, const Tensor& out) {
  with_type(gate, [&](auto* g) {
    with_type(value, [&](auto* v) {
      with_type(out, [&](auto* o) {
        parallel_for(gate.rows(), 4, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t r = begin; r < end; ++r) {
            const std::int64_t gr = r * gate.stride(), vr = r * value.stride(),
                               orow = r * out.stride();
            for_vectors(0, gate.columns(), [&](std::int64_t c, auto part) {
              const V y = hn::Mul(gelu(load(g + gr + c, part)).value, load(v + vr + c, part));
              store(y, o + orow + c, part);
            });
          }
        });
      });
    });
  });
}

// One row; `out` may be null, or dout.
template <class D, class T, class G>
void gelu_gate_backward_row(const D* dout, const T* gate, const T* value, std::int64_t columns,
                            T* dgate, G* dvalue, T* out) {
  for_vectors(0, columns, [&](std::int64_t c, auto part) {
    const Gelu y = gelu(load(gate + c, part));
    const V upstream = load(dout + c, part), held = load(value + c, part);
    store(hn::Mul(hn::Mul(upstream, held), y.derivative), dgate + c, part);
    store(hn::Mul(upstream, y.value), dvalue + c, part);
    if (out != nullptr) store(hn::Mul(y.value, held), out + c, part);
  });
}

void GeluGateBackward(const Tensor& dout, const Tensor& gate, const Tensor& value,
                      const Tensor& dgate, const Tensor& dvalue, const Tensor& out) {
  EYRIE_CHECK(gate.dtype() == value.dtype() && gate.dtype() == dgate.dtype() &&
                  (!out || gate.dtype() == out.dtype()),
              "gate, value, dgate and out: one dtype");
  with_type(dout, [&](auto* d) {
    with_type(gate, [&](auto* g) {
      using T = decltype(g);
      const auto row = [](const Tensor& x, std::int64_t r) {
        return x ? static_cast<T>(x.data()) + r * x.stride() : nullptr;
      };
      with_type(dvalue, [&](auto* dv) {
        parallel_for(gate.rows(), 4, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t r = begin; r < end; ++r) {
            gelu_gate_backward_row(d + r * dout.stride(), row(gate, r), row(value, r),
                                   gate.columns(), row(dgate, r), dv + r * dvalue.stride(),
                                   row(out, r));
          }
        });
      });
    });
  });
}

void SoftCap(const Tensor& x, float cap) {
  const float inverse = 1.0f / cap;
  parallel_for(x.rows(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* row = x.f32() + r * x.stride();
      for_vectors(0, x.columns(), [&](std::int64_t c, auto part) {
        store(hn::Mul(set(cap), hyperbolic_tangent(hn::Mul(load(row + c, part), set(inverse)))),
              row + c, part);
      });
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(Convert);
void convert(const Tensor& from, const Tensor& to) { HWY_DYNAMIC_DISPATCH(Convert)(from, to); }
HWY_EXPORT(RoundToBFloat16);
void round_to_bfloat16(const Tensor& x) { HWY_DYNAMIC_DISPATCH(RoundToBFloat16)(x); }
HWY_EXPORT(Add);
void add(const Tensor& x, const Tensor& y) { HWY_DYNAMIC_DISPATCH(Add)(x, y); }
HWY_EXPORT(ColumnSum);
void column_sum(const Tensor& x, const Tensor& out, bool overwrite) {
  HWY_DYNAMIC_DISPATCH(ColumnSum)(x, out, overwrite);
}
HWY_EXPORT(GeluGate);
void gelu_gate(const Tensor& gate, const Tensor& value, const Tensor& out) {
  HWY_DYNAMIC_DISPATCH(GeluGate)(gate, value, out);
}
HWY_EXPORT(GeluGateBackward);
void gelu_gate_backward(const Tensor& dout, const Tensor& gate, const Tensor& value,
                        const Tensor& dgate, const Tensor& dvalue, const Tensor& out) {
  HWY_DYNAMIC_DISPATCH(GeluGateBackward)(dout, gate, value, dgate, dvalue, out);
}
HWY_EXPORT(SoftCap);
void soft_cap(const Tensor& x, float cap) { HWY_DYNAMIC_DISPATCH(SoftCap)(x, cap); }

namespace {

std::byte* row_at(const Tensor& x, std::int64_t row) {
  return static_cast<std::byte*>(x.data()) + row * x.stride() * size_of(x.dtype());
}

std::size_t bytes(const Tensor& x, std::int64_t elements) {
  return static_cast<std::size_t>(elements * size_of(x.dtype()));
}

}  // namespace

void zero(const Tensor& x) {
  if (x.contiguous()) {
    std::memset(x.data(), 0, bytes(x, x.count()));
    return;
  }
  for (std::int64_t r = 0; r < x.rows(); ++r) std::memset(row_at(x, r), 0, bytes(x, x.columns()));
}

void copy(const Tensor& from, const Tensor& to) {
  if (from.contiguous() && to.contiguous()) {
    std::memcpy(to.data(), from.data(), bytes(from, from.count()));
    return;
  }
  for (std::int64_t r = 0; r < from.rows(); ++r)
    std::memcpy(row_at(to, r), row_at(from, r), bytes(from, from.columns()));
}

void gather_rows(const Tensor& from, std::span<const std::int64_t> rows, const Tensor& to) {
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::memcpy(row_at(to, static_cast<std::int64_t>(i)), row_at(from, rows[i]),
                bytes(from, from.columns()));
}

void read_elements(const Tensor& matrix, std::span<const Element> elements,
                   std::span<float> values) {
  for (std::size_t i = 0; i < elements.size(); ++i)
    values[i] = matrix.f32()[elements[i].row * matrix.stride() + elements[i].column];
}

void affine(const Tensor& product, const Tensor& rest, const Tensor& state) {
  const float *map = product.f32(), *added = rest.f32();
  float* values = state.f32();
  for (std::int64_t c = 0; c < state.count(); ++c) values[c] = map[c] * values[c] + added[c];
}

void transpose(const Tensor& from, const Tensor& to) {
  constexpr std::int64_t kTile = 16;  // a square that stays in the L1 cache
  const std::int64_t rows = from.rows(), columns = from.columns();
  const auto rounded = [](float value, auto* to_type) {
    if constexpr (std::is_same_v<decltype(to_type), float*>) {
      return value;
    } else {
      return to_bfloat16(value);
    }
  };
  with_type(to, [&](auto* out) {
    parallel_for((columns + kTile - 1) / kTile, 4, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r0 = 0; r0 < rows; r0 += kTile) {
        for (std::int64_t c = begin * kTile; c < std::min(end * kTile, columns); ++c) {
          for (std::int64_t r = r0; r < std::min(r0 + kTile, rows); ++r)
            out[c * to.stride() + r] = rounded(from.f32()[r * from.stride() + c], out);
        }
      }
    });
  });
}

}  // namespace eyrie::tensor::cpu
#endif
