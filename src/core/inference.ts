import type { TensorSlot } from './tensor.ts'

/** How long the parts of a run took, in milliseconds. */
export interface RunTimings {
  /** In the runtime. */
  readonly computeMs: number
  /** From hand-over to the thread taking it: waiting behind another run, and the thread hop. */
  readonly waitMs: number
  /** `cpu`, `cuda:0`: where it ran. */
  readonly provider: string
}

/**
 * Sessions of one model version, each on its own thread, and the slots that they share. A session runs one batch at a
 * time; which session is the pool's business.
 */
export interface SessionPool {
  /** How many sessions could take a batch now without waiting. */
  readonly idle: number
  readonly size: number
  /** A free slot, or undefined when all are in use. The caller owns it until it releases it. */
  acquire(): TensorSlot | undefined
  /** Gives a slot back; its tensors must no longer be touched. */
  release(slot: TensorSlot): void
  /**
   * Runs rows [first, first + rows) of `slot` on an idle session; the outputs lie in the same rows of `slot.outputs`.
   * @throws SluiceError `inference-failed` when the runtime refuses the rows, `session-crashed` when the thread died
   *   (the pool starts another by itself), or when no session is left to take the rows.
   */
  run(slot: TensorSlot, first: number, rows: number): Promise<RunTimings>
  /** Registers the callback for "a session became idle or a slot was released". One listener: the batcher. */
  onAvailable(listener: () => void): void
  /** Stops the threads. Runs in flight are rejected. */
  close(): Promise<void>
}
