import { parseMetrics } from '../test/support/metrics.ts'
import type { WorkerProcess } from '../test/support/sluice-process.ts'

export interface Transactions {
  committed: number
  aborted: number
  fenced: number
}

const BETWEEN_LOOKS_MS = 500
const PATIENCE_MS = 1_000

/** Adds up what the workers' metrics say of transactions. What a worker did after the last look before its death is missed. */
export class Tally {
  readonly #seen = new Map<WorkerProcess, Transactions>()
  readonly #timer: NodeJS.Timeout
  #looking: Promise<unknown> = Promise.resolve()

  /** @param workers those to ask now */
  constructor(workers: () => readonly WorkerProcess[]) {
    this.#timer = setInterval(() => {
      this.#looking = this.look(workers())
    }, BETWEEN_LOOKS_MS)
  }

  /** Asks workers now; one that does not answer keeps what it said before. */
  async look(workers: readonly WorkerProcess[]): Promise<void> {
    await Promise.all(workers.map(worker => this.#ask(worker).catch(() => {})))
  }

  get total(): Transactions {
    const total = { committed: 0, aborted: 0, fenced: 0 }
    for (const { committed, aborted, fenced } of this.#seen.values()) {
      total.committed += committed
      total.aborted += aborted
      total.fenced += fenced
    }
    return total
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#looking
  }

  async #ask(worker: WorkerProcess): Promise<void> {
    if (worker.over || !worker.log.some(({ url }) => url !== undefined)) return
    const url = await worker.url('/metrics')
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) })
    const counts: Transactions = { committed: 0, aborted: 0, fenced: 0 }
    for (const { name, labels, value } of parseMetrics(await response.text())) {
      if (name === 'sluice_transactions_total') counts[labels.outcome as keyof Transactions] += value
    }
    this.#seen.set(worker, counts)
  }
}
