"""GPU behaviour that can be tested without a GPU, on a device that has only shapes."""

import pytest
import torch
from models import TINY
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode

from espnet2_tisdiss import MultiDepthPIT, TISDiSSSeparator

GPU = "meta"
MEL = {"mask": True, "band_split": "mel", "num_bands": 6, "sample_rate": 8000}
SEGMENTS = {"mask": True, "segment_size": 8}


class NoWaiting(TorchDispatchMode):
    """Refuses blocking copies between devices; values cannot be read from this device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default:
            target = torch.device(kwargs.get("device") or args[0].device)
            self._check(args[0].device, target, kwargs.get("non_blocking"))
        if func is torch.ops.aten.copy_.default:
            self._check(args[1].device, args[0].device, (*args, kwargs.get("non_blocking"))[2])
        return func(*args, **kwargs)

    @staticmethod
    def _check(source, target, non_blocking):
        if source.type != target.type and not non_blocking:
            raise RuntimeError(f"a copy from {source} to {target} waits")


def test_what_waits_is_refused():
    there, here = torch.zeros(3, device=GPU), torch.zeros(3)
    with NoWaiting():
        here.to(GPU, non_blocking=True)
        with pytest.raises(RuntimeError, match="a copy from cpu to meta waits"):
            here.to(GPU)
        with pytest.raises(RuntimeError, match="a copy from cpu to meta waits"):
            there.copy_(here)
        with pytest.raises(RuntimeError):
            there.sum().item()
        with pytest.raises(RuntimeError):
            there[there > 0]


@pytest.mark.parametrize("lengths", [None, (20, 20), (20, 7)], ids=str)
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, MEL, SEGMENTS, {"split_compress": True, "reconstructor_repeat_residual_module": True}],
    ids=("published", "bands", "segments", "compressed"),
)
def test_forward_with_lengths_on_the_cpu_does_not_wait(options, train, lengths):
    model = TISDiSSSeparator(33, **TINY, **options).to(GPU).train(train)
    dtype = torch.float32 if options is SEGMENTS else torch.complex64
    x = torch.empty(2, 20, 33, dtype=dtype, device=GPU)
    ilens = None if lengths is None else torch.tensor(lengths)
    with NoWaiting():
        estimates, _, _ = model(x, ilens)
    assert len(estimates) == (6 if train else 2) and estimates[0].device.type == GPU
    with NoWaiting(), torch.no_grad():
        for depth in model.anytime(x, ilens):
            assert depth[0].shape == x.shape


@pytest.mark.parametrize("options", [{"depth_power": 1.0}, {"depth_weights": [1, 2, 3]}])
def test_the_mean_of_the_depths_does_not_wait(options):
    loss = MultiDepthPIT(torch.nn.Identity(), **options)
    with NoWaiting():
        assert loss._average(torch.empty(3, device=GPU)).shape == ()


@pytest.mark.parametrize(("options", "most"), [({}, 4), (MEL | {"conv1d_shift": 2}, 6)])
def test_depths_and_lengths_share_what_is_compiled(options, most):
    torch._dynamo.reset()
    model = TISDiSSSeparator(33, **TINY, **options).to(GPU).eval()
    model.compile_blocks()
    counter = CompileCounter()
    with torch.compiler.set_stance("default", force_backend=counter), torch.no_grad():
        for frames in (50, 51, 63, 64, 90):
            for n_re in (1, 3):
                model.reconstructor_repeat_times = n_re
                model(torch.empty(1, frames, 33, dtype=torch.complex64, device=GPU), None)
    # of each of the two blocks one for the first length and one for any, or any even and any odd
    assert 2 <= counter.frame_count <= most
