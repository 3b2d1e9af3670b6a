"""A GPT of 5.6 million weights on bytes of a text file, by Hugging Face's Trainer, with the sharpness beside it.

Run it with `python examples/trainer.py TEXT [STEPS [LOOKS]]` (extra [transformers]), then look at the page of
`netassay report --store runs`.
"""

import sys
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from netassay.studies.edge.tracker.hugging_face import sharpness_callback

LENGTH = 64


def chunks(path: str, count: int) -> list[dict[str, torch.Tensor]]:
    with Path(path).open("rb") as file:
        text = torch.frombuffer(bytearray(file.read(count * LENGTH)), dtype=torch.uint8).long()
    rows = text[: len(text) // LENGTH * LENGTH].reshape(-1, LENGTH)
    return [{"input_ids": row, "labels": row} for row in rows]


def main(
    path: str, steps: int = 200, looks: int = 10, store: str = "runs", layers: int = 7, width: int = 256
) -> Trainer:
    torch.manual_seed(0)
    data = chunks(path, 4000)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=256,
            n_positions=LENGTH,
            n_embd=width,
            n_layer=layers,
            n_head=8,
            bos_token_id=0,
            eos_token_id=0,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
        )
    )
    rows = torch.stack([row["input_ids"] for row in data[:2]])
    callback = sharpness_callback(
        [{"input_ids": rows, "labels": rows}],
        store=store,
        name="gpt",
        level="leading",
        every=max(steps // looks, 1),
    )
    arguments = TrainingArguments(
        f"{store}-trainer",
        max_steps=steps,
        per_device_train_batch_size=4,
        learning_rate=2e-3,
        warmup_steps=steps // 10,
        lr_scheduler_type="constant_with_warmup",
        report_to=[],
        save_strategy="no",
        logging_steps=max(steps // looks, 1),
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=data, callbacks=[callback])
    trainer.train()
    return trainer


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
