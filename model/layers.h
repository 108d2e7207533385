// The layers of Griffin, with forward and backward passes written by hand. A layer's constructor
// adds its parameters to the unit and keeps their indices; a layer owns no memory. Shapes: n tokens
// of all sequences, D width, R rnn_width, E mlp_width. Reference: Griffin, arXiv
// 2402.19427, section 2; the recurrentgemma code for what the paper leaves open.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/context_parallel.h"
#include "model/parallel_context.h"
#include "model/parameters.h"
#include "model/state.h"
#include "tensor/arena.h"

namespace eyrie::model {

// Which keys the queries of one kind of attention (local or global) see.
struct AttentionBounds {
  tensor::Tensor first_key;  // int32 (1, n), see tensor/ops/attention.h; `past` keys count too
  std::int64_t past = 0;     // keys per sequence before the new ones; enough for the longest
};

// What all layers of one pass share.
struct Pass {
  const Parameters& parameters;
  tensor::DType compute;
  std::int64_t sequences, length;
  tensor::Tensor positions;       // int32 (1, n): position in the token's document
  AttentionBounds local, global;  // each set if the model has such layers
  tensor::Tensor cosines, sines;  // fp32 (n, head_dim / 4)
  tensor::Arena& saved;           // what the backward pass reads; a stack
  tensor::Arena& scratch;
  State* state = nullptr;  // read and updated; null in training
  // Where each sequence's rows begin, and at last their number, if lengths differ; empty: all
  // sequences have `length` tokens.
  std::vector<std::int64_t> starts = {};
  bool decode = false;    // one token per sequence: tensor/ops/few_rows.h, not matmul
  bool keeps_mlp = true;  // else the backward pass computes the inside of MLPs again
  // Set if context ranks each hold a piece of every sequence; null: sequences are whole.
  parallel::Communicator* context = nullptr;
  std::int64_t whole_length = 0;       // of all pieces together
  tensor::Tensor next_positions = {};  // int32 (1, sequences · 3): positions of the next 3 tokens
  std::int64_t row_of(std::int64_t sequence) const {
    return starts.empty() ? sequence * length : starts[static_cast<std::size_t>(sequence)];
  }
  std::int64_t length_of(std::int64_t sequence) const {
    return row_of(sequence + 1) - row_of(sequence);
  }
  std::int64_t tokens() const { return row_of(sequences); }
  // Calls walk(first, count) for runs of sequences of one length: all of them, or each by itself.
  template <class Walk>
  void by_length(const Walk& walk) const {
    if (starts.empty()) return walk(std::int64_t{0}, sequences);
    for (std::int64_t s = 0; s < sequences; ++s) walk(s, std::int64_t{1});
  }
  // The part of a run of sequences in x (n, columns), or in a row (1, n).
  tensor::Tensor rows(const tensor::Tensor& x, std::int64_t first, std::int64_t count) const {
    return x.row_range(row_of(first), row_of(first + count) - row_of(first));
  }
  tensor::Tensor places(const tensor::Tensor& row, std::int64_t first, std::int64_t count) const {
    return row.column_range(row_of(first), row_of(first + count) - row_of(first));
  }
  tensor::Device device() const { return positions.device(); }
  tensor::Tensor keep(std::int64_t columns) const {
    return saved.allocate(compute, tokens(), columns);
  }
  tensor::Tensor keep_fp32(std::int64_t columns) const {
    return saved.allocate(tensor::DType::kFloat32, tokens(), columns);
  }
};

// One unit's weights and, in the backward pass, the row of its gradients. A layer writes each of
// its parameters' gradients once, and does not add to what is there.
struct UnitView {
  const Parameters& parameters;
  std::size_t unit;
  tensor::Tensor gradients = {};
  bool decode = false;
  tensor::Tensor weight(int parameter) const { return parameters.weight(unit, parameter); }
  Weight matrix(int parameter, std::int64_t part = 0) const {
    return parameters.matrix(unit, parameter, part);
  }
  tensor::Tensor gradient(int parameter) const {
    return parameter_in(parameters.units()[unit].parameters[static_cast<std::size_t>(parameter)],
                        gradients);
  }
};

// out = x W [+ b] for each product: those of one or several layers whose inputs are ready. Decoding
// computes them all together.
struct Product {
  tensor::Tensor x;
  Weight weight;
  tensor::Tensor bias, out;
};
void make_products(std::initializer_list<Product> products, bool decode);
void make_products(std::span<const Product> products, bool decode);

// y = x W + b, and its gradients: dW = xᵀ dy, db = Σ dy, dx = dy Wᵀ (added to what dx holds when
// `accumulate`). If `in` is sharded over tensor ranks, y is a partial sum, to which one rank adds
// b; if `out` is sharded, dx is a partial sum.
class Linear {
 public:
  Linear(const std::string& name, const ShardedDim& in, const ShardedDim& out, double deviation,
         bool bias, const LocalDims& dims, parallel::Unit& unit);
  Product product(const tensor::Tensor& x, const UnitView& view, const tensor::Tensor& y) const;
  void backward(const tensor::Tensor& dy, const tensor::Tensor& x, const UnitView& view,
                const tensor::Tensor& dx, bool accumulate) const;
  // Its two halves: dx alone, and dW and db.
  void input_gradient(const tensor::Tensor& dy, const UnitView& view, const tensor::Tensor& dx,
                      bool accumulate) const;
  void weight_gradients(const tensor::Tensor& dy, const tensor::Tensor& x,
                        const UnitView& view) const;

 private:
  int kernel_, bias_ = -1;
  bool adds_bias_ = false;
};

// The recurrent block: gelu(x Wy) · RG-LRU(conv(x Wx)), projected back.
class RecurrentBlock {
 public:
  RecurrentBlock(const GriffinConfig& config, const LocalDims& dims, const std::string& name,
                 std::size_t layer, parallel::Unit& unit);
  struct Saved {
    tensor::Tensor gate, conv_in, conv_out, i, r, h;
    tensor::Tensor history,
        start;  // context ranks: convolution inputs, state before the piece
  };
  // x (n, D) in the compute dtype → y (n, D) fp32, this tensor rank's partial sum.
  void forward(const tensor::Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
               const tensor::Tensor& y) const;
  // dy (n, D) in the compute dtype → dx (n, D) fp32, this tensor rank's partial sum; overwritten.
  void backward(const tensor::Tensor& dy, const tensor::Tensor& x, const UnitView& view, Pass& pass,
                const Saved& saved, const tensor::Tensor& dx) const;

 private:
  void gate_products(const tensor::Tensor& u, const UnitView& view, const tensor::Tensor& i,
                     const tensor::Tensor& r) const;
  void convolve(const UnitView& view, Pass& pass, Saved& saved) const;
  void recur(const UnitView& view, Pass& pass, Saved& saved) const;
  const LocalDims& dims_;
  std::size_t layer_;
  Linear linear_x_, linear_y_, linear_out_;
  int conv_w_, conv_b_, input_gate_w_, input_gate_b_, a_gate_w_, a_gate_b_, a_param_;
};

// Multi-query attention, local or global, with rotary positions on half of each head.
class AttentionBlock {
 public:
  AttentionBlock(const GriffinConfig& config, const LocalDims& dims, const std::string& name,
                 std::size_t layer, parallel::Unit& unit);
  struct Saved {
    tensor::Tensor q, k, v, out, log_sum;  // k, v: after those of earlier pieces
  };
  void forward(const tensor::Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
               const tensor::Tensor& y) const;
  void backward(const tensor::Tensor& dy, const tensor::Tensor& x, const UnitView& view, Pass& pass,
                const Saved& saved, const tensor::Tensor& dx) const;

 private:
  const AttentionBounds& bounds(const Pass& pass) const;
  KeyPieces pieces(const Pass& pass) const;
  void attend(Pass& pass, const Saved& saved) const;
  void attend_one(Pass& pass, const Saved& saved) const;
  const GriffinConfig& config_;
  const LocalDims& dims_;
  std::size_t layer_;
  Linear proj_q_, proj_k_, proj_v_, proj_final_;
};

// GeGLU: (gelu(x Wg + bg) · (x Wu + bu)) Wd + bd.
class MlpBlock {
 public:
  MlpBlock(const GriffinConfig& config, const LocalDims& dims, const std::string& name,
           parallel::Unit& unit);
  struct Saved {
    tensor::Tensor gate, up;  // empty if they are computed again
  };
  void forward(const tensor::Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
               const tensor::Tensor& y) const;
  void backward(const tensor::Tensor& dy, const tensor::Tensor& x, const UnitView& view, Pass& pass,
                const Saved& saved, const tensor::Tensor& dx) const;

 private:
  void up(const tensor::Tensor& x, const UnitView& view, const Saved& to) const;
  const LocalDims& dims_;
  int up_w_, up_b_;  // (2, D, E), (2, 1, 1, E): first the gate's, then the linear branch's
  Linear ffw_down_;
};

}  // namespace eyrie::model
