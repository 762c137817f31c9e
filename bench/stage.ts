import { randomBytes } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { type Broker, startBroker } from '../dev/broker.ts'
import '../src/kafka/kafkajs-fixes.ts'
import { fill } from './fill.ts'
import { type Workload, writeSchemas } from './workload.ts'

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'

/** A topic that is full before anybody reads it. */
export interface Input {
  readonly workload: Workload
  readonly topic: string
  readonly partitions: number
  readonly records: number
}

/** Output topics are as large as a run, and there are many runs. */
const DROP_AT_ONCE = { 'log.segment.delete.delay.ms': 1_000 }
const LEADER_POLL_MS = 20

/** Where contenders are measured: a broker, topics on it, and folders for processes. */
export class Stage {
  readonly bootstrap: string
  readonly #admin: Admin
  readonly #broker: Broker | undefined
  /** Makes names new on a broker that has seen other runs. */
  readonly #mark = randomBytes(3).toString('hex')
  #names = 0

  private constructor(bootstrap: string, admin: Admin, broker: Broker | undefined) {
    this.bootstrap = bootstrap
    this.#admin = admin
    this.#broker = broker
  }

  /** A stage with a broker of its own, told of in `report`. The caller closes it. */
  static async open(report: (line: string) => void): Promise<Stage> {
    const broker = await startBroker({ report, properties: DROP_AT_ONCE })
    try {
      return await Stage.#connect(broker.bootstrap, broker)
    } catch (error) {
      await broker.stop()
      throw error
    }
  }

  /** A stage on a broker that is somebody else's. */
  static async at(bootstrap: string): Promise<Stage> {
    return Stage.#connect(bootstrap, undefined)
  }

  static async #connect(bootstrap: string, broker: Broker | undefined): Promise<Stage> {
    const retry = { initialRetryTime: 20, maxRetryTime: 500, retries: 10 }
    const admin = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry }).admin()
    await admin.connect()
    return new Stage(bootstrap, admin, broker)
  }

  /** Process id of the broker, where it is ours. */
  get brokerPid(): number | undefined {
    return this.#broker?.pid
  }

  /** A name that begins with `what` and that no topic or group has. */
  name(what: string): string {
    return `${what}-${this.#mark}-${++this.#names}`
  }

  /** Creates a topic and fills it, with a topic for dead letters beside it. */
  async createInput(workload: Workload, partitions: number, records: number): Promise<Input> {
    const topic = this.name(workload.name)
    await this.createTopics([topic, `${topic}.dlq`], partitions)
    await fill({ brokers: [this.bootstrap], topic, partitions, values: workload.values, records })
    return { workload, topic, partitions, records }
  }

  async dropInput({ topic }: Input): Promise<void> {
    await this.deleteTopics([topic, `${topic}.dlq`])
  }

  /** Creates topics, and waits until the broker leads all their partitions. */
  async createTopics(names: readonly string[], partitions: number): Promise<void> {
    const topics = names.map(topic => ({ topic, numPartitions: partitions }))
    // kafkajs's own waiting takes a topic that the broker has not heard of yet for an error.
    await this.#admin.createTopics({ topics, waitForLeaders: false })
    while (!(await this.#leads(names, partitions))) await delay(LEADER_POLL_MS)
  }

  async #leads(names: readonly string[], partitions: number): Promise<boolean> {
    const { topics } = await this.#admin.fetchTopicMetadata({ topics: [...names] }).catch(() => ({ topics: [] }))
    const ready = topics.filter(topic => {
      return topic.partitions.length === partitions && topic.partitions.every(({ leader }) => leader >= 0)
    })
    return ready.length === names.length
  }

  async deleteTopics(names: readonly string[]): Promise<void> {
    await this.#admin.deleteTopics({ topics: [...names] })
  }

  /** The group's offsets by partition; partitions that it has not committed are left out. */
  async committed(groupId: string, topic: string): Promise<Map<number, number>> {
    const [answer] = await this.#admin.fetchOffsets({ groupId, topics: [topic] })
    const known = (answer?.partitions ?? []).filter(({ offset }) => Number(offset) >= 0)
    return new Map(known.map(({ partition, offset }) => [partition, Number(offset)]))
  }

  /** Records that a group has committed of a topic that it has read from offset 0. */
  async done(groupId: string, topic: string): Promise<number> {
    const offsets = await this.committed(groupId, topic)
    return [...offsets.values()].reduce((sum, offset) => sum + offset, 0)
  }

  /** Offsets of all partitions that are taken: by records, and by the markers that end transactions. */
  async taken(topic: string): Promise<number> {
    const partitions = await this.#admin.fetchTopicOffsets(topic)
    return partitions.reduce((sum, { high }) => sum + Number(high), 0)
  }

  /** A new folder with the schemas of a workload, for a process that owns it. */
  async folder(workload: Workload): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
    await writeSchemas(folder, [workload])
    return folder
  }

  async close(): Promise<void> {
    await this.#admin.disconnect().catch(() => {})
    await this.#broker?.stop()
  }
}
