import { setTimeout as delay } from 'node:timers/promises'
import { Kafka, logLevel, type Message, type Producer } from 'kafkajs'
import '../src/kafka/kafkajs-fixes.ts'
import { irisWorkload, POISON_HEADER } from '../test/support/workload.ts'
import { ROW_HEADER } from './answers.ts'

export interface GeneratorOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly partitions: number
  readonly recordsPerSecond: number
}

/** Between two requests; each carries what is due by then. */
const TICK_MS = 20
/** Rows that repeat: every kind of key, header and bad record is among them. */
const VARIETY = 4_850
/** Records of one request at most: what piles up during an outage goes out bit by bit. */
const MOST_AT_ONCE = 2_000

/**
 * Publishes iris records, good and bad, at a steady rate, partition by partition in turn, and goes on through whatever
 * befalls the brokers: what could not be published meanwhile follows when it can. A request that gets no answer is sent again, so an outage may double *input* records: they are
 * different records to Sluice. The timestamp of a record is the wall time of its request.
 */
export class Generator {
  readonly #options: GeneratorOptions
  readonly #messages: readonly Message[]
  readonly #producer: Producer
  readonly #stop = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #paused = false
  #published = 0

  constructor(options: GeneratorOptions) {
    this.#options = options
    this.#messages = irisWorkload(VARIETY, { partitions: options.partitions }).messages.map(withRow)
    const kafka = new Kafka({
      clientId: 'sluice-faults-generator',
      brokers: [...options.brokers],
      logLevel: logLevel.NOTHING,
      connectionTimeout: 1_000,
      requestTimeout: 2_000,
      enforceRequestTimeout: true,
      retry: { initialRetryTime: 50, maxRetryTime: 300, retries: 3 },
    })
    this.#producer = kafka.producer({ metadataMaxAge: 2_000 })
  }

  /** Records that a broker has acknowledged. */
  get published(): number {
    return this.#published
  }

  async start(): Promise<void> {
    await this.#producer.connect()
    this.#running = this.#publish()
  }

  /** Publishes nothing until `resume`. */
  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
    await this.#producer.disconnect()
  }

  async #publish(): Promise<void> {
    const { recordsPerSecond } = this.#options
    let due = 0
    let at = 0
    let lookedAt = performance.now()
    while (!this.#stop.signal.aborted) {
      await delay(TICK_MS)
      const now = performance.now()
      if (!this.#paused) due += ((now - lookedAt) / 1000) * recordsPerSecond
      lookedAt = now
      const count = Math.min(MOST_AT_ONCE, Math.floor(due))
      if (count === 0) continue
      const timestamp = String(Date.now())
      const messages = Array.from({ length: count }, (_, i) => {
        return { ...this.#messages[(at + i) % VARIETY]!, timestamp }
      })
      if (!(await this.#send(messages))) continue
      at += count
      due -= count
      this.#published += count
    }
  }

  /** Returns whether the brokers have them; those that gave no answer are due again, with a new timestamp. */
  async #send(messages: Message[]): Promise<boolean> {
    try {
      await this.#producer.send({ topic: this.#options.topic, messages })
      return true
    } catch {
      return false
    }
  }
}

/** A good record says which row it holds, by its value. */
function withRow(message: Message): Message {
  const { headers = {}, value } = message
  if (POISON_HEADER in headers) return message
  return { ...message, headers: { ...headers, [ROW_HEADER]: (value as Buffer).toString('hex') } }
}
