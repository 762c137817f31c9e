import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import type { Message } from 'kafkajs'
import { type Audit, audit } from './audit.ts'
import { brokers, caughtUp, createTopics, kafka, uniqueName } from './broker.ts'
import { copySchemas, disagreement, type Golden, MODEL_STORE, PredictionDecoder } from './models.ts'
import { headerText, type LogRecord, sourceOf } from './record-log.ts'
import { startWorker, type WorkerProcess } from './sluice-process.ts'
import { readTopic } from './topic-reader.ts'

export interface TestbedOptions {
  readonly model?: string
  readonly partitions?: number
  /** As many as the input's unless given. */
  readonly outputPartitions?: number
  /** Settings of every worker. */
  readonly env?: Readonly<Record<string, string>>
}

/** All records of the three topics. */
export interface Outcome {
  readonly inputs: readonly LogRecord[]
  readonly predictions: readonly LogRecord[]
  readonly deadLetters: readonly LogRecord[]
}

/** Topics, a group and a folder of schemas that nobody else uses, and the workers that a test runs on them. */
export class Testbed {
  readonly model: string
  readonly group: string
  readonly input: string
  readonly output: string
  readonly deadLetter: string
  readonly rollout: string
  readonly timeline: string
  readonly schemaDir: string
  readonly workers: WorkerProcess[] = []
  readonly #folder: string
  readonly #env: Readonly<Record<string, string>>

  private constructor(name: string, model: string, folder: string, schemaDir: string, env: Record<string, string>) {
    this.model = model
    this.group = `${name}-group`
    this.input = `${name}-features`
    this.output = `${name}-predictions`
    this.deadLetter = `${name}-features.dlq`
    this.rollout = `${name}-rollout`
    this.timeline = `${name}-timeline`
    this.schemaDir = schemaDir
    this.#folder = folder
    this.#env = env
  }

  /** Creates the topics. The caller closes the testbed: `t.after(() => bed.close())`. */
  static async create(name: string, options: TestbedOptions = {}): Promise<Testbed> {
    const { model = 'iris-classifier', partitions = 4, outputPartitions = partitions, env = {} } = options
    const { folder, schemaDir } = await copySchemas()
    const bed = new Testbed(uniqueName(name), model, folder, schemaDir, env)
    const topics = { [bed.input]: partitions, [bed.output]: outputPartitions, [bed.deadLetter]: outputPartitions }
    try {
      await createTopics(topics)
    } catch (error) {
      await bed.close()
      throw error
    }
    return bed
  }

  /** Settings of the workers. */
  get env(): Record<string, string> {
    return {
      KAFKA_BROKERS: brokers().join(','),
      GROUP_ID: this.group,
      INPUT_TOPIC: this.input,
      OUTPUT_TOPIC: this.output,
      ROLLOUT_TOPIC: this.rollout,
      TIMELINE_TOPIC: this.timeline,
      MODEL_STORE,
      MODEL_NAME: this.model,
      SCHEMA_DIR: this.schemaDir,
      ...this.#env,
    }
  }

  /** Starts a replica; it is killed when the testbed is closed. */
  startWorker(env: Readonly<Record<string, string>> = {}, imports: readonly string[] = []): WorkerProcess {
    const worker = startWorker({ env: { ...this.env, ...env }, cwd: this.#folder, imports })
    this.workers.push(worker)
    return worker
  }

  /** Kills a worker once it has predicted something, and starts another. */
  async replace(victim: WorkerProcess): Promise<void> {
    await victim.predicts()
    await victim.kill()
    this.startWorker()
  }

  /**
   * Sends messages to the input topic, each exactly once, a thousand at a time. After each thousand `onSent` is told how
   * many were sent, and waited for.
   */
  async produce(messages: readonly Message[], onSent?: (sent: number) => Promise<void> | void): Promise<void> {
    const producer = kafka().producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    try {
      for (let at = 0; at < messages.length; at += CHUNK) {
        await producer.send({ topic: this.input, messages: messages.slice(at, at + CHUNK) })
        await onSent?.(Math.min(at + CHUNK, messages.length))
      }
    } finally {
      await producer.disconnect()
    }
  }

  /** Waits until the group has committed the end of the input as it is now. Throws with the workers' logs if it cannot. */
  async caughtUp(timeoutMs?: number): Promise<void> {
    try {
      await caughtUp(this.group, this.input, { timeoutMs, giveUp: () => this.workers.every(worker => worker.over) })
    } catch (error) {
      const logs = this.workers.map(worker => worker.describe())
      throw new Error(`${(error as Error).message}\n${logs.join('\n')}`, { cause: error })
    }
  }

  /** Everything that the topics hold now, for a read_committed reader. */
  async outcome(): Promise<Outcome> {
    const [inputs, predictions, deadLetters] = await Promise.all(
      [this.input, this.output, this.deadLetter].map(topic => readTopic(topic)),
    )
    return { inputs: inputs!, predictions: predictions!, deadLetters: deadLetters! }
  }

  async audit(outcome?: Outcome): Promise<Audit> {
    const { inputs, predictions, deadLetters } = outcome ?? (await this.outcome())
    return audit(inputs, predictions, deadLetters)
  }

  /** Fails unless every Avro prediction agrees with what `expected` gives for the input that it names. */
  async assertPredictions(
    outcome: Outcome,
    expected: (input: LogRecord) => Golden['output'] | undefined,
  ): Promise<void> {
    const bySource = new Map(outcome.inputs.map(input => [sourceOf(input), input]))
    const decoder = new PredictionDecoder(this.schemaDir)
    for (const prediction of outcome.predictions) {
      const input = bySource.get(headerText(prediction, 'source')!)
      const golden = expected(input!)
      assert.ok(golden, `${sourceOf(input!)} should not have been predicted`)
      const got = await decoder.decode(prediction.value!)
      const complaint = disagreement(this.model, golden, got)
      assert.equal(complaint, undefined, `${sourceOf(input!)}: ${complaint}`)
    }
  }

  /** Kills what still runs and removes the folder. */
  async close(): Promise<void> {
    await Promise.all(this.workers.map(worker => worker.kill()))
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** Messages in a request: kafkajs groups them by partition in quadratic time. */
const CHUNK = 1000
