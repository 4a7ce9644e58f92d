"""The voxel baseline learns, goes on after an interruption as if there had been none, and gives crystals back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from nesf.baselines.voxel import weights
from nesf.baselines.voxel.codec import VoxelCodec
from nesf.baselines.voxel.grid import GridSettings, voxelise
from nesf.baselines.voxel.run import Run, Setup, check_free
from nesf.baselines.voxel.settings import FAITHFUL, STRONG, BaselineSettings, LossSettings, StageSettings
from nesf.baselines.voxel.stages import Batch, Networks, Stage
from nesf.baselines.voxel.training import Trainer
from nesf.crystal import Crystal, CrystalBatch, Failure
from nesf.errors import NesfError
from nesf.testing import caesium_chloride, perovskite, rocksalt


def cubes(*pairs):
    """Cells of the CsCl type."""
    frac = [[0.1, 0.1, 0.1], [0.6, 0.6, 0.6]]
    return [Crystal.from_frac(f"{a}-{b}", [a, b], frac, (3 + 0.02 * (a + b)) * np.eye(3)) for a, b in pairs]


EIGHT = cubes((55, 17), (13, 28), (12, 47), (4, 29), (30, 57), (37, 53), (49, 46), (22, 76))


def stage(epochs, **changes):
    return StageSettings(epochs=epochs, batch=4, learning_rate=1e-2, rotate=0.0, **changes)


def small(preset=FAITHFUL, **changes):
    """The preset's networks at an eighth of the width on 16 voxels, in float32."""
    network = replace(preset.network, width=0.125, vae_width=0.25, latent=16)
    grid = replace(preset.grid, size=16)
    stages = {"unet": stage(2), "vae": stage(2), "tune": stage(2 if preset is STRONG else 0)}
    return replace(preset, network=network, grid=grid, precision="float32", **(stages | changes))


def on_grids(crystals, settings):
    return voxelise(CrystalBatch.from_crystals(crystals), settings.grid)


def finish(trainer):
    return list(trainer.run())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that knows the eight crystals nearly by heart; its autoencoder is not narrow."""
    folder = tmp_path_factory.mktemp("voxel") / "run"
    settings = small(
        unet=replace(stage(55), batch=8, learning_rate=3e-2, warmup=0.1),
        vae=replace(stage(60), batch=8),
        loss=LossSettings(perceptual=0.0, divergence=0.0),
    )
    settings = replace(settings, network=replace(settings.network, narrow=False))
    setup = Setup("faithful", settings, {"train": {"name": "eight"}})
    card = Run(folder, setup, EIGHT, [], about={"hardware": "a test"}).train(lambda _: None)
    assert card.training["epochs"] == {"unet": 55, "vae": 60}
    return folder


def test_eight_crystals_are_learned_by_heart(trained):
    reports = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    unet, vae = ([report["train"] for report in reports if report["stage"] == name] for name in ("unet", "vae"))
    assert unet[0]["species"] > 0.2
    assert unet[-1]["species"] < 0.025
    assert vae[-1]["grid"] < vae[0]["grid"] / 10
    voxels = voxelise(CrystalBatch.from_crystals(EIGHT), GridSettings(size=16))
    seen = VoxelCodec.load(trained).networks.unet(voxels.grids())
    inside = voxels.labels > 0
    assert (seen.species.argmax(1)[inside] == voxels.labels[inside]).float().mean() > 0.8
    assert ((seen.mask > 0) == inside).float().mean() > 0.95


@pytest.mark.parametrize("preset", [FAITHFUL, STRONG], ids=["faithful", "strong"])
def test_the_stages_follow_one_another_and_each_ends_with_its_best_weights(preset):
    settings = small(preset, loss=replace(preset.loss, perceptual_after=1))
    trainer = Trainer(settings, on_grids(EIGHT[:6], settings), on_grids(EIGHT[6:], settings))
    kept = {}
    reports = []
    for report in trainer.run():
        reports.append(report)
        if report.improved:
            kept[report.stage] = {n: v.clone() for n, v in trainer.stages[trainer.stage].network.state_dict().items()}
    expected = ["unet", "unet", "vae", "vae"] + (["tune", "tune"] if preset is STRONG else [])
    assert [report.stage for report in reports] == expected
    assert "perceptual" not in reports[2].train
    assert "perceptual" in reports[3].train
    assert all("perceptual" in report.validation for report in reports[2:4])
    last = kept["tune" if preset is STRONG else "unet"]
    assert all(torch.equal(last[name], value) for name, value in trainer.networks.unet.state_dict().items())
    assert all(torch.equal(kept["vae"][name], value) for name, value in trainer.networks.vae.state_dict().items())


def test_a_loss_that_is_no_number_ends_the_training_with_one_sentence():
    settings = small()
    trainer = Trainer(settings, on_grids(EIGHT, settings), None)
    with torch.no_grad():
        trainer.networks.unet.heads.bias[3] = torch.nan
    with pytest.raises(NesfError, match=r"unet\.learning-rate"):
        finish(trainer)


def test_the_unet_is_not_touched_while_the_autoencoder_learns():
    settings = small(unet=stage(0), vae=stage(1), loss=replace(FAITHFUL.loss, perceptual_after=0))
    trainer = Trainer(settings, on_grids(EIGHT, settings), None)
    before = {name: value.clone() for name, value in trainer.networks.unet.state_dict().items()}
    report = finish(trainer)[0]
    assert report.train["perceptual"] > 0
    assert all(torch.equal(before[name], value) for name, value in trainer.networks.unet.state_dict().items())


def test_half_of_what_the_unet_is_tuned_on_is_reconstructed_with_the_labels_of_the_truth():
    settings = small(STRONG)
    tune = Stage("tune", Networks(settings), settings)
    tune.begin()
    voxels = on_grids(EIGHT, settings)
    true, mixed = Stage("unet", tune.networks, settings).batch(voxels, None), tune.batch(voxels, None)
    same = [torch.equal(a, b) for a, b in zip(true.grids, mixed.grids, strict=True)]
    assert same == [False, True] * 4
    assert torch.equal(mixed.labels, voxels.labels)


def test_a_crop_cuts_the_same_cube_from_grid_and_labels():
    labels = torch.arange(2 * 16**3).reshape(2, 16, 16, 16)
    cut = Batch(labels.unsqueeze(1).expand(-1, 4, -1, -1, -1).float(), labels).crop(8, torch.Generator().manual_seed(3))
    assert cut.labels.shape == (2, 8, 8, 8)
    assert torch.equal(cut.grids[:, 2], cut.labels.float())
    assert torch.equal(cut.labels - cut.labels[:, :1, :1, :1], (labels - labels[:, :1, :1, :1])[:, :8, :8, :8])


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, stop):
    settings = small(STRONG, unet=stage(2, crop=8))
    settings = replace(settings, vae=replace(settings.vae, rotate=0.5), loss=replace(settings.loss, perceptual_after=1))
    setup = Setup("strong", settings, {"train": {"sha256": "0"}})

    class PowerCutError(Exception):
        pass

    def interrupt(_):
        count.append(1)
        if len(count) == stop:
            raise PowerCutError

    Run(tmp_path / "whole", setup, EIGHT[:6], EIGHT[6:]).train(lambda _: None)
    count = []
    with pytest.raises(PowerCutError):
        Run(tmp_path / "parts", setup, EIGHT[:6], EIGHT[6:]).train(interrupt)
    with pytest.raises(NesfError, match="--resume"):
        check_free(tmp_path / "parts")
    assert Setup.read(tmp_path / "parts") == setup
    Run(tmp_path / "parts", setup, EIGHT[:6], EIGHT[6:], resume=True).train(lambda _: None)
    whole, parts = (weights.load(tmp_path / name / "model.safetensors")[0].state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    lines = [(tmp_path / name / "log.jsonl").read_text().count("\n") for name in ("whole", "parts")]
    assert lines == [6, 6]


def test_what_was_learned_by_heart_comes_back(trained):
    codec = VoxelCodec.load(trained)
    assert (codec.name, codec.bottleneck) == ("run", 16)
    seen = []
    found = codec.reconstruct(EIGHT, progress=seen.append)
    assert sum(seen) == 8
    assert [one.id for one in found] == [one.id for one in EIGHT]
    pairs = [(true, one) for true, one in zip(EIGHT, found, strict=True) if isinstance(one, Crystal)]
    assert len(pairs) >= 6
    # Eight different cells: the autoencoder tells them apart.
    lengths = np.array([[one.lengths.mean(), true.lengths.mean()] for true, one in pairs])
    assert np.corrcoef(lengths.T)[0, 1] > 0.9
    assert all(np.allclose(one.angles_rad, np.pi / 2) for _, one in pairs)


def test_sampling_is_repeatable_and_differs_from_the_mean(trained):
    codec = VoxelCodec.load(trained)
    first, again, other = (
        codec.reconstruct(EIGHT, sampled=True, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert codec.reconstruct(EIGHT) == codec.reconstruct(EIGHT)


def test_the_file_is_the_model(trained):
    by_folder, by_file = VoxelCodec.load(trained), VoxelCodec.load(trained / "model.safetensors")
    assert by_folder.fingerprint == by_file.fingerprint
    with torch.no_grad():
        by_file.networks.vae.to_mean.bias[0] += 1
    assert by_folder.fingerprint != by_file.fingerprint


def test_an_empty_mask_and_an_element_without_a_class_are_failures(trained):
    codec = VoxelCodec.load(trained)
    with torch.no_grad():
        codec.networks.unet.heads.bias[-1] = -1e6
    americium = Crystal.from_frac("Am", [95], [[0, 0, 0]], 4 * np.eye(3))
    found = codec.reconstruct([EIGHT[0], americium, EIGHT[1]])
    assert [one.id for one in found] == [EIGHT[0].id, "Am", EIGHT[1].id]
    assert all(isinstance(one, Failure) for one in found)
    assert "No atom" in found[0].reason
    assert "Am" in found[1].reason


def test_crystals_without_a_class_are_left_out_of_training_by_name(tmp_path):
    americium = Crystal.from_frac("Am", [95], [[0, 0, 0]], 4 * np.eye(3))
    run = Run(tmp_path / "run", Setup("faithful", small(), {}), [*EIGHT, americium], [])
    assert [failure.id for failure in run.left_out] == ["Am"]
    assert len(run.trainer.data) == 8


def test_the_same_seed_gives_the_same_start_and_another_one_another():
    first, again, other = (Networks(small(seed=seed)).unet.heads.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("content", [b"", b"no tensors at all"])
def test_a_file_that_is_no_baseline_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(NesfError, match=r"model\.safetensors"):
        VoxelCodec.load(tmp_path)
    with pytest.raises(NesfError, match="nowhere"):
        VoxelCodec.load(tmp_path / "nowhere")


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path):
    with pytest.raises(NesfError, match="holds no run; correct --resume"):
        Setup.read(tmp_path)


def test_real_kinds_of_crystals_pass_through_an_untrained_network():
    settings = BaselineSettings(network=small().network, grid=GridSettings(size=16))
    codec = VoxelCodec(Networks(settings), weights.Card("untrained", "faithful", settings))
    crystals = [rocksalt(), perovskite(), caesium_chloride()]
    assert [one.id for one in codec.reconstruct(crystals)] == [one.id for one in crystals]
