"""A network that prunes while it learns, trained by the loops that people have, each with one line for it.

Lightning and the Trainer of Hugging Face are run where they are installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

import convzoo

from .test_training import _alone, accuracy, answers, digits, small

pytestmark = pytest.mark.large
__all__ = ["_alone"]  # the fixture that each test of a training is in

EPOCHS = 4
WEIGHT = 1e-5


def condensing() -> Any:
    return small("condensenet50_cifar", depth=1)()


def loader() -> DataLoader:
    return DataLoader(digits()[0], batch_size=32, shuffle=True, drop_last=True)


def require_trained(model: Any) -> None:
    """It has learned, and is condensed to the end: else it could not be deployed."""
    deployed = convzoo.deploy(model)
    assert accuracy(answers(model)) >= 0.9
    assert torch.equal(answers(deployed).argmax(1), answers(model).argmax(1))


def test_a_bare_loop() -> None:
    model, batches = condensing(), loader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, EPOCHS * len(batches), WEIGHT)
    for _ in range(EPOCHS):
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
        answers(model.eval())
    require_trained(model)


def test_timms_loop() -> None:
    """With the parts of its train.py: optimizer, schedule, scaler, clipping, accumulation, average and task."""
    from timm.models import model_parameters
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.task import ClassificationTask
    from timm.utils import ModelEmaV3, NativeScaler

    model, batches = condensing(), DataLoader(digits()[0], batch_size=16, shuffle=True, drop_last=True)
    accumulated = 2
    updates = len(batches) // accumulated
    optimizer = create_optimizer_v2(model, "adamw", lr=0.01, weight_decay=1e-4, layer_decay=0.9)
    schedule, epochs = create_scheduler_v2(optimizer, "cosine", EPOCHS, warmup_epochs=0, updates_per_epoch=updates)
    average, scaler = ModelEmaV3(model, decay=0.9), NativeScaler(device="cpu")
    criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, epochs * updates, WEIGHT)
    task = ClassificationTask(model, criterion)
    done = 0
    for epoch in range(epochs):
        task.train()
        for number, (images, labels) in enumerate(list(batches)[: updates * accumulated], start=1):
            with torch.autocast("cpu", torch.bfloat16):
                loss = task(images, labels)["loss"] / accumulated
            due = number % accumulated == 0
            scaler(loss, optimizer, clip_grad=5.0, parameters=model_parameters(model), need_update=due)
            if due:
                done += 1
                average.update(model)
                optimizer.zero_grad()
                schedule.step_update(done)
        schedule.step(epoch + 1)
        answers(model.eval())
        answers(average.module.eval())
    assert criterion.step == epochs * updates
    require_trained(model)
    require_trained(average.module)


def test_torchvisions_loop() -> None:
    """As references/classification/train.py has it: scaler, clipping, average, and one criterion for both halves."""

    def evaluate(model: nn.Module) -> float:
        model.eval()
        with torch.inference_mode():
            return float(criterion(model(digits()[1].tensors[0]), digits()[1].tensors[1]))

    model, batches = condensing(), loader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    criterion = convzoo.follow(
        model, nn.CrossEntropyLoss(label_smoothing=0.1), optimizer, EPOCHS * len(batches), WEIGHT
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    losses = []
    for _ in range(EPOCHS):
        model.train()
        for images, labels in batches:
            with torch.autocast("cpu", torch.bfloat16):
                loss = criterion(model(images), labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            scaler.step(optimizer)
            scaler.update()
            average.update_parameters(model)
        schedule.step()
        losses.append((evaluate(model), evaluate(average)))
    assert max(losses[-1]) < min(losses[0])
    require_trained(model)
    require_trained(average.module)


def test_lightnings_trainer_and_its_resuming(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = condensing()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
            steps = self.trainer.estimated_stepping_batches
            self.criterion = convzoo.follow(self.model, nn.CrossEntropyLoss(), optimizer, int(steps), WEIGHT)
            return optimizer

        def training_step(self, batch: list[Tensor], number: int) -> Tensor:
            images, labels = batch
            return self.criterion(self.model(images), labels)

        def validation_step(self, batch: list[Tensor], number: int) -> None:
            images, labels = batch
            self.log("loss", self.criterion(self.model(images), labels))

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    usual = {"precision": "bf16-mixed", "gradient_clip_val": 5.0, "num_sanity_val_steps": 1, **quiet}
    validation = DataLoader(digits()[1], batch_size=64)

    class Stop(lightning.Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            trainer.should_stop = True

    trainer = lightning.Trainer(max_epochs=EPOCHS, callbacks=[Stop()], enable_checkpointing=False, **usual)
    trainer.fit(module := Module(), loader(), validation)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    steps = len(loader())
    assert (module.criterion.step, module.criterion.total_steps) == (steps, EPOCHS * steps)

    trainer = lightning.Trainer(max_epochs=EPOCHS, enable_checkpointing=False, **usual)
    trainer.fit(resumed := Module(), loader(), validation, ckpt_path=tmp_path / "last.ckpt")
    assert resumed.criterion.step == EPOCHS * steps
    require_trained(resumed.model)


class Labelled(nn.Module):
    """A network as the Trainer wants it: it takes names, and gives a loss and logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        return {"logits": self.model(images)}


def test_the_trainer_of_hugging_face_and_its_resuming(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Rows(TensorDataset):
        def __getitem__(self, index: int) -> dict[str, Tensor]:
            return {"images": self.tensors[0][index], "labels": self.tensors[1][index]}

    data = [Rows(*part.tensors) for part in digits()]
    batch, accumulated = 16, 2
    steps = EPOCHS * -(-len(data[0]) // (batch * accumulated))

    def trainer(model: nn.Module, **options: Any) -> tuple[Any, Any]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        criterion = convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, steps, WEIGHT)
        settings = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulated,
            bf16=True,
            eval_strategy="epoch",
            save_strategy="epoch",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        made = transformers.Trainer(
            model,
            settings,
            train_dataset=data[0],
            eval_dataset=data[1],
            compute_loss_func=lambda out, labels, num_items_in_batch=None: criterion(out["logits"], labels),
            optimizers=(optimizer, None),
            **options,
        )
        return made, criterion

    class Stop(transformers.TrainerCallback):
        def on_epoch_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = True

    first, criterion = trainer(Labelled(condensing()), callbacks=[Stop()])
    first.train()
    assert criterion.step == steps // EPOCHS
    model = Labelled(condensing())
    second, criterion = trainer(model)
    second.train(resume_from_checkpoint=True)
    assert criterion.step == steps
    require_trained(model.model)
