/** Smaller pieces come from the allocator: it is good at them. */
const LEAST_BYTES = 16 * 1024

/** Larger ones are rare: a record of more than `message.max.bytes`, or a broker of many partitions. */
const MOST_BYTES = 32 * 1024 * 1024

/**
 * What is kept of memory that is not in use: as much as may be in flight unless told otherwise. A pool that is too small for
 * what goes in and out hands over to the allocator, which fragments: a worker at full load grew by 100 MiB.
 */
const KEPT_BYTES = 128 * 1024 * 1024

/**
 * Large pieces of memory that are used again and again: what is fetched, where its parts are, what is published.
 *
 * Each is megabytes a second. Fresh memory has to be mapped page by page, is cold, and what lies outside of the heap drives
 * the garbage collector: a third of the time of a worker that had nothing else to do. Whoever took a piece may give it
 * back, once; what is never given back, because a task or a connection ended in between, is left to the garbage collector.
 */
export class MemoryPool {
  #onFree: (memory: ArrayBuffer) => void = () => {}
  /** By size, a power of two, the size that was not asked for the longest first; the last one given back is taken first. */
  readonly #free = new Map<number, ArrayBuffer[]>()
  #freeBytes = 0

  /** Bytes that are kept, and not in use. */
  get freeBytes(): number {
    return this.#freeBytes
  }

  /** Is told of memory that was given back: tests overwrite it, so that who still reads it is found out. */
  watch(onFree: (memory: ArrayBuffer) => void): void {
    this.#onFree = onFree
  }

  /** At least so many bytes, of whatever content, from the beginning of an `ArrayBuffer` of their own. */
  take(bytes: number): ArrayBuffer {
    const size = bytes < LEAST_BYTES || bytes > MOST_BYTES ? bytes : 2 ** Math.ceil(Math.log2(bytes))
    const free = this.#use(size)
    const memory = free.pop()
    if (memory === undefined) return Buffer.allocUnsafeSlow(size).buffer
    this.#freeBytes -= size
    return memory
  }

  /** Takes back what `take` gave: nobody may read or write it any more. */
  giveBack(memory: ArrayBuffer): void {
    this.#onFree(memory)
    const size = memory.byteLength
    if (size < LEAST_BYTES || size > MOST_BYTES) return
    this.#use(size).push(memory)
    this.#freeBytes += size
    for (const [other, free] of this.#free) {
      while (this.#freeBytes > KEPT_BYTES && free.length > 0) {
        free.shift()
        this.#freeBytes -= other
      }
    }
  }

  /** Those that are free of a size, which is asked for just now. */
  #use(size: number): ArrayBuffer[] {
    const free = this.#free.get(size) ?? []
    if (size < LEAST_BYTES || size > MOST_BYTES) return free
    this.#free.delete(size)
    this.#free.set(size, free)
    return free
  }
}

/** Of this thread. */
export const memoryPool = new MemoryPool()
