"""Files of motifs, and matrices named by them."""

from pathlib import Path

import numpy as np
import pytest

from keras_admm import explain
from keras_admm.explain import Motif

REAL = Path(__file__).parents[2] / "shared" / "data" / "dna" / "Jaspar.meme"
RNG = np.random.default_rng(0)
MEME = """MEME version 4.4

ALPHABET= ACGT

strands: + -

MOTIF M1 (USF1)_(Mus_musculus)_(DBD_0.99)

letter-probability matrix: alength= 4 w= 2 nsites= 1 E= 0
  0.7\t 0.1  0.1 0.1
  0.25 0.25 0.25 0.25

URL http://example.org

MOTIF M2 CTCF
letter-probability matrix: alength= 4 w= 1
0 1 0 0
"""


def matrix(width):
    drawn = RNG.dirichlet([0.2] * 4, width)
    return drawn.astype("float32")


KNOWN = [Motif(f"m{i}", f"factor{i}", matrix(6 + i % 5)) for i in range(30)]


def pearson(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_a_file_is_read(tmp_path):
    path = tmp_path / "motifs.meme"
    path.write_text(MEME)
    first, second = explain.read_meme(path)
    assert (first.label, second.label) == ("M1 USF1", "M2 CTCF")
    np.testing.assert_allclose(first.matrix, [[0.7, 0.1, 0.1, 0.1], [0.25] * 4])
    np.testing.assert_allclose(second.matrix, [[0, 1, 0, 0]])


@pytest.mark.skipif(not REAL.exists(), reason="needs the file of motifs")
def test_the_real_motifs_are_read():
    motifs = explain.read_meme(REAL)
    assert len(motifs) == 734 and "M4427_1.02 CTCF" in {motif.label for motif in motifs}
    assert all(abs(motif.matrix.sum(1) - 1).max() < 1e-3 for motif in motifs)


@pytest.mark.parametrize(
    "text, sentence",
    [
        (None, "No such file"),
        ("hello", "lines that begin with MOTIF"),
        (MEME.replace("w= 2", "w= 3"), "M1, where that is not so"),
        (MEME.replace("0.7\t", ""), "M1, where that is not so"),
    ],
)
def test_a_foreign_file_gets_a_sentence(text, sentence, tmp_path):
    if text is not None:
        (tmp_path / "motifs.meme").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        explain.read_meme(tmp_path / "motifs.meme")


# Where a motif stands in a longer matrix, or a part of it by itself.
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("width", [40, 8, 5])
def test_a_motif_is_found_again(width, backwards):
    motif = KNOWN[4]  # 10 wide
    drawn = np.full((40, 4), 0.25, "float32")
    drawn[20:30] = motif.matrix
    drawn = {40: drawn, 8: drawn[20:28], 5: drawn[23:28]}[width]
    drawn = drawn[::-1, ::-1] if backwards else drawn
    found = next(m for m in explain.match_motifs(drawn, KNOWN, most=30, shuffles=199) if m.motif is motif)
    assert found.correlation > 0.999 and found.p_value <= (0.01 if width > 5 else 0.1)
    assert found.strand == ("-" if backwards else "+")
    assert found.offset == {(40, 0): 20, (40, 1): 10, (8, 0): 0, (8, 1): -2, (5, 0): -3, (5, 1): -2}[width, backwards]


def test_the_correlation_is_pearsons_over_the_best_offset():
    drawn = matrix(6)
    for match in explain.match_motifs(drawn, [m for m in KNOWN if len(m.matrix) == 9], shuffles=1):
        strands = match.motif.matrix, match.motif.matrix[::-1, ::-1]
        padded = [np.pad(each, ((3, 3), (0, 0)), constant_values=0.25) for each in strands]
        best = max(pearson(drawn, each[start : start + 6]) for each in padded for start in range(10))
        np.testing.assert_allclose(match.correlation, best, rtol=1e-5)


def test_by_chance_few_are_significant():
    p = [match.p_value for match in explain.match_motifs(matrix(8), KNOWN, most=30, shuffles=199)]
    assert np.mean(np.array(p) <= 0.01) < 0.2 and np.median(p) > 0.1


def test_proteins_have_one_strand():
    known = [Motif("p", "", np.eye(3)[[0, 1, 2, 2]], "XYZ")]
    (match,) = explain.match_motifs(np.eye(3)[[0, 1, 2, 2]][::-1, ::-1], known, shuffles=9)
    assert match.strand == "+" and match.correlation < 0.9


@pytest.mark.parametrize("pwm", [np.ones((5, 3)), np.ones(4), np.full((5, 4), np.nan)])
def test_a_matrix_of_other_letters_gets_a_sentence(pwm):
    with pytest.raises(ValueError, match="for the alphabet ACGT"):
        explain.match_motifs(pwm, KNOWN)
