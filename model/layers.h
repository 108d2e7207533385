// The layers of Griffin, forward and backward by hand. A layer adds its parameters to its unit when
// it is made and keeps their row numbers; it holds no memory of its own. Shapes: n = sequences ·
// length tokens, D width, R rnn_width, E mlp_width. Reference: Griffin, arXiv 2402.19427, section
// 2; the recurrentgemma code for what the paper leaves open.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "model/config.h"
#include "model/context.h"
#include "model/parameters.h"
#include "model/share.h"
#include "model/state.h"
#include "tensor/arena.h"

namespace eyrie::model {

// What the queries of one kind of attention (local or global) see of their sequences.
struct Sight {
  tensor::Tensor first_key;  // int32 (1, n): see tensor/ops/attention.h; counts `past` keys first
  std::int64_t past = 0;     // keys a sequence before the new ones, as many as the longest needs
};

// What every layer of one pass shares.
struct Pass {
  const Parameters& parameters;
  tensor::DType compute;
  std::int64_t sequences, length;
  tensor::Tensor positions;       // int32 (1, n): place in the token's own document
  Sight local, global;            // each made where the model has such layers
  tensor::Tensor cosines, sines;  // fp32 (n, head_dim / 4)
  tensor::Arena& saved;           // what the backward pass reads; a stack
  tensor::Arena& scratch;
  State* state = nullptr;                      // read and carried on; training has none
  std::span<const std::int64_t> lengths = {};  // by sequence, the rest is padding; empty: all whole
  bool decode = false;  // one token a sequence: tensor/ops/few_rows.h in place of matmul
  // Where sequences are cut over context ranks; null: they are whole.
  parallel::Communicator* context = nullptr;
  std::int64_t whole_length = 0;   // of all pieces together
  tensor::Tensor next_place = {};  // int32 (1, sequences · 3): positions of the first tokens after
  std::int64_t tokens() const { return sequences * length; }
  std::int64_t length_of(std::int64_t sequence) const {
    return lengths.empty() ? length : lengths[static_cast<std::size_t>(sequence)];
  }
  tensor::Tensor keep(std::int64_t columns) const {
    return saved.allocate(compute, tokens(), columns);
  }
  tensor::Tensor keep_fp32(std::int64_t columns) const {
    return saved.allocate(tensor::DType::kFloat32, tokens(), columns);
  }
};

// One unit's weights and, in the backward pass, its gradient buffer (each row is written once, not
// added to).
struct UnitView {
  const Parameters& parameters;
  std::size_t unit;
  float* gradients = nullptr;
  bool decode = false;
  tensor::Tensor weight(int row) const { return parameters.weight(unit, row); }
  Weight matrix(int row, std::int64_t part = 0) const { return parameters.matrix(unit, row, part); }
  tensor::Tensor gradient(int row) const {
    return row_of(parameters.units()[unit].rows[static_cast<std::size_t>(row)], gradients);
  }
};

// out = x W [+ b] for each: the products of one or several layers that have their inputs ready.
// Decoding makes them all at once.
struct Product {
  tensor::Tensor x;
  Weight weight;
  tensor::Tensor bias, out;
};
void make_products(std::initializer_list<Product> products, bool decode);
void make_products(std::span<const Product> products, bool decode);

// y = x W + b, and its gradients: dW = xᵀ dy, db = Σ dy, dx = dy Wᵀ (added to what dx holds when
// `accumulate`). Where `in` is split over tensor ranks, y is this rank's term of a sum, to which
// one rank adds b; where `out` is, dx is.
class Linear {
 public:
  Linear(const std::string& name, const Dimension& in, const Dimension& out, double deviation,
         bool bias, const Sizes& sizes, parallel::Unit& unit);
  Product product(const tensor::Tensor& x, const UnitView& view, const tensor::Tensor& y) const;
  void backward(const tensor::Tensor& dy, const tensor::Tensor& x, const UnitView& view,
                const tensor::Tensor& dx, bool accumulate) const;

 private:
  int kernel_, bias_ = -1;
  bool adds_bias_ = false;
};

// The recurrent block: gelu(x Wy) · RG-LRU(conv(x Wx)), projected back.
class RecurrentBlock {
 public:
  RecurrentBlock(const GriffinConfig& config, const Sizes& sizes, const std::string& name,
                 std::size_t layer, parallel::Unit& unit);
  struct Saved {
    tensor::Tensor gate, conv_in, conv_out, i, r, h, gated;
    tensor::Tensor history, start;  // of a later piece: convolution inputs and state before it
  };
  // x (n, D) compute → y (n, D) fp32, this tensor rank's term of it.
  void forward(const tensor::Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
               const tensor::Tensor& y) const;
  // dy (n, D) compute → dx (n, D) fp32, this tensor rank's term of it, written.
  void backward(const tensor::Tensor& dy, const tensor::Tensor& x, const UnitView& view, Pass& pass,
                const Saved& saved, const tensor::Tensor& dx) const;

 private:
  void gate_products(const tensor::Tensor& u, const UnitView& view, const tensor::Tensor& i,
                     const tensor::Tensor& r) const;
  void convolve(const UnitView& view, Pass& pass, Saved& saved) const;
  void recur(const UnitView& view, Pass& pass, Saved& saved) const;
  const Sizes& sizes_;
  std::size_t layer_;
  Linear linear_x_, linear_y_, linear_out_;
  int conv_w_, conv_b_, input_gate_w_, input_gate_b_, a_gate_w_, a_gate_b_, a_param_;
};

// Multi-query attention, local or global, with rotary positions on half of each head.
class AttentionBlock {
 public:
  AttentionBlock(const GriffinConfig& config, const Sizes& sizes, const std::string& name,
                 std::size_t layer, parallel::Unit& unit);
  struct Saved {
    tensor::Tensor q, k, v, out, log_sum;  // k, v: with those of earlier pieces
  };
  void forward(const tensor::Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
               const tensor::Tensor& y) const;
  void backward(const tensor::Tensor& dy, const tensor::Tensor& x, const UnitView& view, Pass& pass,
                const Saved& saved, const tensor::Tensor& dx) const;

 private:
  const Sight& sight(const Pass& pass) const;
  KeyPieces pieces(const Pass& pass) const;
  void attend(Pass& pass, const Saved& saved) const;
  void attend_one(Pass& pass, const Saved& saved) const;
  const GriffinConfig& config_;
  const Sizes& sizes_;
  std::size_t layer_;
  Linear proj_q_, proj_k_, proj_v_, proj_final_;
};

// GeGLU: (gelu(x Wg + bg) · (x Wu + bu)) Wd + bd.
class MlpBlock {
 public:
  MlpBlock(const GriffinConfig& config, const Sizes& sizes, const std::string& name,
           parallel::Unit& unit);
  struct Saved {
    tensor::Tensor gate, up, hidden;
  };
  void forward(const tensor::Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
               const tensor::Tensor& y) const;
  void backward(const tensor::Tensor& dy, const tensor::Tensor& x, const UnitView& view, Pass& pass,
                const Saved& saved, const tensor::Tensor& dx) const;

 private:
  const Sizes& sizes_;
  int up_w_, up_b_;  // (2, D, E), (2, 1, 1, E): first the gate's, then the linear branch's
  Linear ffw_down_;
};

}  // namespace eyrie::model
