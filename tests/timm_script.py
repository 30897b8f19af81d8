"""A training script that is made of timm's parts, in the order in which its own has them, and knows nothing of convzoo.

It trains on a folder of images, saves checkpoints, can be resumed from them, and prints the accuracy at its end.
"""

import argparse
import contextlib

import torch
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.models import create_model, model_parameters, resume_checkpoint
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, CheckpointSaver, ModelEmaV3, NativeScaler, accuracy, random_seed
from torch.nn import functional as F


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir")
    parser.add_argument("--model")
    parser.add_argument("--model-stem")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--start-epoch", type=int)
    parser.add_argument("--stop-epoch", type=int)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--img-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--resume", default="")
    parser.add_argument("--no-resume-opt", action="store_true")
    parser.add_argument("--output")
    parser.add_argument("--grad-accum-steps", type=int, default=1)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--no-schedule", action="store_true")
    parser.add_argument("--no-updates", action="store_true")
    parser.add_argument("--loss", choices=["task", "module", "function"], default="task")
    return parser.parse_args()


def evaluate(model: torch.nn.Module, loader: object) -> float:
    top1 = AverageMeter()
    model.eval()
    with torch.no_grad():
        for images, labels in loader:
            top1.update(accuracy(model(images), labels)[0].item(), len(labels))
    return top1.avg


def main() -> None:
    args = parse()
    random_seed(42)
    model = create_model(args.model, num_classes=10, in_chans=1, stem=args.model_stem, drop_rate=0.0)
    config = resolve_data_config({"in_chans": 1, "img_size": args.img_size, "mean": (0.5,), "std": (0.5,)}, model=model)
    optimizer = create_optimizer_v2(model, "adamw", lr=args.lr)
    autocast = contextlib.nullcontext
    scaler = None
    if args.amp:
        autocast = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
        scaler = NativeScaler(device="cpu")
    resumed = None
    if args.resume:
        resumed = resume_checkpoint(model, args.resume, None if args.no_resume_opt else optimizer, log_info=False)
    average = ModelEmaV3(model, decay=0.9)
    loaders = {}
    for split in ("train", "validation"):
        loaders[split] = create_loader(
            create_dataset("", args.data_dir, split=split, input_img_mode="L"),
            input_size=(1, args.img_size, args.img_size),
            batch_size=args.batch_size,
            is_training=split == "train",
            no_aug=True,
            use_prefetcher=False,
            mean=config["mean"],
            std=config["std"],
            num_workers=0,
            persistent_workers=False,
        )
    criterion = LabelSmoothingCrossEntropy(0.1) if args.loss == "task" else torch.nn.CrossEntropyLoss()
    if args.loss == "task":
        from timm.task import ClassificationTask

        task = ClassificationTask(model, criterion, verbose=False)
    saver = CheckpointSaver(model, optimizer, args, average, checkpoint_dir=args.output) if args.output else None
    updates = len(loaders["train"]) // args.grad_accum_steps
    scheduler, epochs = None, args.epochs
    if not args.no_schedule:
        given = {} if args.no_updates else {"updates_per_epoch": updates}
        scheduler, epochs = create_scheduler_v2(optimizer, "cosine", num_epochs=args.epochs, **given)
    start = args.start_epoch if args.start_epoch is not None else resumed or 0
    if scheduler is not None and start > 0:
        scheduler.step(start)
    number = start * updates
    for epoch in range(start, args.stop_epoch or epochs):
        model.train()
        mean = AverageMeter()
        for index, (images, labels) in enumerate(loaders["train"], start=1):
            with autocast():
                if args.loss == "task":
                    loss = task(images, labels)["loss"]
                elif args.loss == "module":
                    loss = criterion(model(images), labels)
                else:
                    loss = F.cross_entropy(model(images), labels)
            mean.update(loss.item())
            loss = loss / args.grad_accum_steps
            due = index % args.grad_accum_steps == 0
            if scaler is not None:
                scaler(loss, optimizer, clip_grad=5.0, parameters=model_parameters(model), need_update=due)
            else:
                loss.backward()
                if due:
                    optimizer.step()
            if due:
                number += 1
                optimizer.zero_grad()
                average.update(model)
                if scheduler is not None:
                    scheduler.step_update(num_updates=number)
        if scheduler is not None:
            scheduler.step(epoch + 1)
        if saver is not None:
            saver.save_checkpoint(epoch, metric=float(epoch))
        print(f"epoch {epoch} loss {mean.avg:.6f}")
    accuracies = [evaluate(each, loaders["validation"]) for each in (model, average.module)]
    print("top1 {:.1f} average {:.1f}".format(*accuracies))


if __name__ == "__main__":
    main()
