import type { Lease } from '../core/record-batch.ts'

/** Smaller answers are not worth it: they get memory of their own. */
const LEAST_BYTES = 128 * 1024

/** Larger ones are rare: a record of more than `message.max.bytes`, or a broker of many partitions. */
const MOST_BYTES = 32 * 1024 * 1024

/** What is kept for the next answers: as much as a few of them take that are under way at once. */
const KEPT_BYTES = 32 * 1024 * 1024

/**
 * Memory for the answers that carry records, a few MiB each and hundreds a second. Fresh memory has to be mapped page by
 * page, is cold, and calls for the garbage collector; this is lent out again and again.
 *
 *   lend ─▶ the answer is read ─▶ its batches `hold` it ─▶ each is done with and lets go ─▶ the last one frees it
 *
 * What nobody lets go of, because a task or a connection ended in between, is left to the garbage collector: then it is
 * never lent again.
 */
export class AnswerMemory {
  #onFree: (memory: ArrayBuffer) => void = () => {}
  /** By size, a power of two; the last one freed is the warmest, and lent first. */
  readonly #free = new Map<number, ArrayBuffer[]>()
  #freeBytes = 0
  readonly #loans = new WeakMap<ArrayBufferLike, Loan>()

  /** Is told of memory that everybody let go of: tests overwrite it, so that who still reads it is found out. */
  watch(onFree: (memory: ArrayBuffer) => void): void {
    this.#onFree = onFree
  }

  /** Bytes that are kept for the next answers. */
  get freeBytes(): number {
    return this.#freeBytes
  }

  /** Memory for an answer, of whatever content. */
  lend(bytes: number): Buffer {
    if (bytes < LEAST_BYTES || bytes > MOST_BYTES) return Buffer.allocUnsafe(bytes)
    const size = 2 ** Math.ceil(Math.log2(bytes))
    let memory = this.#free.get(size)?.pop()
    if (memory === undefined) memory = Buffer.allocUnsafeSlow(size).buffer
    else this.#freeBytes -= size
    this.#loans.set(memory, new Loan(memory, freed => this.#takeBack(freed)))
    return Buffer.from(memory, 0, bytes)
  }

  /** The loan that these bytes lie in; undefined for memory of another kind, which is nobody's to give back. */
  loanOf(bytes: Uint8Array): Loan | undefined {
    return this.#loans.get(bytes.buffer)
  }

  #takeBack(memory: ArrayBuffer): void {
    this.#loans.delete(memory)
    this.#onFree(memory)
    const size = memory.byteLength
    if (this.#freeBytes + size > KEPT_BYTES) return
    const free = this.#free.get(size)
    if (free === undefined) this.#free.set(size, [memory])
    else free.push(memory)
    this.#freeBytes += size
  }
}

/** Memory that was lent for one answer, held by who asked for it and by every batch of it. */
export class Loan implements Lease {
  readonly #memory: ArrayBuffer
  readonly #free: (memory: ArrayBuffer) => void
  #holders = 1

  constructor(memory: ArrayBuffer, free: (memory: ArrayBuffer) => void) {
    this.#memory = memory
    this.#free = free
  }

  /** One more reads it, and will let go. */
  hold(): this {
    this.#holders++
    return this
  }

  letGo(): void {
    if (this.#holders === 0) throw new Error('The memory of an answer was let go of once too often.')
    if (--this.#holders === 0) this.#free(this.#memory)
  }
}

/** For all connections of this thread. */
export const answerMemory = new AnswerMemory()
