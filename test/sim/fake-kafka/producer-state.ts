import { ErrorCode } from './error-code.ts'
import type { LogBatch } from './log-batch.ts'

/** Batches of a producer that a leader remembers, to tell a batch that comes twice. */
const REMEMBERED = 5

const SEQUENCES = 2 ** 31

/**
 * What the leader of a partition knows of one producer id: ProducerStateEntry and ProducerAppendInfo of Kafka's
 * storage module (KIP-98).
 */
export class ProducerState {
  epoch = -1
  /** Where the transaction under way began in this partition. */
  transactionStart: number | undefined
  #batches: LogBatch[] = []
  /** Lowest sequence number of the batches for which the transaction was looked up since the last append. */
  #verifying: { readonly epoch: number; readonly lowest: number } | undefined

  /**
   * The coordinator is about to be asked whether the partition is in the producer's transaction. Batches may overtake each
   * other meanwhile: none may be the transaction's first but the one with the lowest sequence number that was seen
   * (VerificationStateEntry, KIP-890).
   */
  verify({ producerEpoch: epoch, firstSequence }: LogBatch): void {
    const known = this.#verifying
    const lower = known === undefined || epoch > known.epoch || (epoch === known.epoch && firstSequence < known.lowest)
    if (lower) this.#verifying = { epoch, lowest: firstSequence }
  }

  /** The batch in the log that this is a second copy of. */
  duplicateOf(batch: LogBatch): LogBatch | undefined {
    if (batch.producerEpoch !== this.epoch) return undefined
    return this.#batches.find(
      known => known.firstSequence === batch.firstSequence && known.lastSequence === batch.lastSequence,
    )
  }

  /** Whether a data batch may be appended. */
  check(batch: LogBatch): ErrorCode {
    if (batch.producerEpoch < this.epoch) return ErrorCode.INVALID_PRODUCER_EPOCH
    if (this.#verifying !== undefined && batch.firstSequence > this.#verifying.lowest) {
      return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    }
    const newEpoch = batch.producerEpoch > this.epoch && this.epoch >= 0
    const expected = newEpoch ? 0 : this.#nextSequence()
    const inOrder = expected === undefined || batch.firstSequence === expected
    return inOrder ? ErrorCode.NONE : ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
  }

  /** After a data batch was appended. */
  appended(batch: LogBatch): void {
    this.#raiseEpoch(batch.producerEpoch)
    if (batch.transactional) this.#verifying = undefined
    this.#batches = [...this.#batches, batch].slice(-REMEMBERED)
    if (batch.transactional) this.transactionStart ??= batch.baseOffset
  }

  /** After the marker of a transaction was appended. Its epoch may be newer: then whoever wrote before is fenced. */
  ended(epoch: number): void {
    this.#raiseEpoch(epoch)
    this.#verifying = undefined
    this.transactionStart = undefined
  }

  #raiseEpoch(epoch: number): void {
    if (epoch === this.epoch) return
    this.epoch = epoch
    this.#batches = []
  }

  /** Undefined where any will do: nothing is known of this producer. */
  #nextSequence(): number | undefined {
    const last = this.#batches.at(-1)
    if (last !== undefined) return (last.lastSequence + 1) % SEQUENCES
    return this.epoch < 0 ? undefined : 0
  }
}
