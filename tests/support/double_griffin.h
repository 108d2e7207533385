// Griffin forward in double, one loop after the other, from the equations of the papers and of the
// official code: what the model's values and, by finite differences, its gradients are held
// against. It shares nothing with the product but the configuration and the parameters' names.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numbers>
#include <string>
#include <vector>

#include "model/config.h"

namespace eyrie::test {

struct Matrix {
  Matrix(std::int64_t r, std::int64_t c)
      : rows(r), columns(c), v(static_cast<std::size_t>(r * c), 0.0) {}
  double& operator()(std::int64_t r, std::int64_t c) {
    return v[static_cast<std::size_t>(r * columns + c)];
  }
  double operator()(std::int64_t r, std::int64_t c) const {
    return v[static_cast<std::size_t>(r * columns + c)];
  }
  std::int64_t rows, columns;
  std::vector<double> v;
};

using Weights = std::map<std::string, std::vector<double>>;  // by official names

// Sequences of one length with packed documents: a token's place in its own.
struct Rows {
  std::int64_t sequences, length;
  std::vector<std::int32_t> positions;
  std::int64_t tokens() const { return sequences * length; }
  std::int32_t position(std::int64_t n) const { return positions[static_cast<std::size_t>(n)]; }
  // Whether token n has a token `ago` places before it in its own sequence and document.
  bool has_before(std::int64_t n, std::int64_t ago) const {
    if (n % length < ago) return false;
    for (std::int64_t t = n - ago + 1; t <= n; ++t) {
      if (position(t) == 0) return false;
    }
    return true;
  }
};

class DoubleGriffin {
 public:
  DoubleGriffin(const model::GriffinConfig& config, const Weights& weights, const Rows& rows)
      : config_(config), weights_(weights), rows_(rows) {}

  // y = x W + b; without `bias` y = x W.
  Matrix linear(const Matrix& x, const std::string& name, std::int64_t out, bool bias) const {
    const auto& kernel = weights_.at(name + "/kernel");
    const auto b = bias ? weights_.at(name + "/bias")
                        : std::vector<double>(static_cast<std::size_t>(out), 0.0);
    Matrix y(x.rows, out);
    for (std::int64_t n = 0; n < x.rows; ++n) {
      for (std::int64_t o = 0; o < out; ++o) {
        double sum = b[static_cast<std::size_t>(o)];
        for (std::int64_t i = 0; i < x.columns; ++i)
          sum += x(n, i) * kernel[static_cast<std::size_t>(i * out + o)];
        y(n, o) = sum;
      }
    }
    return y;
  }

  // x / √(mean x² + 1e-6) · (1 + scale)
  Matrix norm(const Matrix& x, const std::string& name) const {
    const auto& scale = weights_.at(name + "/scale");
    Matrix y(x.rows, x.columns);
    for (std::int64_t n = 0; n < x.rows; ++n) {
      double squares = 0;
      for (std::int64_t c = 0; c < x.columns; ++c) squares += x(n, c) * x(n, c);
      const double rms = std::sqrt(squares / static_cast<double>(x.columns) + 1e-6);
      for (std::int64_t c = 0; c < x.columns; ++c)
        y(n, c) = x(n, c) / rms * (1 + scale[static_cast<std::size_t>(c)]);
    }
    return y;
  }

  Matrix recurrent_block(const Matrix& x, const std::string& name) const {
    const std::int64_t rnn = config_.rnn_width;
    const Matrix gate = linear(x, name + "/linear_y", rnn, true);
    const Matrix h = rg_lru(conv(linear(x, name + "/linear_x", rnn, true), name), name);
    Matrix gated(x.rows, rnn);
    for (std::size_t i = 0; i < gated.v.size(); ++i) gated.v[i] = gelu(gate.v[i]) * h.v[i];
    return linear(gated, name + "/linear_out", config_.width, true);
  }

  // Every query sees its own token and up to `reach` before it in its document.
  Matrix attention_block(const Matrix& x, const std::string& name, std::int64_t reach) const {
    const std::int64_t heads = config_.heads, dim = config_.width / heads;
    const Matrix q = rotated(linear(x, name + "/proj_q", config_.width, false), dim);
    const Matrix k = rotated(linear(x, name + "/proj_k", dim, false), dim);
    const Matrix v = linear(x, name + "/proj_v", dim, false);
    Matrix out(x.rows, config_.width);
    for (std::int64_t n = 0; n < x.rows; ++n) {
      for (std::int64_t head = 0; head < heads; ++head) {
        std::vector<double> chance;
        for (std::int64_t ago = 0; ago <= reach && rows_.has_before(n, ago); ++ago) {
          double score = 0;
          for (std::int64_t d = 0; d < dim; ++d) score += q(n, head * dim + d) * k(n - ago, d);
          chance.push_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
        }
        double all = 0;
        for (const double e : chance) all += e;
        for (std::size_t ago = 0; ago < chance.size(); ++ago) {
          for (std::int64_t d = 0; d < dim; ++d)
            out(n, head * dim + d) += chance[ago] / all * v(n - static_cast<std::int64_t>(ago), d);
        }
      }
    }
    return linear(out, name + "/proj_final", config_.width, true);
  }

  Matrix mlp_block(const Matrix& x, const std::string& name) const {
    const std::int64_t width = config_.width, mlp = config_.mlp_width;
    const auto &w = weights_.at(name + "/ffw_up/w"), &b = weights_.at(name + "/ffw_up/b");
    Matrix hidden(x.rows, mlp);
    for (std::int64_t n = 0; n < x.rows; ++n) {
      for (std::int64_t e = 0; e < mlp; ++e) {
        double branch[2];
        for (std::int64_t which = 0; which < 2; ++which) {
          branch[which] = b[static_cast<std::size_t>(which * mlp + e)];
          for (std::int64_t i = 0; i < width; ++i)
            branch[which] += x(n, i) * w[static_cast<std::size_t>((which * width + i) * mlp + e)];
        }
        hidden(n, e) = gelu(branch[0]) * branch[1];
      }
    }
    return linear(hidden, name + "/ffw_down", width, true);
  }

  // −log p of the target at every place, whatever the loss mask.
  std::vector<double> nll(const std::vector<std::int32_t>& tokens,
                          const std::vector<std::int32_t>& targets) const {
    const std::int64_t n = rows_.tokens(), width = config_.width, vocabulary = config_.vocabulary;
    const auto& table = weights_.at("embedder/input_embedding");
    Matrix x(n, width);
    for (std::int64_t t = 0; t < n; ++t) {
      for (std::int64_t c = 0; c < width; ++c)
        x(t, c) = config_.embedding_scale() *
                  table[static_cast<std::size_t>(tokens[static_cast<std::size_t>(t)] * width + c)];
    }
    for (std::size_t layer = 0; layer < config_.layers.size(); ++layer) {
      const std::string block = "blocks." + std::to_string(layer);
      const Matrix normed = norm(x, block + "/temporal_pre_norm");
      add(x, config_.layers[layer] == 'R'
                 ? recurrent_block(normed, block + "/recurrent_block")
                 : attention_block(normed, block + "/attention_block",
                                   config_.layers[layer] == 'G' ? n : config_.window));
      add(x, mlp_block(norm(x, block + "/channel_pre_norm"), block + "/mlp_block"));
    }
    x = norm(x, "final_norm");
    std::vector<double> all;
    for (std::int64_t t = 0; t < n; ++t) {
      double sum = 0, target = 0;
      for (std::int64_t id = 0; id < vocabulary; ++id) {
        double logit = 0;
        for (std::int64_t c = 0; c < width; ++c)
          logit += x(t, c) * table[static_cast<std::size_t>(id * width + c)];
        if (config_.soft_cap > 0) logit = config_.soft_cap * std::tanh(logit / config_.soft_cap);
        sum += std::exp(logit);
        if (id == targets[static_cast<std::size_t>(t)]) target = logit;
      }
      all.push_back(std::log(sum) - target);
    }
    return all;
  }

 private:
  static double gelu(double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  }
  static void add(Matrix& x, const Matrix& more) {
    for (std::size_t i = 0; i < x.v.size(); ++i) x.v[i] += more.v[i];
  }

  // b + Σ_s w[3 − s] · u[t − s] over the tokens of the same document.
  Matrix conv(const Matrix& u, const std::string& name) const {
    const auto &w = weights_.at(name + "/conv_1d/w"), &b = weights_.at(name + "/conv_1d/b");
    Matrix y(u.rows, u.columns);
    for (std::int64_t n = 0; n < u.rows; ++n) {
      for (std::int64_t c = 0; c < u.columns; ++c) {
        y(n, c) = b[static_cast<std::size_t>(c)];
        for (std::int64_t ago = 0; ago < 4 && rows_.has_before(n, ago); ++ago)
          y(n, c) += w[static_cast<std::size_t>((3 - ago) * u.columns + c)] * u(n - ago, c);
      }
    }
    return y;
  }

  // σ of the block-diagonal product.
  Matrix gate(const Matrix& u, const std::string& name) const {
    const std::int64_t block = config_.rnn_width / config_.gate_blocks;
    const auto &w = weights_.at(name + "/w"), &b = weights_.at(name + "/b");
    Matrix y(u.rows, u.columns);
    for (std::int64_t n = 0; n < u.rows; ++n) {
      for (std::int64_t c = 0; c < u.columns; ++c) {
        const std::int64_t first = c / block * block;
        double sum = b[static_cast<std::size_t>(c)];
        for (std::int64_t i = 0; i < block; ++i)
          sum += u(n, first + i) * w[static_cast<std::size_t>((first + i) * block + c - first)];
        y(n, c) = 1 / (1 + std::exp(-sum));
      }
    }
    return y;
  }

  // h = a h₋₁ + √(1 − a²) i u, log a = −8 r softplus(a_param); a document starts with h = i u.
  Matrix rg_lru(const Matrix& u, const std::string& name) const {
    const auto& a_param = weights_.at(name + "/rg_lru/a_param");
    const Matrix i = gate(u, name + "/rg_lru/input_gate"), r = gate(u, name + "/rg_lru/a_gate");
    Matrix h(u.rows, u.columns);
    for (std::int64_t n = 0; n < u.rows; ++n) {
      for (std::int64_t c = 0; c < u.columns; ++c) {
        const double input = i(n, c) * u(n, c);
        const double log_a =
            -8 * r(n, c) * std::log1p(std::exp(a_param[static_cast<std::size_t>(c)]));
        h(n, c) = rows_.has_before(n, 1)
                      ? std::exp(log_a) * h(n - 1, c) + std::sqrt(-std::expm1(2 * log_a)) * input
                      : input;
      }
    }
    return h;
  }

  // The first half of every head: pairs (j, j + dim / 4) turn by position · 10000^(−4j / dim).
  Matrix rotated(const Matrix& x, std::int64_t dim) const {
    Matrix y = x;
    const std::int64_t pairs = dim / 4;
    for (std::int64_t n = 0; n < x.rows; ++n) {
      for (std::int64_t j = 0; j < pairs; ++j) {
        const double angle = rows_.position(n) * std::pow(10000.0, -4.0 * static_cast<double>(j) /
                                                                       static_cast<double>(dim));
        for (std::int64_t first = 0; first < x.columns; first += dim) {
          const double a = x(n, first + j), b = x(n, first + pairs + j);
          y(n, first + j) = a * std::cos(angle) - b * std::sin(angle);
          y(n, first + pairs + j) = a * std::sin(angle) + b * std::cos(angle);
        }
      }
    }
    return y;
  }

  const model::GriffinConfig& config_;
  const Weights& weights_;
  const Rows& rows_;
};

}  // namespace eyrie::test
