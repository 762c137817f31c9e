import { memoryOf, type RecordBatch } from '../core/record-batch.ts'
import type { Room } from '../core/transaction.ts'

/** Less is not worth a request: a batch of a producer with the usual settings. */
const LEAST_BYTES = 16 * 1024

/** Before anything was fetched: small, so that only a task with little room asks for little. */
const GUESSED_BYTES = 100

/** How many bytes to ask a broker for, so that about as much comes as a partition has room for. */
export class FetchSize {
  /** Of the last fetch that held records: bytes as the broker sent them, for each record and for each byte of memory. */
  #sentPerRecord = GUESSED_BYTES
  #sentPerByte = 1

  learn(sentBytes: number, batches: readonly RecordBatch[]): void {
    let records = 0
    let memory = 0
    for (const batch of batches) {
      records += batch.count
      memory += memoryOf(batch)
    }
    if (records === 0) return
    this.#sentPerRecord = sentBytes / records
    this.#sentPerByte = sentBytes / memory
  }

  /** At most `most`, and at least what is worth a request. */
  bytesFor(room: Room, most: number): number {
    const fitting = Math.min(room.records * this.#sentPerRecord, room.bytes * this.#sentPerByte)
    const wanted = Math.max(LEAST_BYTES, fitting)
    return Math.floor(Math.min(most, wanted))
  }
}
