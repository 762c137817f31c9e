import { randomBytes } from 'node:crypto'
import type { ByteSink, FileRowEncoder, PredictionWriter } from '../core/files.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { MAGIC, varint } from './avro-blocks.ts'

/** From so many bytes on a block is closed. */
const BLOCK_BYTES = 256 << 10

/** Writes an Avro container file without compression. */
export class AvroContainerWriter implements PredictionWriter {
  readonly #encoder: FileRowEncoder
  readonly #sink: ByteSink
  readonly #sync = randomBytes(16)
  #block = Buffer.allocUnsafeSlow(2 * BLOCK_BYTES)
  #at = 0
  #rows = 0

  /** @param schema of the records that `encoder` writes, as JSON */
  constructor(sink: ByteSink, schema: string, encoder: FileRowEncoder) {
    this.#encoder = encoder
    this.#sink = sink
    const entries = [text('avro.schema'), text(schema), text('avro.codec'), text('null')]
    sink.append(Buffer.concat([MAGIC, varint(2), ...entries, varint(0), this.#sync]))
  }

  get pending(): number {
    return this.#at + this.#sink.pending
  }

  write(number: number, kept: readonly unknown[], row: number, outputs: readonly TensorColumn[]): void {
    const size = this.#encoder.maxBytes(kept, row, outputs)
    if (size > this.#block.length - this.#at) this.#grow(size)
    this.#at = this.#encoder.encode(number, kept, row, outputs, this.#block, this.#at)
    this.#rows++
    if (this.#at >= BLOCK_BYTES) this.#close()
  }

  flush(): Promise<void> {
    return this.#sink.flush()
  }

  async finish(): Promise<void> {
    this.#close()
    await this.flush()
  }

  #grow(size: number): void {
    this.#close()
    if (size > this.#block.length) this.#block = Buffer.allocUnsafeSlow(size)
  }

  #close(): void {
    if (this.#rows === 0) return
    const head = Buffer.concat([varint(this.#rows), varint(this.#at)])
    this.#sink.append(head)
    this.#sink.append(Buffer.from(this.#block.subarray(0, this.#at)))
    this.#sink.append(this.#sync)
    this.#at = 0
    this.#rows = 0
  }
}

/** A string as Avro writes it, or the bytes of one. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([varint(bytes.length), bytes])
}
