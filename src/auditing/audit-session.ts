import { Oracle } from '../audit/oracle.ts'
import type { Place } from '../audit/verdict.ts'
import { Backoff } from '../core/backoff.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { RecordBatch } from '../core/record-batch.ts'
import { forgetAllBrokers } from '../kafka/cluster.ts'
import { endOffsets, type PartitionOffsets, stableEndOffsets } from '../kafka/log-offsets.ts'
import { isConnectionTrouble, translate } from '../kafka/protocol-errors.ts'
import { TopicScan, type Unread } from '../kafka/topic-scan.ts'
import type { AuditOptions, AuditVerdict } from './audit-contract.ts'
import { type AuditLinks, closeLinks, openLinks } from './audit-links.ts'
import { strayOffsets } from './audit-offsets.ts'

const REST_PATIENCE_MS = 2_000
const WORK_PATIENCE_MS = 40_000
const PROGRESS_MS = 200

/**
 * One audit of one group, from the first look at its offsets to the verdict.
 *
 * The group may be at work, so nothing can be looked at at once; what is looked at when makes sure that a group without
 * a fault is never blamed:
 *
 *  1. The committed offsets, C. A transaction that moved them was decided before, so its outputs lie in the logs of the
 *     output topics by now, though their markers may still be on their way.
 *  2. The ends of the output topics, past open transactions. All outputs for inputs below C lie before them. So a
 *     reader that has come this far and has seen none for an input below C will never see one: *lost*. Where a
 *     transaction hides the rest, the reader waits for its end, and if it does not end, says nothing about C.
 *  3. The stable end of the input. Every output before the ends of 2 was made from an input that a read_committed reader
 *     had seen before; one that names nothing below this end is *foreign*. The scans drop what came after the ends.
 *  4. All three are read up to these ends.
 *  5. The committed offsets again, C'. An output that was seen belongs to a transaction that was decided before, so the
 *     offsets must be past its input: if not, *torn*. The offsets partition may get its marker later than the output
 *     partition, so offsets that seem behind are looked at again, for as long as `patienceMs`. And whether they are
 *     offsets of the input at all: where the topic was deleted and created again, they are numbers of other records.
 *  6. The transactions that are open. Those of a group at work come and go; one that has outlived its time-out does not,
 *     and neither does one of a group without members.
 *
 * Inputs between C and C' were committed while we read: with or without an output that is no fault.
 */
export class AuditSession {
  readonly #options: AuditOptions
  readonly #clock: Clock
  readonly #links: AuditLinks
  readonly #oracle: Oracle
  /** Of the input, then of the outputs, in the order of the links. */
  readonly #scans: readonly TopicScan[]
  /** What does not answer now, with the first thing that it failed of. */
  readonly #troubles = new Map<string, Trouble>()
  #total = 0
  #progressAt = Number.NEGATIVE_INFINITY

  private constructor(options: AuditOptions, clock: Clock, links: AuditLinks) {
    const { inputTopic, examples, onFault, witness } = options
    const { input, outputs, to } = links
    this.#options = options
    this.#clock = clock
    this.#links = links
    this.#oracle = new Oracle({
      inputTopic,
      partitions: input.partitions,
      from: input.start,
      ...(to === undefined ? {} : { to }),
      ...(examples === undefined ? {} : { examples }),
      ...(onFault === undefined ? {} : { onFault }),
    })
    witness?.range(input.start, to)
    this.#scans = [input, ...outputs].map(topic => {
      return new TopicScan({
        ...topic,
        accept: batch => this.#accept(batch),
        ...(witness && { room: () => witness.room(topic === input ? 'input' : 'output') }),
        onTrouble: error => this.#trouble(topic.topic, error),
      })
    })
  }

  /** Connects, and finds the beginnings. The caller closes it. Throws as `auditTopics`. */
  static async open(options: AuditOptions): Promise<AuditSession> {
    const clock = options.clock ?? systemClock
    return new AuditSession(options, clock, await openLinks(options, clock))
  }

  /**
   * Steps 1 to 4, and judges what lies below the committed offsets, if all could be read. May be called again: it goes
   * on where it was. Returns what could not be read.
   */
  async read(signal?: AbortSignal, patience?: number): Promise<Unread[]> {
    const { group, input, outputs, to } = this.#links
    const { committed, ends, patienceMs } = await this.#persist(signal, async () => {
      const patienceMs = patience ?? (await this.#patience())
      const committed = await group.committed()
      const outputEnds = await Promise.all(outputs.map(endOffsets))
      const stable = await stableEndOffsets(input)
      const inputEnds = stable.map((end, partition) => Math.min(end, to?.[partition] ?? end))
      return { committed, ends: [inputEnds, ...outputEnds], patienceMs }
    })
    this.#total = this.#distance(ends)
    const failed = new AbortController()
    const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal])
    const reading = this.#scans.map((scan, i) => scan.readTo(ends[i]!, { patienceMs, signal: either }))
    const unread = (await allOrNone(reading, failed)).flat()
    // A scan that had nothing left to ask for has not found out that its broker is back.
    if (signal?.aborted !== true) for (const { topic } of this.#scans) this.#troubles.delete(topic)
    for (const { partition, to } of this.#scans[0]!.gaps) this.#oracle.skipTo(partition, to)
    if (unread.length === 0) this.#oracle.settle(committed)
    this.#progress(true)
    return unread
  }

  /**
   * Steps 5 and 6, and the verdict. Call it once, after `read`, with what that returned.
   * @throws SluiceError `audit-failed` when `signal` is aborted while the brokers do not answer
   */
  async finish(unread: readonly Unread[], signal?: AbortSignal): Promise<AuditVerdict> {
    const { group, input, outputs } = this.#links
    const { committedAfter, stray, openTransactions, atWork } = await this.#persist(signal, async () => {
      const patienceMs = await this.#patience()
      const isBehind = (committed: PartitionOffsets) => this.#oracle.outputsBeyond(committed) > 0
      const committedAfter = await group.settledOffsets(isBehind, patienceMs)
      const stray = await strayOffsets(group, input)
      const openTransactions = await group.strandedTransactions(patienceMs)
      return { committedAfter, stray, openTransactions, atWork: !(await group.isEmpty()) }
    })
    // A group without any offset is another group than was meant, or Kafka has forgotten it: nothing is torn then.
    const known = committedAfter.some(offset => offset >= 0)
    const reached = known ? committedAfter : committedAfter.map(() => Number.MAX_SAFE_INTEGER)
    // What can be judged below the committed offsets has been, by `read`.
    const verdict = this.#oracle.finish({ committed: [], committedAfter: reached, openTransactions })
    const trimmed = outputs.flatMap(({ topic, start }) =>
      start.flatMap((offset, partition) => (offset > 0 ? [{ topic, partition, start: offset }] : [])),
    )
    return {
      ...verdict,
      clean: verdict.clean && unread.length === 0 && stray.length === 0 && known,
      atWork,
      committed: committedAfter,
      strayOffsets: stray,
      unread,
      gaps: this.#scans.flatMap(({ gaps }) => gaps),
      trimmed,
    }
  }

  /** Waits, unless `signal` is aborted. */
  pause(ms: number, signal: AbortSignal): Promise<void> {
    return this.#clock.sleep(ms, signal)
  }

  /** What has kept it from a topic or from the group for at least so long, without a break; undefined where nothing has. */
  troubleFor(ms: number): SluiceError | undefined {
    const since = this.#clock.now() - ms
    return [...this.#troubles.values()].find(({ at }) => at <= since)?.error
  }

  /** Where reading stands, by partition: nothing was read from there on. */
  get positions(): Place[] {
    return this.#scans.flatMap(({ topic, positions }) =>
      positions.map((offset, partition) => ({ topic, partition, offset })),
    )
  }

  get faults(): Oracle['faults'] {
    return this.#oracle.faults
  }

  close(): Promise<void> {
    return closeLinks(this.#links)
  }

  #accept(batch: RecordBatch): void {
    const { inputTopic, outputTopic, witness } = this.#options
    const kind = batch.topic === inputTopic ? 'input' : batch.topic === outputTopic ? 'prediction' : 'deadLetter'
    this.#oracle[kind](batch)
    witness?.[kind](batch)
    this.#progress(false)
  }

  async #patience(): Promise<number> {
    if (this.#options.patienceMs !== undefined) return this.#options.patienceMs
    return (await this.#links.group.isEmpty()) ? REST_PATIENCE_MS : WORK_PATIENCE_MS
  }

  /**
   * Asks until the brokers answer: an audit of hours is not given up for one that restarts. Each question changes
   * nothing, so all of them are asked again.
   * @throws SluiceError where waiting cannot help; `audit-failed` when `signal` is aborted meanwhile
   */
  async #persist<T>(signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
    const backoff = new Backoff(50, 500)
    for (;;) {
      try {
        const answer = await ask()
        if (this.#troubles.has(this.#options.groupId)) this.#trouble(this.#options.groupId, undefined)
        return answer
      } catch (error) {
        const trouble = translate(error, 'asking the brokers about the group', 'broker-unreachable') as SluiceError
        if (trouble.response !== 'retry') throw trouble
        if (signal?.aborted) throw stoppedEarly()
        this.#trouble(this.#options.groupId, trouble)
        if (isConnectionTrouble(error)) await forgetAllBrokers(this.#links.control)
        await this.#clock.sleep(backoff.next(), signal)
        await this.#links.control.refreshMetadata().catch(() => {})
      }
    }
  }

  #trouble(subject: string, error: SluiceError | undefined): void {
    if (error === undefined) this.#troubles.delete(subject)
    else if (!this.#troubles.has(subject)) this.#troubles.set(subject, { error, at: this.#clock.now() })
    this.#options.onTrouble?.(subject, error)
  }

  /** Offsets from the beginnings to these places, over all topics. */
  #distance(places: readonly PartitionOffsets[]): number {
    const starts = [this.#links.input, ...this.#links.outputs].map(({ start }) => start)
    const lengths = places.map((offsets, i) => distance(starts[i]!, offsets))
    return lengths.reduce((sum, length) => sum + length, 0)
  }

  #progress(always: boolean): void {
    const { onProgress } = this.#options
    const now = this.#clock.now()
    if (onProgress === undefined || (!always && now - this.#progressAt < PROGRESS_MS)) return
    this.#progressAt = now
    const { counts, faults } = this.#oracle
    const read = this.#distance(this.#scans.map(({ positions }) => positions))
    onProgress({ read: Math.min(read, this.#total), total: this.#total, counts, faults })
  }
}

interface Trouble {
  readonly error: SluiceError
  /** By the clock's `now`. */
  readonly at: number
}

/** For an audit that is stopped before it has read everything. */
export function stoppedEarly(): SluiceError {
  return new SluiceError('audit-failed', 'The audit was stopped before it had read everything, so there is no verdict.')
}

/** All results; or, once all have ended, the first failure: it ends the others through `failed`. */
async function allOrNone<T>(work: readonly Promise<T>[], failed: AbortController): Promise<T[]> {
  for (const each of work) each.catch(() => failed.abort())
  const settled = await Promise.allSettled(work)
  return settled.map(result => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

function distance(from: PartitionOffsets, to: PartitionOffsets): number {
  return to.reduce((sum, end, partition) => sum + Math.max(0, end - from[partition]!), 0)
}
