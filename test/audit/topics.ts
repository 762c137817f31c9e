import type { Message } from 'kafkajs'
import { Partitioners } from 'kafkajs'
import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import { formatMark, type OffsetMark } from '../../src/kafka/offset-mark.ts'
import { brokers, createTopics, kafka, uniqueName } from '../support/broker.ts'

/** Topics and a group that no worker has touched: what they hold is written by hand. */
export class HandMade {
  readonly group: string
  readonly input: string
  readonly output: string
  readonly deadLetter: string
  readonly partitions: number

  private constructor(name: string, partitions: number) {
    this.group = `${name}-group`
    this.input = `${name}-features`
    this.output = `${name}-predictions`
    this.deadLetter = `${name}-features.dlq`
    this.partitions = partitions
  }

  static async create(partitions = 1): Promise<HandMade> {
    const made = new HandMade(uniqueName('audit'), partitions)
    await createTopics({ [made.input]: partitions, [made.output]: partitions, [made.deadLetter]: partitions })
    return made
  }

  /** Settings of `sluice audit`. */
  get env(): Record<string, string> {
    const { group, input, output } = this
    return { KAFKA_BROKERS: brokers().join(','), GROUP_ID: group, INPUT_TOPIC: input, OUTPUT_TOPIC: output }
  }

  /** For `auditTopics`. */
  get options() {
    const { group, input, output, deadLetter } = this
    return { brokers: brokers(), groupId: group, inputTopic: input, outputTopic: output, deadLetterTopic: deadLetter }
  }

  /** Appends `count` records to each partition of the input. */
  async feed(count: number): Promise<void> {
    const messages = Array.from({ length: count * this.partitions }, (_, i) => {
      return { value: String(i), partition: i % this.partitions }
    })
    await this.#send(this.input, messages)
  }

  /** Appends an output for each input offset, to the partition of the same number. */
  predict(partition: number, offsets: readonly number[]): Promise<void> {
    return this.#send(
      this.output,
      offsets.map(offset => this.#answer(partition, `${this.input}/${partition}/${offset}`)),
    )
  }

  bury(partition: number, offsets: readonly number[]): Promise<void> {
    const sources = offsets.map(offset => `${this.input}/${partition}/${offset}`)
    return this.#send(
      this.deadLetter,
      sources.map(source => this.#answer(partition, source)),
    )
  }

  /** Appends an output whose header says this. */
  answer(partition: number, source: string): Promise<void> {
    return this.#send(this.output, [this.#answer(partition, source)])
  }

  /** Moves the group, which has no members. (kafkajs would join it for that, which takes seconds.) */
  async commit(offsets: readonly number[], mark?: OffsetMark & { readonly topicId: string }): Promise<void> {
    const { group: groupId, input: topic } = this
    const options = { clientId: 'audit-test', requestTimeoutMs: 10_000, metadataMaxAgeMs: 60_000, brokers: brokers() }
    const cluster = clusterTools(options, silentLog).create()
    const metadata = mark && { metadata: formatMark(mark) }
    const partitions = offsets.map((offset, partition) => ({ partition, offset: String(offset), ...metadata }))
    try {
      await new Coordinator(cluster, 'group', groupId, systemClock).send(10_000, broker =>
        broker.offsetCommit({ groupId, groupGenerationId: -1, memberId: '', topics: [{ topic, partitions }] }),
      )
    } finally {
      await cluster.disconnect()
    }
  }

  /** Writes an output in a transaction, and leaves that open; returns what aborts it. */
  async leaveOpen(partition: number, offset: number): Promise<() => Promise<void>> {
    const producer = kafka().producer({
      transactionalId: `${this.group}.${this.input}.${partition}`,
      transactionTimeout: 60_000,
      maxInFlightRequests: 1,
      idempotent: true,
      createPartitioner: Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    const transaction = await producer.transaction()
    const message = this.#answer(partition, `${this.input}/${partition}/${offset}`)
    await transaction.send({ topic: this.output, messages: [message] })
    return async () => {
      await transaction.abort()
      await producer.disconnect()
    }
  }

  #answer(partition: number, source: string): Message {
    return { value: 'a prediction', partition, headers: { 'model-name': 'iris', source } }
  }

  async #send(topic: string, messages: Message[]): Promise<void> {
    const producer = kafka().producer({ createPartitioner: Partitioners.DefaultPartitioner })
    await producer.connect()
    try {
      // Where one partition is not led yet, kafkajs sends all of a request again: those that were led would get it twice.
      for (const ofOne of Map.groupBy(messages, ({ partition }) => partition).values()) {
        await producer.send({ topic, messages: ofOne })
      }
    } finally {
      await producer.disconnect()
    }
  }
}
