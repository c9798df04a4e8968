"""The encoder and its heads.

Dimensions in the shapes of this package:

B  sequences (rows) of a batch    L  tokens of a sequence, keys of attention    Q  queries of attention
D  width of the encoder           N  attention heads                            H  size of a head
F  width of the MLP               V  vocabulary, padded                         E  width of the embedding tables
P  masked positions of a sequence C  outputs of a head: classes or scores       W  entries of a text's vector
T  tokens of all sequences, B x L I  inputs of a dense layer                    O  outputs of a dense layer

`mask` is True where there is a token. `seeds=None` means no dropout. Parameters are float32; `Compute.dtype` is that of
matrix products and of the activations between them; norms and softmax are computed in float32.
"""
