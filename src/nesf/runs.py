"""A training run: data in, a folder with log, checkpoint and model out."""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

import nesf
from nesf import weights
from nesf.config import Config
from nesf.crystal import Crystal, CrystalBatch, Failure
from nesf.data.augmentation import (
    Augmentation,
    Deformation,
    Doubling,
    ElementMixture,
    ElementPermutation,
    InTurn,
    OriginShift,
)
from nesf.data.datasets import Dataset
from nesf.domain import Domain
from nesf.elements import Vocabulary
from nesf.errors import NesfError
from nesf.lock import hold
from nesf.memory import is_out_of_memory, keep_freed_memory
from nesf.model import autoencoder
from nesf.output import check_begun, whole_file, writing
from nesf.training import EpochReport, Trainer, checkpoint, log
from nesf.training.team import ALONE, Team, own_device

Report = Callable[[EpochReport], None]

MODEL, CHECKPOINT, SETUP, LOG = "model.safetensors", "checkpoint.safetensors", "run.json", "log.jsonl"
# A checkpoint takes some hundredths of a second, as long as an epoch of a hundred crystals.
SAVE_EVERY_SECONDS = 5.0
HEAVIEST = 94
"""Plutonium: the last element of which crystals are at all common."""


@dataclass(frozen=True)
class Setup:
    """What a run was started with; kept in its folder, so that it can be resumed.

    Attributes:
        preset: the preset that the configuration started from.
        config: everything else.
        data: name, hash and size of the training and validation data.
        domain: what the model may be asked, where that is more than the training data shows: for example the
            elements of the whole data set, of which a fold holds but a part.
    """

    preset: str
    config: Config
    data: dict[str, Any]
    domain: Domain | None = None

    def write(self, folder: Path) -> None:
        """Write into a run's folder."""
        values = {"preset": self.preset, "config": self.config.to_dict(), "data": self.data}
        if self.domain is not None:
            values["domain"] = self.domain.to_dict()
        with whole_file(folder / SETUP) as target:
            target.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Setup":
        """Read from a run's folder; raises ``NesfError`` if it holds no run."""
        path = folder / SETUP
        check_begun(folder, SETUP, CHECKPOINT, MODEL)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            domain = Domain.from_dict(values["domain"]) if "domain" in values else None
            return cls(values["preset"], Config.from_dict(values["config"]), dict(values["data"]), domain)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise NesfError(
                f"{folder} holds no run that can be resumed: {path.name} is unreadable ({reason}); put a copy of it "
                "back, or start anew with --out."
            ) from None

    @property
    def training(self) -> str:
        """A hash of all that a training goes by: its checkpoint goes on under no other one.

        How long it is to be and how atoms are found afterwards may change. What has its default does not count, so
        that a parameter that is new to a later version changes nothing.
        """
        default, mine = Config().parameters(), self.config.parameters()
        decisive = {key: value for key, value in mine.items() if value != default[key] and not _may_change(key)}
        hashes = {part: data["sha256"] for part, data in self.data.items()}
        domain = self.domain.to_dict() if self.domain is not None else None
        return sha256(json.dumps([decisive, hashes, domain], sort_keys=True).encode()).hexdigest()

    def difference(self, other: "Setup") -> str | None:
        """The first setting in which another training differs that cannot be gone on with from this one."""
        mine = self.config.parameters()
        for key, value in other.config.parameters().items():
            if mine[key] != value and not _may_change(key):
                return f"{key} was {mine[key]} and is {value} now"
        return None


def _may_change(key: str) -> bool:
    return key == "training.epochs" or key.startswith("estimation.")


def describe(train: Dataset, validation: Dataset | None) -> dict[str, Any]:
    """Names, hashes and sizes of the data of a run."""
    parts = {"train": train, "validation": validation}
    return {
        part: {"name": data.name, "sha256": data.sha256, "crystals": len(data.crystals)}
        for part, data in parts.items()
        if data is not None
    }


def in_reach(domain: Domain, config: Config) -> Domain:
    """The domain of a training set, as far as a model can learn it, or beyond.

    The architecture "anchors" copies, so it takes any cell of a lattice, and no more atoms and elements than its latent
    vectors have room for; where elements are exchanged in training, it learns all up to ``HEAVIEST`` alike.
    """
    if config.network.architecture == "perceptrons":
        return domain
    layout, vocabulary = config.network.layout, domain.vocabulary
    if config.training.permute_elements:
        vocabulary = Vocabulary.of((*range(1, HEAVIEST + 1), *vocabulary.numbers))
    return replace(
        domain,
        vocabulary=vocabulary,
        max_atoms=min(domain.max_atoms, layout.tokens),
        max_elements=layout.elements,
        setting="any",
    )


def room_of(domain: Domain, config: Config) -> Domain:
    """The domain as far as the network alone limits it: any number of atoms, or as many as its vectors hold."""
    if config.network.architecture == "perceptrons":
        return replace(domain, max_atoms=sys.maxsize)
    return replace(domain, max_atoms=config.network.layout.tokens)


def check_free(folder: Path) -> None:
    """Raise ``NesfError`` if a folder holds a run already: a new one would overwrite it."""
    if (folder / CHECKPOINT).exists() or (folder / MODEL).exists():
        raise NesfError(f"{folder} holds a run already; go on with it with --resume, or choose another --out.")


class Run:
    """One training, from its data to its folder.

    Args:
        folder: where log, checkpoint and model are written.
        setup: preset, configuration and the description of the data.
        train: training data; all of it must be in memory.
        validation: validation data; without it, the last weights are kept.
        resume: whether the folder may hold a run already, which then goes on from its checkpoint, if it has one.
        team: the processes that train together; only the first of them writes into the folder.

    Attributes:
        domain: of what is learned.
        left_out: crystals with elements that the training data lacks, or with more than the model has room for.
    """

    def __init__(
        self,
        folder: Path,
        setup: Setup,
        train: Dataset,
        validation: Dataset | None,
        *,
        resume: bool = False,
        team: Team = ALONE,
    ) -> None:
        if not resume and team.leads:
            check_free(folder)
        if len(train.crystals) < 2:
            raise NesfError(f"{train.name} holds one crystal; training needs at least two.")
        self._lock = hold(folder) if team.leads else None
        if not resume and team.leads:
            check_free(folder)  # once more, because another process may have been at work until now
        self.folder = folder
        self.setup = setup
        self.left_out: list[Failure] = []
        learned = self._fitting(train, setup.domain or Domain.of(train.crystals))
        if len(learned) < 2:
            raise NesfError(
                f"Training needs at least two crystals, and of {train.name} the model can take {len(learned)}; give "
                f"others. {self.left_out[0].id!r}: {self.left_out[0].reason}"
            )
        self.domain = in_reach(setup.domain or Domain.of(learned), setup.config)
        known = self._fitting(validation, self.domain) if validation is not None else []
        if validation is not None and not known:
            why = f" {self.left_out[-1].id!r}: {self.left_out[-1].reason}" if validation.crystals else ""
            raise NesfError(f"The model can take no crystal of {validation.name}; give others to --val, or none.{why}")
        torch.manual_seed(setup.config.training.seed)
        model = autoencoder(setup.config.network, self.domain.vocabulary).to(own_device())
        device = next(model.parameters()).device
        self.trainer = Trainer(
            model,
            CrystalBatch.from_crystals(learned, device),
            CrystalBatch.from_crystals(known, device) if known else None,
            setup.config.sampling,
            setup.config.loss,
            setup.config.training,
            box=(self.domain.atoms_lower, self.domain.atoms_upper),
            augmentation=self._augmentation(),
            team=team,
        )
        if (folder / CHECKPOINT).exists():
            self._restore()
        elif team.leads:
            self._begin_anew()
        epochs = torch.tensor(float(self.trainer.epoch), device=device)
        if float(team.total(epochs)) != self.trainer.epoch * team.size:
            raise NesfError(f"The processes see different checkpoints in {folder}; it must be a folder that all share.")
        if team.leads:
            log.trim(folder / LOG, self.trainer.epoch)
            setup.write(folder)

    def _restore(self) -> None:
        if difference := Setup.read(self.folder).difference(self.setup):
            raise NesfError(
                f"{self.folder} goes on with its own configuration ({difference}); leave out what differs from it, or "
                "start anew with another --out."
            )
        checkpoint.restore(self.folder / CHECKPOINT, self.trainer, self.setup.training)

    def _begin_anew(self) -> None:
        """Remove the model of a run that was ended before its first checkpoint: this one may have other settings."""
        model = self.folder / MODEL
        if not model.exists():
            return
        if "epochs" in weights.load(model)[1].training:
            raise NesfError(f"{self.folder} holds a model, but no checkpoint to go on from; choose another --out.")
        with writing(model):
            model.unlink()

    def _fitting(self, data: Dataset, domain: Domain) -> list[Crystal]:
        room = room_of(in_reach(domain, self.setup.config), self.setup.config)
        reasons = [(crystal, room.no_room(crystal)) for crystal in data.crystals]
        self.left_out += [Failure(crystal.id, reason) for crystal, reason in reasons if reason is not None]
        return [crystal for crystal, reason in reasons if reason is None]

    def _augmentation(self) -> Augmentation | None:
        settings = self.setup.config.training
        parts: list[Augmentation] = []
        if settings.permute_elements:
            parts.append(ElementPermutation(self.domain.vocabulary, settings.permute_elements))
        if settings.double:
            parts.append(Doubling(settings.double, self.domain.max_atoms))
        if settings.mix_elements:
            most = self.domain.max_elements or len(self.domain.vocabulary)
            parts.append(ElementMixture(self.domain.vocabulary, settings.mix_elements, most))
        if settings.shift:
            parts.append(OriginShift(settings.shift))
        if settings.strain or settings.rattle:
            parts.append(Deformation(settings.strain, settings.rattle, settings.deform))
        return InTurn(*parts) if parts else None

    def train(self, report: Report) -> weights.Card | None:
        """Train to the end, saving on the way; an interruption loses one epoch, or some seconds of short ones.

        Returns:
            The card of the model kept; None in the processes that do not lead.
        """
        keep_freed_memory()
        try:
            self._train(report)
            return self._finish() if self.trainer.team.leads else None
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            batch = self.setup.config.training.batch
            raise NesfError(
                f"There is not enough memory to train with batches of {batch} crystals; train anew with "
                f"--training.batch {max(1, batch // 2)}, or with fewer queries for each (--sampling)."
            ) from None
        finally:
            if self._lock is not None:
                self._lock.release()

    def _train(self, report: Report) -> None:
        last = self.setup.config.training.keep == "last" or self.trainer.validation is None
        saved = float("-inf")
        for epoch in self.trainer.run():
            if not self.trainer.team.leads:
                continue
            done = epoch.epoch == self.setup.config.training.epochs
            if epoch.improved or (last and done):
                self._save_model(epoch)
            due = done or epoch.improved or time.monotonic() - saved >= SAVE_EVERY_SECONDS
            # The log first: what it has beyond the checkpoint is dropped when the run goes on.
            log.add(self.folder / LOG, epoch, lasting=due)
            if due:
                checkpoint.save(self.folder / CHECKPOINT, self.trainer, self.setup.training)
                saved = time.monotonic()
            report(epoch)

    def _save_model(self, epoch: EpochReport) -> None:
        training = {
            "epoch": epoch.epoch,
            "minutes": round(epoch.seconds / 60, 1),
            **machine(self.trainer.data.device),
            "validation_loss": epoch.validation,
        }
        card = weights.Card(
            self.folder.name, self.setup.preset, self.setup.config, self.domain, self.setup.data, training
        )
        weights.save(self.folder / MODEL, self.trainer.model, card)

    def _finish(self) -> weights.Card:
        model, card = weights.load(self.folder / MODEL)
        minutes = round(self.trainer.seconds / 60, 1)
        card = replace(card, training={**card.training, "epochs": self.trainer.epoch, "minutes": minutes})
        weights.save(self.folder / MODEL, model, card)
        return card


def hardware(device: torch.device) -> str:
    """The machine in words: GPU name, or processor and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return f"{name}, {torch.get_num_threads()} of {os.cpu_count()} cores"


def machine(device: torch.device) -> dict[str, str]:
    """Hardware and software, as cards name them."""
    return {"hardware": hardware(device), "software": f"nesf {nesf.__version__}, torch {torch.__version__}"}
