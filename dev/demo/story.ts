import { cp, mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FolderStore } from '../../src/models/store.ts'
import { audit, type Sent } from './audit.ts'
import { busiestSecond, latencies, longestPause, percentile } from './figures.ts'
import { type DemoRecord, Flowers } from './flowers.ts'
import { answersPage, auditPage, type DemoResult, step, titlePage } from './pages.ts'
import { PredictionDecoder } from './prediction.ts'
import type { Publisher } from './publisher.ts'
import { count, type Screen } from './screen.ts'
import { listed, MODEL, type Stage, setStage } from './stage.ts'
import { PARTITIONS } from './topics.ts'

export interface StoryOptions {
  readonly records: number
  readonly seed: number
  readonly screen: Screen
  /** Stays up after the audit, with a trickle of records, until `signal` is aborted. */
  readonly keep: boolean
  readonly signal: AbortSignal
}

/** Part of the records that come in a steady stream; the others come at once. */
const STEADY_SHARE = 0.4
const STEADY_RATE = 2_000
const STEADY_AT_MOST_S = 4
/** Part of the stream that is sent and answered before the rest, while connections and compilers are cold. */
const WARM_UP_SHARE = 0.1
/** The rush is sent in so many parts, and a replica is killed after the first few. */
const RUSH_PARTS = 20
const PARTS_BEFORE_CRASH = 5
/** How long nothing may come before the demo gives up; more than any session time-out that a broker insists on. */
const PATIENCE_MS = 30_000
const TRICKLE_RATE = 20

const fileOf = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8')

/**
 * The demo from beginning to end. Whatever happens, all that it started is stopped when this settles.
 * @returns the audit, passed or not
 * @throws when there is nothing to audit: no broker, a replica that ends by itself, `signal` aborted
 */
export async function tellStory(options: StoryOptions): Promise<DemoResult> {
  await using stack = new AsyncDisposableStack()
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  let stage: Stage | undefined
  titlePage(options.screen)
  try {
    stage = await setStage(stack, options.screen, signal, error => failed.abort(error))
    const result = await new Story(stage, options, signal).tell()
    if (!result.passed) await keepLogs(stage, options.screen)
    return result
  } catch (error) {
    if (stage !== undefined && !options.signal.aborted) await keepLogs(stage, options.screen)
    throw signal.aborted ? signal.reason : error
  } finally {
    options.screen.endProgress()
  }
}

/** Puts the replicas' logs where they outlive the demo, for somebody who looks for a reason. */
async function keepLogs({ replicas }: Stage, screen: Screen): Promise<void> {
  screen.endProgress()
  const folder = await mkdtemp(join(tmpdir(), 'sluice-demo-logs-'))
  for (const { logFile } of replicas) await cp(logFile, join(folder, basename(logFile)))
  screen.line('', `The logs of the replicas are in ${folder}`)
}

/** How the second replica died. */
interface Crash {
  readonly partitions: readonly number[]
  /** Milliseconds since the epoch. */
  readonly at: number
}

class Story {
  readonly #stage: Stage
  readonly #options: StoryOptions
  readonly #signal: AbortSignal
  #mood = ''

  constructor(stage: Stage, options: StoryOptions, signal: AbortSignal) {
    this.#stage = stage
    this.#options = options
    this.#signal = signal
  }

  async tell(): Promise<DemoResult> {
    const { records: wanted, seed, screen, keep } = this.#options
    const { names, reader, schemas } = this.#stage
    const flowers = new Flowers(await fileOf('dev/data/iris.csv'), await fileOf('schemas/iris-features.avsc'), seed)
    const records = flowers.take(wanted)
    const steady = records.slice(0, Math.floor(wanted * STEADY_SHARE))
    const rate = Math.max(STEADY_RATE, steady.length / STEADY_AT_MOST_S)
    this.#announce(records, steady.length, rate)

    screen.beginProgress(() => ({ done: reader.answered, total: wanted, note: `answered${this.#mood}` }))
    const warm = Math.ceil(steady.length * WARM_UP_SHARE)
    await this.#stream(steady.slice(0, warm), rate)
    await this.#stream(steady.slice(warm), rate)
    const crash = await this.#rush(records.slice(steady.length))
    const pauseMs = await this.#takeover(crash)
    await reader.until(() => reader.answered >= wanted, PATIENCE_MS, this.#signal)
    screen.endProgress()

    const exits = await this.#settle()
    const result = this.#conclude(records, [warm, steady.length], pauseMs, exits)
    answersPage(screen, reader.answers, new PredictionDecoder(schemas), await classNames(), names)
    auditPage(screen, result, rate)
    if (keep) await this.#stayUp(flowers)
    return result
  }

  #announce(records: readonly DemoRecord[], steady: number, rate: number): void {
    const { screen, seed } = this.#options
    const poisoned = records.filter(({ outcome }) => outcome !== 'prediction').length
    const text =
      `${count(records.length)} measurements of iris flowers with a little noise (--seed ${seed} repeats them), ` +
      `${count(poisoned)} of them broken on purpose. The first ${count(steady)} come in a steady stream, ` +
      `${count(rate)} a second; then all the others at once.`
    step(screen, '✔', 'Records', text)
    screen.line('')
  }

  /** Publishes records evenly, and waits until all that were published so far are answered. */
  async #stream(records: readonly DemoRecord[], rate: number): Promise<void> {
    const { publisher, reader } = this.#stage
    await publisher.stream(records, rate, this.#signal)
    this.#signal.throwIfAborted()
    await reader.until(() => reader.answered >= publisher.sentAt.size, PATIENCE_MS, this.#signal)
  }

  /** Publishes the rest as fast as it goes, and kills the second replica in the middle of it. */
  async #rush(records: readonly DemoRecord[]): Promise<Crash> {
    const { publisher } = this.#stage
    const size = Math.ceil(records.length / RUSH_PARTS)
    let crash: Crash | undefined
    for (let part = 0; part < RUSH_PARTS; part++) {
      this.#signal.throwIfAborted()
      if (part === PARTS_BEFORE_CRASH) crash = await this.#crash()
      await publisher.send(records.slice(part * size, (part + 1) * size))
    }
    return crash!
  }

  async #crash(): Promise<Crash> {
    const { screen } = this.#options
    const { replicas, partitions } = this.#stage
    await replicas[1].kill()
    const crash = { partitions: partitions[1]!, at: Date.now() }
    const text =
      `Replica ${replicas[1].name} was killed in the middle of its work (SIGKILL): no good-bye, no ` +
      `clean-up. Records go on coming.`
    step(screen, '✖', 'Crash', text)
    this.#mood = `, ${replicas[1].name} is dead`
    return crash
  }

  /** Waits until the first replica answers on the partitions of the dead one. Undefined if it never does. */
  async #takeover({ partitions, at }: Crash): Promise<number | undefined> {
    const { screen } = this.#options
    const { reader, replicas } = this.#stage
    // Nothing that was read before the crash can tell.
    const since = reader.answers.length
    const pause = () => longestPause(reader.answers.slice(since), partitions, at)
    if (!(await reader.until(() => pause() !== undefined, PATIENCE_MS, this.#signal))) return undefined
    this.#mood = ''
    const text =
      `Replica ${replicas[0].name} took over ${listed(partitions)}, which stood still for ` +
      `${(pause()! / 1_000).toFixed(1)}\u00a0s: most of it until Kafka gave the dead one up. ` +
      `What it had begun and not finished was rolled back; nobody ever saw it.`
    step(screen, '✔', 'Takeover', text)
    return pause()
  }

  /** Brings the topics to rest and reads them to their ends. Resolves with how the replicas that were stopped ended. */
  async #settle(): Promise<Record<string, string>> {
    const { names, publisher, reader, replicas } = this.#stage
    const exits: Record<string, string> = {}
    if (!this.#options.keep) exits[replicas[0].name] = await replicas[0].stop()
    const topics = [names.output, names.deadLetter]
    await publisher.markEnds(topics)
    const ends = topics.length * PARTITIONS
    if (!(await reader.until(() => reader.ended === ends, PATIENCE_MS, this.#signal))) {
      throw new Error(`The ends of ${names.output} and ${names.deadLetter} could not be read.`)
    }
    return exits
  }

  /** Latency is that of the records with ids from `from` to `to`. */
  #conclude(
    records: readonly DemoRecord[],
    [from, to]: readonly [number, number],
    pauseMs: number | undefined,
    exits: Record<string, string>,
  ): DemoResult {
    const { publisher, reader, replicas } = this.#stage
    const { answers } = reader
    const sent = records.map((record): Sent<number> => ({ ...record, timestamp: publisher.sentAt.get(record.id)! }))
    const spans = latencies(answers.filter(({ id }) => id !== undefined && id >= from && id < to))
    const [p50, p99] = [percentile(spans, 0.5), percentile(spans, 0.99)]
    const last = answers.reduce((latest, { arrivedAt }) => Math.max(latest, arrivedAt), 0)
    const findings = audit(sent, answers)
    const unclean = Object.entries(exits).filter(([, how]) => how !== 'exit code 0')
    return {
      ...findings,
      passed: findings.passed && unclean.length === 0,
      examples: [...findings.examples, ...unclean.map(([name, how]) => `replica ${name} did not stop well: ${how}`)],
      seed: this.#options.seed,
      replicas: replicas.map(({ name }) => name),
      exits,
      pauseMs: pauseMs ?? null,
      busiestSecond: busiestSecond(answers),
      latencyMs: p50 === undefined || p99 === undefined ? null : { p50, p99 },
      durationMs: Math.max(0, last - sent[0]!.timestamp),
    }
  }

  /** A trickle of records for somebody to look at, until Ctrl-C. */
  async #stayUp(flowers: Flowers): Promise<void> {
    const { screen } = this.#options
    const { kafka, names, publisher, reader, replicas, schemas, startReplica } = this.#stage
    await reader.close()
    const revived = await startReplica(`${replicas[1].name}2`)
    const pages = [replicas[0], revived].map(({ name, url }) => `${name}  ${url}`)
    const script = fileURLToPath(new URL('tail.ts', import.meta.url))
    screen.line('')
    step(
      screen,
      '✔',
      'Staying up',
      `${TRICKLE_RATE} records a second go on coming, and there is a replica again for ` +
        'the dead one. Ctrl-C ends it all.',
    )
    step(screen, '✔', 'Status', ...pages)
    step(screen, '✔', 'Topics', names.input, names.output, names.deadLetter)
    screen.line('', '  Watch predictions, in another terminal:', '')
    screen.line(`npx node ${script} ${kafka.brokers.join(',')} \\`, `  ${names.output} ${schemas}`, '')
    await publisher.stream(forever(flowers, publisher), TRICKLE_RATE, this.#signal)
    if (!this.#options.signal.aborted) this.#signal.throwIfAborted()
  }
}

/** What the model calls its classes, by number. */
async function classNames(): Promise<string[]> {
  const { spec } = await new FolderStore(fileURLToPath(new URL('../../models', import.meta.url))).find(MODEL)
  return spec.training.classes as string[]
}

/** Records without end, which the publisher forgets: nobody audits them. */
function* forever(flowers: Flowers, publisher: Publisher): Iterable<DemoRecord> {
  for (;;) {
    publisher.sentAt.clear()
    yield flowers.next()
  }
}
