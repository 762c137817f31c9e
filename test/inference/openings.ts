import { setEnvironmentData } from 'node:worker_threads'

export const OPENINGS = 'openings'
export const Word = { toHang: 0, toRefuse: 1, hanging: 2, released: 3 } as const

/** How the next threads of opening-thread.ts fare as they open the model. Make one before the pool. */
export class Openings {
  readonly threadUrl = new URL('./opening-thread.ts', import.meta.url)
  readonly #words = new Int32Array(new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT))

  constructor() {
    setEnvironmentData(OPENINGS, this.#words)
  }

  /** So many of the next hang, and of those after them, so many are refused. */
  next({ hang = 0, refuse = 0 }: { readonly hang?: number; readonly refuse?: number }): void {
    Atomics.store(this.#words, Word.toRefuse, refuse)
    Atomics.store(this.#words, Word.toHang, hang)
  }

  /** Resolves once a thread hangs. */
  async reached(): Promise<void> {
    while (Atomics.load(this.#words, Word.hanging) === 0) await new Promise(resolve => setTimeout(resolve, 1))
  }

  /** Lets all go on that hang, and that will. */
  release(): void {
    Atomics.store(this.#words, Word.released, 1)
    Atomics.notify(this.#words, Word.released)
  }
}
