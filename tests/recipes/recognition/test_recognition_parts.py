"""Tokens, word errors and options of the recognition recipes."""

import numpy as np
import pytest
import sentencepiece

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.mini_2mix.transcripts import transcript
from espnet2_tisdiss.recipes.recognition.options import parse
from espnet2_tisdiss.recipes.recognition.tokens import write_tokens
from espnet2_tisdiss.recipes.recognition.word_errors import WordErrors, word_errors

TEXTS = ["the cat sat on the mat", "a dog sat on a log", "the dog and the cat"]
REQUIRED = {
    **{name: "set" for name in ("train_set", "valid_set", "train_singles", "valid_singles")},
    "separation": "../enh1/exp",
    "test_sets": "test",
}


# --- transcripts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("The baker, I believe, didn't go.", "the baker i believe didn't go"),
        ("Room 7 is cold.", "room seven is cold"),
        ("After 40 steps", "after forty steps"),
        ("It is 85 miles", "it is eighty five miles"),
        ("He counted 100 eggs", "he counted one hundred eggs"),
        ("He counted 719 eggs", "he counted seven hundred and nineteen eggs"),
    ],
)
def test_transcripts_are_the_spoken_words(sentence, words):
    assert transcript(sentence) == words


# --- tokens ---------------------------------------------------------------------------------------


def test_tokens_are_those_of_espnet_and_give_every_text_back(tmp_path):
    write_tokens(TEXTS * 20, 21, tmp_path / "bpe.model", tmp_path / "tokens.txt")
    tokens = (tmp_path / "tokens.txt").read_text().splitlines()
    assert tokens[:2] == ["<blank>", "<unk>"] and tokens[-1] == "<sos/eos>"
    assert len(tokens) == len(set(tokens)) and not {"<s>", "</s>"} & set(tokens)
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "bpe.model"))
    assert model.get_piece_size() == 21
    for text in TEXTS:
        pieces = model.encode(text, out_type=str)
        assert set(pieces) <= set(tokens) and model.decode(pieces) == text


def test_too_many_tokens_are_refused_in_one_line(tmp_path):
    with pytest.raises(TisdissError, match="--nbpe 500: sentencepiece refuses it: .*<= ") as error:
        write_tokens(TEXTS, 500, tmp_path / "bpe.model", tmp_path / "tokens.txt")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "tokens.txt").exists()


# --- word errors ----------------------------------------------------------------------------------


def test_word_errors_of_known_texts():
    said = {"one": ["a b c d", "e f"], "two": ["g h", "i"], "lost": ["j k", "l"]}
    recognised = {
        "one": ["e f x", "a c d"],  # in the other order: an insertion and a deletion
        "two": ["g z", "i"],  # a substitution
    }
    found = word_errors(said, recognised)
    assert found.errors.tolist() == [2, 1, 3]
    assert found.words.tolist() == [6, 3, 3]
    assert found.rate == pytest.approx(6 / 12)


def test_the_mixtures_text_counts_for_each_speaker():
    found = word_errors({"one": ["a b", "c d"]}, {"one": ["a b", "a b"]})
    assert found.errors.tolist() == [2]


def test_intervals_hold_the_rate_and_are_paired():
    rng = np.random.default_rng(1)
    words = rng.integers(10, 30, 200).astype(float)
    errors = np.round(words * rng.uniform(0.1, 0.9, 200))
    before, after = WordErrors(errors, words), WordErrors(errors - 2, words)
    low, high = before.interval()
    assert low < before.rate < high and 0.02 < high - low < 0.15
    change, (low, high) = before.change_to(after)
    # two words fewer in every mixture: nearly the same change whatever mixtures are drawn
    assert change == pytest.approx(-2 / words.mean())
    assert low < change < high and high - low < 0.02


# --- options --------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "conf.yaml"
    path.write_text("seed: 0\n")
    files = dict.fromkeys(["asr_config", "enh_asr_config", "inference_config"], str(path))
    return [f"--{name}={value}" for name, value in {**REQUIRED, **files}.items()]


def test_names_of_options_may_have_hyphens(words):
    options = parse([*words, "--n-re", "6 1 3 3", "--stop-stage", "4"])
    assert options.depths == [1, 3, 6] and options.stop_stage == 4
    options.check()


@pytest.mark.parametrize("word", ["--ngpu=-1", "--ngpu=one", "--gpu_inference=yes"])
def test_values_of_another_kind_are_refused(words, word, capsys):
    with pytest.raises(SystemExit):
        parse([*words, word])
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ("--n_re=1 x", "--n_re '1 x': expected numbers from 1 on"),
        ("--n_re=0 2", "--n_re '0 2': expected numbers from 1 on"),
        ("--test_sets=", "--test_sets: names no set"),
        ("--asr_config=conf/none.yaml", "conf/none.yaml: no such file"),
    ],
)
def test_impossible_options_are_refused(words, changed, complaint):
    with pytest.raises(TisdissError, match=complaint):
        parse([*words, changed]).check()
