"""Samples of any type."""

from pathlib import Path

import numpy as np
import pytest
import torch

from espnet2_tisdiss import TisdissError
from espnet2_tisdiss.separate.arrays import as_floats, check_finite
from espnet2_tisdiss.separate.recordings import channels_of

WAVE = np.array([0.0, 0.5, -1.0, 0.25])


@pytest.mark.parametrize(
    "samples",
    [
        WAVE.astype(">f4"),
        WAVE.astype(">f8"),
        WAVE.astype(np.longdouble),
        WAVE.astype(np.float16),
        (WAVE * 2**15).astype(np.int16),
        (WAVE * 2**15).astype(">i2"),
        (WAVE * 2**31).astype(np.int32),
        (WAVE * 2**7 + 128).astype(np.uint8),
        torch.tensor(WAVE, requires_grad=True),
        torch.tensor(WAVE, dtype=torch.bfloat16),
        torch.tensor(WAVE * 2**15).to(torch.int16),
        torch._neg_view(-torch.tensor(WAVE)),
        list(WAVE),
    ],
)
def test_any_type_is_full_scale_1(samples):
    found = as_floats(samples)
    np.testing.assert_array_equal(found, WAVE)
    assert found.dtype.isnative and found.dtype in (np.float32, np.float64)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (WAVE + 1j, "got complex128"),
        (torch.tensor(WAVE + 1j), "got complex128"),
        (np.arange(4), "got int64"),
        (WAVE > 0, "got bool"),
        ("talk.wav", r"^talk.wav: is a path, not samples; model.file\(path\)"),
        (Path("talk.wav"), r"model.file\(path\)"),
        ([[1.0], [1.0, 2.0]], "different lengths"),
        (torch.tensor(WAVE).to_sparse(), "an array or a dense tensor with content: "),
        (torch.tensor(WAVE).to("meta"), "an array or a dense tensor with content: "),
        ({"array": WAVE}, "got object"),
    ],
)
def test_what_are_no_samples_is_refused(samples, reason):
    with pytest.raises(TisdissError, match=reason):
        as_floats(samples)


def test_a_sample_that_is_not_finite_is_named():
    with pytest.raises(TisdissError, match="it: sample 2 is -inf, not"):
        check_finite("it", np.array([0, 1, -np.inf, np.nan]))
    with pytest.raises(TisdissError, match="it: sample 1, channel 0 is nan, not"):
        check_finite("it", np.array([[0, 0], [np.nan, 0]]))


def test_wrong_shapes_get_the_right_call():
    with pytest.raises(TisdissError, match=r"\(2, 9\): give samples.T"):
        channels_of(np.zeros((2, 9)))
    with pytest.raises(TisdissError, match=r"batch\(\)"):
        channels_of(np.zeros((1, 2, 9)))
    with pytest.raises(TisdissError, match="too large for 32 bits"):
        channels_of(WAVE * 1e39)
