"""Convert XLM-RoBERTa's sentencepiece.bpe.model to a tokenizer.json."""

from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import read_bytes
from bert_jax.text.rust_errors import call_library
from bert_jax.text.tokenizer_json import Described, xlm_roberta

CONTROL_PIECE, USER_DEFINED_PIECE = 3, 4  # piece types in sentencepiece_model.proto
UNIGRAM_MODEL = 1  # model type in sentencepiece_model.proto


def read_pieces(path: Path) -> Described:
    """Return the tokenizer.json that Hugging Face makes of the file.

    Raises UserError for a file that is damaged or holds another kind of model.
    """
    return described_pieces(read_bytes(path), str(path))


def described_pieces(content: bytes, source: str) -> Described:
    """Return the tokenizer.json of a model file's bytes. Errors name `source`."""

    import sentencepiece
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    model_proto: Any = sentencepiece_model_pb2
    try:
        proto = model_proto.ModelProto.FromString(content)
    except DecodeError:
        raise UserError(f"{source}: not a SentencePiece model, or cut short ({len(content)} bytes)") from None
    if not proto.pieces or not proto.HasField("trainer_spec") or not proto.HasField("normalizer_spec"):
        raise UserError(f"{source}: not a whole SentencePiece model ({len(content)} bytes, {len(proto.pieces)} pieces)")
    if proto.trainer_spec.model_type != UNIGRAM_MODEL:
        kind = proto.trainer_spec.model_type
        raise UserError(f"{source}: SentencePiece's model kind {kind}, where 1 (unigram) is expected")
    call_library(lambda: sentencepiece.SentencePieceProcessor(model_proto=content), source)  # its own checks
    first, rest = [piece.piece for piece in proto.pieces[:3]], proto.pieces[3:]
    if first != ["<unk>", "<s>", "</s>"]:
        raise UserError(f"{source}: its first pieces are {', '.join(first)}, where <unk>, <s>, </s> are expected")
    return xlm_roberta(
        [(piece.piece, piece.score) for piece in rest],
        proto.normalizer_spec.precompiled_charsmap,
        control=[piece.piece for piece in rest if piece.type == CONTROL_PIECE],
        user_defined=[piece.piece for piece in rest if piece.type == USER_DEFINED_PIECE],
    )
