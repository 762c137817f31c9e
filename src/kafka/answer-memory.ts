import type { Lease } from '../core/record-batch.ts'
import { type MemoryPool, memoryPool } from './memory-pool.ts'

/** Smaller answers carry few records, or none, and are not worth it. */
const LEAST_BYTES = 128 * 1024

/**
 * Memory for the answers that carry records, a few MiB each and hundreds a second, from the pool and back:
 *
 *   lend ─▶ the answer is read ─▶ its batches `hold` it ─▶ each is done with and lets go ─▶ the last one gives it back
 */
export class AnswerMemory {
  readonly #pool: MemoryPool
  readonly #loans = new WeakMap<ArrayBufferLike, Loan>()

  constructor(pool: MemoryPool) {
    this.#pool = pool
  }

  /** Memory for an answer, of whatever content. */
  lend(bytes: number): Buffer {
    if (bytes < LEAST_BYTES) return Buffer.allocUnsafeSlow(bytes)
    const memory = this.#pool.take(bytes)
    this.#loans.set(memory, new Loan(() => this.#takeBack(memory)))
    return Buffer.from(memory, 0, bytes)
  }

  /** The loan that these bytes lie in; undefined for memory of another kind, which is nobody's to give back. */
  loanOf(bytes: Uint8Array): Loan | undefined {
    return this.#loans.get(bytes.buffer)
  }

  #takeBack(memory: ArrayBuffer): void {
    this.#loans.delete(memory)
    this.#pool.giveBack(memory)
  }
}

/** Memory that was lent, with all who hold it: of an answer, who asked for it and every batch of it; of a batch, its task. */
export class Loan implements Lease {
  readonly #takeBack: () => void
  #holders = 1

  /** @param takeBack called when the last holder lets go */
  constructor(takeBack: () => void) {
    this.#takeBack = takeBack
  }

  /** One more reads it, and will let go. */
  hold(): this {
    this.#holders++
    return this
  }

  letGo(): void {
    if (this.#holders === 0) throw new Error('Memory was let go of once too often.')
    if (--this.#holders === 0) this.#takeBack()
  }
}

/** For all connections of this thread. */
export const answerMemory = new AnswerMemory(memoryPool)
