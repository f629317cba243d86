"""Writes a language model whose answers are known by hand: successor_model.py FILE.

A real GGUF file of llama's architecture for llama.cpp, of two megabytes, with a byte for a token. Attention and
feed-forward are zero, so the residual stream hands each token's one-hot embedding to the output unchanged, and the
output's matrix leads from each byte to the one that follows it: a newline to `a`, `a` to `b`, … `z` to a full stop,
and that to the end. A chat's prompt ends in a newline, so every chat is answered with the alphabet.
"""

import sys

import gguf
import numpy

UNKNOWN, BEGIN, END, FIRST_BYTE = 0, 1, 2, 3
VOCABULARY = FIRST_BYTE + 256
HEADS = 9
WIDTH = 32 * HEADS  # At least the vocabulary, for one-hot vectors.
HIDDEN = 64
CHAIN = b"\nabcdefghijklmnopqrstuvwxyz."
CERTAIN = 8.0


def follows():
    """Pairs of tokens: the second comes after the first."""
    tokens = [FIRST_BYTE + byte for byte in CHAIN]
    return [*zip(tokens, [*tokens[1:], END])]


def main(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("successor")
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCABULARY)

    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list([b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *([kinds.BYTE] * 256)])
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)

    embedding = numpy.eye(VOCABULARY, WIDTH, dtype=numpy.float32)
    output = numpy.zeros((VOCABULARY, WIDTH), dtype=numpy.float32)
    for token, successor in follows():
        output[successor, token] = CERTAIN
    nothing = lambda *shape: numpy.zeros(shape, dtype=numpy.float32)
    for name, tensor in {
        "token_embd": embedding,
        "output_norm": numpy.ones(WIDTH, dtype=numpy.float32),
        "output": output,
        "blk.0.attn_norm": numpy.ones(WIDTH, dtype=numpy.float32),
        "blk.0.attn_q": nothing(WIDTH, WIDTH),
        "blk.0.attn_k": nothing(WIDTH, WIDTH),
        "blk.0.attn_v": nothing(WIDTH, WIDTH),
        "blk.0.attn_output": nothing(WIDTH, WIDTH),
        "blk.0.ffn_norm": numpy.ones(WIDTH, dtype=numpy.float32),
        "blk.0.ffn_gate": nothing(HIDDEN, WIDTH),
        "blk.0.ffn_up": nothing(HIDDEN, WIDTH),
        "blk.0.ffn_down": nothing(WIDTH, HIDDEN),
    }.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])
