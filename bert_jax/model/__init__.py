"""The encoder and its heads.

Dimensions: `B` sequences, `L` tokens a sequence, `D` width, `N` heads, `H` head size, `F` MLP width, `V` vocabulary
(padded), `P` masked positions a sequence, `C` classes. `mask` is True where there is a token. `seeds=None` means no
dropout. Parameters are float32; `dtype` is what the matrix products run in; normalisation and softmax stay in float32.
"""
