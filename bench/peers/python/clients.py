"""The two clients and their settings; ../README.md says why."""

import uuid

from confluent_kafka import Consumer, Producer

from settings import Settings

SHARED = {
    'socket.nagle.disable': True,
    'statistics.interval.ms': 0,
    'enable.metrics.push': False,
}


def create_consumer(settings: Settings) -> Consumer:
    """A consumer that commits nothing by itself."""
    return Consumer(
        SHARED
        | {
            'bootstrap.servers': settings.brokers,
            'group.id': settings.group_id,
            'partition.assignment.strategy': 'cooperative-sticky',
            'isolation.level': 'read_committed',
            'auto.offset.reset': 'earliest',
            'enable.auto.commit': False,
            'enable.auto.offset.store': False,
            'check.crcs': True,
            'fetch.min.bytes': 1,
            'fetch.wait.max.ms': 100,
            'max.partition.fetch.bytes': 4 << 20,
            'queued.max.messages.kbytes': 64 << 10,
            # By default a partition that has filled its queue is not fetched again for a second.
            'fetch.queue.backoff.ms': 10,
        }
    )


def create_producer(settings: Settings) -> Producer:
    """A transactional producer, not initialised yet."""
    return Producer(
        SHARED
        | {
            'bootstrap.servers': settings.brokers,
            # Zombies are fenced by the group's generation (KIP-447), so the id needs to be nobody else's, not the same
            # again.
            'transactional.id': f'{settings.group_id}.{uuid.uuid4()}',
            'linger.ms': 5,
            'batch.size': 1 << 20,
            'batch.num.messages': 10_000,
            'queue.buffering.max.messages': 1_000_000,
            'queue.buffering.max.kbytes': 128 << 10,
            'delivery.report.only.error': True,
            'partitioner': 'murmur2_random',
        }
    )
