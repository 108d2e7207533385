// Everything of a training step that is no product, in GB/s beside the copy bandwidth of the same
// process: the bytes of every operand, each read or written once, over the time. Shapes are
// sequences × length tokens of one width; the loss has a vocabulary of that many thousands.
#include <cstring>

#include "tensor/ops/adamw.h"
#include "tensor/ops/conv1d.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/rg_lru.h"
#include "tensor/ops/rms_norm.h"
#include "tensor/ops/sums.h"
#include "tensor/setup.h"

namespace eyrie::bench {
namespace {

// Arguments: sequences, length, width, 0 fp32 or 1 bf16, threads.
struct Shape {
  explicit Shape(const benchmark::State& state)
      : sequences(state.range(0)),
        length(state.range(1)),
        width(state.range(2)),
        dtype(state.range(3) == 0 ? DType::kFloat32 : DType::kBFloat16) {
    tensor::set_thread_count(static_cast<int>(state.range(4)));
  }
  std::int64_t tokens() const { return sequences * length; }
  Tensor fp32(bool of_tokens = true) {
    return memory.filled(DType::kFloat32, of_tokens ? tokens() : 1, width);
  }
  Tensor compute() { return memory.filled(dtype, tokens(), width); }
  std::int64_t sequences, length, width;
  DType dtype;
  Matrices memory;
};

double bytes_of(std::initializer_list<Tensor> operands) {
  double bytes = 0;
  for (const Tensor& x : operands)
    bytes += static_cast<double>(x.count()) * static_cast<double>(tensor::size_of(x.dtype()));
  return bytes;
}

void RgLru(benchmark::State& state) {
  Shape s(state);
  const Tensor u = s.compute(), gate_x = s.fp32(), gate_a = s.fp32(), bias = s.fp32(false),
               h = s.compute(), positions = s.memory.positions(s.tokens(), s.length);
  // The gates hold their own results from the second round on: other numbers, the same work.
  for (auto _ : state)
    tensor::rg_lru(u, gate_x, gate_a, bias, bias, bias, positions, s.sequences, h, {});
  per_byte(state, bytes_of({u, gate_x, gate_x, gate_a, gate_a, h}));
}

void RgLruBackward(benchmark::State& state) {
  Shape s(state);
  tensor::RgLruBackward args{.dh = s.fp32(),
                             .u = s.compute(),
                             .i = s.fp32(),
                             .r = s.fp32(),
                             .h = s.compute(),
                             .a_param = s.fp32(false),
                             .positions = s.memory.positions(s.tokens(), s.length),
                             .initial_state = {},
                             .dstate_last = {},
                             .du = s.fp32(),
                             .dgate_x = s.compute(),
                             .dgate_a = s.compute(),
                             .dbias_x = s.fp32(false),
                             .dbias_a = s.fp32(false),
                             .da_param = s.fp32(false),
                             .dinitial_state = {}};
  for (const Tensor& gate : {args.i, args.r}) {  // as sigmoids are: in (0, 1)
    for (std::int64_t i = 0; i < gate.count(); ++i) gate.f32()[i] = 0.5f + 0.49f * gate.f32()[i];
  }
  for (auto _ : state) tensor::rg_lru_backward(args, s.sequences);
  per_byte(state, bytes_of({args.dh, args.u, args.i, args.r, args.h, args.du, args.dgate_x,
                            args.dgate_a}));
}

void Conv1d(benchmark::State& state) {
  Shape s(state);
  const Tensor x = s.compute(), y = s.compute(), b = s.fp32(false),
               w = s.memory.filled(DType::kFloat32, tensor::kConvWidth, s.width),
               positions = s.memory.positions(s.tokens(), s.length);
  for (auto _ : state) tensor::conv1d(x, w, b, positions, s.sequences, y, {});
  per_byte(state, bytes_of({x, y}));
}

void Conv1dBackward(benchmark::State& state) {
  Shape s(state);
  const Tensor dy = s.fp32(), x = s.compute(), dx = s.compute(), db = s.fp32(false),
               w = s.memory.filled(DType::kFloat32, tensor::kConvWidth, s.width),
               dw = s.memory.zeros(DType::kFloat32, tensor::kConvWidth, s.width),
               positions = s.memory.positions(s.tokens(), s.length);
  for (auto _ : state) tensor::conv1d_backward(dy, x, w, positions, s.sequences, dx, dw, db);
  per_byte(state, bytes_of({dy, x, dx}));
}

void AddRmsNorm(benchmark::State& state) {
  Shape s(state);
  const Tensor x = s.fp32(), delta = s.fp32(), sum = s.fp32(), scale = s.fp32(false),
               y = s.compute(), inverse = s.memory.zeros(DType::kFloat32, 1, s.tokens());
  for (auto _ : state) tensor::add_rms_norm(x, delta, sum, scale, y, inverse);
  per_byte(state, bytes_of({x, delta, sum, y}));
}

void RmsNormBackward(benchmark::State& state) {
  Shape s(state);
  const Tensor x = s.fp32(), dy = s.fp32(), dx = s.fp32(), scale = s.fp32(false),
               dscale = s.fp32(false), inverse = s.memory.filled(DType::kFloat32, 1, s.tokens());
  for (auto _ : state) tensor::rms_norm_backward(dy, x, scale, inverse, dx, dscale);
  per_byte(state, bytes_of({x, dy, dx, dx}));
}

void GeluGate(benchmark::State& state) {
  Shape s(state);
  const Tensor gate = s.compute(), value = s.compute(), out = s.compute();
  for (auto _ : state) tensor::gelu_gate(gate, value, out);
  per_byte(state, bytes_of({gate, value, out}));
}

void GeluGateBackward(benchmark::State& state) {
  Shape s(state);
  const Tensor dout = s.compute(), gate = s.compute(), value = s.compute(), dgate = s.compute(),
               dvalue = s.compute();
  for (auto _ : state) tensor::gelu_gate_backward(dout, gate, value, dgate, dvalue);
  per_byte(state, bytes_of({dout, gate, value, dgate, dvalue}));
}

void ColumnSum(benchmark::State& state) {
  Shape s(state);
  const Tensor x = s.compute(), out = s.fp32(false);
  for (auto _ : state) tensor::column_sum(x, out, true);
  per_byte(state, bytes_of({x}));
}

void FromFp32(benchmark::State& state) {
  Shape s(state);
  const Tensor x = s.fp32(), y = s.compute();
  for (auto _ : state) tensor::convert(x, y);
  per_byte(state, bytes_of({x, y}));
}

// Tokens as often as in a text, more or less: their squares are not evenly spread.
void EmbedBackward(benchmark::State& state) {
  Shape s(state);
  const Tensor dout = s.fp32(), dtable = s.memory.zeros(DType::kFloat32, kVocabulary, s.width),
               ids = s.memory.positions(s.tokens(), s.tokens());
  for (std::int64_t t = 0; t < s.tokens(); ++t) {
    auto& id = ids.as<std::int32_t>()[t];
    id = static_cast<std::int32_t>(std::int64_t{id} * id % 1009 * 8);
  }
  for (auto _ : state) tensor::embed_backward(dout, ids, 16, dtable);
  per_byte(state, bytes_of({dout, dout, dout}));
}

// The logits are capped again every round: other numbers, the same work.
void CrossEntropy(benchmark::State& state) {
  Shape s(state);
  const std::int64_t rows = 256, vocabulary = 16 * s.width;
  const Tensor logits = s.memory.filled(DType::kFloat32, rows, vocabulary),
               targets = s.memory.positions(rows, rows),
               weight = s.memory.zeros(DType::kFloat32, 1, rows),
               nll = s.memory.zeros(DType::kFloat32, 1, rows),
               dlogits = s.memory.zeros(s.dtype, rows, vocabulary);
  std::fill(weight.f32(), weight.f32() + rows, 1.0f);
  for (auto _ : state) tensor::cross_entropy(logits, targets, weight, 30, nll, dlogits, 1e-3f);
  per_byte(state, bytes_of({logits, dlogits}));
}

// A flat unit of as many parameters as the other operations have activations.
void AdamW(benchmark::State& state) {
  Shape s(state);
  const Tensor parameter = s.fp32(), gradient = s.fp32(), moment1 = s.fp32(), moment2 = s.fp32();
  for (std::int64_t i = 0; i < moment2.count(); ++i)
    moment2.f32()[i] = 0.5f + 0.4f * moment2.f32()[i];
  const auto flat = [](const Tensor& x) { return x.reshaped(1, x.count()); };
  for (auto _ : state) {
    tensor::adamw(flat(parameter), flat(gradient), flat(moment1), flat(moment2),
                  {1e-5f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, 10});
  }
  per_byte(state, bytes_of({parameter, parameter, gradient, moment1, moment1, moment2, moment2}));
}

void SumOfSquares(benchmark::State& state) {
  Shape s(state);
  const Tensor x = s.fp32();
  for (auto _ : state) benchmark::DoNotOptimize(tensor::sum_of_squares(x.reshaped(1, x.count())));
  per_byte(state, bytes_of({x}));
}

void shapes(benchmark::internal::Benchmark* benchmark, std::vector<std::int64_t> dtypes) {
  benchmark->ArgNames({"sequences", "length", "width", "bf16", "threads"});
  for (const auto& [sequences, length] : {std::pair{1, 8192}, {8, 1024}, {64, 128}})
    for (const std::int64_t width : {256, 512, 2560})
      for (const std::int64_t dtype : dtypes)
        benchmark->Args({sequences, length, width, dtype, tensor::cores()});
  benchmark->Unit(benchmark::kMillisecond)->UseRealTime();
}
void both(benchmark::internal::Benchmark* benchmark) { shapes(benchmark, {0, 1}); }
void fp32_only(benchmark::internal::Benchmark* benchmark) { shapes(benchmark, {0}); }

// One long sequence of few channels: a narrow rank.
void narrow(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({1, 8192, 16, 0, 1})->Args({1, 8192, 16, 0, tensor::cores()});
}

BENCHMARK(RgLru)->Apply(both)->Apply(narrow);
BENCHMARK(RgLruBackward)->Apply(both)->Apply(narrow);
BENCHMARK(Conv1d)->Apply(both);
BENCHMARK(Conv1dBackward)->Apply(both);
BENCHMARK(AddRmsNorm)->Apply(both);
BENCHMARK(RmsNormBackward)->Apply(fp32_only);
BENCHMARK(GeluGate)->Apply(both);
BENCHMARK(GeluGateBackward)->Apply(both);
BENCHMARK(ColumnSum)->Apply(both);
BENCHMARK(FromFp32)->Apply(both);
BENCHMARK(EmbedBackward)->Apply(fp32_only);
BENCHMARK(CrossEntropy)->Apply(both);
BENCHMARK(AdamW)->Apply(fp32_only);
BENCHMARK(SumOfSquares)->Apply(fp32_only);

}  // namespace
}  // namespace eyrie::bench

BENCHMARK_MAIN();
