"""all-MiniLM-L6-v2 in numpy: a text becomes 384 numbers of unit length, the mean over its tokens.

A BERT of six layers needs no framework, whose import takes longer than anything that this one computes.
Texts are computed without padding: the tokens of all stand in one matrix, shorter texts first, and only
attention looks at texts, those of equal length together. Weights are mapped, not read.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path


def cores():
    """Of the job, not of the machine: more threads than these only wait for each other."""
    for quota, period in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = [(Path("/sys/fs/cgroup") / name).read_text() for name in (quota, period) if name]
            share, of = " ".join(words).split()
            return max(1, int(share) // int(of))
        except (OSError, ValueError):
            continue
    return len(os.sched_getaffinity(0))


# Read once, when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", str(cores()))

import numpy as np  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

DIMENSIONS = 384
HEADS = 12
LAYERS = 6
# What is beyond does not count, as the model's own configuration has it.
TOKENS_MAX = 256
# As many texts are taken apart at once, which takes many times their size.
BATCH_TEXTS = 64
# As many tokens are computed at once: some tens of megabytes.
BATCH_TOKENS = 2048
# Rows of the widest matrix that stay in a core's cache while an activation goes over them.
ROWS = 64
EPSILON = 1e-12


@dataclass(slots=True)
class Layer:
    qkv: tuple
    attended: tuple
    attended_norm: tuple
    wide: tuple
    narrow: tuple
    norm: tuple


class Model:
    """Reads `model.safetensors` and `tokenizer.json` of a folder."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(TOKENS_MAX)
        self.tokenizer.no_padding()
        tensors = mapped(folder / "model.safetensors")

        def pair(name):
            return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

        def layer(at):
            part = f"encoder.layer.{at}."
            three = [pair(f"{part}attention.self.{name}") for name in ("query", "key", "value")]
            return Layer(
                qkv=tuple(np.concatenate(parts) for parts in zip(*three)),
                attended=pair(f"{part}attention.output.dense"),
                attended_norm=pair(f"{part}attention.output.LayerNorm"),
                wide=pair(f"{part}intermediate.dense"),
                narrow=pair(f"{part}output.dense"),
                norm=pair(f"{part}output.LayerNorm"),
            )

        self.words = tensors["embeddings.word_embeddings.weight"]
        # Every text is the first of its pair, so its type adds the same at every place.
        types = tensors["embeddings.token_type_embeddings.weight"]
        self.places = tensors["embeddings.position_embeddings.weight"][:TOKENS_MAX] + types[0]
        self.norm = pair("embeddings.LayerNorm")
        self.layers = [layer(at) for at in range(LAYERS)]

    def encode(self, texts):
        """Vectors of the texts, and how many tokens of them were read."""
        tokens = []
        for at in range(0, len(texts), BATCH_TEXTS):
            tokens += [encoding.ids for encoding in self.tokenizer.encode_batch(texts[at : at + BATCH_TEXTS])]
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        for batch in batches(tokens):
            vectors[batch] = self.forward([tokens[at] for at in batch])
        return vectors, sum(len(ids) for ids in tokens)

    def forward(self, texts):
        """Of token lists with the shorter ones first."""
        lengths = np.array([len(ids) for ids in texts])
        states = self.words[np.concatenate(texts)]
        states += self.places[np.concatenate([np.arange(length) for length in lengths])]
        states = normed(states, self.norm)
        runs = runs_of(lengths)
        for layer in self.layers:
            seen = attention(linear(states, layer.qkv), runs)
            states = normed(states + linear(seen, layer.attended), layer.attended_norm)
            wide = gelu(linear(states, layer.wide))
            states = normed(states + linear(wide, layer.narrow), layer.norm)
        sums = np.add.reduceat(states, np.cumsum(lengths) - lengths)
        # Of unit length, so that a sum is as good as a mean.
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def mapped(path):
    """The tensors of a safetensors file: the length of its header, the header, and what lies behind."""
    raw = np.memmap(path, np.uint8, "r")
    start = 8 + int(raw[:8].view("<u8")[0])
    tensors = {}
    for name, entry in json.loads(raw[8:start].tobytes()).items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            # As a plain array: a memmap costs more with each operation.
            tensors[name] = np.asarray(raw[start + begin : start + end]).view("<f4").reshape(entry["shape"])
    return tensors


def batches(tokens):
    """Indexes of texts, shorter ones first, as many as BATCH_TOKENS at a time."""
    batch, size = [], 0
    for at in sorted(range(len(tokens)), key=lambda at: len(tokens[at])):
        if batch and size + len(tokens[at]) > BATCH_TOKENS:
            yield batch
            batch, size = [], 0
        batch.append(at)
        size += len(tokens[at])
    yield batch


def runs_of(lengths):
    """Of texts as long as each other: their rows, how many there are, how long they are."""
    runs, row = [], 0
    for length, count in zip(*np.unique(lengths, return_counts=True)):
        runs.append((slice(row, row + length * count), int(count), int(length)))
        row += length * count
    return runs


def attention(qkv, runs):
    seen = np.empty((len(qkv), DIMENSIONS), np.float32)
    width = DIMENSIONS // HEADS
    for rows, count, length in runs:
        query, key, value = qkv[rows].reshape(count, length, 3, HEADS, width).transpose(2, 0, 3, 1, 4)
        weights = query @ key.swapaxes(2, 3)
        weights *= width**-0.5
        weights -= weights.max(axis=3, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=3, keepdims=True)
        seen[rows] = (weights @ value).transpose(0, 2, 1, 3).reshape(-1, DIMENSIONS)
    return seen


def linear(states, weights):
    matrix, bias = weights
    out = states @ matrix.T
    out += bias
    return out


def normed(states, weights):
    scale, shift = weights
    states -= states.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", states, states)[:, None] / states.shape[1]
    states /= np.sqrt(variance + EPSILON)
    states *= scale
    states += shift
    return states


def gelu(states):
    """In place: x times the normal distribution at x, by formula 7.1.26 of Abramowitz and Stegun, right to 1.5e-7."""
    for at in range(0, len(states), ROWS):
        x = states[at : at + ROWS]
        size = np.abs(x)
        t = 1 / (1 + np.float32(0.3275911 * 0.5**0.5) * size)
        tail = np.float32(1.061405429) * t
        for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            tail += np.float32(factor)
            tail *= t
        tail *= np.exp(np.float32(-0.5) * x * x)
        tail *= size
        np.maximum(x, 0, out=x)
        x -= np.float32(0.5) * tail
    return states
