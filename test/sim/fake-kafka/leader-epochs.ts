import type { EpochEnd } from '../../../src/kafka/fetch-protocol.ts'

/** Which leader epoch wrote which part of a log: LeaderEpochFileCache of Kafka (KIP-101). */
export class LeaderEpochs {
  #entries: readonly { readonly epoch: number; readonly start: number }[] = [{ epoch: 0, start: 0 }]
  #current = 0

  get current(): number {
    return this.#current
  }

  /** A leader was elected; it goes on at `end`. What its predecessors wrote from there on is not in the log. */
  begin(end: number): void {
    this.#current++
    this.#entries = [...this.#entries.filter(({ start }) => start < end), { epoch: this.#current, start: end }]
  }

  /** The last epoch up to `epoch` that wrote here, and where the log leaves it; undefined for one that is not known yet. */
  endOf(epoch: number, logEnd: number): EpochEnd | undefined {
    if (epoch === this.#current) return { epoch, endOffset: logEnd }
    const next = this.#entries.find(entry => entry.epoch > epoch)
    if (next === undefined) return undefined
    const found = this.#entries.findLast(entry => entry.epoch <= epoch)
    return { epoch: found?.epoch ?? epoch, endOffset: next.start }
  }
}
