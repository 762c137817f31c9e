import type { Clock, Timer } from '../core/clock.ts'
import { asSluiceError, SluiceError } from '../core/errors.ts'
import type { RowRequest } from '../core/row-request.ts'
import type { BatchPart, MicroBatch } from './micro-batch.ts'
import type { RowSource } from './row-sources.ts'

/** A request on its way, and how far it is. */
interface Entry {
  readonly request: RowRequest
  readonly since: number
  /** Rows that were packed, from the first. */
  packed: number
  /** Rows that have run. */
  ran: number
  /** It was refused: what of it is still under way is for nobody. */
  over: boolean
  /** Where it is among those that run; undefined when it is not. */
  place: number | undefined
}

interface RequestLaneOptions {
  readonly clock: Clock
  /** A request was added: the batcher is to be offered this source. */
  readonly onWaiting: () => void
}

/**
 * The requests for one model version, as rows for its batcher: first come first served, many to a batch, and one that is
 * larger than a slot in several. After each of these it goes to the end of the line, so that small ones need not wait for it.
 *
 *   add ─▶ WAITING ── packed, bit by bit ─▶ RUNNING ── all rows have run ─▶ done
 *             ├─ deadline, or nobody waits ─▶ refused, not run     └─ a row is bad ─▶ refused; its neighbours are not
 *
 * Rows are to be packed only when a session is free for them (see `SessionShares`), so a deadline is looked at last right
 * before the run. A request that was begun is finished, unless its client goes.
 */
export class RequestLane implements RowSource {
  readonly #options: RequestLaneOptions
  readonly #waiting: Entry[] = []
  /**
   * In no order. Not a Set: each time one grows or shrinks, its old table points to the new one, and once the first of them is
   * old enough for the old generation all of them are, with the requests that they hold. Half of the collector's time went
   * there, in pauses of 13 ms.
   */
  readonly #running: Entry[] = []
  #timer: Timer | undefined
  /** When the timer rings. */
  #rings = Number.POSITIVE_INFINITY

  constructor(options: RequestLaneOptions) {
    this.#options = options
  }

  get backlog(): number {
    return this.#waiting.reduce((rows, { request, packed }) => rows + request.rows - packed, 0)
  }

  /** Whether a request waits that may be begun now, or go on; those at the head that may not are refused. */
  get waiting(): boolean {
    const now = this.#options.clock.now()
    while (this.#waiting.length > 0 && this.#isStale(this.#waiting[0]!, now)) this.#waiting.shift()
    return this.#waiting.length > 0
  }

  add(request: RowRequest): void {
    this.#waiting.push({ request, since: this.#options.clock.now(), packed: 0, ran: 0, over: false, place: undefined })
    if (request.deadline < this.#rings) this.#arm(request.deadline)
    this.#options.onWaiting()
  }

  pack(batch: MicroBatch): boolean {
    const now = this.#options.clock.now()
    while (this.#waiting.length > 0 && !batch.full) {
      const entry = this.#waiting.shift()!
      if (!this.#isStale(entry, now)) this.#packOne(entry, batch)
    }
    return this.#waiting.length > 0
  }

  /** Refuses all that there are, also those that run: nobody will tell of them any more. */
  close(error: SluiceError): void {
    this.#timer?.cancel()
    this.#rings = Number.NEGATIVE_INFINITY
    for (const entry of this.#waiting.splice(0)) this.#refuse(entry, error)
    for (const entry of [...this.#running]) this.#refuse(entry, error)
  }

  #packOne(entry: Entry, batch: MicroBatch): void {
    const { request, packed } = entry
    const count = Math.min(batch.limit - batch.rows, request.rows - packed)
    try {
      request.pack(batch.slot.inputs, packed, count, batch.rows)
    } catch (error) {
      this.#refuse(entry, asSluiceError(error, 'internal'))
      return
    }
    batch.hold(new RequestPart(batch, packed, count, part => this.#settled(entry, part)))
    batch.rows += count
    entry.packed += count
    entry.place ??= this.#running.push(entry) - 1
    if (entry.packed < request.rows) this.#waiting.push(entry)
  }

  #settled(entry: Entry, { batch, from, count, firstRow }: RequestPart): void {
    const { request } = entry
    if (entry.over) return
    const bad = firstFault(batch, firstRow, count)
    if (bad !== undefined) {
      this.#refuse(entry, new SluiceError('request-failed', `row ${from + bad.row} of the request: ${bad.message}`))
      return
    }
    try {
      request.ran(batch.slot.outputs, from, count, firstRow)
      entry.ran += count
      if (entry.ran < request.rows) return
      request.done()
      this.#leave(entry)
    } catch (error) {
      // An answer may be too large, say, or too long for a string: that is no reason to end.
      this.#refuse(entry, asSluiceError(error, 'internal'))
    }
  }

  /** Whether an entry is not to be begun or gone on with; it is refused if nobody has told it so. */
  #isStale(entry: Entry, now: number): boolean {
    if (entry.over) return true
    const { request, since } = entry
    if (request.abandoned) this.#refuse(entry, new SluiceError('not-ready', 'the client has gone'))
    else if (entry.packed === 0 && now >= request.deadline) {
      const waited = `the request has waited ${Math.round(now - since)} ms for a session, which is its deadline`
      this.#refuse(entry, new SluiceError('deadline-exceeded', `${waited}; it was not run`))
    }
    return entry.over
  }

  /** The last one takes its place. */
  #leave(entry: Entry): void {
    const { place } = entry
    if (place === undefined) return
    const last = this.#running.pop()!
    last.place = place
    if (last !== entry) this.#running[place] = last
    entry.place = undefined
  }

  #refuse(entry: Entry, error: SluiceError): void {
    entry.over = true
    this.#leave(entry)
    entry.request.refuse(error)
  }

  #arm(deadline: number): void {
    const { clock } = this.#options
    this.#timer?.cancel()
    this.#rings = deadline
    this.#timer = clock.after(Math.max(0, deadline - clock.now()), () => this.#sweep())
  }

  /** One timer for all: it rings at the earliest deadline that it knows of, and then looks at every one. */
  #sweep(): void {
    const now = this.#options.clock.now()
    const left = this.#waiting.splice(0).filter(entry => !this.#isStale(entry, now))
    this.#waiting.push(...left)
    this.#rings = Number.POSITIVE_INFINITY
    const next = left.reduce(
      (least, { packed, request }) => (packed > 0 ? least : Math.min(least, request.deadline)),
      this.#rings,
    )
    if (next < this.#rings) this.#arm(next)
  }
}

/** Rows of one request in one micro-batch. */
class RequestPart implements BatchPart {
  readonly batch: MicroBatch
  /** Of the request. */
  readonly from: number
  readonly count: number
  /** Of the batch. */
  readonly firstRow: number
  readonly #onSettled: (part: RequestPart) => void

  constructor(batch: MicroBatch, from: number, count: number, onSettled: (part: RequestPart) => void) {
    this.batch = batch
    this.from = from
    this.count = count
    this.firstRow = batch.rows
    this.#onSettled = onSettled
  }

  settled(): void {
    try {
      this.#onSettled(this)
    } finally {
      this.batch.letGo()
    }
  }
}

/** The first row of a part that the model refuses, counted from the part's first, and why. */
function firstFault({ faults }: MicroBatch, firstRow: number, count: number) {
  if (faults === undefined) return undefined
  for (let row = 0; row < count; row++) {
    const fault = faults.get(firstRow + row)
    if (fault !== undefined) return { row, message: fault.message }
  }
  return undefined
}
