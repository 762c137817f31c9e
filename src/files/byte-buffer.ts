import type { ByteSink } from '../core/files.ts'

const BUFFER_BYTES = 1 << 20

/** Gathers rows in large buffers for a sink. */
export class ByteBuffer {
  bytes = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  /** Where the next byte goes. */
  at = 0
  readonly #sink: ByteSink

  constructor(sink: ByteSink) {
    this.#sink = sink
  }

  get pending(): number {
    return this.at + this.#sink.pending
  }

  /** Makes room for `size` bytes from `at` on. */
  reserve(size: number): void {
    if (size <= this.bytes.length - this.at) return
    this.give()
    if (size > this.bytes.length) this.bytes = Buffer.allocUnsafeSlow(size)
  }

  /** Leaves what was written to the sink. */
  give(): void {
    if (this.at === 0) return
    this.#sink.append(this.bytes.subarray(0, this.at))
    this.bytes = this.bytes.subarray(this.at)
    this.at = 0
    if (this.bytes.length < BUFFER_BYTES / 2) this.bytes = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  }
}
