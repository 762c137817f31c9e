"""Sends predictions and dead letters with the key, the timestamp, the partition and the headers of their records."""

from collections.abc import Sequence
from datetime import UTC, datetime

from confluent_kafka import Message, Producer

from decoding import Fault
from settings import Settings

QUEUE_FULL_SECONDS = 0.1
ANY_PARTITION = -1

Header = tuple[str, bytes | str | None]


class Publisher:
    """With `keeps_partition` outputs go to the partition of their input; otherwise the key decides."""

    def __init__(self, producer: Producer, settings: Settings, model_headers: Sequence[Header], keeps_partition: bool):
        self._producer = producer
        self._settings = settings
        self._model_headers = model_headers
        self._own_names = {name for name, _ in model_headers} | {'source'}
        self._keeps_partition = keeps_partition

    def predict(self, messages: Sequence[Message], values: Sequence[bytes]) -> None:
        """Headers of a message come first; one that has the name of ours is left out."""
        topic = self._settings.output_topic
        model_headers = self._model_headers
        for message, value in zip(messages, values, strict=True):
            headers = [*model_headers, self._source_of(message)]
            inherited = message.headers()
            if inherited:
                headers = [header for header in inherited if header[0] not in self._own_names] + headers
            self._send(topic, message, value, headers)

    def dead_letter(self, message: Message, fault: Fault) -> None:
        failed_at = datetime.now(UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')
        headers = [
            *(message.headers() or []),
            ('error-code', fault.code),
            ('error-message', fault.message),
            ('error-stage', 'decode'),
            self._source_of(message),
            ('failed-at', failed_at),
        ]
        self._send(self._settings.dead_letter_topic, message, message.value(), headers)

    # A record that cannot be delivered fails the transaction: commit_transaction raises.
    def _send(self, topic: str, message: Message, value: bytes | None, headers: list[Header]) -> None:
        partition = message.partition() if self._keeps_partition else ANY_PARTITION
        timestamp = message.timestamp()[1]
        while True:
            try:
                self._producer.produce(topic, value, message.key(), partition, timestamp=timestamp, headers=headers)
                return
            except BufferError:  # the client's queue is full: wait for the broker
                self._producer.poll(QUEUE_FULL_SECONDS)

    def _source_of(self, message: Message) -> Header:
        return 'source', f'{self._settings.input_topic}/{message.partition()}/{message.offset()}'
