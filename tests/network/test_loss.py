import pytest
import torch
from espnet2.enh.loss.criterions.tf_domain import FrequencyDomainL1, FrequencyDomainMSE
from espnet2.enh.loss.criterions.time_domain import (
    MultiResL1SpecLoss,
    SISNRLoss,
    SNRLoss,
    TimeDomainL1,
    TimeDomainMSE,
)
from espnet2.enh.loss.wrappers.pit_solver import PITSolver

from espnet2_tisdiss import MultiDepthPIT


def references(num_spk: int = 2, batch: int = 3, length: int = 400) -> list[torch.Tensor]:
    return list(torch.randn(num_spk, batch, length).unbind(0))


def test_planted_permutations_give_zero_loss_at_every_depth():
    ref = references(num_spk=3)
    planted = torch.tensor(
        [[[1, 2, 0], [0, 1, 2], [2, 1, 0]], [[0, 2, 1], [1, 0, 2], [2, 0, 1]]]
    )  # (depth, b, j): where each reference is found
    stacked = torch.stack(ref, dim=1)  # (b, j, n)
    inf = []
    for depth in planted:
        shuffled = torch.empty_like(stacked)
        for item, order in enumerate(depth):
            shuffled[item, order] = stacked[item]
        inf += shuffled.unbind(1)
    loss, stats, others = MultiDepthPIT(TimeDomainL1())(ref, inf)
    assert loss == 0
    assert torch.equal(torch.stack(others["depth_perm"]), planted)
    assert torch.equal(others["perm"], planted[-1])
    assert set(stats) == {"TD_L1_loss", "TD_L1_loss_depth-0", "TD_L1_loss_depth-1"}


def test_wrong_permutation_at_one_depth_costs():
    # each depth has its own permutation: half the estimates swapped is not an error ...
    a, b = references()
    assert MultiDepthPIT(TimeDomainL1())([a, b], [a, b, b, a])[0] == 0
    # ... but a depth that holds the same speaker twice is
    loss, stats, _ = MultiDepthPIT(TimeDomainL1())([a, b], [a, b, a, a])
    assert stats["TD_L1_loss_depth-0"] == 0
    torch.testing.assert_close(stats["TD_L1_loss_depth-1"], (a - b).abs().mean() / 2)
    torch.testing.assert_close(loss, stats["TD_L1_loss_depth-1"] / 2)


def test_loss_is_even_mean_of_stock_pit_over_depths():
    ref, inf = references(), references(num_spk=6)
    stock = [PITSolver(SISNRLoss())(ref, inf[k : k + 2])[0] for k in (0, 2, 4)]
    loss, stats, _ = MultiDepthPIT(SISNRLoss())(ref, inf)
    torch.testing.assert_close(loss, torch.stack(stock).mean())
    torch.testing.assert_close(stats["si_snr_loss"], loss)
    for depth, expected in enumerate(stock):
        torch.testing.assert_close(stats[f"si_snr_loss_depth-{depth}"], expected)


def test_depth_power_weights_the_deeper_ones_more():
    ref, inf = references(), references(num_spk=6)
    stock = [PITSolver(SISNRLoss())(ref, inf[k : k + 2])[0] for k in (0, 2, 4)]
    loss, _, _ = MultiDepthPIT(SISNRLoss(), depth_power=2)(ref, inf)
    torch.testing.assert_close(loss, (stock[0] + 4 * stock[1] + 9 * stock[2]) / 14)
    one, _, _ = MultiDepthPIT(SISNRLoss(), depth_power=2)(ref, inf[:2])
    torch.testing.assert_close(one, stock[0])
    with pytest.raises(ValueError, match="depth_power must be 0 with depth_weights"):
        MultiDepthPIT(SISNRLoss(), depth_weights=[1.0], depth_power=1.0)
    with pytest.raises(ValueError, match="depth_power must be a number"):
        MultiDepthPIT(SISNRLoss(), depth_power=-1)


def test_depth_weights():
    ref, inf = references(), references(num_spk=6)
    stock = [PITSolver(SNRLoss())(ref, inf[k : k + 2])[0] for k in (0, 2, 4)]
    loss, _, _ = MultiDepthPIT(SNRLoss(), depth_weights=[0, 1, 3])(ref, inf)
    torch.testing.assert_close(loss, (stock[1] + 3 * stock[2]) / 4)
    # in evaluation there is one depth, reported unchanged
    loss, stats, _ = MultiDepthPIT(SNRLoss(), depth_weights=[0, 1, 3])(ref, inf[:2])
    torch.testing.assert_close(loss, stock[0])
    assert set(stats) == {"snr_loss"}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, -1], "depth_weights must be a number"),
        ([0, 0], "must not all be 0"),
        ([1, "2"], "depth_weights must be a number"),
        (3, "depth_weights must be a list of numbers, one for each depth; got 3"),
        ("even", "depth_weights must be a list"),
        ([], "depth_weights must be a list"),
    ],
)
def test_bad_depth_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        MultiDepthPIT(SISNRLoss(), depth_weights=weights)


def test_depth_weights_of_another_number_of_depths():
    with pytest.raises(ValueError, match="2 weights, but the separator supervises 3 depths"):
        MultiDepthPIT(SISNRLoss(), depth_weights=[1, 1])(references(), references(num_spk=6))


def test_estimates_must_be_a_multiple_of_the_speakers():
    with pytest.raises(ValueError, match="3 estimates are not a multiple of the 2 speakers"):
        MultiDepthPIT(SISNRLoss())(references(), references(num_spk=3))


def test_permutations_of_an_earlier_loss_are_taken_over():
    a, b = references()
    first = MultiDepthPIT(TimeDomainL1())([a, b], [a, b, b, a])[2]
    follower = MultiDepthPIT(TimeDomainMSE(), independent_perm=False)
    # by its own search the follower would find 0; with the permutations of the first it cannot
    swapped, _, _ = follower([a, b], [b, a, a, b], first)
    torch.testing.assert_close(swapped, (a - b).square().mean())
    assert follower([a, b], [a, b, b, a], first)[0] == 0
    # a stock loss hands on one permutation, for all depths
    stock = PITSolver(TimeDomainL1())([a, b], [b, a])[2]
    assert follower([a, b], [b, a, b, a], stock)[0] == 0


@pytest.mark.parametrize(
    "criterion",
    [SISNRLoss(), SNRLoss(), TimeDomainL1(), TimeDomainMSE(), MultiResL1SpecLoss([64], [32])],
)
def test_time_domain_criterions(criterion):
    ref = references()
    inf = [x.requires_grad_() for x in references(num_spk=4)]
    loss, stats, _ = MultiDepthPIT(criterion)(ref, inf)
    loss.backward()
    assert all(x.grad.abs().max() > 0 for x in inf)
    assert {criterion.name, f"{criterion.name}_depth-1"} <= set(stats)


@pytest.mark.parametrize("criterion", [FrequencyDomainMSE(), FrequencyDomainL1()])
def test_spectral_criterions(criterion):
    ref = [torch.randn(2, 5, 9, dtype=torch.complex64) for _ in range(2)]
    loss, _, _ = MultiDepthPIT(criterion)(ref, [ref[1], ref[0], ref[0], ref[1]])
    assert loss == 0


@pytest.mark.parametrize("mask_type", ["IBM", "IRM"])
def test_masks_of_all_sources_together_are_refused(mask_type):
    criterion = FrequencyDomainMSE(compute_on_mask=True, mask_type=mask_type)
    with pytest.raises(ValueError, match=f"mask_type {mask_type} is defined by all sources"):
        MultiDepthPIT(criterion)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_touch_the_loss(dtype):
    ref = references()
    inf = [signal + 1e-3 * torch.randn_like(signal) for signal in ref]  # an SNR of 60 dB
    expected = MultiDepthPIT(SISNRLoss())(ref, inf)[0]
    with torch.autocast("cpu", dtype):
        assert MultiDepthPIT(SISNRLoss())(ref, inf)[0] == expected
    # what a module left in half precision is compared in float32
    rounded = [signal.to(dtype) for signal in ref]
    assert MultiDepthPIT(SISNRLoss())(ref, rounded)[0].dtype == torch.float32
