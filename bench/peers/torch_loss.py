#!/usr/bin/env python3
"""Trains the dump of dump_run with PyTorch and compares every step's loss with a run's metrics.jsonl.

  torch_loss.py FOLDER METRICS.jsonl [--threads N]

The model is written down here once more from the paper's equations and the official code's conventions, in fp32, with autograd:
documents of a row are isolated in convolution, recurrence and attention. Learning rates are read from the metrics.
"""
import argparse
import json
import math

import numpy as np
import torch
import torch.nn.functional as F


def scan(a, x):
    """h[t] = a[t] h[t-1] + x[t] over dim 1, by doubling."""
    step, length = 1, a.shape[1]
    while step < length:
        x = torch.cat([x[:, :step], x[:, step:] + a[:, step:] * x[:, :-step]], 1)
        a = torch.cat([a[:, :step], a[:, step:] * a[:, :-step]], 1)
        step *= 2
    return x


class SqrtBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sqrt(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / torch.sqrt(torch.clip(4 * x, min=1e-6))


def norm(x, scale):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + scale)


def gelu(x):
    return F.gelu(x, approximate="tanh")


def blocks(u, w, b):
    shape = u.shape
    return (torch.einsum("...hi,hij->...hj", u.reshape(*shape[:-1], w.shape[0], -1), w) + b).reshape(shape)


def recurrent(p, n, x, pos):
    y = gelu(x @ p[n + "linear_y/kernel"] + p[n + "linear_y/bias"])
    u = x @ p[n + "linear_x/kernel"] + p[n + "linear_x/bias"]
    w = p[n + "conv_1d/w"]
    v = p[n + "conv_1d/b"] + u * w[3]
    for s in (1, 2, 3):
        v = v + F.pad(u, (0, 0, s, 0))[:, :-s] * (pos >= s)[..., None] * w[3 - s]
    i = torch.sigmoid(blocks(v, p[n + "rg_lru/input_gate/w"], p[n + "rg_lru/input_gate/b"]))
    r = torch.sigmoid(blocks(v, p[n + "rg_lru/a_gate/w"], p[n + "rg_lru/a_gate/b"]))
    log_a = -8 * r * F.softplus(p[n + "rg_lru/a_param"])
    reset = (pos == 0)[..., None].float()
    m = reset + (1 - reset) * SqrtBound.apply(-torch.expm1(2 * log_a))
    h = scan(torch.exp(log_a) * (1 - reset), m * i * v)
    return (h * y) @ p[n + "linear_out/kernel"] + p[n + "linear_out/bias"]


def rope(x, pos):
    dim = x.shape[-1]
    pairs = dim // 4
    angle = pos[..., None].double() * 10000.0 ** (-4.0 * torch.arange(pairs).double() / dim)
    c, s = angle.cos().float()[:, :, None], angle.sin().float()[:, :, None]
    a, b, rest = x[..., :pairs], x[..., pairs:2 * pairs], x[..., 2 * pairs:]
    return torch.cat([a * c - b * s, b * c + a * s, rest], -1)


def attention(p, n, x, pos, heads, window):
    B, T, D = x.shape
    dim = D // heads
    q = rope((x @ p[n + "proj_q/kernel"]).view(B, T, heads, dim), pos)
    k = rope((x @ p[n + "proj_k/kernel"]).view(B, T, 1, dim), pos)[:, :, 0]
    v = x @ p[n + "proj_v/kernel"]
    t = torch.arange(T)
    back = t[:, None] - t[None]
    see = (back >= 0)[None] & (back[None] <= torch.minimum(pos, torch.tensor(window))[..., None])
    scores = torch.einsum("bthd,bsd->bhts", q, k) / math.sqrt(dim)
    chances = torch.softmax(scores.masked_fill(~see[:, None], -math.inf), -1)
    out = torch.einsum("bhts,bsd->bthd", chances, v).reshape(B, T, D)
    return out @ p[n + "proj_final/kernel"] + p[n + "proj_final/bias"]


def loss_of(p, c, tokens, targets, pos, mask):
    x = p["embedder/input_embedding"][tokens]
    if c["scale_embedding"]:
        x = x * torch.tensor(c["width"] ** 0.5, dtype=torch.bfloat16).float()
    for i, kind in enumerate(c["layers"]):
        b = f"blocks.{i}/"
        n = norm(x, p[b + "temporal_pre_norm/scale"])
        x = x + (recurrent(p, b + "recurrent_block/", n, pos) if kind == "R"
                 else attention(p, b + "attention_block/", n, pos, c["heads"], c["window"]))
        n = norm(x, p[b + "channel_pre_norm/scale"])
        w, bias = p[b + "mlp_block/ffw_up/w"], p[b + "mlp_block/ffw_up/b"][:, 0, 0]
        hidden = gelu(n @ w[0] + bias[0]) * (n @ w[1] + bias[1])
        x = x + hidden @ p[b + "mlp_block/ffw_down/kernel"] + p[b + "mlp_block/ffw_down/bias"]
    logits = norm(x, p["final_norm/scale"]) @ p["embedder/input_embedding"].T
    if c["soft_cap"] > 0:
        logits = c["soft_cap"] * torch.tanh(logits / c["soft_cap"])
    nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return (nll * mask.flatten()).sum() / mask.sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("metrics")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    run = json.load(open(args.folder + "/run.json"))
    raw = open(args.folder + "/weights.bin", "rb").read()
    p = {}
    for w in run["weights"]:
        count = int(np.prod(w["shape"]))
        values = np.frombuffer(raw, "<f4", count, w["offset"]).reshape(w["shape"]).copy()
        p[w["name"]] = torch.nn.Parameter(torch.from_numpy(values))
    decayed = [p[w["name"]] for w in run["weights"] if w["decay"]]
    others = [p[w["name"]] for w in run["weights"] if not w["decay"]]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": run["weight_decay"]}, {"params": others, "weight_decay": 0.0}],
                                  betas=(run["beta1"], run["beta2"]), eps=run["epsilon"])
    ours = {}
    for line in open(args.metrics):
        step = json.loads(line)
        if "loss" in step:
            ours[step["step"]] = step
    shape = (run["batch_sequences"], run["sequence_length"])
    count = shape[0] * shape[1]
    worst, last = 0.0, None
    for step in range(1, run["steps"] + 1):
        base = (step - 1) * count * 16
        part = lambda i, t: torch.from_numpy(np.fromfile(args.folder + "/batches.bin", t, count, offset=base + i * count * 4).reshape(shape))
        tokens, targets, pos, mask = part(0, "<i4").long(), part(1, "<i4").long(), part(2, "<i4").long(), part(3, "<f4")
        loss = loss_of(p, run["model"], tokens, targets, pos, mask)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(p.values()), run["clip"])
        for group in optimizer.param_groups:
            group["lr"] = ours[step]["lr"]
        optimizer.step()
        last = abs(loss.item() - ours[step]["loss"])
        worst = max(worst, last)
        if step in (1, 2, 5, 10, 20) or step % 25 == 0 or step == run["steps"]:
            print(f"step {step}  torch {loss.item():.5f}  eyrie {ours[step]['loss']:.5f}  difference {loss.item() - ours[step]['loss']:+.5f}", flush=True)
    print(f"last difference {last:.5f}, worst {worst:.5f}")


if __name__ == "__main__":
    main()
