import { Backoff, LONGEST_BROKER_WAIT_MS } from '../core/backoff.ts'
import { below, type FetchedRecords, memoryOf, offsetOf } from '../core/record-batch.ts'
import type { FetchTarget, Room } from '../core/transaction.ts'
import { CommitLoop, type CommittingTask, type Settled } from './commit-loop.ts'
import { DecodeStage } from './decode-stage.ts'
import type { MicroBatch } from './micro-batch.ts'
import { emitPart } from './output-stage.ts'
import type { RowSource } from './row-sources.ts'
import type { ServedVersion } from './serving.ts'
import { STATE_AT_END, type TaskEnd, type TaskOptions, type TaskState } from './task-contract.ts'
import { TaskFailures } from './task-failures.ts'
import { type Part, TaskRun } from './task-run.ts'
import { TaskShadows } from './task-shadows.ts'
import { Trouble } from './trouble.ts'

/**
 * One input partition that this replica owns. It keeps the order of its records, owns one transactional producer, and
 * moves the partition's offset only in the transaction that carries the output of the records below it.
 *
 * It fetches, has its records decoded and batched by others, writes their output in order, and leaves it to a `CommitLoop`
 * when to commit; what is lost on the way, it does again.
 *
 * **Which version answers** is asked for each record as it is decoded. What one serving answers and what the next one does
 * never share a transaction: output of the next waits until a transaction has taken all that was written before it.
 *
 *   parts, in order:   A A A B B        A emitted ─▶ B is done, but A is not taken: hurry ─▶ the transaction of A begins
 *                                       ─▶ the timeline's entry of B, and B itself, are written for the next one
 */
export class PartitionTask implements FetchTarget, CommittingTask {
  readonly topic: string
  readonly partition: number
  readonly #options: TaskOptions
  #state: TaskState = 'CREATED'
  #run: TaskRun
  #endOffset = 0
  /** Where a replay ends. */
  #last = Number.POSITIVE_INFINITY
  #paused = false
  #failure: Error | undefined
  /** As a source of rows for the batcher of each version. */
  readonly #sources = new Map<ServedVersion, RowSource>()
  readonly #shadows: TaskShadows
  readonly #trouble: Trouble
  readonly #failures: TaskFailures
  readonly #decoding: DecodeStage
  /** Grows from failure to failure, until a transaction succeeds. */
  readonly #backoff = new Backoff(50, LONGEST_BROKER_WAIT_MS)
  readonly #stop = new AbortController()

  constructor(options: TaskOptions) {
    this.#options = options
    this.topic = options.topic
    this.partition = options.partition
    this.#trouble = new Trouble(options.onCondition)
    this.#shadows = new TaskShadows({
      output: options.committer.output,
      maxOutputBytes: options.maxOutputBytes,
      telemetry: options.telemetry,
      clock: options.clock,
      onSettled: () => this.#emitShadows(),
    })
    this.#failures = new TaskFailures({ ...options, trouble: this.#trouble, shadows: this.#shadows })
    this.#decoding = new DecodeStage({
      serving: options.serving,
      clock: options.clock,
      trouble: this.#trouble,
      stop: this.#stop.signal,
      onReady: () => this.#offerHead(),
      onDecoded: part => this.#shadows.take(part),
    })
    this.#run = this.#runFrom(0)
    this.#run.over = true
  }

  get state(): TaskState {
    return this.#state
  }

  /** For the status page. */
  get progress() {
    const { position, commits, emitting, emittingFrom } = this.#run
    const answers = emitting === undefined ? null : { version: emitting.stable.name, from: emittingFrom }
    const { committedOffset, holding } = commits
    const { records: inFlight } = holding
    return { answers, position, committedOffset, inFlight, endOffset: this.#endOffset, paused: this.#paused }
  }

  /** Serves the partition until it is drained, taken over or halted. Resolves with how it ended; never rejects. */
  async serve(): Promise<TaskEnd> {
    let end: TaskEnd | undefined
    while (end === undefined) {
      try {
        await this.#initialise()
        await this.#run.commits.run(this)
        end = { how: this.#run.commits.committedOffset >= this.#last ? 'complete' : 'closed' }
      } catch (error) {
        end = this.#failures.endAfter(error, this.#state, error === this.#failure)
      }
      this.#discardRun()
      if (end === undefined) await this.#waitToStartOver()
      if (this.#stop.signal.aborted) end ??= { how: 'closed' }
    }
    this.#options.comparison?.close()
    await this.#options.committer.close()
    this.#state = STATE_AT_END[end.how]
    this.#options.telemetry.remove()
    return end
  }

  /** Finishes what is in the pipeline, commits it and ends; what is not yet decoded is left for the next owner. */
  drain(): void {
    if (this.#state === 'RUNNING') {
      this.#state = 'DRAINING'
      this.#run.undecoded.length = 0
      this.#run.commits.wake()
    } else this.abort()
  }

  /** Ends without committing what is in flight. */
  abort(): void {
    this.#stop.abort()
    this.#run.commits.wake()
  }

  // FetchTarget

  get position(): number | undefined {
    return this.room === undefined ? undefined : this.#run.position
  }

  get room(): Room | undefined {
    // After a failure the run is about to be dropped: nobody would take what a fetch brings.
    if (this.#state !== 'RUNNING' || this.#failure !== undefined || this.#atLast) return undefined
    const { room } = this.#run.commits.holding
    if (this.#paused === (room !== undefined)) {
      this.#paused = room === undefined
      this.#options.telemetry.paused(this.#paused)
    }
    const { rate } = this.#options
    return rate === undefined || room === undefined ? room : rate.within(room)
  }

  get held(): boolean {
    return this.#options.rate?.open === false
  }

  accept(fetched: FetchedRecords): void {
    const records = this.#run.queue(below(fetched, this.#last))
    this.#options.rate?.take(records)
    this.#trouble.passed('fetch')
    this.#failures.fetched()
    this.#endOffset = fetched.endOffset
    if (records > 0) {
      this.#options.telemetry.recordsIn(records)
      this.#offerHead()
    } else if (this.#run.commits.dirty) this.#run.commits.wake()
    if (this.#atLast) this.#run.commits.wake()
    this.#reportLag()
  }

  fail(error: Error): void {
    this.#failure = error
    this.#run.commits.wake()
  }

  // Versions

  /** Another serving is in effect: records that wait for a version of before are answered by it, and nobody else is shadowed. */
  switched(): void {
    for (const [version, source] of this.#sources) version.batcher.withdraw(source)
    this.#sources.clear()
    this.#shadows.keep(this.#options.serving(this.#run.position).shadows)
    this.#offerHead()
  }

  /** Whether records of this task still wait for what `version` says of them. */
  uses(version: ServedVersion): boolean {
    return this.#shadows.has(version) || this.#run.parts.some(part => part.version === version)
  }

  /** Hands the next record that is to be decoded to the batcher of the version that answers it. */
  #offerHead(): void {
    const run = this.#run
    if (run.over || run.blockedOn !== undefined) return
    const version = this.#decoding.versionOfHead(run)
    if (version !== undefined) version.batcher.offer(this.#sourceFor(version))
  }

  #sourceFor(version: ServedVersion): RowSource {
    let source = this.#sources.get(version)
    if (source === undefined) {
      const backlog = () => this.backlog
      source = {
        pack: (microBatch: MicroBatch) => this.#decoding.pack(this.#run, version, microBatch),
        get backlog() {
          return backlog()
        },
      }
      this.#sources.set(version, source)
    }
    return source
  }

  /** In the transaction of their records if that has not begun, otherwise in the next one. */
  #emitShadows(): void {
    const { commits } = this.#run
    if (this.#shadows.emit(commits.settledOffset) === 0) return
    commits.addExtra()
    commits.wake()
  }

  /** By offsets, of which some may be control records. What waits for a schema is nobody's backlog: no session helps it. */
  get backlog(): number {
    const { over, blockedOn, undecoded, position } = this.#run
    if (over || blockedOn !== undefined) return 0
    const head = undecoded[0]
    const end = Math.min(this.#endOffset, this.#last)
    return Math.max(0, end - (head === undefined ? position : offsetOf(head.batch, head.cursor)))
  }

  // The life of one run

  /** Rule 2 of the protocol: fence the former owner, then read the committed offset, only then fetch. */
  async #initialise(): Promise<void> {
    this.#state = 'INITIALISING'
    // A task that was told to end while it waited for its turn must not fence whoever owns the partition by now.
    const start = await this.#options.limit(async () =>
      this.#stop.signal.aborted ? undefined : await this.#options.committer.initialise(),
    )
    if (start === undefined) return
    this.#failure = undefined
    this.#run = this.#runFrom(start.offset)
    this.#last = start.end ?? Number.POSITIVE_INFINITY
    const run = this.#run
    this.#options.comparison?.begin(start.offset, () => run.over || this.#emitSettled(run))
    if (this.#stop.signal.aborted) return
    this.#state = 'RUNNING'
    if (this.#atLast) this.#run.commits.wake()
    this.#trouble.passed('start', 'decode')
    const { log } = this.#options
    const level = this.#trouble.lasts ? 'debug' : 'info'
    log[level]({ offset: start.offset, committed: start.committed }, 'partition task is running')
    this.#options.onWanted()
  }

  /** Whether all was fetched that a replay is to read. */
  get #atLast(): boolean {
    return this.#run.position >= this.#last
  }

  #runFrom(start: number): TaskRun {
    const commits = new CommitLoop(this.#options, start, this.#options.inFlight.open())
    const run: TaskRun = new TaskRun(start, commits, () => this.#emitSettled(run))
    return run
  }

  /** Until then nothing is fetched, and a task that is to drain has nothing left to finish. */
  async #waitToStartOver(): Promise<void> {
    this.#state = 'INITIALISING'
    await this.#options.clock.sleep(this.#backoff.next(), this.#stop.signal)
  }

  #discardRun(): void {
    const held = this.#run.commits.holding.records > 0
    this.#run.abandon()
    for (const [version, source] of this.#sources) version.batcher.withdraw(source)
    this.#shadows.keep()
    this.#options.onServed?.()
    if (held) this.#options.onWanted() // what it gives back is room for others
  }

  /** Results leave in the order of the input, whatever order the sessions finish in. */
  #emitSettled(run: TaskRun): void {
    const { committer, telemetry, clock, maxOutputBytes, comparison } = this.#options
    if (!this.#mayEmit(run)) {
      if (this.hurried) run.commits.wake()
      return
    }
    const startedAt = clock.now()
    while (this.#mayEmit(run)) {
      const part = run.parts.shift()!
      if (part.serving !== run.emitting) this.#announce(run, part)
      const counts = emitPart(part, { output: committer.output, maxOutputBytes, comparison })
      part.microBatch?.letGo()
      if (counts.predictions > 0) telemetry.predictions(part.version.name, counts.predictions)
      for (const code of counts.deadLetters) telemetry.deadLetter(code)
      const { records, endsBatch, queued, from } = part
      const { batch } = queued
      const settled = { records, bytes: endsBatch ? memoryOf(batch) : 0, timestamp: batch.timestamps[from]! }
      run.commits.settle(part.endOffset, settled)
      if (endsBatch) batch.lease?.letGo() // all that is said of its records has been copied to the output
    }
    this.#emitShadows()
    telemetry.outputMs(clock.now() - startedAt)
    run.commits.wake()
    this.#options.onServed?.()
  }

  /** Whether the next part is done and may be written: see the class. */
  #mayEmit({ parts, emitting, commits }: TaskRun): boolean {
    const head = parts[0]
    if (head?.done !== true) return false
    const from = offsetOf(head.queued.batch, head.from)
    if (this.#options.comparison?.isReady(from, head.endOffset) === false) return false
    return head.serving === emitting || !commits.pending
  }

  #announce(run: TaskRun, { serving, queued, from }: Part): void {
    const { committer, clock } = this.#options
    const { topic, partition } = this
    const offset = offsetOf(queued.batch, from)
    run.emitting = serving
    run.emittingFrom = offset
    committer.output.serve({ ...serving.said, topic, partition, offset, at: clock.wallTime() })
  }

  // CommittingTask

  get behind(): boolean {
    return Math.min(this.#endOffset, this.#last) > this.#run.position
  }

  get draining(): boolean {
    return this.#state === 'DRAINING' || this.#atLast
  }

  get hurried(): boolean {
    const head = this.#run.parts[0]
    return head?.done === true && head.serving !== this.#run.emitting
  }

  get idle(): boolean {
    const { parts, undecoded } = this.#run
    return parts.length === 0 && undecoded.length === 0
  }

  get stopped(): boolean {
    return this.#stop.signal.aborted
  }

  get failure(): Error | undefined {
    return this.#failure
  }

  begins({ since }: Settled): void {
    const { telemetry, clock } = this.#options
    if (since !== undefined) telemetry.commitWaitMs(clock.now() - since)
    this.#emitSettled(this.#run)
  }

  committed(settled: Settled, tookMs: number): void {
    const { telemetry, clock } = this.#options
    telemetry.transaction('committed', tookMs)
    this.#backoff.reset()
    if (settled.since !== undefined) this.#run.emitting?.stable.batcher.delivered(clock.now() - settled.since)
    const now = clock.wallTime()
    for (const timestamp of settled.timestamps) telemetry.endToEndMs(Math.max(0, now - timestamp))
    this.#reportLag()
    this.#trouble.passed('start', 'fetch', 'commit')
    this.#options.onWanted()
  }

  #reportLag(): void {
    const { telemetry } = this.#options
    const { committedOffset, holding } = this.#run.commits
    telemetry.lag(Math.max(0, Math.min(this.#endOffset, this.#last) - committedOffset))
    telemetry.inFlight(holding.records, holding.bytes)
  }
}
