// Products by oneDNN: a bounded cache of primitives per thread.
#include <omp.h>

#include <array>
#include <dnnl.hpp>
#include <list>
#include <map>
#include <vector>

#include "tensor/cpu/kernels.h"
#include "tensor/cpu/products.h"

namespace eyrie::tensor::cpu {
namespace {

using Dims = dnnl::memory::dims;

// Turns off oneDNN's own threading: each of our threads runs its own products.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ > 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ > 1) omp_set_num_threads(before_);
  }

 private:
  int before_;
};

const dnnl::engine& engine() {
  // oneDNN's own cache, of 1,024 primitives, would hold the same ones as ours a second time.
  static const dnnl::engine engine = [] {
    dnnl::set_primitive_cache_capacity(0);
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return engine;
}

dnnl::memory::data_type type_of(DType dtype) {
  return dtype == DType::kFloat32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

struct Primitive {
  dnnl::matmul matmul;
  dnnl::memory a, b, out, bias;
};

// M, N, K, three strides, and one number with all flags.
using Key = std::array<std::int64_t, 7>;

Primitive make_primitive(const Key& key, const Product& p) {
  const auto [m, n, k, stride_a, stride_b, stride_out, flags] = key;
  const auto strides = [](bool transposed, std::int64_t stride) {
    return transposed ? Dims{1, stride} : Dims{stride, 1};
  };
  const dnnl::memory::desc a({m, k}, type_of(p.a.dtype()),
                             strides(p.options.transpose_a, stride_a));
  const dnnl::memory::desc b({k, n}, type_of(p.b.dtype()),
                             strides(p.options.transpose_b, stride_b));
  const dnnl::memory::desc c({m, n}, type_of(p.out.dtype()), strides(false, stride_out));
  const dnnl::memory::desc bias({1, n}, dnnl::memory::data_type::f32, Dims{n, 1});
  dnnl::primitive_attr attributes;
  if (p.options.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const auto operation = p.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
  const auto memory = [](const dnnl::memory::desc& d) {
    return dnnl::memory(d, engine(), nullptr);
  };
  return {dnnl::matmul({operation, attributes, engine()}), memory(a), memory(b), memory(c),
          memory(bias)};
}

// The most recently used come first. Attention has as many shapes as there are document lengths,
// and each primitive holds its own code: without a bound, memory would grow from step to step.
struct Cache {
  std::list<std::pair<Key, Primitive>> entries;
  std::map<Key, std::list<std::pair<Key, Primitive>>::iterator> places;
};

Cache& cache() {
  thread_local Cache cache;
  return cache;
}

Primitive& primitive_for(const Product& p) {
  const std::int64_t flags = (p.options.transpose_a ? 1 : 0) | (p.options.transpose_b ? 2 : 0) |
                             (p.options.accumulate ? 4 : 0) | (p.bias ? 8 : 0) |
                             (p.a.dtype() == DType::kBFloat16 ? 16 : 0) |
                             (p.out.dtype() == DType::kBFloat16 ? 32 : 0);
  const Key key = {p.out.rows(), p.out.columns(), p.k,  p.a.stride(),
                   p.b.stride(), p.out.stride(),  flags};
  auto& [entries, places] = cache();
  const auto found = places.find(key);
  if (found != places.end()) {
    entries.splice(entries.begin(), entries, found->second);
    return entries.front().second;
  }
  if (entries.size() >= kMostPrimitives) {
    places.erase(entries.back().first);
    entries.pop_back();
  }
  entries.emplace_front(key, make_primitive(key, p));
  places[key] = entries.begin();
  return entries.front().second;
}

// The smallest products that oneDNN computes with AMX have kRowTile rows, kAmxColumns columns and
// sums of length kAmxInner.
constexpr std::int64_t kAmxColumns = 16, kAmxInner = 32;

// Whether ONEDNN_MAX_CPU_ISA allows `isa` and the processor has it. Instruction sets are bit masks.
bool may_use(dnnl::cpu_isa isa) {
  const auto bits = [](dnnl::cpu_isa of) { return static_cast<unsigned>(of); };
  return (bits(dnnl::get_effective_cpu_isa()) & bits(isa)) == bits(isa);
}

void run(const Product& product) {
  Primitive& p = primitive_for(product);
  thread_local dnnl::stream stream(engine());
  p.a.set_data_handle(product.a.data());
  p.b.set_data_handle(product.b.data());
  p.out.set_data_handle(product.out.data());
  if (product.bias) {
    p.bias.set_data_handle(product.bias.data());
    p.matmul.execute(stream, {{DNNL_ARG_SRC, p.a},
                              {DNNL_ARG_WEIGHTS, p.b},
                              {DNNL_ARG_DST, p.out},
                              {DNNL_ARG_BIAS, p.bias}});
  } else {
    p.matmul.execute(stream, {{DNNL_ARG_SRC, p.a}, {DNNL_ARG_WEIGHTS, p.b}, {DNNL_ARG_DST, p.out}});
  }
}

// x with rows and columns of zeros appended. A strided x keeps its stride.
Tensor widen(const Tensor& x, std::int64_t rows, std::int64_t columns, std::vector<float>& memory) {
  if (x.rows() == rows && x.columns() == columns) return x;
  const std::int64_t stride = x.stride() == x.columns() ? columns : x.stride();
  memory.assign(static_cast<std::size_t>(rows * stride), 0.0f);
  const Tensor wide(memory.data(), x.dtype(), rows, columns, stride);
  cpu::convert(x, wide.row_range(0, x.rows()).column_range(0, x.columns()));
  return wide;
}

// Computes the product inside a larger one of rows x columns with sums of length `inner`, padded
// with zeros; `a` is not transposed.
void among_zeros(const Product& p, std::int64_t rows, std::int64_t columns, std::int64_t inner) {
  thread_local std::vector<float> a_memory, b_memory, out_memory, bias_memory;
  Product wide = p;
  wide.k = inner;
  wide.a = widen(p.a, rows, inner, a_memory);
  const bool by_columns = p.options.transpose_b;
  wide.b = widen(p.b, by_columns ? columns : inner, by_columns ? inner : columns, b_memory);
  if (p.bias) wide.bias = widen(p.bias, 1, columns, bias_memory);
  if (rows == p.out.rows() && columns == p.out.columns()) return run(wide);
  const std::int64_t stride = p.out.stride() == p.out.columns() ? columns : p.out.stride();
  out_memory.resize(static_cast<std::size_t>(rows * stride));
  wide.out = Tensor(out_memory.data(), p.out.dtype(), rows, columns, stride);
  const Tensor part = wide.out.row_range(0, p.out.rows()).column_range(0, p.out.columns());
  if (p.options.accumulate) cpu::convert(p.out, part);
  run(wide);
  cpu::convert(part, p.out);
}

}  // namespace

bool products_by_onednn() {
  static const bool has = may_use(dnnl::cpu_isa::avx512_core);
  return has;
}

bool bf16_products_by_onednn() {
  static const bool has = may_use(dnnl::cpu_isa::avx512_core_bf16);
  return has;
}

std::size_t onednn_primitives() { return cache().entries.size(); }

// The bits of a row must not depend on the number of rows, nor those of an attention score on the
// number of keys. oneDNN uses different kernels, with different sums, for few rows if rows are
// strided, and with AMX for small bf16 products: these products are padded with zeros. Products of
// a transposed a and strided ones that accumulate are not padded: only training computes them, on
// batches of fixed sizes.
void onednn_product(const Product& p) {
  OneThread guard;
  static const bool amx = may_use(dnnl::cpu_isa::avx512_core_amx);
  const auto dense = [](const Tensor& x) { return x.stride() == x.columns(); };
  const bool all_dense = dense(p.a) && dense(p.b) && dense(p.out);
  const bool small_for_amx = all_dense && amx && p.a.dtype() == DType::kBFloat16;
  if (p.options.transpose_a || (all_dense ? !small_for_amx : p.options.accumulate)) return run(p);
  const std::int64_t rows = std::max(p.out.rows(), kRowTile);
  const std::int64_t columns =
      small_for_amx ? std::max(p.out.columns(), kAmxColumns) : p.out.columns();
  const std::int64_t inner = small_for_amx ? std::max(p.k, kAmxInner) : p.k;
  among_zeros(p, rows, columns, inner);
}

}  // namespace eyrie::tensor::cpu
