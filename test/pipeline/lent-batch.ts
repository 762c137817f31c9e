import type { RecordBatch } from '../../src/core/record-batch.ts'
import { batchOf, type TestValue } from './fake-codec.ts'

const OVERWRITTEN = 0xdb

/** A batch in memory that is lent. Once that was let go of it is overwritten, so that who reads it later is found out. */
export class LentBatch {
  readonly batch: RecordBatch
  /** How often it was let go of. */
  letGo = 0

  /** @param onLetGo is told just before the memory is overwritten */
  constructor(offsets: readonly number[], valueAt?: (offset: number) => TestValue, onLetGo = () => {}) {
    const batch = batchOf(offsets, valueAt)
    const overwrite = () => {
      this.letGo++
      onLetGo()
      for (const { buffer, byteOffset, byteLength } of [batch.bytes, batch.columns, batch.timestamps]) {
        new Uint8Array(buffer, byteOffset, byteLength).fill(OVERWRITTEN)
      }
    }
    let holders = 1
    const letGo = () => {
      if (--holders === 0) overwrite()
    }
    this.batch = { ...batch, lease: { hold: () => void holders++, letGo } }
  }
}

/** How often each was let go of. */
export const timesLetGo = (lent: readonly LentBatch[]) => lent.map(({ letGo }) => letGo)
