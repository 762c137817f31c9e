"""
A worker on librdkafka and numpy: consumes features, publishes predictions, exactly once, until SIGTERM.

    poll ─▶ decode ─▶ run ─▶ encode ─▶ produce ─┬─▶ poll …
                                                └─▶ COMMIT_INTERVAL_MS after begin: send offsets, commit

    no transaction ──first batch──▶ open ──commit──▶ no transaction
                                     │  └──partitions revoked: commit while they are ours──▶ no transaction
                                     └──partitions lost, or a fault: abort, seek to the committed offsets
"""

import gc
import signal
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from clients import create_consumer, create_producer
from decoding import create_decoder
from encoding import PredictionEncoder
from model import Model
from publisher import Publisher
from settings import Settings
from transaction import CALL_SECONDS, Transaction


class Worker:
    """`run` it once."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._decoder = create_decoder(settings.input_format, settings.features, settings.input_field)
        self._model = Model(settings)
        self._encoder = PredictionEncoder(settings.prediction_schema_id)
        self._consumer = create_consumer(settings)
        self._producer = create_producer(settings)
        equal_partitions = self._partitions_of(settings.input_topic) == self._partitions_of(settings.output_topic)
        self._publisher = Publisher(self._producer, settings, self._model.headers, equal_partitions)
        self._transaction = Transaction(self._producer, self._consumer, settings)
        self._stopping = False

    def stop(self) -> None:
        """Lets `run` return after the batch it is at."""
        self._stopping = True

    def run(self) -> None:
        """Returns when stopped, with everything committed. Raises KafkaException where another process has to go on."""
        self._producer.init_transactions(CALL_SECONDS)
        self._consumer.subscribe([self._settings.input_topic], on_revoke=self._on_revoke, on_lost=self._on_lost)
        while not self._stopping:
            try:
                self._process_poll()
            except KafkaException as exception:
                self._recover(exception)
        self._transaction.commit()
        self._consumer.close()

    def _process_poll(self) -> None:
        messages = self._poll()
        max_batch = self._settings.max_batch
        commits_inside = self._settings.commit_interval_seconds > 0
        for first in range(0, len(messages), max_batch):
            self._process_batch(messages[first : first + max_batch])
            if commits_inside and self._transaction.is_due():
                self._transaction.commit()
            if self._stopping:
                return
        if self._transaction.is_due():
            self._transaction.commit()

    def _poll(self) -> list[Message]:
        # consume() waits until it has all that it was asked for, so it is asked for what is there. Only where there is
        # nothing, it waits, for one message: then none waits for others.
        messages = self._consumer.consume(self._settings.max_poll_records, 0)
        if not messages:
            messages = self._consumer.consume(1, self._transaction.poll_seconds())
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
        return messages

    def _process_batch(self, messages: list[Message]) -> None:
        rows, faults = self._decoder.decode([message.value() for message in messages])
        self._transaction.begin()
        good = messages
        if faults:
            good = [message for at, message in enumerate(messages) if at not in faults]
            for at in sorted(faults):
                self._publisher.dead_letter(messages[at], faults[at])
        if good:
            self._publisher.predict(good, self._encoder.encode(self._model.run(rows)))
        self._transaction.answered(messages)

    def _on_revoke(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        # Inside consume(): all messages of earlier calls are in the transaction, and these partitions are still ours.
        # librdkafka takes their messages out of what the current call returns.
        self._transaction.commit()

    def _on_lost(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        # Somebody else may have them already, and the broker would refuse our generation.
        self._transaction.abort()

    def _recover(self, exception: KafkaException) -> None:
        """Starts over from the committed offsets where the client says that this is of use; raises otherwise."""
        error = exception.args[0]
        if error.fatal() or not (error.txn_requires_abort() or error.retriable()):
            raise exception
        print(f'starting over from the committed offsets: {error.str()}', file=sys.stderr, flush=True)
        self._transaction.abort()
        for position in self._consumer.committed(self._consumer.assignment(), CALL_SECONDS):
            if position.offset < 0:
                position.offset = OFFSET_BEGINNING
            self._consumer.seek(position)

    def _partitions_of(self, topic: str) -> int:
        return len(self._consumer.list_topics(topic, CALL_SECONDS).topics[topic].partitions)


def main() -> None:
    worker = Worker(Settings.from_environment())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    # Messages and headers form no cycles, but their number would start the cycle collector again and again.
    gc.freeze()
    gc.disable()
    worker.run()


if __name__ == '__main__':
    main()
