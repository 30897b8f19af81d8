"""Train or fine-tune a network on a folder of images, on one device or on several.

    torchrun --nproc-per-node 2 examples/finetune.py FOLDER --model resnet50 --weights resnet50.pth --out run

FOLDER has ``train`` and ``val``, and each of them a folder of images for each class. ``run/last.pt`` is what
``--resume`` goes on from, to the same end as if nothing had happened, and ``run/best.pt`` has the best weights,
which ``convzoo.create_model(name, weights="run/best.pt", num_classes=...)`` takes. The settings are those of a recipe
in ``recipes.toml``, changed by ``--set``:

    python examples/finetune.py cifar10 --model condensenet86_cifar --recipe condensenet --set epochs=200 ema=0.9995

It wants Python 3.11, torchvision and rich, and timm for a ``layer_decay``.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tomllib
import torch
import torch.distributed as dist
from rich.progress import track
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, DistributedSampler, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import convzoo

RANK, WORLD = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("cosine", "steps"),
    "crop": ("resized", "padded"),
    "padding_mode": ("constant", "reflect"),
}
RECIPES = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text(encoding="utf-8"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with train/ and val/, and in both a folder for each class")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--weights", help="what it starts from: a file, or an address")
    parser.add_argument("--recipe", default="default", choices=RECIPES)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings other than the recipe's")
    parser.add_argument("--image-size", type=int, help="pixels; the model's own by default")
    parser.add_argument("--freeze", type=int, metavar="STAGES", help="keep the stem and so many stages as they are")
    parser.add_argument("--freeze-norms", action="store_true", help="keep the statistics of the norms")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("run"))
    parser.add_argument("--resume", action="store_true", help="go on from the last epoch of --out, if there is one")
    parser.add_argument("--until", type=int, help="end after this epoch, to be resumed later")
    parser.add_argument("--workers", type=int, default=4, help="processes that read images, for each device")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def settings(name: str, changes: list[str]) -> dict[str, Any]:
    """The recipe ``name`` with all that it leaves to others, and ``changes``, each ``"name=value"``."""
    own = RECIPES[name]
    known = {**RECIPES["default"], **(settings(own["extends"], []) if "extends" in own else {}), **own}
    for change in changes:
        key, _, text = change.partition("=")
        if key not in RECIPES["default"]:
            raise SystemExit(f"--set {change}: there is no such setting; there are {', '.join(RECIPES['default'])}")
        value = text if key in CHOICES else tomllib.loads(f"x = {text}")["x"]
        if type(value) is not type(known[key]) and not (type(known[key]) is float and type(value) is int):
            raise SystemExit(f"--set {change}: it is of the kind of {known[key]!r}")
        if value not in CHOICES.get(key, [value]):
            raise SystemExit(f"--set {change}: known are {', '.join(CHOICES[key])}")
        known[key] = value
    return known


def transforms(model: Any, size: int, recipe: dict[str, Any], training: bool) -> v2.Compose:
    """From an image to what the model takes; in training, as one of many that it might be."""
    cfg = model.default_cfg
    if training and recipe["crop"] == "resized":
        first = [v2.RandomResizedCrop(size, scale=(0.35, 1.0), antialias=True)]
    else:
        first = [v2.Resize(size, antialias=True), v2.CenterCrop(size)]
    if training and recipe["crop"] == "padded":
        first.append(v2.RandomCrop(size, padding=4, padding_mode=recipe["padding_mode"]))
    if training and recipe["flip"]:
        first.append(v2.RandomHorizontalFlip(recipe["flip"]))
    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(cfg["mean"], cfg["std"])]
    return v2.Compose([*first, *last])


def optimizer_of(model: nn.Module, recipe: dict[str, Any]) -> torch.optim.Optimizer:
    lr, decay = recipe["lr"], recipe["weight_decay"]
    if recipe["layer_decay"] < 1:
        from timm.optim import param_groups_layer_decay

        options = {"layer_decay": recipe["layer_decay"], "weight_decay_exclude_1d": not recipe["decay_norms"]}
        groups = param_groups_layer_decay(model, decay, **options)
        groups = [{**group, "lr": lr * group["lr_scale"]} for group in groups]
    else:
        learning = [p for p in model.parameters() if p.requires_grad]
        decaying = [p for p in learning if p.ndim > 1 or recipe["decay_norms"]]
        others = [p for p in learning if p.ndim <= 1 and not recipe["decay_norms"]]
        groups = [{"params": decaying, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    if recipe["optimizer"] == "adamw":
        return torch.optim.AdamW(groups, lr)
    return torch.optim.SGD(groups, lr, momentum=recipe["momentum"], nesterov=recipe["nesterov"])


def learning_rate(recipe: dict[str, Any], total: int) -> Callable[[int], float]:
    """What the learning rate of a step is multiplied by."""
    warmup = total * recipe["warmup_epochs"] / recipe["epochs"]

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if recipe["schedule"] == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / max(total - warmup, 1), 1)))
        return recipe["gamma"] ** sum(step >= share * total for share in recipe["milestones"])

    return factor


def bar(batches: DataLoader, text: str) -> Iterator[Any]:
    """The batches, with a progress bar by the first process."""
    return iter(track(batches, text, disable=RANK > 0, transient=True))


def summed(*numbers: float, device: torch.device) -> list[float]:
    """Numbers, each summed over all processes."""
    total = torch.tensor(numbers, dtype=torch.float64, device=device)
    if WORLD > 1:
        dist.all_reduce(total)
    return total.tolist()


@torch.inference_mode()
def accuracy(model: nn.Module, batches: DataLoader, device: torch.device) -> float:
    """The share of the images, over all processes, whose class ``model`` says, in percent."""
    model.eval()
    if WORLD > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)  # each process has seen other images; what is saved is the first one's
    right = seen = 0
    for images, labels in batches:
        right += int((model(images.to(device)).argmax(1).cpu() == labels).sum())
        seen += len(labels)
    right, seen = summed(right, seen, device=device)
    return 100 * right / seen


def save(state: Any, path: Path) -> None:
    """Written aside and then put in place, so that no half of it is ever found."""
    if RANK == 0:
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)


def main() -> None:
    args = arguments()
    recipe = settings(args.recipe, args.set)
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if WORLD > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if recipe["batch_size"] % WORLD:
        raise SystemExit(f"batch_size {recipe['batch_size']} cannot be divided among {WORLD} processes")
    torch.manual_seed(args.seed)

    known, unknown = (ImageFolder(args.folder / part) for part in ("train", "val"))
    if known.classes != unknown.classes:
        raise SystemExit(f"{args.folder}: train and val have different classes")
    model = convzoo.create_model(args.model, weights=args.weights, num_classes=len(known.classes), device=device)
    size = args.image_size or model.spec.input_size
    known.transform, unknown.transform = (transforms(model, size, recipe, training) for training in (True, False))
    sampler = DistributedSampler(known, WORLD, RANK, seed=args.seed)
    each = {
        "batch_size": recipe["batch_size"] // WORLD,
        "num_workers": args.workers,
        "pin_memory": device.type == "cuda",
    }
    batches = DataLoader(known, sampler=sampler, drop_last=True, **each)
    validation = DataLoader(Subset(unknown, range(RANK, len(unknown), WORLD)), **each)
    if not batches:
        raise SystemExit(f"{args.folder}/train has fewer images than one batch, {recipe['batch_size']}")

    if args.freeze is not None:
        model.freeze(args.freeze)
    model.freeze_norms(args.freeze_norms)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe["ema"])) if recipe["ema"] else None
    optimizer = optimizer_of(model, recipe)
    total = recipe["epochs"] * len(batches)
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe["label_smoothing"])
    criterion = convzoo.follow(model, loss_of, optimizer, total, recipe["penalty_weight"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate(recipe, total))
    scaler = torch.amp.GradScaler(device.type, enabled=args.precision == "float16")
    mixed = {"dtype": getattr(torch, args.precision), "enabled": args.precision != "float32"}

    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    parts |= {"average": average} if average else {}
    first, best, last = 0, 0.0, args.out / "last.pt"
    args.out.mkdir(parents=True, exist_ok=True)
    if args.resume and last.exists():
        state = torch.load(last, map_location=device)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        first, best = state["epoch"], state["best"]
    running: nn.Module = torch.compile(model) if args.compile else model
    if WORLD > 1:
        running = nn.parallel.DistributedDataParallel(running, [local] if device.type == "cuda" else None)

    for epoch in range(first, min(args.until or recipe["epochs"], recipe["epochs"])):
        torch.manual_seed(args.seed + epoch * WORLD + RANK)  # of the epoch, so that a resumed run is the same
        sampler.set_epoch(epoch)
        running.train()
        losses = 0.0
        for images, labels in bar(batches, f"epoch {epoch + 1}/{recipe['epochs']}"):
            with torch.autocast(device.type, **mixed):
                out = running(images.to(device, non_blocking=True))
            loss = criterion(out.float(), labels.to(device, non_blocking=True))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            if recipe["clip"]:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), recipe["clip"])
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            if average:
                average.update_parameters(model)
            losses += loss.item()
        (mean,) = summed(losses / len(batches) / WORLD, device=device)
        reached = {"weights": accuracy(model, validation, device)}
        reached |= {"average": accuracy(average, validation, device)} if average else {}
        if max(reached.values()) >= best:
            best = max(reached.values())
            chosen = average.module if average and reached["average"] == best else model
            save({"state_dict": chosen.state_dict(), "epoch": epoch + 1, "accuracy": best}, args.out / "best.pt")
        state = {name: part.state_dict() for name, part in parts.items()}
        save({**state, "epoch": epoch + 1, "best": best, "recipe": recipe, "classes": known.classes}, last)
        if RANK == 0:
            said = ", ".join(f"{value:.2f} % by the {name}" for name, value in reached.items())
            print(f"epoch {epoch + 1}/{recipe['epochs']}: loss {mean:.4f}, accuracy {said}", flush=True)
    if RANK == 0:
        print(f"best accuracy {best:.2f} %: {args.out / 'best.pt'}")
    if WORLD > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
