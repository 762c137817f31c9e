import assert from 'node:assert/strict'
import { SluiceError } from '../../src/core/errors.ts'
import { type Committer, FencedError, type StartPosition } from '../../src/core/transaction.ts'
import type { TestValue } from './fake-codec.ts'
import { FakeOutput, prediction, type Written } from './fake-committer.ts'

/** An input record: what it holds, and whether the model refuses it. */
export interface InputRecord {
  readonly offset: number
  readonly value: TestValue
  readonly poison: boolean
}

/**
 * What becomes of a request. `lost-…`: the answer never comes, and the request took effect not at all, before that, or
 * will later, when nobody expects it any more.
 */
export type Outcome = 'answered' | 'lost-before' | 'lost-after' | 'lost-late'

/** A request to the cluster that is under way. */
export type Request = (outcome: Outcome) => void

/**
 * A cluster with one input partition, its output, and one transactional id: epochs fence, a transaction moves output
 * and offset together. Every transaction that takes effect is checked against the input.
 */
export class TransactionLog {
  readonly input: readonly InputRecord[]
  /** The end of the input, behind control records too. */
  readonly end: number
  readonly underWay: Request[] = []
  /** Lost requests that have yet to arrive. */
  readonly late: (() => void)[] = []
  readonly committed: Written[] = []
  committedOffset = 0
  #epoch = 0

  constructor(input: readonly InputRecord[], end: number) {
    this.input = input
    this.end = end
  }

  /** What is to come out of the records in [from, to). */
  expected(from: number, to: number): { offset: number; said: string }[] {
    return this.input
      .filter(({ offset }) => offset >= from && offset < to)
      .map(({ offset, value, poison }) => {
        if (value === 'garbage') return { offset, said: 'invalid-avro' }
        return poison ? { offset, said: 'inference-failed' } : prediction(offset)
      })
  }

  /** Sends a request that has `effect`. */
  send<T>(effect: () => T): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const attempt = () => {
      try {
        const answer = effect()
        return () => resolve(answer)
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        return () => reject(error)
      }
    }
    this.underWay.push(outcome => {
      const answer = outcome === 'answered' || outcome === 'lost-after' ? attempt() : undefined
      if (outcome === 'lost-late') this.late.push(attempt)
      if (outcome === 'answered') answer!()
      else reject(new SluiceError('transaction-unknown', 'the connection was lost'))
    })
    return promise
  }

  /** InitProducerId. */
  fence(): number {
    return ++this.#epoch
  }

  /** Everything of one transaction. */
  commit(epoch: number, records: readonly Written[], nextOffset: number): void {
    if (epoch !== this.#epoch) throw new FencedError(`epoch ${epoch}, now ${this.#epoch}`)
    assert.ok(nextOffset > this.committedOffset && nextOffset <= this.end, `offset ${nextOffset}`)
    assert.deepEqual(
      records.map(({ offset, said }) => ({ offset, said })),
      this.expected(this.committedOffset, nextOffset),
      `the transaction that moves the offset from ${this.committedOffset} to ${nextOffset}`,
    )
    this.committed.push(...records)
    this.committedOffset = nextOffset
  }
}

/** One assignment's committer on that cluster. */
export class LogCommitter implements Committer {
  readonly output = new FakeOutput()
  readonly #log: TransactionLog
  #epoch: number | undefined

  constructor(log: TransactionLog) {
    this.#log = log
  }

  async initialise(): Promise<StartPosition> {
    this.output.take()
    this.#epoch = undefined
    const epoch = await this.#log.send(() => this.#log.fence())
    const offset = await this.#log.send(() => this.#log.committedOffset)
    this.#epoch = epoch
    return { offset, committed: true }
  }

  async commit(nextOffset: number): Promise<void> {
    const epoch = this.#epoch
    assert.ok(epoch !== undefined, 'after a failure only initialise is allowed')
    this.#epoch = undefined
    const records = this.output.take()
    await this.#log.send(() => this.#log.commit(epoch, records, nextOffset))
    this.#epoch = epoch
  }

  async close(): Promise<void> {
    this.#epoch = undefined
  }
}
