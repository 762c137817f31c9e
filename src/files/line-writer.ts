import type { ByteSink, FileRowEncoder, PredictionWriter } from '../core/files.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { ByteBuffer } from './byte-buffer.ts'

const NEWLINE = 0x0a

/** Writes a row a line. */
export class LineWriter implements PredictionWriter {
  readonly #encoder: FileRowEncoder
  readonly #sink: ByteSink
  readonly #buffer: ByteBuffer

  constructor(sink: ByteSink, encoder: FileRowEncoder) {
    this.#encoder = encoder
    this.#sink = sink
    this.#buffer = new ByteBuffer(sink)
  }

  get pending(): number {
    return this.#buffer.pending
  }

  write(number: number, kept: readonly unknown[], row: number, outputs: readonly TensorColumn[]): void {
    const buffer = this.#buffer
    buffer.reserve(this.#encoder.maxBytes(kept, row, outputs) + 1)
    const end = this.#encoder.encode(number, kept, row, outputs, buffer.bytes, buffer.at)
    buffer.bytes[end] = NEWLINE
    buffer.at = end + 1
  }

  async flush(): Promise<void> {
    this.#buffer.give()
    await this.#sink.flush()
  }

  finish(): Promise<void> {
    return this.flush()
  }
}
