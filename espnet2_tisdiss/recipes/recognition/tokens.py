"""The tokens of a recogniser: a sentencepiece model of the training transcripts."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError

# ESPnet's special tokens: the blank of CTC comes first, the end of a sentence last
FIRST, LAST = ("<blank>", "<unk>"), ("<sos/eos>",)
OWN = ("<unk>", "<s>", "</s>")  # tokens of sentencepiece that ESPnet has itself or does not use


def write_tokens(transcripts: Iterable[str], size: int, model_file: Path, token_list: Path) -> None:
    """Train a model of ``size`` tokens, and write it with ESPnet's list of them.

    Raises:
        TisdissError: the transcripts allow fewer tokens, or need more.
    """
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(transcripts),
            model_writer=written,
            vocab_size=size,
            model_type="unigram",
            character_coverage=1.0,
            num_threads=1,  # the same tokens on every machine
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise TisdissError(f"--nbpe {size}: sentencepiece refuses it: {reason}") from None
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    pieces = [model.id_to_piece(number) for number in range(model.get_piece_size())]
    listed = [*FIRST, *(piece for piece in pieces if piece not in OWN), *LAST]
    for path in (model_file, token_list):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(model_file, written.getvalue())
    write_atomically(token_list, "".join(f"{token}\n" for token in listed))
