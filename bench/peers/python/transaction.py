"""The producer's transactions, one after the other, each with the offsets of what it answers."""

import sys
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from settings import Settings

POLL_SECONDS = 0.1
CALL_SECONDS = 30.0


class Transaction:
    """
    Transactions that carry the group's generation, so that the broker refuses those of a member whose partitions have
    gone to another (KIP-447).
    """

    def __init__(self, producer: Producer, consumer: Consumer, settings: Settings):
        self._producer = producer
        self._consumer = consumer
        self._topic = settings.input_topic
        self._interval = settings.commit_interval_seconds
        # Of the open transaction: the next offset by input partition, and when it is due.
        self._offsets: dict[int, int] = {}
        self._deadline: float | None = None

    def begin(self) -> None:
        """Begins one unless it is open."""
        if self._deadline is None:
            self._producer.begin_transaction()
            self._deadline = time.monotonic() + self._interval

    def answered(self, messages: Iterable[Message]) -> None:
        """The open transaction answers these, which are in order within each partition."""
        offsets = self._offsets
        for message in messages:
            offsets[message.partition()] = message.offset() + 1

    def is_due(self) -> bool:
        """Whether COMMIT_INTERVAL_MS has passed since the beginning."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def poll_seconds(self) -> float:
        """How long a poll may wait: until the commit is due, but signals are heard only when it is over."""
        if self._deadline is None:
            return POLL_SECONDS
        return min(POLL_SECONDS, max(0.0, self._deadline - time.monotonic()))

    def commit(self) -> None:
        """Commits what is open. Raises KafkaException where it has to be aborted, or cannot even be that."""
        if self._deadline is None:
            return
        offsets = [TopicPartition(self._topic, partition, offset) for partition, offset in self._offsets.items()]
        group = self._consumer.consumer_group_metadata()
        _retrying(lambda: self._producer.send_offsets_to_transaction(offsets, group, CALL_SECONDS))
        _retrying(lambda: self._producer.commit_transaction(CALL_SECONDS))
        self._forget()

    def abort(self) -> None:
        """Aborts what is open. Raises KafkaException where the producer is of no use any more."""
        if self._deadline is None:
            return
        _retrying(lambda: self._producer.abort_transaction(CALL_SECONDS))
        self._forget()

    def _forget(self) -> None:
        self._offsets = {}
        self._deadline = None


def _retrying(call: Callable[[], object]) -> None:
    """Calls again while the client says that this may help; every call waits for the broker, none spins."""
    while True:
        try:
            call()
            return
        except KafkaException as exception:
            if not exception.args[0].retriable():
                raise
            print(f'{exception.args[0].str()}; trying again', file=sys.stderr, flush=True)
