"""What the worker is told by its environment."""

import os
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Settings:
    """The variables of ../README.md, in its order."""

    brokers: str
    group_id: str
    input_topic: str
    output_topic: str
    dead_letter_topic: str
    model_file: str
    model_name: str
    model_version: str
    model_input: str
    model_outputs: tuple[str, ...]
    input_format: str
    features: int
    input_field: str
    prediction_schema_id: int
    commit_interval_seconds: float
    max_batch: int
    intra_op_threads: int

    @classmethod
    def from_environment(cls) -> Self:
        """Raises SystemExit that names the variable which is missing or no number."""
        input_topic = _text('INPUT_TOPIC')
        return cls(
            brokers=_text('KAFKA_BROKERS'),
            group_id=_text('GROUP_ID'),
            input_topic=input_topic,
            output_topic=_text('OUTPUT_TOPIC'),
            dead_letter_topic=_text('DEAD_LETTER_TOPIC', f'{input_topic}.dlq'),
            model_file=_text('MODEL_FILE'),
            model_name=_text('MODEL_NAME'),
            model_version=_text('MODEL_VERSION'),
            model_input=_text('MODEL_INPUT'),
            model_outputs=tuple(_text('MODEL_OUTPUT').split(',')),
            input_format=_text('INPUT_FORMAT'),
            features=_number('FEATURES'),
            input_field=_text('INPUT_FIELD', 'features'),
            prediction_schema_id=_number('PREDICTION_SCHEMA_ID', '1'),
            commit_interval_seconds=_number('COMMIT_INTERVAL_MS', '100') / 1000,
            max_batch=max(1, _number('MAX_BATCH', '1024')),
            intra_op_threads=_number('INTRA_OP_THREADS', '1'),
        )

    @property
    def max_poll_records(self) -> int:
        """Rows taken from the client at once: as many as are there, but no more than about 64 MiB of features."""
        return max(self.max_batch, min(10_000, (64 << 20) // (4 * self.features)))


def _text(name: str, default: str | None = None) -> str:
    value = os.environ.get(name) or default
    if value is None:
        raise SystemExit(f'{name} is not set; bench/peers/README.md lists what the worker needs')
    return value


def _number(name: str, default: str | None = None) -> int:
    text = _text(name, default)
    if not text.isdecimal():
        raise SystemExit(f'{name} is "{text}"; expected a whole number from 0')
    return int(text)
